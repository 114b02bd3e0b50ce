// SPDX-License-Identifier: Apache-2.0
//! As much of JSON schema as the OCI's schemas need to say that a document is wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The schemas of the specification, kept beside the checkout; the tests that need them skip without them.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/oci/runtime/schema")
}

/// Why a test could not use the schemas.
const NOT_HERE: &str = "the specification's schemas are not beside the checkout";

/// Every field that a schema has, as `a.b[].c{}.d`: `[]` is any entry of a list, `{}` any of a map. A schema of another
/// platform, which is not here, has none.
///
/// # Errors
/// The schemas are not here.
pub fn schema_fields(schema: &str) -> Result<BTreeSet<String>, String> {
    let file = folder().join(schema);
    if !file.exists() {
        return Err(NOT_HERE.into());
    }
    let mut fields = BTreeSet::new();
    walk(&load(&file), &file, "", &mut fields);
    Ok(fields)
}

fn walk(schema: &Value, file: &Path, at: &str, fields: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let (name, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let file = if name.is_empty() { file.to_owned() } else { file.with_file_name(name) };
        if file.exists() {
            let whole = load(&file);
            walk(whole.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")), &file, at, fields);
        }
    }
    for part in ["allOf", "anyOf", "oneOf"].iter().filter_map(|kind| schema[*kind].as_array()).flatten() {
        walk(part, file, at, fields);
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        walk(member, file, &path, fields);
        fields.insert(path);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], file, &format!("{at}[]"), fields);
    }
    for member in schema["patternProperties"].as_object().into_iter().flatten().map(|(_, member)| member) {
        walk(member, file, &format!("{at}{{}}"), fields);
    }
    if schema["additionalProperties"].is_object() {
        walk(&schema["additionalProperties"], file, &format!("{at}{{}}"), fields);
    }
}

/// What is wrong with `document` by one of the runtime-spec's schemas (`state-schema.json` say); an error where the
/// schemas are not here.
pub fn schema_errors(schema: &str, document: &Value) -> Result<Vec<String>, String> {
    let file = folder().join(schema);
    if !file.exists() {
        return Err(NOT_HERE.into());
    }
    let mut errors = Vec::new();
    check(&load(&file), &file, document, "$", &mut errors);
    Ok(errors)
}

fn load(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn check(schema: &Value, file: &Path, value: &Value, at: &str, errors: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let (name, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let file = if name.is_empty() { file.to_owned() } else { file.with_file_name(name) };
        let whole = load(&file);
        let target = whole.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"));
        check(target, &file, value, at, errors);
    }
    check_value(schema, value, at, errors);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(part, file, value, at, errors);
    }
    check_members(schema, file, value, at, errors);
    if let (items @ Value::Object(_), Some(values)) = (&schema["items"], value.as_array()) {
        for (index, value) in values.iter().enumerate() {
            check(items, file, value, &format!("{at}[{index}]"), errors);
        }
    }
}

fn check_value(schema: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
    if let Some(kind) = schema["type"].as_str() {
        let fits = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "null" => value.is_null(),
            other => panic!("the schema knows a type {other}, this checker does not"),
        };
        if !fits {
            errors.push(format!("{at}: {value} is no {kind}"));
        }
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        errors.push(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    if let Some(number) = value.as_f64() {
        let below = schema["minimum"].as_f64().is_some_and(|least| number < least);
        let above = schema["maximum"].as_f64().is_some_and(|most| number > most);
        if below || above {
            errors.push(format!("{at}: {value} is out of range"));
        }
    }
}

fn check_members(schema: &Value, file: &Path, value: &Value, at: &str, errors: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !object.contains_key(name) {
            errors.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, member) in object {
        if let Some(schema) = schema["properties"].get(name) {
            check(schema, file, member, &format!("{at}.{name}"), errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checker_agrees_with_the_examples_of_the_specification() {
        let examples = folder().join("test");
        if !examples.exists() {
            crate::world::say("SKIP the_checker_agrees_with_the_examples_of_the_specification: no examples here");
            return;
        }
        for (kind, schema) in [("state", "state-schema.json"), ("features", "features-schema.json")] {
            for (verdict, valid) in [("good", true), ("bad", false)] {
                for example in fs::read_dir(examples.join(kind).join(verdict)).into_iter().flatten() {
                    let path = example.unwrap().path();
                    let document = serde_json::from_str::<Value>(&fs::read_to_string(&path).unwrap());
                    let errors = document.map(|document| schema_errors(schema, &document).unwrap());
                    let judged = errors.as_ref().is_ok_and(Vec::is_empty);
                    assert_eq!(judged, valid, "{}: {errors:?}", path.display());
                }
            }
        }
    }
}
