// SPDX-License-Identifier: Apache-2.0
//! `--format`: JSON, or the part of Go's templates that scripts use with Docker.
//!
//! `{{.Name}}`, `{{.State.Pid}}`, `{{json .Mounts}}`, `{{index .Config.Labels "key"}}`, `{{len .Mounts}}`, `{{upper .X}}`,
//! `{{range .Mounts}}…{{end}}`, `{{if .X}}…{{else}}…{{end}}`, with `\t` and `\n` as escapes.

use crate::error::{Error, Kind, Result};
use serde_json::Value;

/// A template, read.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    Text(String),
    Print(Vec<Word>),
    Range(Vec<Word>, Vec<Node>),
    If(Vec<Word>, Vec<Node>, Vec<Node>),
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
enum Word {
    /// `.` or `.A.B`.
    Path(Vec<String>),
    /// A string or number.
    Literal(Value),
    /// A function.
    Name(String),
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut pieces = pieces(&text).map_err(|because| bad(&text, because))?.into_iter();
        let (nodes, end) = block(&mut pieces).map_err(|because| bad(&text, because))?;
        match end {
            End::Text => Ok(Self { nodes }),
            End::Closed | End::Else => Err(bad(&text, "{{end}} or {{else}} without a beginning")),
        }
    }

    /// Fills it in.
    pub(crate) fn render(&self, value: &Value) -> Result<String> {
        let mut text = String::new();
        render(&self.nodes, value, &mut text)?;
        Ok(text)
    }
}

fn bad(text: &str, because: impl std::fmt::Display) -> Error {
    Error::new(Kind::BadInput, format!("cannot use the template {text:?}"), because)
        .hint("--format json shows the fields there are")
}

enum Piece {
    Text(String),
    Action(Vec<Word>),
}

#[derive(Debug, PartialEq)]
enum End {
    Text,
    Closed,
    Else,
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let (before, action) = rest.split_at(open);
        let close = action.find("}}").ok_or("{{ without }}")?;
        let inner = &action[2..close];
        let inner = inner.strip_prefix('-').unwrap_or(inner);
        let inner = inner.strip_suffix('-').unwrap_or(inner);
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Action(words(inner)?));
        rest = &action[close + 2..];
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => rest[1..].find('"').map(|at| at + 2).ok_or("a string without its end")?,
            _ => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        let (word, tail) = rest.split_at(length);
        words.push(self::word(word)?);
        rest = tail.trim_start();
    }
    if words.is_empty() { Err("{{}} is empty".to_owned()) } else { Ok(words) }
}

fn word(text: &str) -> Result<Word, String> {
    if let Some(path) = text.strip_prefix('.') {
        return Ok(Word::Path(path.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect()));
    }
    if text.starts_with(|c: char| c == '"' || c.is_ascii_digit()) {
        return serde_json::from_str(text)
            .map(Word::Literal)
            .map_err(|_| format!("{text} is neither string nor number"));
    }
    Ok(Word::Name(text.to_owned()))
}

/// Nodes up to the end of the block.
fn block(pieces: &mut impl Iterator<Item = Piece>) -> Result<(Vec<Node>, End), String> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let words = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(words) => words,
        };
        let keyword = match words.first() {
            Some(Word::Name(name)) => name.as_str(),
            _ => "",
        };
        match keyword {
            "end" => return Ok((nodes, End::Closed)),
            "else" => return Ok((nodes, End::Else)),
            "range" | "if" => nodes.push(compound(keyword == "range", words[1..].to_vec(), pieces)?),
            _ => nodes.push(Node::Print(words)),
        }
    }
    Ok((nodes, End::Text))
}

fn compound(is_range: bool, over: Vec<Word>, pieces: &mut impl Iterator<Item = Piece>) -> Result<Node, String> {
    let (first, end) = block(pieces)?;
    let (second, end) = if end == End::Else { block(pieces)? } else { (Vec::new(), end) };
    match (end, is_range) {
        (End::Closed, true) => Ok(Node::Range(over, first)),
        (End::Closed, false) => Ok(Node::If(over, first, second)),
        _ => Err("{{end}} is missing".to_owned()),
    }
}

fn render(nodes: &[Node], value: &Value, text: &mut String) -> Result<()> {
    for node in nodes {
        match node {
            Node::Text(plain) => text.push_str(plain),
            Node::Print(words) => text.push_str(&shown(&evaluate(words, value)?)),
            Node::If(words, yes, no) => {
                let branch = if is_true(&evaluate(words, value)?) { yes } else { no };
                render(branch, value, text)?;
            }
            Node::Range(words, body) => match evaluate(words, value)? {
                Value::Array(items) => items.iter().try_for_each(|item| render(body, item, text))?,
                Value::Object(map) => map.values().try_for_each(|item| render(body, item, text))?,
                _ => {}
            },
        }
    }
    Ok(())
}

fn evaluate(words: &[Word], value: &Value) -> Result<Value> {
    let arguments = |words: &[Word]| words.iter().map(|word| operand(word, value)).collect::<Result<Vec<_>>>();
    let Some((Word::Name(function), rest)) = words.split_first() else {
        return match words {
            [single] => operand(single, value),
            _ => Err(bad("…", "a field takes no arguments")),
        };
    };
    let rest = arguments(rest)?;
    match (function.as_str(), rest.as_slice()) {
        ("json", [one]) => Ok(Value::String(one.to_string())),
        ("len", [Value::Array(items)]) => Ok(items.len().into()),
        ("len", [Value::Object(map)]) => Ok(map.len().into()),
        ("len", [Value::String(text)]) => Ok(text.len().into()),
        ("upper", [one]) => Ok(shown(one).to_uppercase().into()),
        ("lower", [one]) => Ok(shown(one).to_lowercase().into()),
        ("index", [one, keys @ ..]) => Ok(keys.iter().fold(one.clone(), |value, key| element(&value, key))),
        ("join", [Value::Array(items), separator]) => {
            Ok(items.iter().map(shown).collect::<Vec<_>>().join(&shown(separator)).into())
        }
        (name, _) => Err(bad(name, "known are json, index, len, join, upper, lower, range and if")),
    }
}

fn operand(word: &Word, value: &Value) -> Result<Value> {
    match word {
        Word::Literal(literal) => Ok(literal.clone()),
        Word::Name(name) => Err(bad(name, "a field begins with a dot")),
        Word::Path(path) => {
            let mut at = value;
            for name in path {
                at = match at.get(name) {
                    Some(inner) => inner,
                    None if at.is_object() => {
                        return Err(bad(&format!(".{}", path.join(".")), format!("there is no field {name}")));
                    }
                    None => &Value::Null,
                };
            }
            Ok(at.clone())
        }
    }
}

fn element(value: &Value, key: &Value) -> Value {
    let found = match key {
        Value::String(name) => value.get(name),
        Value::Number(number) => number.as_u64().and_then(|at| value.get(usize::try_from(at).ok()?)),
        _ => None,
    };
    found.cloned().unwrap_or(Value::Null)
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// As Go prints: strings bare, lists in brackets, maps as `map[key:value]`.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs: Vec<_> = map.iter().map(|(key, value)| format!("{key}:{}", shown(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(template: &str) -> String {
        let value = json!({
            "Name": "web", "State": {"Pid": 7, "Running": true},
            "Mounts": [{"Source": "/a"}, {"Source": "/b"}], "Labels": {"a.b": "c"}
        });
        Template::parse(template).and_then(|it| it.render(&value)).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn fields_functions_loops_and_branches() {
        assert_eq!(filled("{{.Name}}\\t{{ .State.Pid }}"), "web\t7");
        assert_eq!(filled("{{json .State}}"), r#"{"Pid":7,"Running":true}"#);
        assert_eq!(filled(r#"{{index .Labels "a.b"}} {{index .Mounts 1 "Source"}}"#), "c /b");
        assert_eq!(filled("{{range .Mounts}}{{.Source}};{{end}}"), "/a;/b;");
        assert_eq!(filled("{{if .State.Running}}up{{else}}down{{end}} {{len .Mounts}}"), "up 2");
        assert_eq!(filled("{{.Labels}}"), "map[a.b:c]");
    }

    #[test]
    fn mistakes_are_named() {
        for template in ["{{.Nmae}}", "{{.Name", "{{fly .Name}}", "{{range .Mounts}}", "{{end}}", "{{}}", "{{Name}}"] {
            assert!(filled(template).starts_with("error: "), "{template}: {}", filled(template));
        }
    }
}
