//! `self-heal status`: on an empty host, a busy one, a damaged one, without permission, on a terminal, in a pipe.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::docs;
use crate::stage::{Gate, Posting, run};
use crate::stopping::{ask, ask_by, stranger, timeless};
use crate::support::{Alert, PROGRAM, Sandbox, chmod};

/// Every file below a folder with all that could have changed, but the time of the last look.
pub fn tree(top: &Path) -> String {
    let find = ["-printf", "%p %y %m %U %G %s %T@ %C@ %l\n"];
    let listed = run(Command::new("find").arg(top).args(find));
    let mut lines: Vec<&str> = listed.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// What a person is shown, without what differs from run to run: times, process ids, run ids, blanks between columns.
fn shown(text: &str) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let text = timeless(text).replace(host.trim(), "HOST");
    let line = |line: &str| {
        let indent = if line.starts_with("  ") { "  " } else { "" };
        let cells = line.split("  ").filter(|cell| !cell.is_empty());
        let cells: Vec<String> = cells.map(|cell| constant(cell.trim())).collect();
        format!("{indent}{}", cells.join(" | "))
    };
    let lines: Vec<String> = text.lines().map(line).collect();
    lines.join("\n")
}

fn constant(cell: &str) -> String {
    let run_id = cell.split('-').count() == 3 && cell.ends_with(".Slow");
    if run_id {
        return "RUN".to_owned();
    }
    let word = |word: &str| {
        let clock = word.len() == 9 && word.ends_with('Z') && word.matches(':').count() == 2;
        let number = word.trim_end_matches(')');
        if clock || word == "TIME" {
            "TIME".to_owned()
        } else if number.len() > 2 && number.bytes().all(|b| b.is_ascii_digit()) {
            word.replace(number, "PID")
        } else {
            word.to_owned()
        }
    };
    let words: Vec<String> = cell.split(' ').map(word).collect();
    let text = words.join(" ");
    match text.split_once(" (") {
        Some((before, rest)) if rest.ends_with(" ago)") => format!("{before} (AGO)"),
        Some((before, rest)) if rest.starts_with("in ") => format!("{before} (LEFT)"),
        _ => text,
    }
}

fn json_of(sandbox: &Sandbox) -> Value {
    let output = sandbox.operate(&["status", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A host with one of everything; what runs waits at the gate.
fn busy(sandbox: &Sandbox) -> (Gate, Posting) {
    sandbox.set("HEAL_RETRY_DELAY", "1h");
    sandbox.recorder();
    sandbox.handler("GaveUp", "exit 2\n");
    sandbox.handler("Failing", "exit 1\n");
    sandbox.handler("Later", "exit 75\n");
    sandbox.handler("Healed", "exit 0\n");
    sandbox.handler("Eager", "# self-heal: retry-delay=0 settle=0\nexit 1\n");
    let gate = Gate::new(sandbox, "slow");
    sandbox.handler("Slow", &gate.line());
    for (name, instance) in [
        ("GaveUp", "web-1:9100"),
        ("Failing", "web-2"),
        ("Later", "web-2"),
        ("Healed", "web-3"),
        ("Eager", "web-4"),
    ] {
        sandbox.post(&Alert::firing(name, instance));
    }
    let over = Alert::firing("Healed", "web-5");
    sandbox.post(&over);
    sandbox.post(&over.resolved());
    let pause = ["pause", "--instance", "db-1", "--reason", "disk swap"];
    assert_eq!(ask(sandbox, &pause).code, 0);
    sandbox.post(&Alert::firing("Healed", "db-1"));
    let posting = Posting::begin(sandbox, &[&Alert::firing("Slow", "web-6")]);
    gate.wait_for(1);
    (gate, posting)
}

#[test]
fn an_empty_host_is_quiet_and_stays_untouched() {
    let sandbox = Sandbox::new();
    for folder in ["state", "log", "lock", "handlers"] {
        fs::remove_dir(sandbox.path(folder)).unwrap();
    }
    let before = tree(&sandbox.path(""));
    let came = ask(&sandbox, &["status"]);
    assert_eq!((came.code, came.err.as_str()), (0, ""), "{came:?}");
    assert_eq!(
        shown(&came.out),
        "HOST | TIME | a person is needed\n0 alerts on record\n\nwrong\n  HEAL_STATE_DIR: DIR/state is not there: no \
         request has ever come, or the name is wrong"
    );
    assert_eq!(tree(&sandbox.path("")), before);
    fs::create_dir(sandbox.path("state")).unwrap();
    let quiet = ask(&sandbox, &["status"]).out;
    assert_eq!(shown(&quiet), "HOST | TIME | all quiet\n0 alerts on record");
    fs::remove_dir(sandbox.path("state")).unwrap();
    let before = tree(&sandbox.path(""));
    json_of(&sandbox);
    assert_eq!(tree(&sandbox.path("")), before);
}

#[test]
fn a_busy_host_shows_what_is_urgent_first() {
    let sandbox = Sandbox::new();
    let (gate, posting) = busy(&sandbox);
    let came = ask(&sandbox, &["status"]);
    assert_eq!((came.code, came.err.as_str()), (0, ""), "{came:?}");
    assert_eq!(
        shown(&came.out),
        "HOST | TIME | a person is needed
1 breaker open, 1 running, 4 waiting, 1 healed, not verified, 1 pause, 8 alerts on record

breaker open
  GaveUp | web-1:9100 | gave-up | since TIME (AGO) | next attempt TIME (LEFT) | paged

running
  Slow | web-6 | attempt 1 | since TIME (AGO) | until TIME (LEFT) | pid PID | RUN

waiting
  Failing | web-2 | failed 1 in a row | until TIME (LEFT)
  Later | web-2 | deferred | until TIME (LEFT)
  Eager | web-4 | failed 1 in a row | next attempt with the sender's next repeat
  Healed | db-1 | held back by a pause TIME (AGO)

healed, not verified
  Healed | web-3 | healed TIME (AGO) | settles TIME (LEFT)

paused
  every alert on db-1 | until TIME (LEFT) | by anna | disk swap"
    );
    gate.open();
    posting.answer();
    let after = ask(&sandbox, &["status"]).out;
    assert!(!after.contains("running"), "{after}");
}

#[test]
fn what_ends_is_not_shown_any_more() {
    let sandbox = Sandbox::new();
    sandbox.handler("GaveUp", "exit 2\n");
    let alert = Alert::firing("GaveUp", "web-1");
    sandbox.post(&alert);
    assert_eq!(json_of(&sandbox)["breakers"].as_array().unwrap().len(), 1);
    sandbox.post(&alert.resolved());
    let status = json_of(&sandbox);
    assert_eq!(status["breakers"], json!([]));
    let out = ask(&sandbox, &["status"]).out;
    assert!(out.contains("all quiet\n1 alert on record"), "{out}");
}

#[test]
fn the_json_is_the_documented_one() {
    let sandbox = Sandbox::new();
    let (gate, posting) = busy(&sandbox);
    let status = json_of(&sandbox);
    let rows = docs::table("| member | of | what |");
    let mut documented: Vec<(String, String)> = Vec::new();
    for row in &rows {
        documented.push((docs::word(&row[1]), docs::word(&row[0])));
    }
    let mut given: Vec<(String, String)> = Vec::new();
    for (name, value) in status.as_object().unwrap() {
        given.push(("status".to_owned(), name.clone()));
        let object = match value {
            Value::Array(list) => list.first().cloned().unwrap_or(Value::Null),
            other => other.clone(),
        };
        for member in object.as_object().into_iter().flatten() {
            given.push((name.clone(), member.0.clone()));
        }
    }
    // Not reached here.
    for member in ["since", "until"] {
        given.push(("storm".to_owned(), member.to_owned()));
    }
    documented.sort();
    given.sort();
    assert_eq!(given, documented);
    assert_eq!(status["in_flight"][0]["supervised"], true);
    assert_eq!(status["breakers"][0]["reason"], "gave-up");
    assert_eq!(status["breakers"][0]["paged"], true);
    assert_eq!(status["storm"], Value::Null);
    gate.open();
    posting.answer();
}

#[test]
fn a_storm_and_a_dead_supervisor_are_seen() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_STORM_LIMIT", "1/1h");
    let gate = Gate::new(&sandbox, "slow");
    sandbox.handler("Slow", &gate.line());
    let posting = Posting::begin(&sandbox, &[&Alert::firing("Slow", "web-1")]);
    gate.wait_for(1);
    posting.kill();
    sandbox.handler("Other", "exit 0\n");
    sandbox
        .post(&Alert::firing("Other", "web-2"))
        .expect(503, &["storm"]);
    let status = json_of(&sandbox);
    assert_eq!(status["in_flight"][0]["supervised"], false);
    assert!(status["storm"]["until"].is_string(), "{status}");
    let out = ask(&sandbox, &["status"]).out;
    assert!(out.contains("lost its supervisor"), "{out}");
    assert!(out.contains("HEAL_STORM_LIMIT is reached"), "{out}");
    gate.open();
}

#[test]
fn two_records_of_one_alert_on_one_instance_are_told_apart() {
    let sandbox = Sandbox::new();
    sandbox.handler("DiskFull", "exit 2\n");
    let disk = |fingerprint: &str| {
        Alert::firing("DiskFull", "db-1").with("fingerprint", json!(fingerprint))
    };
    sandbox.post(&disk("aaaaaaaaaaaaaaaa"));
    let alone = ask(&sandbox, &["status"]).out;
    assert!(!alone.contains("key "), "{alone}");
    sandbox.post(&disk("bbbbbbbbbbbbbbbb"));
    sandbox.post(&Alert::firing("DiskFull", "db-2"));
    let out = ask(&sandbox, &["status"]).out;
    let status = json_of(&sandbox);
    let breakers = status["breakers"].as_array().unwrap();
    assert_eq!(breakers.len(), 3, "{status}");
    for line in breakers {
        let twice = line["instance"] == "db-1";
        let key = line["key"].as_str().unwrap();
        let named = out
            .lines()
            .any(|shown| shown.ends_with(&format!("  key {key}")));
        assert_eq!(named, twice, "{key}: {out}");
    }
}

#[test]
fn what_is_damaged_is_named_with_its_cure() {
    let sandbox = Sandbox::new();
    sandbox.handler("Failing", "exit 1\n");
    sandbox.post(&Alert::firing("Failing", "web-1"));
    let key = json_of(&sandbox)["waiting"][0]["key"]
        .as_str()
        .map(str::to_owned);
    let key = key.unwrap();
    sandbox.write(&format!("state/records/{key}"), "rubbish");
    sandbox.write("state/pauses", "rubbish");
    sandbox.write("state/host", "rubbish");
    let before = tree(&sandbox.path("state"));
    let came = ask(&sandbox, &["status"]);
    assert_eq!(came.code, 0, "{came:?}");
    for part in [
        "a person is needed",
        &format!("a record is damaged, and nothing runs for it: self-heal reset --key {key}\n"),
        "the host's record is damaged: no run until HEAL_STORM_LIMIT's window has passed\n",
        "cannot read the pauses DIR/state/pauses: damaged: self-heal resume keeps it aside\n",
    ] {
        assert!(came.out.contains(part), "{part}: {}", came.out);
    }
    let status = json_of(&sandbox);
    assert_eq!(status["damaged"], json!([key]));
    assert_eq!(status["pauses"], Value::Null);
    assert_eq!(status["problems"].as_array().unwrap().len(), 2, "{status}");
    assert_eq!(tree(&sandbox.path("state")), before);
}

#[test]
fn nobodys_lock_is_waited_for() {
    let sandbox = Sandbox::new();
    let (gate, posting) = busy(&sandbox);
    let mut held = Vec::new();
    for folder in ["lock", "state", "state/records", "state/spool"] {
        for entry in fs::read_dir(sandbox.path(folder)).unwrap() {
            let path = entry.unwrap().path();
            let file = File::open(&path).unwrap();
            // The run's own lock is taken already.
            let _ = file.try_lock();
            held.push(file);
        }
    }
    assert_eq!(ask(&sandbox, &["status"]).code, 0);
    drop(held);
    gate.open();
    posting.answer();
}

#[test]
fn an_account_that_may_not_look_is_told_who_may() {
    let sandbox = Sandbox::new();
    sandbox.handler("Failing", "exit 1\n");
    sandbox.post(&Alert::firing("Failing", "web-1"));
    chmod(&sandbox.path("state"), 0o700);
    let came = ask_by(stranger(&sandbox), &sandbox, &["status"]);
    assert_eq!((came.code, came.out.as_str()), (111, ""), "{came:?}");
    assert_eq!(
        came.err,
        "self-heal status: cannot list DIR/state/records: Permission denied (os error 13) \
         (use sudo, or the account root, whose folder it is)\n"
    );
}

#[test]
fn a_wrong_configuration_is_what_is_wrong() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_SETTLE", "soon");
    let came = ask(&sandbox, &["status"]);
    assert_eq!((came.code, came.out.as_str()), (100, ""), "{came:?}");
    assert!(came.err.contains("DIR/self-heal.conf:"), "{came:?}");
    assert!(came.err.contains("HEAL_SETTLE"), "{came:?}");
}

/// The same on a terminal, as script(1) gives one.
fn on_a_terminal(sandbox: &Sandbox, env: &[(&str, &str)]) -> String {
    let words = format!("{PROGRAM} status");
    let mut script = Command::new("script");
    script
        .args(["-qec", &words, "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HEAL_CONF", sandbox.path("self-heal.conf"))
        .envs(env.iter().copied())
        .stdin(Stdio::null());
    run(&mut script)
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let sandbox = Sandbox::new();
    sandbox.handler("GaveUp", "exit 2\n");
    sandbox.post(&Alert::firing("GaveUp", "web-1"));
    let xterm = ("TERM", "xterm");
    let coloured = on_a_terminal(&sandbox, &[xterm]);
    assert!(coloured.contains("\u{1b}[31mGaveUp\u{1b}[0m"), "{coloured}");
    for env in [
        &[xterm, ("NO_COLOR", "1")][..],
        &[("TERM", "dumb")],
        &[("TERM", "")],
    ] {
        let plain = on_a_terminal(&sandbox, env);
        assert!(plain.contains("GaveUp"), "{plain}");
        assert!(!plain.contains('\u{1b}'), "{env:?}: {plain}");
    }
    let piped = ask(&sandbox, &["status"]).out;
    assert!(!piped.contains('\u{1b}'), "{piped}");
}

#[test]
fn no_name_of_a_senders_reaches_the_terminal_raw() {
    let sandbox = Sandbox::new();
    sandbox.write("allowed.txt", "*\n");
    sandbox.handler("Failing", "exit 1\n");
    sandbox.set("HEAL_RETRY_DELAY", "1h");
    sandbox.post(&Alert::firing("Failing", "web\u{202e}2J"));
    let out = ask(&sandbox, &["status"]).out;
    assert!(out.contains("web\\u{202e}2J"), "{out}");
}

#[test]
fn watching_shows_it_again_and_again_until_nobody_reads() {
    let sandbox = Sandbox::new();
    let mut child = sandbox
        .command_of(&["status", "--watch"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    while seen < 2 {
        let line = lines.next().unwrap().unwrap();
        seen += usize::from(line.ends_with("all quiet"));
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn where_nobody_is_told_that_is_what_is_wrong() {
    let sandbox = Sandbox::new();
    sandbox.handler("GaveUp", "exit 2\n");
    sandbox.post(&Alert::firing("GaveUp", "web-1"));
    let out = ask(&sandbox, &["status"]).out;
    assert!(
        out.contains("DIR/escalate.d has no escalator: nobody is told"),
        "{out}"
    );
    assert!(!out.contains("paged"), "{out}");
    assert_eq!(json_of(&sandbox)["breakers"][0]["paged"], false);
}
