// SPDX-License-Identifier: Apache-2.0
//! Results, for people (table) and for programs (TAP, JSON, JUnit).
#![expect(clippy::print_stdout, reason = "this is the program's output")]

use std::str::FromStr;

use serde_json::{Value, json};

use crate::judge::{End, Result};
use crate::place::Place;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Table,
    Tap,
    Json,
    Junit,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> std::result::Result<Self, String> {
        match word {
            "table" => Ok(Format::Table),
            "tap" => Ok(Format::Tap),
            "json" => Ok(Format::Json),
            "junit" => Ok(Format::Junit),
            _ => Err("the formats are table, tap, json and junit".into()),
        }
    }
}

/// Prints while results come in, where the format allows it, and the rest in the end.
pub(crate) struct Printer {
    format: Format,
    runtime: String,
    rootless: bool,
    mutate: bool,
    number: usize,
}

impl Printer {
    pub(crate) fn new(format: Format, place: &Place, mutate: bool) -> Self {
        let me = Self { format, runtime: place.version(), rootless: place.rootless, mutate, number: 0 };
        match format {
            Format::Tap => println!("TAP version 13"),
            Format::Table => println!("{}, {}", me.runtime, if me.rootless { "rootless" } else { "root" }),
            Format::Json | Format::Junit => {}
        }
        me
    }

    pub(crate) fn each(&mut self, result: &Result) {
        self.number += 1;
        match self.format {
            Format::Table => table_line(result),
            Format::Tap => tap_line(self.number, result),
            Format::Json | Format::Junit => {}
        }
    }

    pub(crate) fn end(&self, results: &[Result]) {
        match self.format {
            Format::Table => summary(results, self.mutate),
            Format::Tap => println!("1..{}", results.len()),
            Format::Json => println!("{}", self.json(results)),
            Format::Junit => print!("{}", self.junit(results)),
        }
    }

    fn json(&self, results: &[Result]) -> Value {
        json!({
            "runtime": self.runtime,
            "rootless": self.rootless,
            "results": results.iter().map(one_json).collect::<Vec<_>>(),
        })
    }

    fn junit(&self, results: &[Result]) -> String {
        let (red, skipped) = (count(results, |r| !r.good()), count(results, |r| matches!(r.end, End::Skipped(_))));
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{red}\" skipped=\"{skipped}\">\n",
            escaped(&self.runtime),
            results.len()
        );
        for r in results {
            let inner = match (&r.end, r.good()) {
                (End::Skipped(why), _) => format!("<skipped message=\"{}\"/>", escaped(why)),
                (End::Red(why), false) => {
                    format!("<failure message=\"{}\">{}</failure>", escaped(why), escaped(r.case.quote))
                }
                (End::Green, false) => "<failure message=\"stayed green under a lie\"/>".to_owned(),
                _ => String::new(),
            };
            xml += &format!(
                "  <testcase classname=\"{}\" name=\"{}\">{inner}</testcase>\n",
                escaped(r.case.document.name()),
                escaped(&title(r))
            );
        }
        xml + "</testsuite>\n"
    }
}

fn count(results: &[Result], which: impl Fn(&Result) -> bool) -> usize {
    results.iter().filter(|r| which(r)).count()
}

/// The case's name, with the lie that was told.
fn title(result: &Result) -> String {
    match result.lie {
        Some(lie) => format!("{} ({lie})", result.case.name()),
        None => result.case.name(),
    }
}

fn one_json(r: &Result) -> Value {
    let (end, why) = match &r.end {
        End::Green => ("green", None),
        End::Red(why) => ("red", Some(why)),
        End::Skipped(why) => ("skipped", Some(why)),
    };
    json!({
        "case": r.case.name(),
        "document": r.case.document.name(),
        "section": r.case.section,
        "level": r.case.level.word(),
        "quote": r.case.quote,
        "lie": r.lie,
        "end": end,
        "why": why,
        "good": r.good(),
    })
}

fn table_line(r: &Result) {
    let word = match (&r.end, r.good()) {
        (End::Skipped(_), _) => "skip",
        (_, true) => "ok",
        (_, false) => "FAIL",
    };
    println!("{word:<5}{:<7}{}", r.case.level.word(), title(r));
    match &r.end {
        End::Skipped(why) => println!("            {why}"),
        End::Red(why) if !r.good() => println!(
            "            {why}\n            {}, {}: “{}”",
            r.case.document.name(),
            r.case.section,
            r.case.quote
        ),
        End::Green if !r.good() => println!("            it stayed green under this lie"),
        End::Red(_) | End::Green => {}
    }
}

fn tap_line(number: usize, r: &Result) {
    match (&r.end, r.good()) {
        (End::Skipped(why), _) => println!("ok {number} - {} # SKIP {}", title(r), why.replace('\n', " ")),
        (_, true) => println!("ok {number} - {}", title(r)),
        (end, false) => {
            let why = if let End::Red(why) = end { why } else { "it stayed green under this lie" };
            println!(
                "not ok {number} - {}\n  ---\n  message: {}\n  clause: {}\n  ...",
                title(r),
                json!(why),
                json!(r.case.quote)
            );
        }
    }
}

fn summary(results: &[Result], mutate: bool) {
    let skipped = count(results, |r| matches!(r.end, End::Skipped(_)));
    let bad = count(results, |r| !r.good());
    let good = results.len() - skipped - bad;
    match mutate {
        true => println!("{good} lies found out, {bad} not, {skipped} skipped"),
        false => println!("{good} ok, {bad} failed, {skipped} skipped"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\n', " ")
}
