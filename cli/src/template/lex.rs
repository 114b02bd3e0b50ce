// SPDX-License-Identifier: Apache-2.0
//! A template's text: what stands outside of `{{}}`, and the words inside.

use serde_json::Value;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `.`, `.A.B`; behind a parenthesis it is a field of that.
    Path(Vec<String>),
    /// `$x.A`: the name without its dollar.
    Variable(String, Vec<String>),
    Literal(Value),
    Name(String),
    Open,
    /// With the fields behind it.
    Close(Vec<String>),
    Pipe,
    Comma,
    Declare,
    Assign,
}

/// Cuts a template into its parts; comments are gone, and white space where a `-` asks for that.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, action)) = rest.split_once("{{") {
        let (action, trims_before) = match action.strip_prefix('-') {
            Some(inner) if inner.starts_with(char::is_whitespace) => (inner, true),
            _ => (action, false),
        };
        pieces.push(Piece::Text(if trims_before { before.trim_end() } else { before }.to_owned()));
        let end = end_of(action).ok_or("{{ without }}")?;
        let (inner, after) = (&action[..end], &action[end + 2..]);
        let (inner, after) = match inner.strip_suffix('-') {
            Some(inner) if inner.ends_with(char::is_whitespace) => (inner, after.trim_start()),
            _ => (inner, after),
        };
        if !inner.trim_start().starts_with("/*") {
            pieces.push(Piece::Action(tokens(inner)?));
        }
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

/// Where the `}}` is that ends the action; one in a string or a comment does not.
fn end_of(action: &str) -> Option<usize> {
    let mut at = match action.trim_start().starts_with("/*") {
        true => action.find("*/")? + 2,
        false => 0,
    };
    loop {
        let rest = action.get(at..)?;
        let first = rest.chars().next()?;
        at += match first {
            '}' if rest.starts_with("}}") => return Some(at),
            '"' | '`' | '\'' => quoted(rest).map_or(1, |(_, length)| length),
            other => other.len_utf8(),
        };
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => {
                let fields = path(&rest[1..]);
                (Token::Close(fields.0), 1 + fields.1)
            }
            '|' => (Token::Pipe, 1),
            ',' => (Token::Comma, 1),
            '=' => (Token::Assign, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            '"' | '`' | '\'' => {
                let (value, length) = quoted(rest).ok_or("a string without its end")?;
                (Token::Literal(value), length)
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let (fields, length) = path(rest);
                (Token::Path(fields), length.max(1))
            }
            '$' => {
                let name = word(&rest[1..]);
                let (fields, length) = path(&rest[1 + name.len()..]);
                (Token::Variable(name.to_owned(), fields), 1 + name.len() + length)
            }
            '+' | '-' | '.' | '0'..='9' => number(rest)?,
            first if first.is_alphabetic() || first == '_' => named(word(rest)),
            other => return Err(format!("{other:?} means nothing here")),
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    if tokens.is_empty() { Err("{{}} is empty".to_owned()) } else { Ok(tokens) }
}

fn named(name: &str) -> (Token, usize) {
    let token = match name {
        "true" => Token::Literal(true.into()),
        "false" => Token::Literal(false.into()),
        "nil" => Token::Literal(Value::Null),
        other => Token::Name(other.to_owned()),
    };
    (token, name.len())
}

/// Letters, digits and underscores.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// `.A.B` at the start of the text, and its length.
fn path(text: &str) -> (Vec<String>, usize) {
    let mut fields = Vec::new();
    let mut length = 0;
    while let Some(rest) = text[length..].strip_prefix('.') {
        let name = word(rest);
        if name.is_empty() {
            break;
        }
        fields.push(name.to_owned());
        length += 1 + name.len();
    }
    (fields, length)
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_')));
    let digits = &text[..end.unwrap_or(text.len())];
    let whole = digits.parse::<i64>().map(Value::from);
    let value = whole.or_else(|_| digits.parse::<f64>().map(Value::from));
    value.map(|value| (Token::Literal(value), digits.len())).map_err(|_| format!("{digits} is no number"))
}

/// A string or a character in Go's quotes, and its length with them.
fn quoted(text: &str) -> Option<(Value, usize)> {
    let quote = text.chars().next()?;
    let mut inner = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            end if end == quote => {
                let value = match quote {
                    // A character is a number, as in Go.
                    '\'' => Value::from(u32::from(inner.chars().next()?)),
                    _ => Value::String(inner),
                };
                return Some((value, at + quote.len_utf8()));
            }
            '\\' if quote != '`' => inner.push(match characters.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            other => inner.push(other),
        }
    }
    None
}
