// SPDX-License-Identifier: Apache-2.0
use super::*;

/// The rules of a list of the spec, as text.
fn text(json: &str) -> String {
    let spec: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
    match rules(&spec) {
        Ok(rules) => rules.iter().map(|rule| format!("{rule}\n")).collect(),
        Err(error) => format!("error: {error:#}"),
    }
}

const DEFAULT_TEXT: &str = "allow c *:* m\nallow b *:* m\nallow c 1:3 rwm\nallow c 1:8 rwm\nallow c 1:7 rwm\n\
                            allow c 1:5 rwm\nallow c 1:9 rwm\nallow c 5:0 rwm\nallow c 5:2 rwm\nallow c 136:* rwm\n";

#[test]
fn runcs_defaults_follow_the_spec() {
    assert_eq!(text("[]"), DEFAULT_TEXT);
    assert_eq!(text(r#"[{"allow": false, "access": "rwm"}]"#), format!("deny a *:* rwm\n{DEFAULT_TEXT}"));
}

#[test]
fn rules_that_are_overruled_are_left_out() {
    let docker = r#"[{"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rw"},
        {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
        {"allow": true, "type": "c", "major": -1, "minor": -1, "access": "m"},
        {"allow": true, "type": "c", "major": 136, "access": "rwm"}]"#;
    let expected = format!("deny a *:* rwm\nallow c 10:200 rw\ndeny c 10:229 rwm\n{DEFAULT_TEXT}");
    assert_eq!(text(docker), expected);
}

#[test]
fn only_a_list_without_denials_allows_everything() {
    let allows = |json: &str| allow_everything(&rules(&serde_json::from_str::<Vec<_>>(json).unwrap()).unwrap());
    assert!(allows(r#"[{"allow": false, "access": "rwm"}, {"allow": true, "type": "a"}]"#));
    assert!(!allows(r#"[{"allow": true, "type": "a", "access": "rw"}]"#));
    assert!(!allows(r#"[{"allow": true, "type": "a"}, {"allow": false, "type": "b", "major": 8}]"#));
    assert!(!allows("[]"));
}

#[test]
fn what_is_no_rule_is_refused() {
    assert!(text(r#"[{"allow": true, "type": "p"}]"#).contains("fifo"));
    assert!(text(r#"[{"allow": true, "type": "c", "major": -2}]"#).contains("major -2"));
    assert!(text(r#"[{"allow": true, "type": "c", "access": "rx"}]"#).contains("r, w, m"));
}
