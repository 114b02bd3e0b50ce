// SPDX-License-Identifier: Apache-2.0
//! `kelp history`: how an image was built.

use crate::error::Result;
use crate::options::size;
use crate::output;
use crate::places::Places;
use crate::time;
use clap::Args;
use kelp_bundles::{Image, Store};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Show how an image was built
#[derive(Debug, Args)]
pub(crate) struct History {
    /// A name or id
    image: String,
    /// Show whole commands
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// json, or a template such as 'table {{.CreatedBy}}\t{{.Size}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const TABLE: &str = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const HEADINGS: &[(&str, &str)] = &[("ID", "IMAGE"), ("CreatedSince", "CREATED"), ("CreatedBy", "CREATED BY")];

/// Performs the command.
pub(crate) fn run(args: &History, places: &Places) -> Result<ExitCode> {
    let store = Store::open(&places.store)?;
    let image = store.find_any(&args.image)?;
    let steps = steps(args, &image);
    match args.format.as_deref() {
        _ if args.quiet => steps.iter().try_for_each(|s| output::line(s["ID"].as_str().unwrap_or_default()))?,
        Some("json") => steps.iter().try_for_each(output::json_line)?,
        format => {
            let template = format.filter(|f| *f != "table").unwrap_or(TABLE);
            super::render_rows(template, steps.into_iter(), HEADINGS)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Newest first; steps without a layer have no size.
fn steps(args: &History, image: &Image) -> Vec<Value> {
    let mut layers = image.layers.iter();
    let mut steps = Vec::new();
    for step in image.config.history.iter().flatten() {
        let layer = if step.empty_layer { None } else { layers.next() };
        let command = step.created_by.clone().unwrap_or_default();
        let created = step.created.clone().unwrap_or_default();
        steps.push(json!({
            "ID": "<missing>",
            "CreatedSince": if created.is_empty() { "N/A".to_owned() } else { format!("{} ago", time::since(&created)) },
            "CreatedAt": created,
            "CreatedBy": if args.no_trunc { command } else { cut(&command) },
            "Size": size::human(layer.map_or(0, |layer| layer.size)),
            "Comment": step.comment.clone().unwrap_or_default(),
        }));
    }
    // Whoever wrote no history has layers all the same.
    steps.extend(layers.map(|layer| {
        json!({ "ID": "<missing>", "CreatedSince": "N/A", "CreatedAt": "", "CreatedBy": "", "Size": size::human(layer.size), "Comment": "" })
    }));
    if let Some(last) = steps.last_mut() {
        last["ID"] = Value::from(if args.no_trunc { image.id.to_string() } else { image.id.short().to_owned() });
    }
    steps.reverse();
    steps
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(44) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
