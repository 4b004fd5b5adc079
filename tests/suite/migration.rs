//! Beside the Bash listener for a day, as docs/migration.md has it: one lock folder, two that never run a handler at
//! once, and counts that are apart.

use std::fs;
use std::process::{Command, Stdio};

use crate::stage::{Gate, Posting, lines_with, run};
use crate::support::{Alert, Sandbox};

fn nginx() -> Alert {
    Alert::firing("NginxDown", "web-1:9113")
}

/// The old listener's own call of a handler, by its words: flock(1) on the same file.
fn old_call(sandbox: &Sandbox) -> Command {
    let lock = sandbox.path("lock/heal-NginxDown.lock");
    let handler = sandbox.path("handlers/NginxDown.sh");
    let mut command = Command::new("flock");
    command
        .arg("-n")
        .args([&lock])
        .arg("bash")
        .args([&handler])
        .args(["web-1:9113", "NginxDown", nginx().fingerprint()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn while_the_old_listener_runs_a_handler_ours_waits_and_is_asked_again() {
    let sandbox = Sandbox::new();
    let gate = Gate::new(&sandbox, "gate");
    sandbox.handler("NginxDown", &gate.line());
    let mut old = old_call(&sandbox).spawn().unwrap();
    gate.wait_for(1);
    sandbox.post(&nginx()).expect(503, &["busy"]);
    assert_eq!(sandbox.runs("NginxDown"), 0);
    assert_eq!(gate.arrived().len(), 1);
    gate.open();
    assert!(old.wait().unwrap().success());
    sandbox.post(&nginx()).expect(200, &["healed"]);
    assert_eq!(gate.arrived().len(), 2);
}

#[test]
fn while_ours_runs_a_handler_the_old_listener_skips_it() {
    let sandbox = Sandbox::new();
    let gate = Gate::new(&sandbox, "gate");
    sandbox.handler("NginxDown", &gate.line());
    let ours = Posting::begin(&sandbox, &[&nginx()]);
    gate.wait_for(1);
    // flock's own "no" (1), and the handler is not started.
    assert_eq!(old_call(&sandbox).status().unwrap().code(), Some(1));
    assert_eq!(gate.arrived().len(), 1);
    gate.open();
    ours.answer().expect(200, &["healed"]);
    assert!(old_call(&sandbox).status().unwrap().success());
    assert_eq!(gate.arrived().len(), 2);
}

#[test]
fn observing_takes_no_lock_of_the_old_listeners() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_OBSERVE", "yes");
    let gate = Gate::new(&sandbox, "gate");
    sandbox.handler("NginxDown", &gate.line());
    let mut old = old_call(&sandbox).spawn().unwrap();
    gate.wait_for(1);
    sandbox.post(&nginx()).expect(200, &["observed"]);
    gate.open();
    assert!(old.wait().unwrap().success());
    assert_eq!(gate.arrived().len(), 1);
}

#[test]
fn the_old_listeners_counters_are_not_read() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    // A fingerprint that no other test has, so that the file in /tmp is nobody else's.
    let mine = format!("{:016x}", std::process::id());
    let alert = nginx().with("fingerprint", mine.clone().into());
    let digits =
        run(Command::new("bash").args(["-c", &format!("echo {mine} | sha256sum | cut -c1-8")]));
    let counter = format!("/tmp/heal-attempts-{}", digits.trim());
    fs::write(&counter, "3\n").unwrap();
    sandbox.post(&alert).expect(200, &["healed"]);
    let after = fs::read_to_string(&counter).unwrap();
    fs::remove_file(&counter).unwrap();
    assert_eq!(after, "3\n");
}

/// The block that compares, over a log of the old one's and a history of ours.
pub fn the_day_is_compared(script: &str) {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_OBSERVE", "yes");
    for name in ["NginxDown", "DiskFull"] {
        sandbox.handler(name, "exit 0\n");
    }
    for instance in ["web-1:9113", "web-2:9113"] {
        sandbox
            .post(&Alert::firing("NginxDown", instance))
            .expect(200, &["observed"]);
    }
    sandbox
        .post(&Alert::firing("DiskFull", "db-1"))
        .expect(200, &["observed"]);
    sandbox
        .post(&Alert::firing("DiskFull", "other-1"))
        .expect(200, &["not-allowed"]);
    sandbox.write(
        "old.log",
        "2026-11-22T12:00:00Z [INFO] Self-heal listener starting on 127.0.0.1:9095\n\
         2026-11-22T12:00:00Z [INFO] Triggering handler: NginxDown for web-1:9113 (attempt 1)\n\
         2026-11-22T12:00:09Z [INFO] Handler succeeded: NginxDown\n\
         2026-11-22T13:00:00Z [INFO] Triggering handler: NginxDown for web-1:9113 (attempt 1)\n\
         2026-11-22T14:00:00Z [INFO] Triggering handler: DiskFull for db-1 (attempt 2)\n\
         2026-11-22T14:00:00Z [INFO] Triggering handler: DiskFull for other-1 (attempt 1)\n",
    );
    let mut script = script.to_owned();
    for (shown, here) in [
        ("/var/log/self-heal/listener.log", "old.log"),
        ("/var/lib/self-heal/history.jsonl", "state/history.jsonl"),
    ] {
        assert!(script.contains(shown), "{shown}");
        script = script.replace(shown, &sandbox.path(here).display().to_string());
    }
    let said = run(Command::new("bash").args(["-euo", "pipefail", "-c", &script]));
    let expected = [
        " |  | DiskFull db-1",
        "DiskFull other-1",
        " |  | NginxDown web-1:9113",
        " | NginxDown web-2:9113",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    assert_eq!(lines_with(&sandbox.log(), "would=run"), 3);
}
