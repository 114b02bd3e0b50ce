// SPDX-License-Identifier: Apache-2.0
//! `kelp history`: how an image was built.

use crate::caller::Caller;
use crate::error::Result;
use crate::output;
use crate::request::size;
use crate::time;
use clap::Args;
use kelp_bundles::store::Layer;
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
    /// Sizes with units and times from now; =false: bytes and dates
    #[arg(short = 'H', long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    human: bool,
    /// Of a list, the image for this machine
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// json, or a template such as 'table {{.CreatedBy}}\t{{.Size}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const TABLE: &str = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const PLAIN: &str = "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const HEADINGS: &[(&str, &str)] =
    &[("ID", "IMAGE"), ("CreatedSince", "CREATED"), ("CreatedAt", "CREATED AT"), ("CreatedBy", "CREATED BY")];

/// Performs the command.
pub(crate) fn run(args: &History, caller: &Caller) -> Result<ExitCode> {
    let store = Store::open(&caller.places.store)?;
    let image = crate::image::look(&store, &args.image, args.platform.as_deref())?;
    let steps = steps(args, &image, &|layer| store.layer_size(layer));
    match args.format.as_deref() {
        _ if args.quiet => steps.iter().try_for_each(|s| output::line(s["ID"].as_str().unwrap_or_default()))?,
        format => {
            let table = if args.human { TABLE } else { PLAIN };
            super::render_rows(format, table, steps.into_iter(), HEADINGS)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Newest first; steps without a layer have no size.
fn steps(args: &History, image: &Image, size: &dyn Fn(&Layer) -> u64) -> Vec<Value> {
    let shown = |bytes: u64| if args.human { size::human(bytes) } else { bytes.to_string() };
    let mut layers = image.layers.iter();
    let mut steps = Vec::new();
    for step in image.config.history.iter().flatten() {
        let layer = if step.empty_layer { None } else { layers.next() };
        let command = step.created_by.clone().unwrap_or_default();
        let created = step.created.clone().unwrap_or_default();
        steps.push(json!({
            "ID": "<missing>",
            "CreatedSince": if created.is_empty() { "N/A".to_owned() } else { format!("{} ago", time::since(&created)) },
            "CreatedAt": time::to_the_second(&created),
            "CreatedBy": if args.no_trunc { command } else { cut(&command) },
            "Size": shown(layer.map_or(0, size)),
            "Comment": step.comment.clone().unwrap_or_default(),
        }));
    }
    // Whoever wrote no history has layers all the same.
    steps.extend(layers.map(|layer| {
        json!({ "ID": "<missing>", "CreatedSince": "N/A", "CreatedAt": "", "CreatedBy": "", "Size": shown(size(layer)), "Comment": "" })
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
