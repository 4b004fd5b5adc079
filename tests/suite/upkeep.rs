//! What is done once a year, by the words of docs/runbook.md and docs/security.md: backup and restore, a new
//! executable under load, a token.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::docs;
use crate::stage::{Gate, Posting, as_root, chained, install, raw_history, run};
use crate::support::{Alert, Answer, PROGRAM, Sandbox, feed, notification, request};

fn bash(script: &str) -> String {
    run(Command::new("bash").args(["-euo", "pipefail", "-c", script]))
}

/// The one block of this kind.
fn block(kind: &str) -> String {
    let mut found = docs::blocks().into_iter().filter(|block| block.1 == kind);
    let (_, _, body) = found.next().unwrap_or_else(|| panic!("no block {kind}"));
    assert!(found.next().is_none(), "{kind} twice");
    body
}

fn replaced(script: &str, words: &[(&str, &str)]) -> String {
    let mut script = script.to_owned();
    for (shown, here) in words {
        assert!(script.contains(shown), "{shown} is not in\n{script}");
        script = script.replace(shown, here);
    }
    script
}

/// What a restore brings back: breakers, pauses, pages on their way, the history's chain, the counters.
#[test]
fn a_state_that_was_copied_and_put_back_goes_on() {
    let sandbox = Sandbox::new();
    let top = sandbox.path("").display().to_string();
    let top = top.trim_end_matches('/');
    sandbox.handler("Gives", "exit 2\n");
    sandbox.handler("Down", "exit 1\n");
    sandbox.handler("Other", "exit 0\n");
    sandbox.script("escalate.d/board", "#!/bin/bash\nexit 1\n");
    let (gives, down) = (
        Alert::firing("Gives", "web-1"),
        Alert::firing("Down", "web-1"),
    );
    sandbox.post(&gives).expect(200, &["gave-up"]);
    sandbox.post(&down).expect(503, &["failed"]);
    sandbox.post(&down).expect(503, &["failed"]);
    let paused = sandbox.operate(&["pause", "--alert", "Other", "--reason", "x"]);
    assert!(paused.status.success());
    let before = sandbox.history();
    let pending = sandbox.metric("self_heal_escalations_pending");
    assert_eq!(pending, 1.0);

    // Whoever runs other tests has processes of that name, too.
    let archive = format!("{top}/copy.tar.gz");
    let backup = replaced(
        &block("bash backup"),
        &[
            (
                "while pgrep -u healer -x self-heal >/dev/null; do sleep 1; done\n",
                "",
            ),
            ("/root/self-heal.tar.gz", &archive),
            ("--directory=/ ", &format!("--directory={top} ")),
            ("etc/self-heal ", "self-heal.conf "),
            ("etc/sudoers.d/healer ", "allowed.txt "),
            ("opt/self-heal ", "handlers escalate.d "),
            ("var/lib/self-heal", "state"),
        ],
    );
    bash(&backup);
    // What came after the copy is gone with it.
    sandbox.post(&down).expect(200, &["tripped"]);
    let state = sandbox.path("state").display().to_string();
    let restore = replaced(
        &block("bash restore"),
        &[
            ("/var/lib/self-heal", &state),
            ("/root/self-heal.tar.gz", &archive),
            ("--directory=/", &format!("--directory={top}")),
        ],
    );
    bash(&restore);

    assert_eq!(sandbox.history(), before);
    let reserve = fs::metadata(sandbox.path("state/reserve")).unwrap();
    assert!(
        std::os::unix::fs::MetadataExt::blocks(&reserve) * 512 >= reserve.len(),
        "room"
    );
    assert_eq!(
        sandbox.get("/-/ready").code,
        200,
        "{}",
        sandbox.get("/-/ready").body
    );
    assert_eq!(sandbox.metric("self_heal_escalations_pending"), pending);
    assert_eq!(
        sandbox.metric("self_heal_alerts_total{alertname=\"Down\",verdict=\"failed\"}"),
        2.0
    );
    sandbox.post(&gives).expect(200, &["tripped"]);
    sandbox
        .post(&Alert::firing("Other", "web-1"))
        .expect(200, &["paused"]);
    // The third attempt, not the first.
    let third = sandbox.post(&down);
    third.expect(200, &["tripped"]);
    assert_eq!(third.json()["results"][0]["attempt"], 3);
    let genesis = "0".repeat(64);
    chained(&raw_history(&sandbox, "state/history.jsonl"), genesis);
}

/// The block, with the executable of the sandbox in the place of the real one.
fn upgrade(sandbox: &Sandbox) -> String {
    let bin = sandbox.path("bin/self-heal").display().to_string();
    replaced(
        &block("bash upgrade"),
        &[
            ("target/release/self-heal", PROGRAM),
            ("/usr/local/bin/self-heal", &bin),
        ],
    )
}

/// A connection by the executable that is installed in the sandbox at this moment.
fn by_the_installed(sandbox: &Sandbox) -> Command {
    let direct = sandbox.command();
    let mut command = Command::new(sandbox.path("bin/self-heal"));
    command.args(direct.get_args()).env_clear();
    for (name, value) in direct.get_envs() {
        command.env(name, value.unwrap());
    }
    command
}

#[test]
fn a_new_executable_under_load_loses_no_post_and_interrupts_no_handler() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_CONCURRENT", "16");
    sandbox.set("HEAL_STORM_LIMIT", "400/10m");
    sandbox.set("HEAL_LOCK_WAIT", "30s");
    fs::create_dir(sandbox.path("bin")).unwrap();
    install(Path::new(PROGRAM), &sandbox.path("bin/self-heal"), "755");
    let gate = Gate::new(&sandbox, "gate");
    sandbox.handler("Slow", &gate.line());
    for name in ["A", "B", "C", "D"] {
        sandbox.handler(name, "exit 0\n");
    }
    let script = upgrade(&sandbox);
    let slow = Alert::firing("Slow", "web-1");
    let under_way = Posting::by(by_the_installed(&sandbox), &[&slow]);
    gate.wait_for(1);
    thread::scope(|scope| {
        let posting = ["A", "B", "C", "D"].map(|name| {
            let sandbox = &sandbox;
            let posts: Vec<_> = (0..12)
                .map(|number| {
                    let alert = Alert::firing(name, &format!("web-{number}"));
                    let body = notification(&[&alert]).to_string();
                    (by_the_installed(sandbox), request(&body))
                })
                .collect();
            scope.spawn(move || {
                for (command, bytes) in posts {
                    Answer::parse(&feed(command, &bytes).stdout).expect(200, &["healed"]);
                }
            })
        });
        for _ in 0..5 {
            assert!(bash(&script).contains("self-heal"));
        }
        for thread in posting {
            thread.join().unwrap();
        }
    });
    gate.open();
    under_way.answer().expect(200, &["healed"]);
    for name in ["A", "B", "C", "D"] {
        assert_eq!(sandbox.runs(name), 12);
    }
    assert!(sandbox.path("bin/self-heal.before").exists());
    assert!(!sandbox.path("bin/self-heal.new").exists());
    chained(
        &raw_history(&sandbox, "state/history.jsonl"),
        "0".repeat(64),
    );
}

/// The two blocks that set a token up.
#[test]
fn a_token_is_set_up_as_the_guide_says() {
    as_root();
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    let top = sandbox.path("").display().to_string();
    let top = top.trim_end_matches('/');
    let set_up = replaced(
        &block("bash token"),
        &[
            ("/etc/self-heal/", &format!("{top}/")),
            ("/etc/alertmanager/", &format!("{top}/alertmanager/")),
            ("/etc/prometheus/", &format!("{top}/prometheus/")),
            ("chgrp healer ", "chgrp root "),
            ("-o prometheus ", "-o root "),
        ],
    );
    bash(&set_up);
    let token = sandbox.read("alertmanager/self-heal.token");
    assert_eq!((token.len(), &token), (32, &sandbox.read("token")));
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(sandbox.path(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(
        [mode("token"), mode("prometheus/self-heal.token")],
        [0o640, 0o400]
    );
    assert_eq!(mode("alertmanager"), 0o755, "its reader can reach it");

    let alert = Alert::firing("Down", "web-1");
    let body = notification(&[&alert]).to_string();
    let shown = String::from_utf8(request(&body)).unwrap();
    let shown = shown.replacen(
        "\r\n\r\n",
        &format!("\r\nAuthorization: Bearer {token}\r\n\r\n"),
        1,
    );
    let with_token = || Answer::parse(&sandbox.feed(shown.as_bytes()).stdout);
    // Before it is asked for, one that is shown does no harm.
    with_token().expect(200, &["healed"]);
    let on = replaced(
        &block("bash token on"),
        &[("/etc/self-heal/", &format!("{top}/"))],
    );
    bash(&on);
    assert_eq!(sandbox.post(&alert).code, 401);
    assert_eq!(sandbox.get("/metrics").code, 401);
    assert_eq!(sandbox.get("/-/healthy").code, 200);
    with_token().expect(200, &["settling"]);
}
