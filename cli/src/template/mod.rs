// SPDX-License-Identifier: Apache-2.0
//! `--format`: JSON, or Go's templates as Docker's users write them.
//!
//! Go: text/template, without `define`, `template` and `block`; Docker's functions beside Go's. `\t` and `\n` are escapes.

mod functions;
mod lex;
mod parse;
mod printf;
mod run;

use crate::error::{Error, Kind, Result};
use serde_json::Value;

/// A template, read.
#[derive(Debug)]
pub(crate) struct Template {
    text: String,
    nodes: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    Text(String),
    Print(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
}

/// `{{if A}}…{{else}}…{{end}}`; an `{{else if B}}` is another branch in `otherwise`.
#[derive(Debug)]
struct Branch {
    pipeline: Pipeline,
    body: Vec<Node>,
    otherwise: Vec<Node>,
}

/// `$x := A | B c`.
#[derive(Debug, Default)]
struct Pipeline {
    /// The variables it sets.
    variables: Vec<String>,
    /// They are new: `:=`, not `=`.
    declares: bool,
    /// Each gets what the one before it gave as its last argument.
    commands: Vec<Vec<Operand>>,
}

/// `.A.B`, `$x.A`, `"text"`, `(index .A 0).B`.
#[derive(Debug)]
struct Operand {
    base: Base,
    fields: Vec<String>,
}

#[derive(Debug)]
enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Pipeline(Pipeline),
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let nodes = lex::pieces(&text).and_then(parse::template).map_err(|because| {
            Error::new(Kind::BadInput, format!("cannot read the template {text:?}"), because)
                .hint("a template is Go's, as in '{{.Name}}'; single quotes keep it from the shell")
        })?;
        Ok(Self { text, nodes })
    }

    /// Fills it in.
    pub(crate) fn render(&self, value: &Value) -> Result<String> {
        run::render(&self.nodes, value, run::Of::Values).map_err(|because| bad(&self.text, because))
    }

    /// The headings of its columns: the same, with the title of each field instead of its value.
    pub(crate) fn headings(&self, title: impl Fn(&str) -> String) -> String {
        let titles = parse::fields(&self.nodes).into_iter().map(|name| (name.to_owned(), Value::String(title(name))));
        run::render(&self.nodes, &Value::Object(titles.collect()), run::Of::Titles).unwrap_or_default()
    }
}

fn bad(text: &str, because: String) -> Error {
    Error::new(Kind::BadInput, format!("cannot use the template {text:?}"), because)
        .hint("--format json shows the fields there are")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(template: &str) -> String {
        let value = json!({
            "Name": "web", "State": {"Pid": 7, "Running": true}, "Ports": {"80/tcp": {}}, "None": null, "Size": 1.5,
            "Mounts": [{"Source": "/a"}, {"Source": "/b"}], "Labels": {"a.b": "c", "d": "e"}
        });
        Template::parse(template).and_then(|it| it.render(&value)).unwrap_or_else(|error| error.to_string())
    }

    /// What Go 1.24 and Docker 28 print for the same.
    #[test]
    fn templates_are_filled_as_docker_fills_them() {
        for (template, text) in [
            ("{{.Name}}\\t{{ .State.Pid }}", "web\t7"),
            ("{{json .State}}", r#"{"Pid":7,"Running":true}"#),
            (r#"{{index .Labels "a.b"}} {{index .Mounts 1 "Source"}} {{index .Labels "x"}}|"#, "c /b |"),
            ("{{range .Mounts}}{{.Source}};{{end}}", "/a;/b;"),
            ("{{range $i, $m := .Mounts}}{{$i}}={{$m.Source}} {{end}}", "0=/a 1=/b "),
            ("{{range $k, $v := .Labels}}{{$k}}:{{$v}},{{end}}", "a.b:c,d:e,"),
            ("{{range .None}}x{{else}}none{{end}}", "none"),
            ("{{range .Mounts}}{{if eq .Source \"/b\"}}{{break}}{{end}}{{.Source}}{{end}}", "/a"),
            ("{{range .Mounts}}{{if eq .Source \"/a\"}}{{continue}}{{end}}{{.Source}}{{end}}", "/b"),
            ("{{if .State.Running}}up{{else}}down{{end}} {{len .Mounts}}", "up 2"),
            ("{{if eq .Name \"a\"}}1{{else if eq .Name \"b\" \"web\"}}2{{else}}3{{end}}", "2"),
            ("{{with .State}}{{.Pid}} {{$.Name}}{{end}}{{with .None}}x{{else}}y{{end}}", "7 weby"),
            ("{{.Labels}} {{.Ports}}", "map[a.b:c d:e] map[80/tcp:{}]"),
            ("a {{- .Name -}} b", "awebb"),
            ("{{/* nothing */}}{{$x := .Name}}{{$x | upper | printf \"%s-%s\" \"a\"}}", "a-WEB"),
            ("{{(index .Mounts 0).Source}} {{slice .Name 0 2}} {{slice .Mounts 1 | len}}", "/a we 1"),
            (
                "{{printf \"%-5s|%5s|%05d|%.2f|%q|%v|%t|%x%%\" .Name \"é\" 7 1.5 \"a\" .Mounts true 255}}",
                "web  |    é|00007|1.50|\"a\"|[map[Source:/a] map[Source:/b]]|true|ff%",
            ),
            (
                "{{and .Name .State.Pid}} {{or .None \"x\"}} {{not .None}} {{and .None .Name.Nope}}",
                "7 x true <no value>",
            ),
            (
                "{{lt 1 2}} {{ge 2 2}} {{ne \"a\" \"b\"}} {{gt .State.Pid 6}} {{le \"a\" \"b\"}}",
                "true true true true true",
            ),
            (
                "{{split .Name \"e\"}} {{join (split .Name \"e\") \"/\"}} {{title .Name}} {{lower \"A\"}}",
                "[w b] w/b Web a",
            ),
            (
                "{{pad .Name 1 2}}|{{truncate .Name 2}}|{{print 1 2 \"a\" \"b\" 3}}|{{println .Name}}",
                " web  |we|1 2ab3|web\n",
            ),
            ("{{`raw \"}}`}} {{'a'}} {{true}} {{1.50}} {{.Size}} {{.None}}", "raw \"}} 97 true 1.5 1.5 <no value>"),
            ("{{$n := 0}}{{range .Mounts}}{{$n = .Source}}{{end}}{{$n}}", "/b"),
            ("{{range 3}}{{.}}{{end}}", "012"),
        ] {
            assert_eq!(filled(template), text, "{template}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (template, named) in [
            ("{{.Nmae}}", "there is no field Nmae"),
            ("{{.Name", "{{ without }}"),
            ("{{fly .Name}}", "there is no function fly"),
            ("{{range .Mounts}}", "{{end}} is missing"),
            ("{{end}}", "nothing to end"),
            ("{{}}", "empty"),
            ("{{Name}}", "there is no function Name"),
            ("{{\"a}}", "without its end"),
            ("{{(.Name}}", ")"),
            ("{{.Name .Name}}", "takes no arguments"),
            ("{{$x}}", "$x"),
            ("{{index .Mounts 7}}", "7"),
            ("{{range .Name}}{{end}}", "range"),
            ("{{lt .Name 1}}", "compare"),
            ("{{template \"x\"}}", "template"),
            ("{{break}}", "break"),
            ("{{len .State.Pid}}", "len"),
            ("{{upper}}", "upper"),
            ("{{.Name | }}", "|"),
        ] {
            let text = filled(template);
            assert!(text.starts_with("error: ") && text.contains(named), "{template}: {text}");
        }
    }

    #[test]
    fn headings_are_the_fields_titles() {
        let heads = |text: &str| Template::parse(text).unwrap().headings(str::to_uppercase);
        assert_eq!(heads("{{.Name}}\t{{upper .Tag}}"), "NAME\tTAG");
        assert_eq!(heads("{{json .Id}} {{truncate .Name 2}}{{if .A}}!{{end}}"), "ID NAME!");
    }
}
