//! Operators: pause, resume, reset, with whatever else is broken.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use self_heal::judge::Time;
use self_heal::judge::pauses::{Pause, Pauses, Scope};
use self_heal::wire::records;

use crate::stage::{
    Gate, Posting, STRANGER, as_root, as_stranger, install, lines_with, run, sha256,
};
use crate::support::{Alert, PROGRAM, Sandbox, chmod};

/// What a command came to.
#[derive(Debug, PartialEq)]
pub struct Came {
    pub code: i32,
    /// Instants are `TIME`, the sandbox is `DIR`.
    pub out: String,
    pub err: String,
}

/// A command of an operator's, by this account.
pub fn ask_by(mut command: Command, sandbox: &Sandbox, args: &[&str]) -> Came {
    let output = command
        .args(args)
        .env_clear()
        .env("HEAL_CONF", sandbox.path("self-heal.conf"))
        .env("SUDO_USER", "anna")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let dir = sandbox.path("").display().to_string();
    let text = |bytes| timeless(&String::from_utf8(bytes).unwrap()).replace(&dir, "DIR/");
    Came {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// A command of root's, who is anna.
pub fn ask(sandbox: &Sandbox, args: &[&str]) -> Came {
    ask_by(Command::new(PROGRAM), sandbox, args)
}

/// The text with each instant as `TIME`.
pub fn timeless(text: &str) -> String {
    let shape = "0000-00-00T00:00:00Z";
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let instant = rest.get(..shape.len()).is_some_and(|piece| {
            let same = |(a, b): (u8, u8)| {
                if b == b'0' {
                    a.is_ascii_digit()
                } else {
                    a == b
                }
            };
            piece.bytes().zip(shape.bytes()).all(same)
        });
        let taken = if instant { shape.len() } else { c.len_utf8() };
        out.push_str(if instant { "TIME" } else { &rest[..taken] });
        rest = &rest[taken..];
    }
    out
}

#[track_caller]
fn done(sandbox: &Sandbox, args: &[&str], out: &str) {
    let expected = Came {
        code: 0,
        out: out.to_owned(),
        err: String::new(),
    };
    assert_eq!(ask(sandbox, args), expected, "{args:?}");
}

#[track_caller]
fn refused(sandbox: &Sandbox, args: &[&str], code: i32, err: &str) {
    let expected = Came {
        code,
        out: String::new(),
        err: err.to_owned(),
    };
    assert_eq!(ask(sandbox, args), expected, "{args:?}");
}

fn nginx() -> Alert {
    Alert::firing("NginxDown", "web-1:9113")
}

fn healing() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.handler("Other", "exit 0\n");
    sandbox
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as i64
}

/// Writes the pauses as a whole file.
fn write_pauses(sandbox: &Sandbox, pauses: &Pauses) {
    let mut bytes = records::encode(pauses, "pauses", 1).unwrap();
    bytes.resize(2 * records::SLOT, 0);
    fs::write(sandbox.path("state/pauses"), bytes).unwrap();
    chmod(&sandbox.path("state/pauses"), 0o600);
}

fn everything(from: i64, span: Duration) -> Pauses {
    let pause = Pause::new(Scope::default(), Time(from), span, "anna", "a reason");
    Pauses::default().add(pause, Time(from)).unwrap()
}

fn record_of(sandbox: &Sandbox, alert: &Alert) -> PathBuf {
    let key = sha256(alert.fingerprint().as_bytes());
    sandbox.path("state/records").join(key)
}

#[test]
fn a_pause_holds_everything_back_until_it_is_lifted() {
    let sandbox = healing();
    done(
        &sandbox,
        &["pause", "--reason", "kernel upgrade"],
        "paused: everything until TIME, by anna: kernel upgrade\n",
    );
    let answer = sandbox.post(&nginx());
    answer.expect(200, &["paused"]);
    assert!(answer.detail().contains("anna") && answer.detail().contains("kernel upgrade"));
    sandbox
        .post(&Alert::firing("Other", "db-1"))
        .expect(200, &["paused"]);
    assert_eq!(sandbox.runs("NginxDown") + sandbox.runs("Other"), 0);
    assert_eq!(sandbox.metric("self_heal_paused"), 1.0);
    assert_eq!(sandbox.get("/-/ready").code, 200, "a pause is no fault");
    done(
        &sandbox,
        &["resume"],
        "resumed: everything until TIME, by anna: kernel upgrade\n\
         held back, and not heard of as resolved since:\n  \
         NginxDown on web-1:9113 since TIME\n  \
         Other on db-1 since TIME\n\
         The sender's next repeat (repeat_interval) brings them back.\n",
    );
    assert_eq!(sandbox.metric("self_heal_paused"), 0.0);
    sandbox.post(&nginx()).expect(200, &["healed"]);
    let log = timeless(&sandbox.log());
    for line in [
        "TIME [WARN] paused who=anna why=\"kernel upgrade\" until=TIME alertname=* instance=*",
        "TIME [WARN] resumed who=anna why=\"kernel upgrade\" until=TIME alertname=* instance=* resumed_by=anna",
    ] {
        assert_eq!(
            log.lines().filter(|l| *l == line).count(),
            1,
            "{line}\n{log}"
        );
    }
}

#[test]
fn a_pause_lasts_as_long_as_is_asked() {
    let sandbox = healing();
    for (span, ms) in [
        (None, 3_600_000),
        (Some("1m"), 60_000),
        (Some("30d"), 2_592_000_000),
    ] {
        let mut args = vec!["pause", "--reason", "x"];
        args.extend(span.map(|span| ["--for", span]).into_iter().flatten());
        let before = now();
        assert_eq!(ask(&sandbox, &args).code, 0, "{span:?}");
        let text = fs::read(sandbox.path("state/pauses")).unwrap();
        let ends =
            [&text[..8192], &text[8192..]].map(|slot| match records::decode::<Pauses>(slot) {
                records::Copy::Whole {
                    sequence, value, ..
                } => (sequence, value.list().last().map(|pause| pause.until.0)),
                _ => (0, None),
            });
        let until = ends.iter().max().unwrap().1.unwrap();
        assert!((before + ms..=now() + ms).contains(&until), "{span:?}");
    }
}

#[test]
fn a_pause_ends_by_itself() {
    let sandbox = healing();
    let minute = Duration::from_secs(60);
    write_pauses(&sandbox, &everything(now() - 61_000, minute));
    assert_eq!(sandbox.metric("self_heal_paused"), 0.0);
    sandbox.post(&nginx()).expect(200, &["healed"]);
    let came = ask(&sandbox, &["resume"]);
    assert_eq!(
        (came.code, came.out.as_str()),
        (1, "not paused: everything\n")
    );
}

#[test]
fn with_the_clock_set_back_a_pause_goes_on_and_a_look_at_it_shortens_it() {
    let sandbox = healing();
    let day = 86_400_000;
    write_pauses(&sandbox, &everything(now() + day, Duration::from_secs(60)));
    sandbox.post(&nginx()).expect(200, &["paused"]);
    let came = ask(&sandbox, &["resume", "--alert", "Other"]);
    assert_eq!(came.code, 1, "{came:?}");
    let text =
        String::from_utf8_lossy(&fs::read(sandbox.path("state/pauses")).unwrap()).into_owned();
    let newest = text.rsplit_once("pauses 2 ").unwrap().1;
    let pauses: Vec<(i64, i64)> =
        serde_json::from_str::<Vec<serde_json::Value>>(newest.lines().next().unwrap())
            .unwrap()
            .iter()
            .map(|pause| (pause[0].as_i64().unwrap(), pause[1].as_i64().unwrap()))
            .collect();
    assert!(
        pauses[0].0 <= now() && pauses[0].1 - pauses[0].0 == 60_000,
        "{pauses:?}"
    );
}

#[test]
fn each_pause_is_for_what_it_names() {
    let sandbox = healing();
    sandbox.set("HEAL_SETTLE", "0");
    sandbox.set("HEAL_RUN_LIMITS", "100/1h");
    sandbox.write("allowed.txt", "web-*\nfd00::8\n");
    let verdict = |name: &str, instance: &str| {
        sandbox
            .post(&Alert::firing(name, instance))
            .verdicts()
            .remove(0)
    };
    for (args, shown, held, free) in [
        (
            &["--alert", "NginxDown"][..],
            "NginxDown",
            [("NginxDown", "web-1:9113"), ("NginxDown", "[fd00::8]:9113")],
            [("Other", "web-1:9113"), ("Other", "web-2")],
        ),
        (
            &["--instance", "web-1"],
            "every alert on web-1",
            [("NginxDown", "web-1:9113"), ("Other", "web-1")],
            [("NginxDown", "web-11:9113"), ("Other", "web-2")],
        ),
        (
            &["--instance=web-1:9113"],
            "every alert on web-1:9113",
            [("NginxDown", "web-1:9113"), ("Other", "web-1:9113")],
            [("NginxDown", "web-1:9100"), ("Other", "web-1")],
        ),
        (
            &["--instance", "[fd00::8]"],
            "every alert on [fd00::8]",
            [("NginxDown", "[fd00::8]:9113"), ("Other", "fd00::8")],
            [("NginxDown", "web-1"), ("Other", "web-2")],
        ),
        (
            &["--instance", "web-*", "--alert", "Other"],
            "Other on web-*",
            [("Other", "web-1:9113"), ("Other", "web-2")],
            [("NginxDown", "web-1:9113"), ("Other", "[fd00::8]:1")],
        ),
    ] {
        let all = [&["pause", "--reason", "x", "--for", "5m"][..], args].concat();
        let line = format!("paused: {shown} until TIME, by anna: x\n");
        done(&sandbox, &all, &line);
        for (name, instance) in held {
            assert_eq!(
                verdict(name, instance),
                "paused",
                "{name} {instance}: {shown}"
            );
        }
        for (name, instance) in free {
            assert_eq!(
                verdict(name, instance),
                "healed",
                "{name} {instance}: {shown}"
            );
        }
        let lifted = ask(&sandbox, &[&["resume"][..], args].concat());
        let line = format!("resumed: {shown} until TIME, by anna: x\n");
        assert!(lifted.out.starts_with(&line), "{lifted:?}");
        for (name, instance) in held {
            assert_eq!(
                verdict(name, instance),
                "healed",
                "{name} {instance}: {shown}"
            );
        }
    }
}

#[test]
fn resolved_is_taken_note_of_in_a_pause_and_nothing_is_listed_then() {
    let sandbox = healing();
    ask(&sandbox, &["pause", "--reason", "x"]);
    sandbox.post(&nginx()).expect(200, &["paused"]);
    sandbox.post(&nginx().resolved()).expect(200, &["resolved"]);
    done(
        &sandbox,
        &["resume"],
        "resumed: everything until TIME, by anna: x\n",
    );
}

#[test]
fn resume_says_what_still_holds_back() {
    let sandbox = healing();
    ask(&sandbox, &["pause", "--reason", "all"]);
    ask(
        &sandbox,
        &["pause", "--alert", "NginxDown", "--reason", "nginx"],
    );
    ask(
        &sandbox,
        &["pause", "--alert", "Other", "--reason", "other"],
    );
    sandbox.post(&nginx()).expect(200, &["paused"]);
    done(
        &sandbox,
        &["resume", "--alert", "NginxDown"],
        "resumed: NginxDown until TIME, by anna: nginx\n\
         still paused: everything until TIME, by anna: all\n",
    );
    let came = ask(&sandbox, &["resume", "--alert", "NginxDown"]);
    assert_eq!(
        (came.code, came.out.as_str()),
        (
            1,
            "not paused: NginxDown\nstill paused: everything until TIME, by anna: all\n"
        )
    );
    sandbox.post(&nginx()).expect(200, &["paused"]);
    let came = ask(&sandbox, &["resume"]);
    assert_eq!(lines_with(&came.out, "resumed: "), 2, "{came:?}");
    assert_eq!(
        lines_with(&came.out, "  NginxDown on web-1:9113 since TIME"),
        1
    );
    let came = ask(&sandbox, &["resume"]);
    assert_eq!(
        (came.code, came.out.as_str()),
        (1, "not paused: everything\n")
    );
}

#[test]
fn the_same_pause_given_again_replaces_the_first() {
    let sandbox = healing();
    ask(&sandbox, &["pause", "--for", "5h", "--reason", "long"]);
    done(
        &sandbox,
        &["pause", "--for", "5m", "--reason", "short"],
        "paused: everything until TIME, by anna: short\n\
         instead of: everything until TIME, by anna: long\n",
    );
    assert_eq!(sandbox.metric("self_heal_paused"), 1.0);
}

#[test]
fn a_run_under_way_is_named_and_goes_on() {
    let sandbox = Sandbox::new();
    let gate = Gate::new(&sandbox, "gate");
    sandbox.handler("NginxDown", &gate.line());
    let posting = Posting::begin(&sandbox, &[&nginx()]);
    gate.wait_for(1);
    done(
        &sandbox,
        &["pause", "--instance", "web-1", "--reason", "x"],
        "paused: every alert on web-1 until TIME, by anna: x\n\
         not stopped: NginxDown on web-1:9113, running since TIME\n",
    );
    done(
        &sandbox,
        &["pause", "--alert", "Other", "--reason", "x"],
        "paused: Other until TIME, by anna: x\n",
    );
    done(
        &sandbox,
        &["reset", "NginxDown", "web-1:9113"],
        "reset: NginxDown on web-1:9113: nothing was held against it\n  \
         a run since TIME goes on, and will count\n",
    );
    gate.open();
    posting.answer().expect(200, &["healed"]);
}

#[test]
fn wrong_usage_is_refused_with_its_reason_and_changes_nothing() {
    let sandbox = healing();
    sandbox.post(&nginx()).expect(200, &["healed"]);
    let before = fs::read(sandbox.path("state/pauses")).unwrap();
    let log = sandbox.log();
    for (args, why) in [
        (
            &["pause"][..],
            "--reason is missing: say why, for whoever finds it",
        ),
        (
            &["pause", "--reason", " \t"],
            "--reason is empty: say why, for whoever finds it",
        ),
        (
            &["pause", "--reason"],
            "missing argument for option '--reason'; it takes TEXT: why, for whoever finds it",
        ),
        (
            &["pause", "--reason", "x", "--reason", "y"],
            "--reason is given twice",
        ),
        (
            &["pause", "--reason", "x", "--for", "59s"],
            "--for: 59s is not between 1m and 30d: a pause always ends",
        ),
        (
            &["pause", "--reason", "x", "--for", "31d"],
            "--for: 31d is not between 1m and 30d: a pause always ends",
        ),
        (
            &["pause", "--reason", "x", "--for", "5"],
            "--for: `5` is not a duration: write whole numbers with d, h, m, s or ms, the longest first, such as 30s, 4h, 1h30m or 500ms",
        ),
        (
            &["pause", "--reason", "x", "--alert", "../x"],
            "--alert: \"../x\" is no alertname that a handler could have ([A-Za-z0-9_][A-Za-z0-9_.-]*, at most 128)",
        ),
        (
            &["pause", "--reason", "x", "--instance", "web-1 web-2"],
            "--instance: \"web-1 web-2\": an instance is a name or an address, with or without a port",
        ),
        (
            &["resume", "--instance="],
            "--instance: \"\": an instance is a name or an address, with or without a port",
        ),
        (
            &["pause", "--reason", "x", "web-1"],
            "unexpected argument \"web-1\"",
        ),
        (&["resume", "--all"], "invalid option '--all'"),
        (
            &["reset", "NginxDown"],
            "say which: an alertname and an instance, or --key and a key",
        ),
        (
            &["reset", "NginxDown", "web-1", "--key", "x"],
            "say which: an alertname and an instance, or --key and a key",
        ),
        (
            &["reset", "NginxDown", "web-1", "more"],
            "unexpected argument \"more\"",
        ),
        (
            &["reset", "--key", "../records"],
            "a key is 64 hexadecimal digits, the name of a file in HEAL_STATE_DIR/records",
        ),
    ] {
        let line = format!(
            "self-heal {}: {why} (see: self-heal help {})\n",
            args[0], args[0]
        );
        refused(&sandbox, args, 100, &line);
    }
    assert_eq!(fs::read(sandbox.path("state/pauses")).unwrap(), before);
    assert_eq!(sandbox.log(), log);
    sandbox.set("HEAL_NONSENSE", "1");
    let came = ask(&sandbox, &["pause", "--reason", "x"]);
    assert_eq!(came.code, 100, "{came:?}");
    assert!(came.err.contains("HEAL_NONSENSE"), "{came:?}");
}

#[test]
fn what_people_write_moves_no_terminal_and_forges_no_line() {
    let sandbox = healing();
    let hostile = "x\n2026-11-22T12:00:00Z [ERROR] forged\u{1b}[2J\u{202e}";
    let came = ask(&sandbox, &["pause", "--reason", hostile]);
    assert_eq!(came.code, 0);
    assert_eq!(came.out.lines().count(), 1);
    assert!(
        came.out.contains(r"[2J\u{202e}") && !came.out.contains('\u{1b}'),
        "{came:?}"
    );
    sandbox.post(&nginx()).expect(200, &["paused"]);
    assert_eq!(
        lines_with(&sandbox.log(), "[ERROR]"),
        lines_with(&sandbox.log(), "[WARN] paused") + 1
    );
    for line in sandbox.log().lines() {
        assert!(
            line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()),
            "{line:?}"
        );
    }
}

#[test]
fn there_is_room_for_thirty_two_pauses() {
    let sandbox = healing();
    for n in 0..Pauses::MOST {
        let instance = format!("web-{n}:9113");
        let came = ask(
            &sandbox,
            &["pause", "--instance", &instance, "--reason", "x"],
        );
        assert_eq!(came.code, 0, "{came:?}");
    }
    refused(
        &sandbox,
        &["pause", "--alert", "NginxDown", "--reason", "x"],
        111,
        "self-heal pause: there is no room for another pause beside these 32: pause more at once, or resume one\n",
    );
    sandbox.post(&nginx()).expect(200, &["paused"]);
    sandbox
        .post(&Alert::firing("NginxDown", "web-99:1"))
        .expect(200, &["healed"]);
    assert_eq!(sandbox.metric("self_heal_paused"), 32.0);
    let came = ask(&sandbox, &["resume"]);
    assert_eq!(lines_with(&came.out, "resumed: "), 32, "{came:?}");
}

#[test]
fn pauses_and_resumes_at_once_lose_nothing() {
    let sandbox = healing();
    for n in 0..8 {
        ask(
            &sandbox,
            &["pause", "--instance", &format!("old-{n}"), "--reason", "x"],
        );
    }
    thread::scope(|scope| {
        for n in 0..8 {
            let sandbox = &sandbox;
            let [old, new] = ["old", "new"].map(|age| format!("{age}-{n}"));
            let command = move || Command::new(PROGRAM);
            let conf = sandbox.path("self-heal.conf");
            let other = conf.clone();
            scope.spawn(move || {
                let args = ["resume", "--instance", &old];
                let status = command()
                    .args(args)
                    .env("HEAL_CONF", conf)
                    .stdout(Stdio::null())
                    .status();
                assert_eq!(status.unwrap().code(), Some(0));
            });
            scope.spawn(move || {
                let args = ["pause", "--reason", "x", "--instance", &new];
                let status = command()
                    .args(args)
                    .env("HEAL_CONF", other)
                    .stdout(Stdio::null())
                    .status();
                assert_eq!(status.unwrap().code(), Some(0));
            });
        }
    });
    let came = ask(&sandbox, &["resume"]);
    assert_eq!(came.out.lines().count(), 8, "{came:?}");
    assert_eq!(
        lines_with(&came.out, "resumed: every alert on new-"),
        8,
        "{came:?}"
    );
}

#[test]
fn damaged_pauses_hold_everything_back_until_somebody_looks() {
    for garbage in ["garbage", ""] {
        let sandbox = healing();
        fs::write(sandbox.path("state/pauses"), garbage).unwrap();
        let answer = sandbox.post(&nginx());
        answer.expect(503, &["error"]);
        assert!(answer.detail().contains("state/pauses"), "{}", answer.body);
        assert_eq!(sandbox.runs("NginxDown"), 0);
        assert_eq!(sandbox.metric("self_heal_paused"), 1.0);
        let ready = sandbox.get("/-/ready");
        assert_eq!(ready.code, 503);
        assert!(ready.body.contains("pauses: damaged"), "{}", ready.body);

        let came = ask(&sandbox, &["pause", "--alert", "Other", "--reason", "x"]);
        assert_eq!(came.code, 0, "{came:?}");
        assert!(
            came.err
                .starts_with("self-heal: it was damaged, and is kept as DIR/state/damaged/pauses-")
        );
        let kept = fs::read_dir(sandbox.path("state/damaged"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(fs::read(kept.path()).unwrap(), garbage.as_bytes());
        assert_eq!(
            lines_with(&sandbox.log(), "[ERROR] record_damaged kept="),
            1
        );
        sandbox.post(&nginx()).expect(200, &["paused"]);
        let came = ask(&sandbox, &["resume"]);
        assert!(
            came.out.starts_with(
                "resumed: everything until TIME, by self-heal: the file with the pauses was damaged\n\
                 resumed: Other until TIME, by anna: x\n"
            ),
            "{came:?}"
        );
        sandbox.post(&nginx()).expect(200, &["healed"]);
    }
}

#[test]
fn a_missing_file_of_pauses_is_no_pause_and_is_made_again() {
    let sandbox = healing();
    ask(&sandbox, &["pause", "--reason", "x"]);
    fs::remove_file(sandbox.path("state/pauses")).unwrap();
    sandbox.post(&nginx()).expect(200, &["healed"]);
    let made = fs::metadata(sandbox.path("state/pauses")).unwrap();
    assert_eq!((made.len(), made.mode()), (2 * 8192, 0o100_600));
}

#[test]
fn everything_else_may_be_broken() {
    let sandbox = healing();
    fs::remove_dir(sandbox.path("log")).unwrap();
    sandbox.write("log", "in the way");
    sandbox.write("state/history.jsonl/x", "in the way");
    sandbox.write("state/metrics", "in the way");
    fs::remove_dir_all(sandbox.path("lock")).unwrap();
    fs::remove_dir_all(sandbox.path("handlers")).unwrap();
    fs::remove_file(sandbox.path("allowed.txt")).unwrap();
    let came = ask(&sandbox, &["pause", "--reason", "x"]);
    assert_eq!(
        (came.code, came.out.as_str()),
        (0, "paused: everything until TIME, by anna: x\n")
    );
    assert!(
        came.err.starts_with("self-heal: log listener.log: "),
        "{came:?}"
    );
    assert_eq!(ask(&sandbox, &["resume"]).code, 0);
}

/// Every file below, with its owner.
fn owners(folder: &Path) -> Vec<(PathBuf, u32)> {
    let listed = run(Command::new("find")
        .arg(folder)
        .args(["-printf", "%U %p\\n"]));
    let owner = |line: &str| {
        let (uid, path) = line.split_once(' ').unwrap();
        (PathBuf::from(path), uid.parse().unwrap())
    };
    listed.lines().map(owner).collect()
}

#[test]
fn root_leaves_no_file_of_its_own_in_the_healers_folders() {
    as_root();
    let sandbox = healing();
    sandbox.handler("NginxDown", "exit 2\n");
    // Its first request makes files of that account's; some of them are missing when root comes.
    Posting::by(as_stranger(&sandbox), &[&nginx()])
        .answer()
        .expect(200, &["gave-up"]);
    for name in ["state/pauses", "state/reserve", "log/listener.log"] {
        fs::remove_file(sandbox.path(name)).unwrap();
    }
    done(
        &sandbox,
        &["pause", "--reason", "x"],
        "paused: everything until TIME, by anna: x\n",
    );
    assert_eq!(ask(&sandbox, &["reset", "NginxDown", "web-1:9113"]).code, 0);
    done(
        &sandbox,
        &["resume"],
        "resumed: everything until TIME, by anna: x\n",
    );
    for folder in ["state", "log"] {
        for (path, owner) in owners(&sandbox.path(folder)) {
            assert_eq!(owner, STRANGER, "{}", path.display());
        }
    }
    assert_eq!(
        lines_with(&sandbox.log(), "who=anna"),
        3,
        "{}",
        sandbox.log()
    );
    assert!(sandbox.path("state/reserve").exists() && sandbox.path("state/pauses").exists());
}

#[test]
fn root_may_stop_what_has_a_configuration_of_the_healers() {
    as_root();
    let sandbox = healing();
    Posting::by(as_stranger(&sandbox), &[&nginx()])
        .answer()
        .expect(200, &["healed"]);
    chown(sandbox.path("self-heal.conf"), Some(STRANGER), None).unwrap();
    done(
        &sandbox,
        &["pause", "--reason", "x"],
        "paused: everything until TIME, by anna: x\n",
    );
    assert_eq!(sandbox.operate(&["drain", "--list"]).status.code(), Some(0));
    done(
        &sandbox,
        &["resume"],
        "resumed: everything until TIME, by anna: x\n",
    );
}

#[test]
fn root_makes_no_state_folder_that_the_healer_could_not_use() {
    let sandbox = healing();
    fs::remove_dir_all(sandbox.path("state")).unwrap();
    refused(
        &sandbox,
        &["pause", "--reason", "x"],
        111,
        "self-heal pause: HEAL_STATE_DIR DIR/state: whose it is cannot be told: No such file or directory (os error 2): \
         the account that serves has to make it first (tmpfiles.d, StateDirectory=)\n",
    );
    assert!(!sandbox.path("state").exists());
}

/// The executable by an account that has nothing here.
pub fn stranger(sandbox: &Sandbox) -> Command {
    as_root();
    let program = sandbox.path("program");
    if !program.exists() {
        install(Path::new(PROGRAM), &program, "755");
    }
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")])
        .arg("--clear-groups")
        .arg(program);
    command
}

#[test]
fn an_account_that_may_not_is_told_who_may() {
    let sandbox = healing();
    ask(&sandbox, &["pause", "--reason", "x"]);
    let before = owners(&sandbox.path("state"));
    for mode in [0o700, 0o755] {
        chmod(&sandbox.path("state"), mode);
        for args in [
            &["pause", "--reason", "x"][..],
            &["resume"],
            &["reset", "NginxDown", "web-1:9113"],
        ] {
            let came = ask_by(stranger(&sandbox), &sandbox, args);
            assert_eq!((came.code, came.out.as_str()), (111, ""), "{came:?}");
            let hint = " (use sudo, or the account root, whose folder it is)\n";
            assert!(came.err.ends_with(hint), "{came:?}");
            assert!(came.err.contains("DIR/state"), "{came:?}");
        }
    }
    // Not even whose it is can be asked.
    let hidden = sandbox.path("hidden");
    fs::create_dir(&hidden).unwrap();
    chmod(&hidden, 0o700);
    fs::create_dir(hidden.join("state")).unwrap();
    sandbox.set(
        "HEAL_STATE_DIR",
        &hidden.join("state").display().to_string(),
    );
    let came = ask_by(stranger(&sandbox), &sandbox, &["resume"]);
    assert_eq!(came.code, 111, "{came:?}");
    assert!(
        came.err
            .ends_with(" (use sudo, or the account that serves)\n"),
        "{came:?}"
    );
    assert_eq!(owners(&sandbox.path("state")), before);
}

#[test]
fn only_root_is_believed_who_asks() {
    let sandbox = healing();
    for folder in ["state", "log"] {
        chown(sandbox.path(folder), Some(STRANGER), Some(STRANGER)).unwrap();
    }
    let came = ask_by(stranger(&sandbox), &sandbox, &["pause", "--reason", "x"]);
    let line = format!("paused: everything until TIME, by uid {STRANGER}: x\n");
    assert_eq!(
        (came.code, came.out.as_str()),
        (0, line.as_str()),
        "{came:?}"
    );
}

#[test]
fn reset_forgets_what_counts_against_an_alert() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 1\n");
    for verdict in ["failed", "failed", "tripped", "tripped"] {
        assert_eq!(sandbox.post(&nginx()).verdicts(), [verdict]);
    }
    // Somebody works with the lock in hand.
    let lock = File::create(sandbox.path("lock/heal-NginxDown.lock")).unwrap();
    lock.lock().unwrap();
    done(
        &sandbox,
        &["reset", "NginxDown", "web-1:9113"],
        "reset: NginxDown on web-1:9113: breaker closed (failures), 3 failures, 3 counted runs, \
         the retry delay, page ends (failures)\n",
    );
    drop(lock);
    let log = timeless(&sandbox.log());
    let key = sha256(nginx().fingerprint().as_bytes());
    let line = format!(
        "TIME [WARN] reset who=anna alertname=NginxDown instance=web-1:9113 key={key} forgotten=\"breaker closed"
    );
    assert_eq!(lines_with(&log, &line), 1, "{log}");
    let answer = sandbox.post(&nginx());
    answer.expect(503, &["failed"]);
    assert_eq!(answer.json()["results"][0]["attempt"], 1);
    done(
        &sandbox,
        &["reset", "--key", &key],
        "reset: NginxDown on web-1:9113: 1 failure, 1 counted run, the retry delay\n",
    );
    done(
        &sandbox,
        &["reset", "--key", &key],
        "reset: NginxDown on web-1:9113: nothing was held against it\n",
    );
}

#[test]
fn reset_means_every_record_of_an_alert_and_no_other() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 2\n");
    sandbox.handler("Other", "exit 2\n");
    let one = nginx();
    let two = nginx().with("fingerprint", "0123456789abcdef".into());
    let elsewhere = Alert::firing("NginxDown", "web-2");
    let other = Alert::firing("Other", "web-1:9113");
    let all = [&one, &two, &elsewhere, &other];
    sandbox.post_all(&all).expect(200, &["gave-up"; 4]);
    let came = ask(&sandbox, &["reset", "NginxDown", "web-1:9113"]);
    assert_eq!((came.code, came.out.lines().count()), (0, 2), "{came:?}");
    sandbox
        .post_all(&all)
        .expect(200, &["gave-up", "gave-up", "tripped", "tripped"]);
}

#[test]
fn reset_of_what_is_not_there_says_what_is() {
    let sandbox = Sandbox::new();
    let nothing = |args: &[&str], out: &str| {
        let came = ask(&sandbox, args);
        assert_eq!(
            (came.code, came.out.as_str(), came.err.as_str()),
            (1, out, "")
        );
    };
    nothing(
        &["reset", "NginxDown", "web-1"],
        "no record of NginxDown on web-1\n",
    );
    nothing(
        &["reset", "--key", &"0".repeat(64)],
        "no record has this key\n",
    );
    nothing(
        &["reset", "--", "-x", "a\u{1b}b"],
        "no record of -x on a\\u{1b}b\n",
    );
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.post(&nginx()).expect(200, &["healed"]);
    let damaged = record_of(&sandbox, &Alert::firing("NginxDown", "web-2"));
    fs::write(&damaged, "garbage").unwrap();
    let key = damaged.file_name().unwrap().to_str().unwrap();
    nothing(
        &["reset", "NginxDown", "web-1"],
        &format!(
            "no record of NginxDown on web-1\n\
             a damaged one may be meant: self-heal reset --key {key}\n\
             there is one of NginxDown on web-1:9113\n"
        ),
    );
}

#[test]
fn a_damaged_record_is_let_go_of_by_its_key() {
    for judged_before in [false, true] {
        let sandbox = healing();
        sandbox.post(&nginx()).expect(200, &["healed"]);
        let record = record_of(&sandbox, &nginx());
        let key = record.file_name().unwrap().to_str().unwrap();
        fs::write(&record, "garbage").unwrap();
        if judged_before {
            sandbox.post(&nginx()).expect(503, &["error"]);
            let came = ask(&sandbox, &["reset", "NginxDown", "web-1:9113"]);
            assert!(came.out.contains(&format!("--key {key}")), "{came:?}");
        }
        let came = ask(&sandbox, &["reset", "--key", key]);
        assert_eq!(came.code, 0, "{came:?}");
        assert!(came.out.starts_with(&format!("reset: {key}: ")), "{came:?}");
        assert!(came.out.contains("damaged record"), "{came:?}");
        assert_eq!(
            fs::read_dir(sandbox.path("state/damaged")).unwrap().count(),
            1
        );
        sandbox.post(&nginx()).expect(200, &["healed"]);
    }
}
