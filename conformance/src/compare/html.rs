// SPDX-License-Identifier: Apache-2.0
//! One HTML file that needs nothing else: a table to read, to sort by any column and to filter.

use super::Column;
use crate::case::Case;

const STYLE: &str = "
:root { --ink: #1f2933; --faint: #616e7c; --line: #e4e7eb; --good: #0b7a5b; --bad: #b42318; --paper: #fff; --head: #f5f7fa }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --faint: #9aa5b1; --line: #323f4b; --good: #4cc7a0; --bad: #ff8a80; --paper: #16191d; --head: #1f2429 } }
body { font: 15px/1.45 system-ui, -apple-system, 'Segoe UI', sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto; max-width: 1400px; padding: 0 1rem }
h1 { font-size: 1.5rem } p { max-width: 60em }
form { display: flex; gap: 1rem; flex-wrap: wrap; align-items: center; position: sticky; top: 0; background: var(--paper); padding: .6rem 0 }
input, select { font: inherit; padding: .3rem .5rem; border: 1px solid var(--line); border-radius: 4px; background: var(--paper); color: inherit }
input[type=search] { min-width: 20em } output { color: var(--faint) }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .35rem .5rem; border-bottom: 1px solid var(--line) }
th { background: var(--head); position: sticky; top: 3.2rem } th button { all: unset; cursor: pointer; font-weight: 600 } th button:focus-visible { outline: 2px solid var(--good) }
td.case { overflow-wrap: anywhere; min-width: 15em; font-family: ui-monospace, monospace; font-size: 13px } td.quote { color: var(--faint); font-size: 13px; min-width: 18em }
td.end { text-align: center; font-size: 17px } .green { color: var(--good) } .red { color: var(--bad) } .skipped { color: var(--faint) }
details { font-size: 13px; text-align: left; max-width: 22em } summary { list-style: none; cursor: pointer; text-align: center; font-size: 17px }
tr[hidden] { display: none }
";

const SCRIPT: &str = "
const rows = [...document.querySelectorAll('tbody tr')], body = document.querySelector('tbody'), out = document.querySelector('output');
const words = document.querySelector('#words'), ends = document.querySelector('#ends'), level = document.querySelector('#level'), doc = document.querySelector('#document');
function filter() {
  const text = words.value.toLowerCase(); let shown = 0;
  for (const row of rows) {
    const e = row.dataset.ends.split(' ');
    const fits = row.textContent.toLowerCase().includes(text)
      && (!level.value || row.dataset.level === level.value) && (!doc.value || row.dataset.document === doc.value)
      && (ends.value === '' || (ends.value === 'differ' ? new Set(e.filter(x => x !== 'skipped')).size > 1 : e.includes(ends.value)));
    row.hidden = !fits; shown += fits;
  }
  out.textContent = `${shown} of ${rows.length}`;
}
document.querySelector('form').addEventListener('input', filter);
let last = -1, way = 1;
document.querySelectorAll('th button').forEach((b, n) => b.addEventListener('click', () => {
  way = last === n ? -way : 1; last = n;
  const key = r => n < 3 ? r.cells[n].textContent : r.dataset.ends.split(' ')[n - 3];
  rows.sort((a, b) => n === 0 && way === 1 ? a.dataset.number - b.dataset.number : way * key(a).localeCompare(key(b)));
  body.append(...rows);
}));
filter();
";

pub(super) fn page(cases: &[&'static Case], columns: &[Column]) -> String {
    let heads: String = ["case", "level", "sentence"]
        .into_iter()
        .map(str::to_owned)
        .chain(columns.iter().map(Column::title))
        .map(|h| format!("<th scope=col><button type=button>{}</button></th>", escaped(&h)))
        .collect();
    let rows: String = cases.iter().enumerate().map(|(n, case)| row(n, case, columns)).collect();
    let sums: String = columns
        .iter()
        .map(|c| {
            let (good, bad, skipped) = (c.count("green"), c.count("red"), c.count("skipped"));
            format!("<li><b>{}</b>: {good} obeyed, {bad} not, {skipped} could not be tried</li>", escaped(&c.title()))
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width\">\n\
         <title>OCI runtimes, sentence by sentence</title>\n<style>{STYLE}</style>\n\
         <h1>OCI runtimes, sentence by sentence</h1>\n\
         <p>Each line is one sentence of the OCI runtime-spec 1.3, or of the command line that container engines rely \
         on. ✓: the runtime does what it says. ✗: it does not; open it to see what was seen instead. –: it could not \
         be tried here.</p>\n<ul>{sums}</ul>\n{}\n<table><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table>\n\
         <script>{SCRIPT}</script>\n</html>\n",
        form(cases)
    )
}

fn form(cases: &[&'static Case]) -> String {
    let mut documents: Vec<&str> = cases.iter().map(|c| c.document.name()).collect();
    documents.dedup();
    let mut seen: Vec<&str> = Vec::new();
    for document in documents {
        if !seen.contains(&document) {
            seen.push(document);
        }
    }
    let documents: String = seen.iter().map(|d| format!("<option>{d}</option>")).collect();
    format!(
        "<form><input type=search id=words placeholder=\"words in a case or a sentence\" aria-label=words>\
         <select id=document aria-label=document><option value=\"\">every document</option>{documents}</select>\
         <select id=level aria-label=level><option value=\"\">MUST and SHOULD</option><option>MUST</option><option>SHOULD</option></select>\
         <select id=ends aria-label=result><option value=\"\">every result</option><option value=red>somebody fails</option>\
         <option value=differ>runtimes differ</option><option value=skipped>could not be tried</option></select><output></output></form>"
    )
}

fn row(number: usize, case: &Case, columns: &[Column]) -> String {
    let name = case.name();
    let ends: Vec<&str> = columns.iter().map(|c| c.cell(&name).map_or("skipped", |r| r.end.as_str())).collect();
    let cells: String = columns.iter().map(|c| cell(c, &name)).collect();
    format!(
        "<tr data-number={number} data-level={level} data-document=\"{document}\" data-ends=\"{ends}\">\
         <td class=case>{name}</td><td>{level}</td><td class=quote>{quote}</td>{cells}</tr>\n",
        level = case.level.word(),
        document = case.document.name(),
        ends = ends.join(" "),
        quote = escaped(case.quote)
    )
}

fn cell(column: &Column, case: &str) -> String {
    let Some(result) = column.cell(case) else { return "<td class=\"end skipped\">–</td>".into() };
    let why = escaped(result.why.as_deref().unwrap_or(""));
    match result.end.as_str() {
        "green" => "<td class=\"end green\" title=obeyed>✓</td>".into(),
        "red" => format!("<td class=\"end red\"><details><summary>✗</summary>{why}</details></td>"),
        _ => format!("<td class=\"end skipped\" title=\"{why}\">–</td>"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
