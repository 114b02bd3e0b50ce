// SPDX-License-Identifier: Apache-2.0
//! Every step of a create fails once, and nothing of it may be left.
//!
//! Runs `kelp-runtime` with `KELP_FAIL_AT` set to each name that `kelp-runtime steps` prints.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kelp_tests::{Bundle, Cgroup, Who, World, claims};
use serde_json::json;

claims!(as_root, as_user, as_stranger: a_create_that_fails_at_any_step_leaves_nothing);
claims!(as_root, as_user:
    a_start_that_fails_at_any_step_leaves_a_container_that_can_be_deleted,
    an_exec_that_fails_at_any_step_leaves_no_process_and_no_pid_file,
    a_delete_that_fails_at_any_step_is_finished_by_another,
    an_update_that_fails_leaves_the_limits_and_the_program_alone,
);

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
    let file = w.dir().join("pid");
    for step in &steps {
        let create = bundle.create().args(["--pid-file", &file.to_string_lossy()]).env("KELP_FAIL_AT", step);
        let create = cgroup.iter().fold(create, |create, cgroup| create.cgroup(cgroup)).output();
        if create.status() == 0 {
            // A step of start, or one that this bundle does not pass through as this user.
            bundle.delete();
            std::fs::remove_file(&file).unwrap();
        } else {
            create.explains(&[]);
            failed.push(step.clone());
            assert!(!file.exists(), "failing at {step} left a pid file");
        }
        let clean = kelp_tests::within(std::time::Duration::from_secs(20), || w.leaks().is_empty());
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
        let clean = kelp_tests::within(std::time::Duration::from_secs(20), || w.leaks().is_empty());
        assert!(clean, "failing at {step} left behind:\n  {}", w.leaks().join("\n  "));
    }
}

/// The processes of the container, as its own /proc shows them: init and whoever looks. What has ended and is not waited for
/// yet, by the machine's init, is none.
fn processes(bundle: &Bundle<'_>) -> Vec<String> {
    let listed = bundle.exec(&[], &["/bin/sh", "-c", "grep -L ^State:.Z /proc/[0-9]*/status; true"]).ok();
    listed.text().lines().map(str::to_owned).collect()
}

fn an_exec_that_fails_at_any_step_leaves_no_process_and_no_pid_file(w: &World) {
    let steps = match steps(w) {
        Ok(steps) => steps,
        Err(reason) => return w.skip(&reason),
    };
    let bundle = busy_bundle(w, "b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let before = processes(&bundle).len();
    let file = w.dir().join("pid");
    let mut failed = Vec::new();
    for step in &steps {
        let options = ["--tty", "--detach", "--console-socket", "socket", "--pid-file", &*file.to_string_lossy()];
        let listener = std::os::unix::net::UnixListener::bind(w.dir().join("socket")).unwrap();
        w.give(&w.dir().join("socket"));
        let exec = bundle.exec(&options, &["/bin/true"]).env("KELP_FAIL_AT", step).output();
        drop(listener);
        std::fs::remove_file(w.dir().join("socket")).unwrap();
        if exec.status() == 0 {
            std::fs::remove_file(&file).unwrap();
        } else {
            exec.explains(&["a test wanted it to fail here"]);
            failed.push(step.as_str());
            assert!(!file.exists(), "failing at {step} left a pid file");
        }
        // What ran anyway has ended by then; what was killed, too.
        let alone = || processes(&bundle).len() == before;
        assert!(kelp_tests::within(std::time::Duration::from_secs(20), alone), "{step}: {:?}", processes(&bundle));
        assert_eq!(bundle.status(), "running", "after failing at {step}");
    }
    for step in [
        "OpenChannel",
        "Clone",
        "JoinNamespaces",
        "Session",
        "Stdio",
        "Console",
        "WorkingDirectory",
        "ProcessLimits",
        "AwaitRuntime",
        "Capabilities",
        "User",
        "NoNewPrivileges",
        "FindProgram",
        "Seccomp",
        "Execute",
        "Publish",
    ] {
        assert!(failed.contains(&step), "exec never came to {step}: {failed:?}");
    }
    bundle.delete();
}

fn a_delete_that_fails_at_any_step_is_finished_by_another(w: &World) {
    let steps = match steps(w) {
        Ok(steps) => steps,
        Err(reason) => return w.skip(&reason),
    };
    let cgroup = if w.who() == Who::User { Cgroup::delegated(w).ok() } else { None };
    let bundle = busy_bundle(w, "b");
    bundle.args(&["/bin/sleep", "1000"]);
    let (dir, file) = (bundle.dir().to_string_lossy().into_owned(), w.dir().join("pid"));
    let mut failed = Vec::new();
    for step in &steps {
        let create = bundle.verb("create", &["--bundle", &dir, "--pid-file", &file.to_string_lossy()]);
        cgroup.iter().fold(create, |create, cgroup| create.cgroup(cgroup)).ok();
        bundle.verb("start", &[]).ok();
        let delete = bundle.verb("delete", &["--force"]).env("KELP_FAIL_AT", step).output();
        if delete.status() != 0 {
            delete.explains(&["a test wanted it to fail here"]);
            failed.push(step.as_str());
            // Whatever was not undone is still known, by its old id.
            assert!(w.runtime(["list", "-q"]).ok().stdout.contains(bundle.id()), "failing at {step}: it is forgotten");
            bundle.verb("delete", &["--force"]).ok();
        }
        let clean = kelp_tests::within(std::time::Duration::from_secs(20), || w.leaks().is_empty());
        assert!(clean, "failing at {step} left behind:\n  {}", w.leaks().join("\n  "));
        // It is of whom asked for it.
        std::fs::remove_file(&file).unwrap();
    }
    let reached: &[&str] = match cgroup.is_some() || w.who() == Who::Root {
        true => &["EndProcesses", "RemoveCgroup", "RemoveState"],
        false => &["EndProcesses", "RemoveState"],
    };
    assert_eq!(failed, reached);
}

fn an_update_that_fails_leaves_the_limits_and_the_program_alone(w: &World) {
    let cgroup = match (w.who(), Cgroup::delegated(w)) {
        (Who::User, Err(reason)) => return w.skip(&reason),
        (Who::User, Ok(cgroup)) => Some(cgroup),
        _ => None,
    };
    let bundle = busy_bundle(w, "b");
    bundle.args(&["/bin/sleep", "1000"]);
    let create = bundle.create();
    cgroup.iter().fold(create, |create, cgroup| create.cgroup(cgroup)).ok();
    bundle.verb("start", &[]).ok();
    let update = || bundle.verb("update", &["--pids-limit", "99"]);
    update().env("KELP_FAIL_AT", "UpdateLimits").output().explains(&["a test wanted it to fail here"]);
    assert_eq!(bundle.status(), "running");
    let exec = bundle.exec(&[], &["/bin/true"]);
    cgroup.iter().fold(exec, |exec, cgroup| exec.cgroup(cgroup)).ok();
    let again = update().output();
    // Without the controller it says so, and not that a test wanted it.
    assert!(again.status() == 0 || !again.stderr.contains("a test wanted"), "{again}");
    bundle.delete();
}
