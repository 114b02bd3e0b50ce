// SPDX-License-Identifier: Apache-2.0
//! From the words of a template to its nodes.

use super::lex::{Piece, Token};
use super::{Base, Branch, Node, Operand, Pipeline};
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::vec::IntoIter;

/// How deep blocks and parentheses may nest.
const NESTING: usize = 100;

/// What ends a list of nodes.
enum End {
    Text,
    Closed,
    /// With what follows the word `else`.
    Else(Vec<Token>),
}

struct Reader {
    pieces: IntoIter<Piece>,
    depth: usize,
    loops: usize,
}

/// A whole template.
pub(super) fn template(pieces: Vec<Piece>) -> Result<Vec<Node>, String> {
    let mut reader = Reader { pieces: pieces.into_iter(), depth: 0, loops: 0 };
    match reader.nodes()? {
        (nodes, End::Text) => Ok(nodes),
        _ => Err("there is nothing to end: no {{if}}, {{range}} or {{with}} before it".to_owned()),
    }
}

impl Reader {
    /// Nodes up to the end of the block.
    fn nodes(&mut self) -> Result<(Vec<Node>, End), String> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            let Some(Token::Name(word)) = tokens.first() else {
                nodes.push(Node::Print(pipeline(tokens)?));
                continue;
            };
            let rest = tokens[1..].to_vec();
            match word.as_str() {
                "end" => return Ok((nodes, End::Closed)),
                "else" => return Ok((nodes, End::Else(rest))),
                "if" => nodes.push(Node::If(self.branch(rest)?)),
                "with" => nodes.push(Node::With(self.branch(rest)?)),
                "range" => {
                    self.loops += 1;
                    let branch = self.branch(rest);
                    self.loops -= 1;
                    nodes.push(Node::Range(branch?));
                }
                "break" | "continue" if self.loops == 0 => return Err(format!("{word} is outside of a range")),
                "break" => nodes.push(Node::Break),
                "continue" => nodes.push(Node::Continue),
                "define" | "template" | "block" => return Err(format!("{word} is not known here")),
                _ => nodes.push(Node::Print(pipeline(tokens)?)),
            }
        }
        Ok((nodes, End::Text))
    }

    /// What follows `{{if …}}` and the like, with its end.
    fn branch(&mut self, tokens: Vec<Token>) -> Result<Branch, String> {
        self.depth += 1;
        if self.depth > NESTING {
            return Err(format!("more than {NESTING} blocks are in each other"));
        }
        let pipeline = pipeline(tokens)?;
        let (body, end) = self.nodes()?;
        let otherwise = match end {
            End::Text => return Err("{{end}} is missing".to_owned()),
            End::Closed => Vec::new(),
            End::Else(rest) => self.otherwise(rest)?,
        };
        self.depth -= 1;
        Ok(Branch { pipeline, body, otherwise })
    }

    fn otherwise(&mut self, rest: Vec<Token>) -> Result<Vec<Node>, String> {
        match rest.split_first() {
            // Another question: the end is for both.
            Some((Token::Name(word), more)) if word == "if" => Ok(vec![Node::If(self.branch(more.to_vec())?)]),
            Some((Token::Name(word), more)) if word == "with" => Ok(vec![Node::With(self.branch(more.to_vec())?)]),
            Some(_) => Err("after else stands nothing, if or with".to_owned()),
            None => match self.nodes()? {
                (nodes, End::Closed) => Ok(nodes),
                (_, End::Else(_)) => Err("a second {{else}}".to_owned()),
                (_, End::Text) => Err("{{end}} is missing".to_owned()),
            },
        }
    }
}

fn pipeline(tokens: Vec<Token>) -> Result<Pipeline, String> {
    let mut tokens = tokens.into_iter().peekable();
    let pipeline = pipe(&mut tokens, 0)?;
    match tokens.next() {
        None => Ok(pipeline),
        Some(_) => Err("a ) without its (".to_owned()),
    }
}

/// A pipeline up to the end of the action, or to the closing parenthesis, which is left.
fn pipe(tokens: &mut Peekable<IntoIter<Token>>, depth: usize) -> Result<Pipeline, String> {
    if depth > NESTING {
        return Err(format!("more than {NESTING} parentheses are in each other"));
    }
    let (variables, declares) = variables(tokens)?;
    let mut commands = vec![Vec::new()];
    while let Some(token) = tokens.next_if(|token| !matches!(token, Token::Close(_))) {
        let operand = match token {
            Token::Pipe => {
                commands.push(Vec::new());
                continue;
            }
            Token::Path(fields) => Operand { base: Base::Dot, fields },
            Token::Variable(name, fields) => Operand { base: Base::Variable(name), fields },
            Token::Literal(value) => Operand { base: Base::Literal(value), fields: Vec::new() },
            Token::Name(name) => Operand { base: Base::Function(name), fields: Vec::new() },
            Token::Open => {
                let inner = pipe(tokens, depth + 1)?;
                let Some(Token::Close(fields)) = tokens.next() else { return Err("a ( without its )".to_owned()) };
                Operand { base: Base::Pipeline(inner), fields }
            }
            Token::Comma | Token::Declare | Token::Assign | Token::Close(_) => {
                return Err("a , := or = stands after variables at the start".to_owned());
            }
        };
        commands.last_mut().ok_or("nothing to do")?.push(operand);
    }
    match commands.iter().any(Vec::is_empty) {
        true => Err("nothing to do on one side of a |, or in parentheses".to_owned()),
        false => Ok(Pipeline { variables, declares, commands }),
    }
}

/// `$x :=`, `$i, $x :=`, `$x =`.
fn variables(tokens: &mut Peekable<IntoIter<Token>>) -> Result<(Vec<String>, bool), String> {
    let ahead: Vec<Token> = tokens.clone().take(4).collect();
    let names: Vec<String> = match ahead.as_slice() {
        [Token::Variable(name, _), Token::Declare | Token::Assign, ..] => vec![name.clone()],
        [Token::Variable(first, _), Token::Comma, Token::Variable(second, _), Token::Declare | Token::Assign] => {
            vec![first.clone(), second.clone()]
        }
        _ => return Ok((Vec::new(), false)),
    };
    let mut declares = false;
    for _ in 0..names.len() * 2 {
        declares = tokens.next() == Some(Token::Declare);
    }
    match names.iter().any(String::is_empty) {
        true => Err("$ cannot be set".to_owned()),
        false => Ok((names, declares)),
    }
}

/// The fields of the value that a template names.
pub(super) fn fields(nodes: &[Node]) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    nodes.iter().for_each(|node| collect(node, &mut found));
    found
}

fn collect<'t>(node: &'t Node, found: &mut BTreeSet<&'t str>) {
    match node {
        Node::Text(_) | Node::Break | Node::Continue => {}
        Node::Print(pipeline) => collect_from(pipeline, found),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            collect_from(&branch.pipeline, found);
            branch.body.iter().chain(&branch.otherwise).for_each(|node| collect(node, found));
        }
    }
}

fn collect_from<'t>(pipeline: &'t Pipeline, found: &mut BTreeSet<&'t str>) {
    for operand in pipeline.commands.iter().flatten() {
        match &operand.base {
            Base::Dot => found.extend(operand.fields.first().map(String::as_str)),
            Base::Variable(name) if name.is_empty() => found.extend(operand.fields.first().map(String::as_str)),
            Base::Pipeline(inner) => collect_from(inner, found),
            Base::Variable(_) | Base::Literal(_) | Base::Function(_) => {}
        }
    }
}
