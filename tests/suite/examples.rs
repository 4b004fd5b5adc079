//! The handlers that stand in the documentation: each passes shellcheck, and is run by the real executable through what
//! its page says of it.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};

use crate::docs;
use crate::stage::lines_with;
use crate::support::{Alert, Sandbox};

/// A block `bash handler NAME`.
fn block(name: &str) -> String {
    let kind = format!("bash handler {name}");
    let mut found = docs::blocks().into_iter().filter(|block| block.1 == kind);
    let (_, _, body) = found.next().unwrap_or_else(|| panic!("no block {kind}"));
    assert!(found.next().is_none(), "{kind} twice");
    body
}

/// A sandbox in which nothing keeps a second run from being one, and this handler, with these of its words replaced.
fn with(name: &str, words: &[(&str, String)]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_SETTLE", "0");
    sandbox.set("HEAL_RUN_LIMITS", "100/1h");
    install(&sandbox, name, &format!("{name}.sh"), words);
    sandbox
}

fn install(sandbox: &Sandbox, name: &str, file: &str, words: &[(&str, String)]) {
    let top = sandbox.path("").display().to_string();
    let top = top.trim_end_matches('/');
    let mut script = block(name);
    for (shown, here) in words {
        assert!(script.contains(shown), "{name}: {shown}");
        script = script.replace(shown, &here.replace("DIR", top));
    }
    assert!(
        !script.contains("/srv/") && !script.contains("sudo"),
        "{script}"
    );
    sandbox.script(&format!("handlers/{file}"), &script);
}

/// A program that writes down that it was called, and how, and then does this.
fn stub(sandbox: &Sandbox, name: &str, rest: &str) {
    let calls = sandbox.path("calls").display().to_string();
    fs::create_dir_all(sandbox.path(name).parent().unwrap()).unwrap();
    sandbox.script(
        name,
        &format!("#!/bin/bash\necho \"$(basename \"$0\") $*\" >>{calls}\n{rest}\n"),
    );
}

fn calls(sandbox: &Sandbox) -> Vec<String> {
    let text = fs::read_to_string(sandbox.path("calls")).unwrap_or_default();
    text.lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[track_caller]
fn comes_to(sandbox: &Sandbox, alert: &Alert, verdict: &str) {
    let answer = sandbox.post(alert);
    assert_eq!(answer.verdicts(), [verdict], "{}", answer.body);
}

/// What a page's block is run as.
pub fn the_handler_works(name: &str) {
    match name {
        "AppDown" => the_skeleton_works(),
        "QueueStuck" => the_queue_is_freed(),
        "CacheFull" | "CacheFull.restored" => the_cache_is_changed_or_as_before(),
        "IndexBroken" => the_long_work_is_waited_for(),
        "RebootMachine" => the_command_is_called(),
        _ => panic!("nobody knows how to try {name}"),
    }
}

fn the_skeleton_works() {
    let curl = "/usr/bin/timeout 5 curl -fsS -o /dev/null http://127.0.0.1:8080/health";
    let sudo = "sudo -n /usr/bin/timeout -k 5 60 /usr/bin/systemctl restart app.service";
    let sandbox = with(
        "AppDown",
        &[
            (curl, "[[ -e DIR/up ]]".to_owned()),
            (sudo, "DIR/restart".to_owned()),
            ("/srv/app/", "DIR/app/".to_owned()),
            ("sleep 1", "sleep 0".to_owned()),
        ],
    );
    let up = sandbox.path("up");
    stub(
        &sandbox,
        "restart",
        "[[ ! -e ${0%/*}/hopeless ]] || exit 0\ntouch \"${0%/*}/up\"",
    );
    sandbox.write("app/app.conf", "x\n");
    let app = |instance: &str| Alert::firing("AppDown", instance);

    comes_to(&sandbox, &app("web-1"), "healed");
    assert_eq!(calls(&sandbox), ["restart"]);
    // It works already: nothing is touched.
    comes_to(&sandbox, &app("web-2"), "healed");
    assert_eq!(calls(&sandbox).len(), 1);
    fs::remove_file(&up).unwrap();
    let maintenance = sandbox.write("app/maintenance", "");
    comes_to(&sandbox, &app("web-3"), "deferred");
    fs::remove_file(maintenance).unwrap();
    sandbox.write("hopeless", "");
    comes_to(&sandbox, &app("web-4"), "failed");
    assert_eq!(calls(&sandbox).len(), 2);
    sandbox.write("app/app.conf", "");
    comes_to(&sandbox, &app("web-5"), "gave-up");
    assert_eq!(calls(&sandbox).len(), 2);
    let log = sandbox.read("log/AppDown.log");
    for said in [
        "Z attempt 1 of 2 for web-1",
        "healed: it answers; nothing done",
        "not now: ",
        "failed: it was restarted",
        "giving up, a person is needed: ",
    ] {
        assert!(lines_with(&log, said) >= 1, "{said}: {log}");
    }
}

fn the_queue_is_freed() {
    let sandbox = with(
        "QueueStuck",
        &[
            ("/srv/queue", "DIR/queue".to_owned()),
            ("--wait 20", "--wait 0".to_owned()),
        ],
    );
    let old = sandbox.write("queue/mail/in-progress/old", "job");
    let new = sandbox.write("queue/mail/in-progress/new", "job");
    fs::create_dir(sandbox.path("queue/mail/waiting")).unwrap();
    let dated = Command::new("touch")
        .args(["-d", "2 hours ago"])
        .arg(&old)
        .status();
    assert!(dated.unwrap().success());
    let stuck = |instance: &str| Alert::firing("QueueStuck", instance);

    let held = File::create(sandbox.path("queue/lock")).unwrap();
    held.lock().unwrap();
    comes_to(&sandbox, &stuck("web-1").label("queue", "mail"), "deferred");
    held.unlock().unwrap();
    comes_to(&sandbox, &stuck("web-1").label("queue", "mail"), "healed");
    assert!(!old.exists() && new.exists());
    assert_eq!(sandbox.read("queue/mail/waiting/old"), "job");
    // Neither a path of the sender's nor a label that is not there leads anywhere.
    comes_to(
        &sandbox,
        &stuck("web-2").label("queue", "../mail"),
        "gave-up",
    );
    comes_to(&sandbox, &stuck("web-3"), "gave-up");
}

fn the_cache_is_changed_or_as_before() {
    let words = [("/srv/cache", "DIR/cache".to_owned())];
    let sandbox = with("CacheFull", &words);
    install(&sandbox, "CacheFull.restored", "CacheFull.restored", &words);
    stub(
        &sandbox,
        "cache/bin/cachectl",
        "[[ $1 != test || ! -e ${0%/*}/refuses ]]",
    );
    let full = |instance: &str| Alert::firing("CacheFull", instance);
    let old = "memory 512\nport 1\n";

    sandbox.write("cache/cache.conf", old);
    sandbox.write("cache/bin/refuses", "");
    comes_to(&sandbox, &full("web-1"), "gave-up");
    assert_eq!(sandbox.read("cache/cache.conf"), old);
    // The hook's, after the old file was back.
    assert_eq!(calls(&sandbox), ["cachectl test", "cachectl reload"]);
    fs::remove_file(sandbox.path("cache/bin/refuses")).unwrap();
    comes_to(&sandbox, &full("web-2"), "healed");
    assert_eq!(sandbox.read("cache/cache.conf"), "memory 2048\nport 1\n");
    comes_to(&sandbox, &full("web-3"), "gave-up");
    assert_eq!(sandbox.read("cache/cache.conf"), "memory 2048\nport 1\n");
}

fn the_long_work_is_waited_for() {
    let show = "/usr/bin/systemctl show --property=ActiveState --value reindex.service";
    let sudo =
        "sudo -n /usr/bin/timeout -k 5 10 /usr/bin/systemctl start --no-block reindex.service";
    let sandbox = with(
        "IndexBroken",
        &[
            (show, "cat DIR/state-of-the-unit".to_owned()),
            (sudo, "DIR/start".to_owned()),
            ("/srv/index/", "DIR/index/".to_owned()),
        ],
    );
    stub(
        &sandbox,
        "start",
        "echo activating >\"${0%/*}/state-of-the-unit\"",
    );
    let broken = Alert::firing("IndexBroken", "web-1");
    // The directive's five minutes are for people.
    let script = sandbox.read("handlers/IndexBroken.sh");
    assert!(script.contains("retry-delay=5m"));
    sandbox.script(
        "handlers/IndexBroken.sh",
        &script.replace("retry-delay=5m", "retry-delay=0"),
    );

    sandbox.write("state-of-the-unit", "inactive\n");
    comes_to(&sandbox, &broken, "deferred");
    comes_to(&sandbox, &broken, "deferred");
    assert_eq!(calls(&sandbox), ["start"], "once");
    sandbox.write("state-of-the-unit", "inactive\n");
    sandbox.write("index/ok", "");
    comes_to(&sandbox, &broken, "healed");
    sandbox.write("state-of-the-unit", "failed\n");
    comes_to(&sandbox, &Alert::firing("IndexBroken", "web-2"), "gave-up");
    assert_eq!(calls(&sandbox), ["start"]);
}

fn the_command_is_called() {
    let command = "/usr/local/bin/reboot-if-needed --drain";
    // The comment names the command too.
    let sandbox = with(
        "RebootMachine",
        &[(command, "DIR/reboot-if-needed --drain".to_owned())],
    );
    stub(&sandbox, "reboot-if-needed", "exit 0");
    comes_to(&sandbox, &Alert::firing("RebootMachine", "web-1"), "healed");
    assert_eq!(calls(&sandbox), ["reboot-if-needed --drain"]);
}

#[test]
fn every_block_of_bash_passes_shellcheck() {
    let mut checked = 0;
    for (page, kind, body) in docs::blocks() {
        if !kind.starts_with("bash") {
            continue;
        }
        let mut shellcheck = Command::new("shellcheck")
            .args(["--shell=bash", "--severity=style", "--exclude"])
            // What is typed line by line ends at no failure.
            .arg(if body.starts_with("#!") {
                "SC0"
            } else {
                "SC2164"
            })
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        shellcheck
            .stdin
            .take()
            .unwrap()
            .write_all(body.as_bytes())
            .unwrap();
        let output = shellcheck.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{page}, {kind}:\n{said}");
        checked += 1;
    }
    assert!(checked > 10, "{checked}");
}
