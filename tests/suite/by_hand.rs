//! `self-heal run`: by an operator's hand, through the same gates, with the same counts.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::stage::{Gate, Posting, STRANGER, as_root, as_stranger, lines_with, sha256};
use crate::stopping::{Came, ask, timeless};
use crate::support::{Alert, PROGRAM, Sandbox, chmod, until};

fn nginx() -> Alert {
    Alert::firing("NginxDown", "web-1:9113")
}

fn by_hand(sandbox: &Sandbox, more: &[&str]) -> Came {
    let words = [&["run", "NginxDown", "web-1:9113"], more].concat();
    ask(sandbox, &words)
}

fn verdict(came: &Came) -> &str {
    came.out.split(':').next().unwrap()
}

/// The last line of the history that tells of a run's end.
fn result(sandbox: &Sandbox) -> Value {
    let mut lines = sandbox.history();
    lines.retain(|line| line["event"] == "result");
    lines.pop().unwrap()
}

#[test]
fn it_runs_the_handler_and_says_what_runs_and_what_came_of_it() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "printf 'one\\n\\033[2Jtwo\\n'; exit 0\n");
    let came = by_hand(&sandbox, &[]);
    assert_eq!(
        came,
        Came {
            code: 0,
            out: "healed: NginxDown on web-1:9113: handler exit 0\n\
                  the last it printed (all of it: DIR/log/NginxDown.log):\n  \
                  one\n  \\u{1b}[2Jtwo\n"
                .to_owned(),
            err: "self-heal: running attempt 1 of 3, at most 4m: DIR/handlers/NginxDown.sh web-1:9113 NginxDown ''\n\
                  self-heal: its output: DIR/log/NginxDown.log\n\
                  self-heal: interrupting this command does not stop it, and what comes of it is recorded\n"
                .to_owned(),
        }
    );
    let ended = result(&sandbox);
    assert_eq!(ended["peer"], "operator:anna");
    assert_eq!(ended["verdict"], "healed");
    assert_eq!(ended["forced"], Value::Null);
    let log = sandbox.log();
    let told = "[INFO] run_by_hand who=anna alertname=NginxDown instance=web-1:9113 force=no\n";
    assert_eq!(log.matches(told).count(), 1, "{log}");
    assert!(!log.contains("forced"), "{log}");
    let series = "self_heal_alerts_total{alertname=\"NginxDown\",verdict=\"healed\"}";
    assert_eq!(sandbox.metric(series), 1.0);
    // And the settle time holds for it as for anybody.
    let again = by_hand(&sandbox, &[]);
    assert_eq!((again.code, verdict(&again)), (1, "settling"), "{again:?}");
    assert_eq!(again.err, "");
}

#[test]
fn the_handler_gets_what_a_senders_alert_would_give_it() {
    let sandbox = Sandbox::new();
    let (env, input) = (sandbox.path("env"), sandbox.path("input"));
    let body = format!("env -0 >{}; cat >{}\n", env.display(), input.display());
    sandbox.handler("NginxDown", &body);
    let words = [
        "--label",
        "mountpoint=/srv",
        "--annotation",
        "summary=by hand = so",
    ];
    assert_eq!(by_hand(&sandbox, &words).code, 0);
    let env = sandbox.read("env");
    for pair in [
        "HEAL_RECEIVER=self-heal run",
        "HEAL_LABEL_mountpoint=/srv",
        "HEAL_ANNOTATION_summary=by hand = so",
        "HEAL_GROUP_KEY=",
        "HEAL_FINGERPRINT=",
    ] {
        assert!(env.split('\0').any(|got| got == pair), "{pair}: {env:?}");
    }
    let input: Value = serde_json::from_str(&sandbox.read("input")).unwrap();
    assert_eq!(input["alert"]["labels"]["instance"], "web-1:9113");
    assert_eq!(input["alert"]["status"], "firing");
}

#[test]
fn it_counts_together_with_the_senders_alert() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 1\n");
    sandbox.post(&nginx()).expect(503, &["failed"]);
    let came = by_hand(&sandbox, &[]);
    assert_eq!((came.code, verdict(&came)), (1, "failed"), "{came:?}");
    assert!(came.err.contains("attempt 2 of 3"), "{came:?}");
    assert!(came.err.contains(nginx().fingerprint()), "{came:?}");
    sandbox.post(&nginx()).expect(200, &["tripped"]);
    assert_eq!(
        fs::read_dir(sandbox.path("state/records")).unwrap().count(),
        1
    );
    // The next episode begins now for both.
    sandbox.post(&nginx().resolved()).expect(200, &["resolved"]);
    sandbox.handler("NginxDown", "exit 0\n");
    let came = by_hand(&sandbox, &[]);
    assert_eq!((came.code, verdict(&came)), (0, "healed"), "{came:?}");
}

#[test]
fn of_several_records_one_has_to_be_named() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 1\n");
    let alerts = ["a1", "b2"].map(|f| nginx().with("fingerprint", json!(f)));
    for alert in &alerts {
        sandbox.post(alert).expect(503, &["failed"]);
    }
    let mut keys = ["a1", "b2"].map(|f| sha256(f.as_bytes()));
    keys.sort();
    let came = by_hand(&sandbox, &[]);
    assert_eq!(came.code, 100);
    let said = format!("say which by --key {} or --key {}", keys[0], keys[1]);
    assert!(came.err.contains(&said), "{came:?}");
    let came = by_hand(&sandbox, &["--key", &sha256(b"b2")]);
    assert!(
        came.err.contains("attempt 2 of 3") && came.err.contains(" b2\n"),
        "{came:?}"
    );
    let unknown = by_hand(&sandbox, &["--key", "x"]);
    assert_eq!(unknown.code, 100, "{unknown:?}");
    let words = ["run", "Other", "web-1", "--key", &sha256(b"b2")];
    let other = ask(&sandbox, &words);
    assert!(
        other
            .err
            .contains("it is the record of NginxDown on web-1:9113"),
        "{other:?}"
    );
}

#[test]
fn a_record_without_a_fingerprint_is_the_one_that_counts_too() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 1\n");
    let nameless = nginx().label("zone", "7").with("fingerprint", json!(""));
    sandbox.post(&nameless).expect(503, &["failed"]);
    let came = by_hand(&sandbox, &[]);
    assert!(came.err.contains("attempt 2 of 3"), "{came:?}");
    sandbox.post(&nameless).expect(200, &["tripped"]);
}

/// How something comes about that force does not get past; what has to be kept meanwhile.
type Obstacle = (fn(&Sandbox) -> Option<File>, &'static str, i32);

fn locked(sandbox: &Sandbox, name: &str) -> Option<File> {
    let path = sandbox.write(name, "");
    chmod(&path, 0o600);
    let file = File::open(&path).unwrap();
    file.try_lock().unwrap();
    Some(file)
}

const OBSTACLES: &[Obstacle] = &[
    (
        |s| {
            s.write("allowed.txt", "db-*\n");
            None
        },
        "not-allowed",
        1,
    ),
    (
        |s| {
            fs::remove_file(s.path("handlers/NginxDown.sh")).unwrap();
            None
        },
        "no-handler",
        1,
    ),
    (
        |s| {
            chmod(&s.path("handlers/NginxDown.sh"), 0o777);
            None
        },
        "unsafe-handler",
        1,
    ),
    (
        |s| {
            assert!(s.operate(&["pause", "--reason", "x"]).status.success());
            None
        },
        "paused",
        1,
    ),
    (
        |s| {
            s.set("HEAL_OBSERVE", "yes");
            None
        },
        "observed",
        1,
    ),
    (|s| locked(s, "lock/heal-NginxDown.lock"), "busy", 1),
    (
        |s| {
            s.set("HEAL_MAX_CONCURRENT", "1");
            locked(s, "lock/slot-0.lock")
        },
        "busy",
        1,
    ),
    (
        |s| {
            s.set("HEAL_STORM_LIMIT", "1/1h");
            s.handler("Other", "exit 0\n");
            s.post(&Alert::firing("Other", "web-1"))
                .expect(200, &["healed"]);
            None
        },
        "storm",
        1,
    ),
    (
        |s| {
            s.write("state/pauses", "x");
            None
        },
        "error",
        111,
    ),
    (
        |s| {
            chmod(&s.path("lock"), 0o777);
            None
        },
        "error",
        111,
    ),
];

#[test]
fn force_gets_past_no_gate_no_lock_and_no_storm() {
    for (arrange, expected, code) in OBSTACLES {
        let sandbox = Sandbox::new();
        let ran = sandbox.path("ran").display().to_string();
        sandbox.handler("NginxDown", &format!("touch {ran}\n"));
        let held = arrange(&sandbox);
        for force in [&[][..], &["--force"]] {
            let came = by_hand(&sandbox, force);
            assert_eq!((verdict(&came), came.code), (*expected, *code), "{came:?}");
        }
        drop(held);
        assert!(!sandbox.path("ran").exists(), "{expected}");
    }
}

#[test]
fn a_damaged_record_is_not_forced() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.post(&nginx()).expect(200, &["healed"]);
    let key = sha256(nginx().fingerprint().as_bytes());
    let path = sandbox.path("state/records").join(&key);
    fs::write(path, "x").unwrap();
    let came = by_hand(&sandbox, &["--key", &key, "--force"]);
    assert_eq!((came.code, verdict(&came)), (111, "error"), "{came:?}");
    assert_eq!(sandbox.runs("NginxDown"), 1);
}

#[test]
fn force_gets_past_the_breaker_and_the_delays_and_is_written_down() {
    for (ending, settings, before) in [
        (
            "exit 2",
            &[][..],
            "tripped: breaker open (gave-up); one attempt from TIME",
        ),
        (
            "exit 1",
            &[("HEAL_RETRY_DELAY", "1h")],
            "waiting: next attempt from TIME",
        ),
        ("exit 0", &[], "settling: healed; takes effect until TIME"),
        (
            "exit 0",
            &[("HEAL_SETTLE", "0"), ("HEAL_RUN_LIMITS", "1/1h")],
            "tripped: breaker opened: more runs than the run limits allow",
        ),
    ] {
        let sandbox = Sandbox::new();
        for (key, value) in settings {
            sandbox.set(key, value);
        }
        sandbox.handler("NginxDown", &format!("{ending}\n"));
        sandbox.post(&nginx());
        sandbox.handler("NginxDown", "exit 0\n");
        let came = by_hand(&sandbox, &["--force"]);
        assert_eq!((came.code, verdict(&came)), (0, "healed"), "{came:?}");
        let said = format!("self-heal: forced past {before}\n");
        assert!(came.err.starts_with(&said), "{came:?}");
        assert_eq!(result(&sandbox)["forced"], true);
        assert_eq!(sandbox.runs("NginxDown"), 2, "it is counted");
        let log = timeless(&sandbox.log());
        let start = log
            .lines()
            .find(|line| line.contains("forced=true"))
            .unwrap();
        assert!(
            start.contains("run_start") && start.ends_with("peer=operator:anna forced=true"),
            "{start}"
        );
    }
    // Where nothing has to be forced, nothing is.
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    let came = by_hand(&sandbox, &["--force"]);
    assert!(came.code == 0 && !came.err.contains("forced"), "{came:?}");
    assert_eq!(result(&sandbox)["forced"], Value::Null);
}

#[test]
fn a_forced_failure_opens_the_breaker_again_and_pages_nobody_twice() {
    let sandbox = Sandbox::new();
    sandbox.recorder();
    sandbox.handler("NginxDown", "exit 2\n");
    let came = by_hand(&sandbox, &[]);
    assert_eq!((came.code, verdict(&came)), (1, "gave-up"), "{came:?}");
    assert_eq!(
        sandbox.paged(),
        [("trigger".to_owned(), "gave-up".to_owned())],
        "delivered behind it"
    );
    let came = by_hand(&sandbox, &["--force"]);
    assert_eq!((came.code, verdict(&came)), (1, "gave-up"), "{came:?}");
    assert_eq!(sandbox.paged().len(), 1);
}

#[test]
fn interrupting_it_stops_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let sandbox = Sandbox::new();
        let gate = Gate::new(&sandbox, "runs");
        sandbox.handler("NginxDown", &format!("{}exit 0\n", gate.line()));
        let child = sandbox
            .command_of(&["run", "NginxDown", "web-1:9113"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        gate.wait_for(1);
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        sandbox.post(&nginx()).expect(503, &["busy"]);
        gate.open();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{signal}: {output:?}");
        assert_eq!(result(&sandbox)["verdict"], "healed");
    }
}

#[test]
fn it_waits_for_no_run_of_the_same_alert() {
    let sandbox = Sandbox::new();
    let gate = Gate::new(&sandbox, "runs");
    sandbox.handler("NginxDown", &format!("{}exit 0\n", gate.line()));
    let posting = Posting::begin(&sandbox, &[&nginx()]);
    gate.wait_for(1);
    let came = by_hand(&sandbox, &["--force"]);
    assert_eq!((came.code, verdict(&came)), (1, "busy"), "{came:?}");
    gate.open();
    posting.answer().expect(200, &["healed"]);
}

#[test]
fn with_sigchld_ignored_the_ending_is_known_all_the_same() {
    for (body, code, said) in [("exit 0", 0, "healed: "), ("exit 1", 1, "failed: ")] {
        let sandbox = Sandbox::new();
        sandbox.handler("NginxDown", &format!("echo done\n{body}\n"));
        let line = format!("trap '' CHLD; exec {PROGRAM} run NginxDown web-1:9113");
        let output = Command::new("bash")
            .args(["-c", &line])
            .env_clear()
            .env("HEAL_CONF", sandbox.path("self-heal.conf"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(out.starts_with(said) && out.ends_with("  done\n"), "{out}");
        assert_eq!(
            lines_with(
                &String::from_utf8(output.stderr).unwrap(),
                "running attempt"
            ),
            1
        );
    }
}

#[test]
fn root_becomes_the_healer_and_runs_nothing_as_root() {
    as_root();
    let sandbox = Sandbox::new();
    drop(as_stranger(&sandbox));
    sandbox.set("HEAL_ALLOW_ROOT", "no");
    sandbox.handler("NginxDown", "id -u\n");
    let came = by_hand(&sandbox, &[]);
    assert_eq!(came.code, 0, "{came:?}");
    assert!(came.out.ends_with(&format!("\n  {STRANGER}\n")), "{came:?}");
    for folder in ["state", "log", "lock"] {
        for entry in walk(&sandbox, folder) {
            assert_eq!(fs::metadata(&entry).unwrap().uid(), STRANGER, "{entry:?}");
        }
    }
    assert_eq!(result(&sandbox)["peer"], "operator:anna");
    let own = Sandbox::new();
    own.set("HEAL_ALLOW_ROOT", "no");
    own.handler("NginxDown", "exit 0\n");
    let came = by_hand(&own, &[]);
    assert_eq!(came.code, 100, "{came:?}");
    assert!(came.err.contains("refuses to serve as root"), "{came:?}");
    assert_eq!(own.runs("NginxDown"), 0);
}

fn walk(sandbox: &Sandbox, folder: &str) -> Vec<std::path::PathBuf> {
    let mut found = vec![sandbox.path(folder)];
    let mut at = 0;
    while let Some(path) = found.get(at).cloned() {
        if path.is_dir() {
            found.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        at += 1;
    }
    found
}

#[test]
fn nothing_of_its_callers_reaches_the_handler() {
    let sandbox = Sandbox::new();
    sandbox.handler(
        "NginxDown",
        "ls /proc/self/fd | tr '\\n' ' '; env | grep -c '^SECRET' || true\n",
    );
    let line = format!("exec 7</dev/null; exec {PROGRAM} run NginxDown web-1:9113");
    let output: Output = Command::new("bash")
        .args(["-c", &line])
        .env("HEAL_CONF", sandbox.path("self-heal.conf"))
        .env("SECRET", "x")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let log = until("the output is there", || {
        Some(sandbox.read("log/NginxDown.log")).filter(|log| log.ends_with('\n'))
    });
    let words: Vec<&str> = log.split_whitespace().collect();
    // 0, 1, 2, the lock's, and the one that ls(1) reads with.
    assert_eq!(words.last(), Some(&"0"), "{log}");
    assert_eq!(words.len(), 6, "{log}");
}

#[test]
fn what_is_no_alert_is_refused() {
    let sandbox = Sandbox::new();
    for words in [
        &["run"][..],
        &["run", "NginxDown"],
        &["run", "NginxDown", "web-1", "more"],
        &["run", "NginxDown", "web-1", "--label", "x"],
        &["run", "NginxDown", "web-1", "--label", "instance=web-2"],
        &["run", "NginxDown", "web-1", "--force=yes"],
    ] {
        let came = ask(&sandbox, words);
        assert_eq!(
            (came.code, came.out.as_str()),
            (100, ""),
            "{words:?}: {came:?}"
        );
    }
    assert!(sandbox.history().is_empty());
    // A name and an instance that no alert could have get their verdict like any.
    for (words, expected) in [
        (["run", "../x", "web-1"], "no-handler"),
        (["run", "NginxDown", ""], "not-allowed"),
    ] {
        let came = ask(&sandbox, &words);
        assert_eq!((came.code, verdict(&came)), (1, expected), "{came:?}");
        assert!(came.out.contains("\nwhat to do: "), "{came:?}");
    }
}
