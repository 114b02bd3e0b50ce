// SPDX-License-Identifier: Apache-2.0
//! Fills a template in.

use super::functions;
use super::{Base, Branch, Node, Operand, Pipeline};
use serde_json::Value;

/// What the value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Values,
    /// The titles of columns: they are shown as they are, whatever is made of the values.
    Titles,
}

/// How a list of nodes ended.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'v> {
    root: &'v Value,
    of: Of,
    /// The innermost last.
    variables: Vec<(String, Value)>,
    text: String,
}

/// The nodes' text for this value.
pub(super) fn render(nodes: &[Node], value: &Value, of: Of) -> Result<String, String> {
    let mut run = Run { root: value, of, variables: Vec::new(), text: String::new() };
    run.nodes(nodes, value)?;
    Ok(run.text)
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, String> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.text.push_str(text);
                    Flow::On
                }
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.text.push_str(&functions::shown(&value));
                    }
                    Flow::On
                }
                Node::If(branch) => self.branch(branch, dot, |_| dot.clone())?,
                Node::With(branch) => self.branch(branch, dot, Value::clone)?,
                Node::Range(branch) => self.range(branch, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, inner: impl Fn(&Value) -> Value) -> Result<Flow, String> {
        let outside = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let flow = match functions::is_true(&value) {
            true => self.nodes(&branch.body, &inner(&value)),
            false => self.nodes(&branch.otherwise, dot),
        };
        self.variables.truncate(outside);
        flow
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow, String> {
        let outside = self.variables.len();
        let list = self.commands(&branch.pipeline, dot)?;
        let items = items(list)?;
        if items.is_empty() {
            return self.nodes(&branch.otherwise, dot);
        }
        for (key, item) in items {
            match branch.pipeline.variables.as_slice() {
                [one] => self.set(one, item.clone(), branch.pipeline.declares)?,
                [first, second] => {
                    self.set(first, key, branch.pipeline.declares)?;
                    self.set(second, item.clone(), branch.pipeline.declares)?;
                }
                _ => {}
            }
            let flow = self.nodes(&branch.body, &item)?;
            self.variables.truncate(outside);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn set(&mut self, name: &str, value: Value, declares: bool) -> Result<(), String> {
        if declares {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        known.ok_or_else(|| format!("there is no variable ${name}"))?.1 = value;
        Ok(())
    }

    /// The value, given to the variables it is for.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, String> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.declares)?;
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, String> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or_default())
    }

    fn command(&mut self, command: &[Operand], dot: &Value, piped: Option<Value>) -> Result<Value, String> {
        let Some((first, rest)) = command.split_first() else { return Ok(Value::Null) };
        let Base::Function(name) = &first.base else {
            return match rest.is_empty() && piped.is_none() {
                true => self.operand(first, dot),
                false => Err("a field or a value takes no arguments".to_owned()),
            };
        };
        if name == "and" || name == "or" {
            return self.first_that(rest, dot, piped, name == "or");
        }
        let mut arguments = rest.iter().map(|it| self.operand(it, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(piped);
        functions::call(name, &arguments, self.of)
    }

    /// The first argument that is as `wanted`, or the last one; those behind it are not looked at.
    fn first_that(
        &mut self,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
        wanted: bool,
    ) -> Result<Value, String> {
        let mut value = Err("and, or: an argument is missing".to_owned());
        for operand in operands {
            let found = self.operand(operand, dot)?;
            if functions::is_true(&found) == wanted {
                return Ok(found);
            }
            value = Ok(found);
        }
        piped.map_or(value, Ok)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        let value = match &operand.base {
            Base::Dot => return field(dot, &operand.fields).cloned(),
            Base::Variable(name) if name.is_empty() => return field(self.root, &operand.fields).cloned(),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map(|(_, value)| value.clone()).ok_or_else(|| format!("there is no variable ${name}"))?
            }
            Base::Literal(value) => value.clone(),
            Base::Function(name) => functions::call(name, &[], self.of)?,
            Base::Pipeline(inner) => self.pipeline(inner, dot)?,
        };
        field(&value, &operand.fields).cloned()
    }
}

fn field<'v>(value: &'v Value, fields: &[String]) -> Result<&'v Value, String> {
    let mut at = value;
    for name in fields {
        at = match at.get(name) {
            Some(inner) => inner,
            None if at.is_null() => &Value::Null,
            None => return Err(format!("there is no field {name} in .{}", fields.join("."))),
        };
    }
    Ok(at)
}

/// What a range goes through, each with its key.
fn items(list: Value) -> Result<Vec<(Value, Value)>, String> {
    match list {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => Ok(items.into_iter().enumerate().map(|(at, item)| (at.into(), item)).collect()),
        Value::Object(map) => Ok(map.into_iter().map(|(key, item)| (key.into(), item)).collect()),
        Value::Number(count) if count.is_u64() => {
            Ok((0..count.as_u64().unwrap_or_default()).map(|at| (at.into(), at.into())).collect())
        }
        other => Err(format!("range cannot go through {}", functions::shown(&other))),
    }
}
