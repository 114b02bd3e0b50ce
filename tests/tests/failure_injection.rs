// SPDX-License-Identifier: Apache-2.0
//! Every step of a create fails once, and nothing of it may be left.
//!
//! Runs `kelp-runtime` with `KELP_FAIL_AT` set to each name that `kelp-runtime steps` prints.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kelp_tests::{Bundle, Cgroup, Who, World, claims};
use serde_json::json;

claims!(as_root, as_user, as_stranger: a_create_that_fails_at_any_step_leaves_nothing);
claims!(as_root, as_user: a_start_that_fails_at_any_step_leaves_a_container_that_can_be_deleted);

/// A bundle whose creation passes through as many steps as one bundle can.
fn busy_bundle<'w>(w: &'w World, name: &str) -> Bundle<'w> {
    let bundle = w.bundle(name);
    let source = w.write("bound/file", "x");
    bundle.mount(json!({"destination": "/bound", "source": source.parent(), "options": ["rbind", "ro"]}));
    bundle.mount(json!({"destination": "/tmpfs", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]}));
    bundle.edit(|spec| {
        let process = &mut spec["process"];
        process["oomScoreAdj"] = json!(100);
        process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
        process["cwd"] = json!("/tmp");
        process["noNewPrivileges"] = json!(true);
        spec["linux"]["sysctl"] = json!({"kernel.msgmax": "4096"});
        let rules = json!([{"names": ["chroot"], "action": "SCMP_ACT_ERRNO"}]);
        spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
        let hook = json!([{"path": "/bin/true"}]);
        for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
            spec["hooks"][kind] = hook.clone();
        }
    });
    bundle
}

fn steps(w: &World) -> Result<Vec<String>, String> {
    let output = w.runtime(["steps"]).output();
    if output.status() != 0 {
        return Err(format!("this build does not inject failures: {}", output.stderr.trim()));
    }
    let steps: Vec<String> = output.stdout.split_whitespace().map(str::to_owned).collect();
    assert!(steps.len() > 10, "too few steps to be all of a life: {steps:?}");
    Ok(steps)
}

fn a_create_that_fails_at_any_step_leaves_nothing(w: &World) {
    let steps = match steps(w) {
        Ok(steps) => steps,
        Err(reason) => return w.skip(&reason),
    };
    let cgroup = if w.who() == Who::User { Cgroup::delegated(w).ok() } else { None };
    let bundle = busy_bundle(w, "b");
    let mut failed = Vec::new();
    for step in &steps {
        let create = bundle.create().env("KELP_FAIL_AT", step);
        let create = cgroup.iter().fold(create, |create, cgroup| create.cgroup(cgroup)).output();
        if create.status() == 0 {
            // A step of start, or one that this bundle does not pass through as this user.
            bundle.delete();
        } else {
            create.explains(&[]);
            failed.push(step.clone());
        }
        let clean = kelp_tests::within(std::time::Duration::from_secs(5), || w.leaks().is_empty());
        assert!(clean, "failing at {step} left behind:\n  {}", w.leaks().join("\n  "));
    }
    assert!(failed.len() * 2 > steps.len(), "only {failed:?} of {steps:?} could be made to fail");
}

fn a_start_that_fails_at_any_step_leaves_a_container_that_can_be_deleted(w: &World) {
    let steps = match steps(w) {
        Ok(steps) => steps,
        Err(reason) => return w.skip(&reason),
    };
    let bundle = busy_bundle(w, "b");
    for step in &steps {
        let created = bundle.create().env("KELP_FAIL_AT", step).output();
        if created.status() == 0 {
            let started = bundle.verb("start", &[]).env("KELP_FAIL_AT", step).output();
            assert!(!started.stderr.contains("panicked"), "{started}");
            bundle.delete();
        }
        let clean = kelp_tests::within(std::time::Duration::from_secs(5), || w.leaks().is_empty());
        assert!(clean, "failing at {step} left behind:\n  {}", w.leaks().join("\n  "));
    }
}
