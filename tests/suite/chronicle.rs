//! `self-heal history`: what it shows, sums up and follows, over rotations by the real logrotate, and what it says of a
//! history that somebody changed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use self_heal::judge::Time;
use self_heal::wire::history::{self, Event, GENESIS, RunLine};
use self_heal::wire::timestamp;
use serde_json::{Value, json};

use crate::stage::{Gate, Posting, STRANGER, as_root, as_stranger, install, run};
use crate::stopping::{Came, ask, ask_by, timeless};
use crate::support::{Alert, PROGRAM, PROJECT, Sandbox, chmod, until};

/// A history written by hand, through the code that writes the real one.
struct Book<'a> {
    sandbox: &'a Sandbox,
    prev: String,
}

impl<'a> Book<'a> {
    fn new(sandbox: &'a Sandbox) -> Book<'a> {
        let prev = GENESIS.to_owned();
        Book { sandbox, prev }
    }

    /// Writes these lines behind those of a file, and the head.
    fn write(&mut self, file: &str, lines: &[(&str, Event<'_>)]) {
        let mut text = fs::read_to_string(self.sandbox.path(file)).unwrap_or_default();
        for (at, event) in lines {
            let line = history::line(timestamp::parse(at).unwrap(), event, &self.prev).unwrap();
            self.prev = history::digest(line.as_bytes());
            text.push_str(&line);
        }
        self.sandbox.write(file, &text);
        self.sandbox.write("state/history.head", &self.prev);
    }
}

fn of<'a>(run_id: &'a str, alertname: &'a str, instance: &'a str, attempt: u32) -> RunLine<'a> {
    RunLine {
        run_id,
        alertname,
        instance,
        fingerprint: "b2cf8126af425ee7",
        group_key: "{}",
        peer: "local",
        attempt,
        forced: false,
    }
}

fn intent(run: RunLine<'_>) -> Event<'_> {
    Event::Intent {
        run,
        handler: "/opt/self-heal/handlers/x.sh",
        handler_sha256: "ab",
        timeout_ms: 240_000,
        snapshot: None,
    }
}

fn result<'a>(
    run: RunLine<'a>,
    outcome: &'a str,
    duration_ms: u64,
    rollback: Option<&'a str>,
) -> Event<'a> {
    Event::Result {
        run,
        handler_sha256: Some("ab"),
        exit: None,
        outcome,
        duration_ms: Some(duration_ms),
        verdict: Some(if outcome == "gave-up" {
            "gave-up"
        } else {
            outcome
        }),
        rollback,
    }
}

/// Four runs over two files, one of them not ended, and one alert that was only judged.
fn told(sandbox: &Sandbox) {
    let mut book = Book::new(sandbox);
    let down = |n, attempt| of(n, "NginxDown", "web-1:9113", attempt);
    book.write(
        "state/history.jsonl.1",
        &[
            (
                "2026-11-22T12:00:00Z",
                intent(down("19ab-1-1.NginxDown", 1)),
            ),
            (
                "2026-11-22T12:00:02Z",
                result(
                    down("19ab-1-1.NginxDown", 1),
                    "failed",
                    2_100,
                    Some("restored"),
                ),
            ),
            (
                "2026-11-22T12:01:00Z",
                intent(down("19ab-1-2.NginxDown", 2)),
            ),
            (
                "2026-11-22T12:01:01Z",
                result(down("19ab-1-2.NginxDown", 2), "healed", 80, None),
            ),
            (
                "2026-11-22T12:08:00Z",
                Event::Ineffective {
                    run: down("19ab-1-2.NginxDown", 2),
                    count: 1,
                },
            ),
            (
                "2026-11-22T12:08:00Z",
                intent(down("19ab-1-3.NginxDown", 1)),
            ),
        ],
    );
    let full = |n| of(n, "DiskFull", "db-2", 1);
    let observed = Event::Observed {
        run: of("", "DiskFull", "db-3", 1),
        handler: "/opt/self-heal/handlers/DiskFull.sh",
        handler_sha256: "ab",
        would: "run",
        command: "/opt/self-heal/handlers/DiskFull.sh db-3 DiskFull ''",
    };
    book.write(
        "state/history.jsonl",
        &[
            (
                "2026-11-22T12:08:01Z",
                result(down("19ab-1-3.NginxDown", 1), "healed", 120, None),
            ),
            (
                "2026-11-22T12:09:00Z",
                Event::Verified {
                    run: down("19ab-1-3.NginxDown", 1),
                    lasted_ms: Some(540_000),
                },
            ),
            ("2026-11-22T13:00:00Z", observed),
            ("2026-11-22T14:00:00Z", intent(full("19ab-2-1.DiskFull"))),
        ],
    );
}

#[track_caller]
fn shows(sandbox: &Sandbox, args: &[&str], out: &str) {
    let args = [&["history"][..], args].concat();
    let output = sandbox.operate(&args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(text(&output.stdout), out, "{args:?}");
    assert_eq!(text(&output.stderr), "", "{args:?}");
    assert_eq!(output.status.code(), Some(0), "{args:?}");
}

#[track_caller]
fn says(sandbox: &Sandbox, args: &[&str], code: i32, out: &str, err: &str) {
    let args = [&["history"][..], args].concat();
    let expected = Came {
        code,
        out: out.to_owned(),
        err: timeless(err),
    };
    assert_eq!(ask(sandbox, &args), expected, "{args:?}");
}

/// The commands of docs/operations.md, over the history of these tests.
pub fn it_is_as_on_the_page(transcript: &str) {
    let sandbox = Sandbox::new();
    told(&sandbox);
    let parts: Vec<&str> = transcript.split("# self-heal history").skip(1).collect();
    assert_eq!(parts.len(), 3);
    for part in parts {
        let (args, out) = part.split_once('\n').unwrap();
        shows(&sandbox, &args.split_whitespace().collect::<Vec<_>>(), out);
    }
}

#[test]
fn a_line_for_each_run() {
    let sandbox = Sandbox::new();
    told(&sandbox);
    shows(
        &sandbox,
        &[],
        "\
TIME                  ALERT      INSTANCE    ATTEMPT  OUTCOME   VERDICT    TOOK   ROLLBACK  AFTERWARDS         RUN
2026-11-22T12:00:00Z  NginxDown  web-1:9113  1        failed    failed     2.1s   restored                     19ab-1-1.NginxDown
2026-11-22T12:01:00Z  NginxDown  web-1:9113  2        healed    healed     80ms             ineffective        19ab-1-2.NginxDown
2026-11-22T12:08:00Z  NginxDown  web-1:9113  1        healed    healed     120ms            verified after 9m  19ab-1-3.NginxDown
2026-11-22T13:00:00Z  DiskFull   db-3        1        observed  would run
2026-11-22T14:00:00Z  DiskFull   db-2        1        unknown                                                  19ab-2-1.DiskFull
",
    );
    shows(
        &sandbox,
        &["--summary"],
        "\
ALERT      RUNS  HEALED  VERIFIED  INEFFECTIVE  FAILED  MEAN RUN  MEAN TIME TO RESOLVE  LAST RUN
DiskFull   1     0       0         0            0       -         -                     2026-11-22T14:00:00Z
NginxDown  3     2       1         1            1       766ms     9m                    2026-11-22T12:08:00Z
",
    );
    let output = sandbox.operate(&["history", "--summary", "--json", "--alert", "NginxDown"]);
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = json!({
        "alertname": "NginxDown", "runs": 3, "healed": 2, "verified": 1, "ineffective": 1, "failed": 1,
        "mean_duration_ms": 766, "mean_time_to_resolve_ms": 540_000, "last_run": "2026-11-22T12:08:00Z",
    });
    assert_eq!(line, expected);
}

#[test]
fn what_is_asked_for_is_shown_and_nothing_else() {
    let sandbox = Sandbox::new();
    told(&sandbox);
    let last_words = |args: &[&str]| {
        let output = sandbox.operate(&[&["history"][..], args].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let rows = text
            .lines()
            .skip(1)
            .map(|line| line.rsplit(' ').next().unwrap().to_owned());
        rows.collect::<Vec<_>>().join(" ")
    };
    for (args, runs) in [
        (&["--alert", "DiskFull"][..], "run 19ab-2-1.DiskFull"),
        (
            &["--instance", "web-1:9113", "--outcome", "healed"],
            "19ab-1-2.NginxDown 19ab-1-3.NginxDown",
        ),
        (&["--outcome", "verified"], "19ab-1-3.NginxDown"),
        (&["--outcome", "ineffective"], "19ab-1-2.NginxDown"),
        (&["--outcome", "observed"], "run"),
        (&["--outcome", "unknown"], "19ab-2-1.DiskFull"),
        (&["--run", "19ab-1-1.NginxDown"], "19ab-1-1.NginxDown"),
        (
            &[
                "--since",
                "2026-11-22T12:01:00Z",
                "--until",
                "2026-11-22T12:08:00Z",
            ],
            "19ab-1-2.NginxDown",
        ),
        (
            &["--since", "2026-11-22", "--until", "2026-11-22T12:00:01Z"],
            "19ab-1-1.NginxDown",
        ),
        (&["--until", "2026-11-22"], ""),
    ] {
        assert_eq!(last_words(args), runs, "{args:?}");
    }
    // As stored, byte by byte; each line for itself.
    let all = sandbox.read("state/history.jsonl.1") + &sandbox.read("state/history.jsonl");
    shows(&sandbox, &["--json"], &all);
    for (args, part) in [
        (&["--json", "--alert", "DiskFull"][..], "\"DiskFull\""),
        (&["--json", "--outcome", "failed"], "\"outcome\":\"failed\""),
        (
            &["--json", "--outcome", "verified"],
            "\"event\":\"verified\"",
        ),
        (&["--json", "--run", "19ab-1-2.NginxDown"], "19ab-1-2."),
    ] {
        let lines = all.split_inclusive('\n').filter(|line| line.contains(part));
        shows(&sandbox, args, &lines.collect::<String>());
    }
    for args in [
        &["--alert", "Other"][..],
        &["--run", "x", "--since", "2026-11-22"],
    ] {
        says(&sandbox, args, 1, "nothing in the history matches\n", "");
    }
    says(&sandbox, &["--json", "--alert", "Other"], 1, "", "");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let sandbox = Sandbox::new();
    for (args, why) in [
        (
            &["--since", "yesterday"][..],
            "--since: `yesterday` is no time: write 2026-11-22T12:00:00Z, a date such as 2026-11-22 (UTC), or how long ago, such as 2h",
        ),
        (
            &["--verify", "--json"],
            "--verify is about all of the history: it goes with no other option",
        ),
        (
            &["--verify", "--alert", "A"],
            "--verify is about all of the history: it goes with no other option",
        ),
        (
            &["--summary", "--outcome", "x"],
            "--outcome does not go with --summary, which counts them all",
        ),
        (
            &["--follow", "--until", "2h"],
            "--until does not go with --follow, which has no end",
        ),
        (
            &["--follow", "--verify"],
            "one of --summary, --follow and --verify at a time",
        ),
        (&["--alert", "A", "--alert", "B"], "--alert is given twice"),
        (&["NginxDown"], "unexpected argument \"NginxDown\""),
    ] {
        says(
            &sandbox,
            args,
            100,
            "",
            &format!("self-heal history: {why} (see: self-heal help history)\n"),
        );
    }
}

#[test]
fn a_host_where_nothing_was_run_has_an_empty_history() {
    let sandbox = Sandbox::new();
    let empty = "the history is empty: nothing was run yet\n";
    for state in [true, false] {
        says(&sandbox, &[], 1, empty, "");
        says(&sandbox, &["--summary"], 1, empty, "");
        says(&sandbox, &["--json"], 1, "", "");
        says(
            &sandbox,
            &["--verify"],
            0,
            "intact: nothing was ever written\n",
            "",
        );
        if state {
            assert_eq!(
                fs::read_dir(sandbox.path("state")).unwrap().count(),
                0,
                "something was made"
            );
            fs::remove_dir(sandbox.path("state")).unwrap();
        }
    }
    assert!(!sandbox.path("state").exists());
}

#[test]
fn whether_a_heal_helped_is_in_the_history() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_SETTLE", "1ms");
    sandbox.handler("Down", "exit 0\n");
    let alert = Alert::firing("Down", "web-1");
    sandbox.post(&alert).expect(200, &["healed"]);
    until("the heal has had its time", || {
        sandbox.post(&alert);
        (sandbox.runs("Down") == 2).then_some(())
    });
    sandbox.post(&alert.resolved()).expect(200, &["resolved"]);
    let history = sandbox.history();
    let event = |name: &str| history.iter().find(|line| line["event"] == name).unwrap();
    let runs: Vec<&Value> = history
        .iter()
        .filter(|line| line["event"] == "intent")
        .collect();
    let (ineffective, verified) = (event("ineffective"), event("verified"));
    assert_eq!(
        (&ineffective["count"], &ineffective["run_id"]),
        (&json!(1), &runs[0]["run_id"])
    );
    assert_eq!(verified["run_id"], runs[1]["run_id"]);
    for line in [ineffective, verified] {
        for name in ["alertname", "instance", "fingerprint", "group_key", "peer"] {
            assert_eq!(line[name], runs[0][name], "{line}");
        }
    }
    // It began ten minutes ago and ended as the sender says.
    let began = timestamp::parse(alert.json()["startsAt"].as_str().unwrap()).unwrap();
    let lasted = verified["lasted_ms"].as_u64().unwrap();
    let Time(now) = timestamp::parse(&crate::support::rfc3339(1)).unwrap();
    assert!(
        (600_000..=(now - began.0) as u64).contains(&lasted),
        "{verified}"
    );
    says(
        &sandbox,
        &["--verify"],
        0,
        &format!("intact: {} lines in 1 file\n", history.len()),
        "",
    );
    let counts = sandbox.operate(&["history", "--summary", "--json"]);
    let counts: Value = serde_json::from_slice(&counts.stdout).unwrap();
    let of = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(
        (of("runs"), of("healed"), of("verified"), of("ineffective")),
        (2, 2, 1, 1)
    );
    assert_eq!(of("mean_time_to_resolve_ms"), lasted);
}

/// What is resolved is not held to the allow-list, which bounds the instance.
#[test]
fn a_text_without_end_does_not_break_the_chain() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    let alert = Alert::firing("Down", "web-1");
    sandbox.post(&alert).expect(200, &["healed"]);
    let long = alert.resolved().label("instance", &"\u{1}".repeat(100_000));
    sandbox.post(&long).expect(200, &["resolved"]);
    let other = Alert::firing("Down", "web-2");
    sandbox.post(&other).expect(200, &["healed"]);
    let lines = sandbox.read("state/history.jsonl");
    let longest = lines.lines().map(str::len).max().unwrap();
    assert!((6_000..64 * 1024).contains(&longest), "{longest}");
    says(
        &sandbox,
        &["--verify"],
        0,
        "intact: 5 lines in 1 file\n",
        "",
    );
}

#[test]
fn a_run_under_way_is_told_from_one_that_lost_its_supervisor() {
    let sandbox = Sandbox::new();
    let gate = Gate::new(&sandbox, "gate");
    sandbox.handler("Down", &gate.line());
    let posting = Posting::begin(&sandbox, &[&Alert::firing("Down", "web-1")]);
    gate.wait_for(1);
    let outcome = || {
        let came = ask(&sandbox, &["history"]);
        assert_eq!(came.code, 0, "{came:?}");
        let row = came.out.lines().nth(1).unwrap().to_owned();
        row.split_whitespace().nth(4).unwrap().to_owned()
    };
    assert_eq!(outcome(), "running");
    posting.kill();
    assert_eq!(outcome(), "unknown");
    gate.open();
    until("the handler lets go of the lock", || {
        let answer = sandbox.post(&Alert::firing("Down", "web-1"));
        (answer.verdicts() != ["busy"]).then_some(())
    });
    assert_eq!(outcome(), "interrupted");
}

// Rotation.

/// What is made of the shipped stanza.
type Change = fn(String) -> String;

/// The shipped stanza with this sandbox's folders, and what `change` makes of it.
struct Rotation {
    conf: PathBuf,
    status: PathBuf,
}

impl Rotation {
    fn new(sandbox: &Sandbox, change: Change) -> Rotation {
        as_root();
        let shipped =
            fs::read_to_string(Path::new(PROJECT).join("deploy/logrotate.d/self-heal")).unwrap();
        let folder = |name: &str| sandbox.path(name).display().to_string();
        let here = shipped
            .replace("/var/log/self-heal", &folder("log"))
            .replace("/var/lib/self-heal", &folder("state"))
            .replace("healer healer", "root root");
        assert!(!here.contains("su healer"), "{here}");
        let conf = sandbox.write("logrotate.conf", &change(here));
        Rotation {
            conf,
            status: sandbox.path("logrotate.status"),
        }
    }

    fn turn(&self) {
        assert!(self.tried());
    }

    /// False: a file of this name is there already.
    fn tried(&self) -> bool {
        let mut logrotate = Command::new("logrotate");
        logrotate.args(["--force", "--state"]);
        let output = logrotate.args([&self.status, &self.conf]).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        let taken = complaint.contains("already exists, skipping rotation");
        assert!(output.status.success() || taken, "{complaint}");
        output.status.success()
    }
}

fn names(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path("state")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with("history.jsonl"))
        .collect();
    names.sort();
    names
}

/// How many runs of this alert the history shows, and the instances in their order.
fn instances(sandbox: &Sandbox) -> Vec<String> {
    let output = sandbox.operate(&["history", "--json", "--outcome", "intent"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| line["instance"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn rotated_files_are_read_in_their_order() {
    let compress = |conf: String| conf.replace("nocompress", "compress\n    delaycompress");
    let at_once = |conf: String| conf.replace("nocompress", "compress");
    let dated = |conf: String| {
        conf.replace(
            "nocompress",
            "compress\n    dateext\n    dateformat -%Y%m%d-%s",
        )
    };
    let kinds: [(Change, &str); 4] = [
        (|conf| conf, ".3"),
        (compress, ".3.gz"),
        (at_once, ".1.gz"),
        (dated, ".gz"),
    ];
    for (change, there) in kinds {
        let sandbox = Sandbox::new();
        sandbox.handler("Down", "exit 0\n");
        let rotation = Rotation::new(&sandbox, change);
        let mut expected = Vec::new();
        for turn in 0..4 {
            let instance = format!("web-{turn}");
            sandbox
                .post(&Alert::firing("Down", &instance))
                .expect(200, &["healed"]);
            expected.push(instance);
            if turn < 3 {
                // A dated name is one second's.
                until("a name of its own", || rotation.tried().then_some(()));
            }
        }
        let found = names(&sandbox);
        assert!(
            found.len() == 4 && found.iter().any(|name| name.ends_with(there)),
            "{found:?}"
        );
        assert_eq!(instances(&sandbox), expected, "{found:?}");
        says(
            &sandbox,
            &["--verify"],
            0,
            "intact: 8 lines in 4 files\n",
            "",
        );
        let since = sandbox.operate(&["history", "--json", "--since", "1h", "--alert", "Down"]);
        assert_eq!(since.stdout.split(|byte| *byte == b'\n').count(), 9);
        // Those that were not changed since need not be read.
        run(Command::new("touch")
            .args(["-d", "3 hours ago"])
            .arg(sandbox.path("state").join(&found[1])));
        let since = sandbox.operate(&["history", "--json", "--since", "2h"]);
        assert_eq!(since.stdout.split(|byte| *byte == b'\n').count(), 7);
    }
}

#[test]
fn a_file_that_gzip_cannot_read_is_told_of_and_the_rest_shown() {
    let sandbox = Sandbox::new();
    told(&sandbox);
    let path = sandbox.path("state/history.jsonl.1");
    run(Command::new("gzip").arg(&path));
    let gz = sandbox.path("state/history.jsonl.1.gz");
    says(
        &sandbox,
        &["--verify"],
        0,
        "intact: 10 lines in 2 files\n",
        "",
    );
    let whole = fs::read(&gz).unwrap();
    fs::write(&gz, &whole[..whole.len() - 20]).unwrap();
    let came = ask(&sandbox, &["history", "--alert", "DiskFull"]);
    assert_eq!(came.code, 111, "{came:?}");
    assert!(came.out.contains("19ab-2-1.DiskFull"), "{came:?}");
    assert!(
        came.err
            .starts_with("self-heal: history.jsonl.1.gz: cannot be read behind line "),
        "{came:?}"
    );
    assert!(
        came.err.contains("gzip") && came.err.contains("unexpected end of file"),
        "{came:?}"
    );
    let came = ask(&sandbox, &["history", "--verify"]);
    assert_eq!((came.code, came.out.as_str()), (111, ""), "{came:?}");
    // While gzip(1) works there are both, and the one that it reads is whole.
    fs::remove_file(sandbox.path("state/history.jsonl")).unwrap();
    told(&sandbox);
    says(
        &sandbox,
        &["--verify"],
        0,
        "intact: 10 lines in 2 files\n",
        "",
    );
}

#[test]
fn what_is_no_history_is_left_out_and_said() {
    let sandbox = Sandbox::new();
    told(&sandbox);
    sandbox.write("state/history.jsonl.1.bak", "x");
    sandbox.write("state/history.jsonl.3.xz", "x");
    fs::create_dir(sandbox.path("state/history.jsonl.4")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", sandbox.path("state/history.jsonl.5")).unwrap();
    let came = ask(&sandbox, &["history", "--verify"]);
    assert_eq!(
        (came.code, came.out.as_str()),
        (0, "intact: 10 lines in 2 files\n"),
        "{came:?}"
    );
    let warnings: Vec<&str> = came.err.lines().collect();
    assert_eq!(warnings.len(), 4, "{came:?}");
    for (warning, words) in warnings.iter().zip([
        ".1.bak: left out",
        ".3.xz: left out",
        ".4: left out: not a regular",
        ".5: left out",
    ]) {
        assert!(warning.contains(words), "{came:?}");
    }
}

// The chain.

/// Changes the lines of a file of the state folder.
fn edit(sandbox: &Sandbox, file: &str, change: impl FnOnce(&mut Vec<String>)) {
    let path = format!("state/{file}");
    let mut lines: Vec<String> = sandbox
        .read(&path)
        .split_inclusive('\n')
        .map(str::to_owned)
        .collect();
    change(&mut lines);
    fs::write(sandbox.path(&path), lines.concat()).unwrap();
}

#[track_caller]
fn broken(sandbox: &Sandbox, place: &str, words: &str, good: usize) {
    let came = ask(sandbox, &["history", "--verify"]);
    assert_eq!((came.code, came.err.as_str()), (1, ""), "{came:?}");
    let lines: Vec<&str> = came.out.lines().collect();
    assert!(
        lines[0].starts_with(&format!("broken: {place} ")) && lines[0].contains(words),
        "{came:?}"
    );
    let many = if good == 1 { "line" } else { "lines" };
    let words = format!("  {good} good {many} before it, ");
    assert!(lines[1].starts_with(&words), "{came:?}");
}

#[test]
fn whoever_changes_the_history_is_found_out() {
    let fresh = || {
        let sandbox = Sandbox::new();
        told(&sandbox);
        says(
            &sandbox,
            &["--verify"],
            0,
            "intact: 10 lines in 2 files\n",
            "",
        );
        sandbox
    };
    let swap = |from: &'static str, to: &'static str, n: usize| {
        move |lines: &mut Vec<String>| {
            assert!(lines[n].contains(from));
            lines[n] = lines[n].replacen(from, to, 1);
        }
    };
    let old = "history.jsonl.1";
    let sandbox = fresh();
    edit(&sandbox, old, swap("12:00:00Z", "12:00:01Z", 0));
    broken(
        &sandbox,
        "history.jsonl.1:1",
        "was changed, or lines behind it are missing",
        0,
    );

    let sandbox = fresh();
    edit(&sandbox, old, swap("\"failed\"", "\"healed\"", 1));
    broken(
        &sandbox,
        "history.jsonl.1:2",
        "history.jsonl.1:3 names another one",
        1,
    );

    let sandbox = fresh();
    edit(&sandbox, old, |lines| {
        lines[5] = lines[5].replace("240000", "240001")
    });
    broken(
        &sandbox,
        "history.jsonl:1",
        "history.jsonl.1:6 is another one",
        6,
    );

    let sandbox = fresh();
    edit(&sandbox, "history.jsonl", swap("db-2", "db-9", 3));
    broken(
        &sandbox,
        "history.jsonl:4",
        "history.head names another one",
        9,
    );

    let sandbox = fresh();
    edit(&sandbox, old, |lines| drop(lines.remove(2)));
    broken(
        &sandbox,
        "history.jsonl.1:2",
        "lines behind it are missing",
        1,
    );

    let sandbox = fresh();
    edit(&sandbox, old, |lines| lines.swap(2, 3));
    broken(
        &sandbox,
        "history.jsonl.1:3",
        "is out of its place: it names history.jsonl.1:4",
        2,
    );

    let sandbox = fresh();
    edit(&sandbox, "history.jsonl", |lines| drop(lines.pop()));
    broken(
        &sandbox,
        "history.jsonl:3",
        "lines behind it are missing: history.head",
        8,
    );

    let sandbox = fresh();
    sandbox.write("state/history.head", &"0".repeat(64));
    broken(
        &sandbox,
        "history.jsonl:4",
        "history.head names another one",
        9,
    );
    fs::remove_file(sandbox.path("state/history.head")).unwrap();
    broken(&sandbox, "history.head", "is missing", 10);

    // A file in the middle; the first one is nobody's loss.
    let sandbox = fresh();
    fs::rename(
        sandbox.path("state/history.jsonl"),
        sandbox.path("state/history.jsonl.0"),
    )
    .unwrap();
    let mut book = Book {
        sandbox: &sandbox,
        prev: sandbox.read("state/history.head"),
    };
    book.write(
        "state/history.jsonl",
        &[("2026-11-22T15:00:00Z", intent(of("r", "A", "i", 1)))],
    );
    says(
        &sandbox,
        &["--verify"],
        0,
        "intact: 11 lines in 3 files\n",
        "",
    );
    fs::remove_file(sandbox.path("state/history.jsonl.0")).unwrap();
    broken(
        &sandbox,
        "history.jsonl:1",
        "a file or lines between are missing",
        6,
    );
    fs::remove_file(sandbox.path("state/history.jsonl.1")).unwrap();
    let gone = "intact: 1 line in 1 file\n  history.jsonl:1 names a line before it: earlier files are gone\n";
    says(&sandbox, &["--verify"], 0, gone, "");
    fs::remove_file(sandbox.path("state/history.jsonl")).unwrap();
    broken(
        &sandbox,
        "history.head",
        "names a line, and there is none left",
        0,
    );
}

#[test]
fn what_a_crash_cuts_is_no_tampering() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    sandbox
        .post(&Alert::firing("Down", "web-1"))
        .expect(200, &["healed"]);
    let path = sandbox.path("state/history.jsonl");
    let length = fs::metadata(&path).unwrap().len();
    let file = File::options().write(true).open(&path).unwrap();
    let lines = sandbox.read("state/history.jsonl");
    let first = lines.split_once('\n').unwrap().0;
    fs::write(
        sandbox.path("state/history.head"),
        history::digest(first.as_bytes()),
    )
    .unwrap();
    file.set_len(length - 30).unwrap();
    let cut = "1 line is no whole record, as a crash leaves it: history.jsonl:2\n";
    says(
        &sandbox,
        &["--verify"],
        0,
        &format!(
            "intact: 2 lines in 1 file\n  history.head names the line before history.jsonl:2, as a crash between the two leaves it\n  {cut}"
        ),
        "",
    );
    sandbox
        .post(&Alert::firing("Down", "web-2"))
        .expect(200, &["healed"]);
    says(
        &sandbox,
        &["--verify"],
        0,
        &format!("intact: 4 lines in 1 file\n  {cut}"),
        "",
    );
    let came = ask(&sandbox, &["history"]);
    assert_eq!(came.code, 0, "{came:?}");
    assert_eq!(
        came.err,
        "self-heal: history.jsonl:2 is no record: self-heal history --verify tells whether a crash cut it\n"
    );
    // Afterwards, somebody mends what was cut.
    edit(&sandbox, "history.jsonl", |lines| {
        let cut = lines[1].trim_end().len();
        lines[1].insert(cut, '}');
    });
    broken(
        &sandbox,
        "history.jsonl:2",
        "was changed, or lines behind it are missing",
        1,
    );
}

#[test]
fn bytes_that_are_no_lines_are_counted() {
    let sandbox = Sandbox::new();
    told(&sandbox);
    let mut file = File::options()
        .append(true)
        .open(sandbox.path("state/history.jsonl"))
        .unwrap();
    file.write_all(b"\0\0\0\xff\n\n{\"at\":1}\n").unwrap();
    file.write_all(&vec![b'x'; 3 << 20]).unwrap();
    let came = ask(&sandbox, &["history", "--outcome", "failed"]);
    assert_eq!((came.code, came.out.lines().count()), (0, 2), "{came:?}");
    assert_eq!(
        came.err,
        "self-heal: 4 lines are no records, history.jsonl:5 is the first: see self-heal history --verify\n"
    );
    broken(
        &sandbox,
        "history.jsonl:5",
        "is behind history.jsonl:4, which history.head names",
        10,
    );
}

#[test]
fn no_text_of_a_line_reaches_a_terminal_raw_and_none_is_changed() {
    let sandbox = Sandbox::new();
    let odd = "web-\u{9b}2J\u{202e}\u{7f}\u{e0001}é日\\";
    let mut book = Book::new(&sandbox);
    let run = of("1-1-1.Odd", "Odd", odd, 1);
    book.write(
        "state/history.jsonl",
        &[("2026-11-22T12:00:00Z", intent(run))],
    );
    for words in [
        &["history", "--json"][..],
        &["history", "--json", "--summary"],
        &["history"],
    ] {
        let came = ask(&sandbox, words);
        assert_eq!(came.code, 0, "{came:?}");
        let raw = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{e0001}".contains(c);
        assert!(!came.out.contains(raw), "{words:?}: {:?}", came.out);
    }
    let line = sandbox.operate(&["history", "--json"]).stdout;
    let line = String::from_utf8(line).unwrap();
    assert!(
        line.contains("web-\\u009b2J\\u202e\\u007f\\udb40\\udc01é日\\\\"),
        "{line}"
    );
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(value(&line), value(&sandbox.read("state/history.jsonl")));
    says(&sandbox, &["--verify"], 0, "intact: 1 line in 1 file\n", "");
}

#[test]
fn who_reset_what_stands_in_the_history() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 2\n");
    sandbox
        .post(&Alert::firing("Down", "web-1"))
        .expect(200, &["gave-up"]);
    assert_eq!(ask(&sandbox, &["reset", "Down", "web-1"]).code, 0);
    let history = sandbox.history();
    let line = history.last().unwrap();
    assert_eq!(line["event"], "reset", "{line}");
    assert_eq!(
        (&line["alertname"], &line["instance"]),
        (&json!("Down"), &json!("web-1"))
    );
    assert_eq!(line["key"].as_str().unwrap().len(), 64, "{line}");
    assert!(
        line["peer"].as_str().unwrap().starts_with("operator:"),
        "{line}"
    );
    let forgotten = line["forgotten"].as_str().unwrap();
    assert!(
        forgotten.contains("breaker closed (gave-up)"),
        "{forgotten}"
    );
    assert_eq!(ask(&sandbox, &["history", "--verify"]).code, 0);
    let came = ask(&sandbox, &["history", "--outcome", "reset"]);
    let rows: Vec<&str> = came.out.lines().skip(1).collect();
    let who = line["peer"]
        .as_str()
        .unwrap()
        .trim_start_matches("operator:");
    assert_eq!(rows.len(), 1, "{came:?}");
    let words: Vec<&str> = rows[0].split_whitespace().collect();
    assert_eq!(words[1..], ["Down", "web-1", "0", "reset", who], "{rows:?}");
    // It is no run.
    let summary = ask(&sandbox, &["history", "--summary", "--json"]).out;
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(
        (&summary["runs"], &summary["failed"]),
        (&json!(1), &json!(1))
    );
}

// Following.

/// `history --follow --json`, or what else is asked for, and the lines that it has shown.
struct Following {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Following {
    fn begin(sandbox: &Sandbox, args: &[&str]) -> Following {
        let mut command = sandbox.command_of(&["history", "--follow"]);
        let mut child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines() {
                let _ = send.send(line.unwrap());
            }
        });
        Following { child, lines }
    }

    fn line(&self) -> String {
        self.lines
            .recv_timeout(std::time::Duration::from_secs(30))
            .unwrap()
    }

    /// Ends it; what it has shown besides, and its exit code.
    fn end(mut self) -> (Vec<String>, Option<i32>) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, Signal::SIGINT).unwrap();
        let status = self.child.wait().unwrap();
        (self.lines.iter().collect(), status.code())
    }
}

fn everything(sandbox: &Sandbox) -> Vec<String> {
    let output = sandbox.operate(&["history", "--json"]);
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_comes_is_followed_over_rotations() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    // There is no history yet.
    let following = Following::begin(&sandbox, &["--json"]);
    let rotation = Rotation::new(&sandbox, |conf| conf);
    let mut seen = Vec::new();
    for turn in 0..12 {
        let instance = format!("web-{turn}");
        sandbox
            .post(&Alert::firing("Down", &instance))
            .expect(200, &["healed"]);
        // One file at a time, several between two looks, and none.
        match turn {
            0 | 6 => {
                rotation.turn();
                while seen.len() < 2 * (turn + 1) {
                    seen.push(following.line());
                }
            }
            2..=4 | 9 => rotation.turn(),
            _ => {}
        }
    }
    while seen.len() < 24 {
        seen.push(following.line());
    }
    let (rest, code) = following.end();
    assert_eq!((rest, code), (Vec::new(), Some(0)));
    assert_eq!(seen, everything(&sandbox));
    // Whoever comes now is shown all that is there, and then the rest.
    rotation.turn();
    let following = Following::begin(&sandbox, &["--json", "--instance", "web-3"]);
    let of_three: Vec<String> = seen
        .iter()
        .filter(|line| line.contains("web-3"))
        .cloned()
        .collect();
    assert_eq!([following.line(), following.line()].to_vec(), of_three);
    sandbox.post(&Alert::firing("Down", "web-5").resolved());
    sandbox.post(&Alert::firing("Down", "web-3").resolved());
    assert!(following.line().contains("\"verified\""));
    assert_eq!(following.end(), (Vec::new(), Some(0)));
}

#[test]
fn a_line_without_end_is_not_kept_while_it_is_followed() {
    const MIB: usize = 1 << 20;
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    sandbox
        .post(&Alert::firing("Down", "web-1"))
        .expect(200, &["healed"]);
    let following = Following::begin(&sandbox, &["--json"]);
    for event in ["\"intent\"", "\"result\""] {
        assert!(following.line().contains(event));
    }
    let path = sandbox.path("state/history.jsonl");
    let mut file = File::options().append(true).open(&path).unwrap();
    for _ in 0..64 {
        file.write_all(&vec![b'x'; MIB]).unwrap();
    }
    file.write_all(b"\n{\"at\":\"2026-11-22T12:00:00Z\",\"event\":\"later\"}\n")
        .unwrap();
    assert!(following.line().contains("\"later\""));
    let status = fs::read_to_string(format!("/proc/{}/status", following.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: usize = peak
        .and_then(|peak| peak.trim().strip_suffix(" kB"))
        .and_then(|peak| peak.parse().ok())
        .unwrap();
    assert!(peak < 32 * 1024, "{peak} kB");
    assert_eq!(following.end(), (Vec::new(), Some(0)));
}

#[test]
fn runs_are_followed_from_their_beginning_to_what_came_of_them() {
    let sandbox = Sandbox::new();
    let gate = Gate::new(&sandbox, "gate");
    sandbox.handler("Down", &gate.line());
    let alert = Alert::firing("Down", "web-1");
    let following = Following::begin(&sandbox, &[]);
    assert!(following.line().starts_with("TIME "));
    let posting = Posting::begin(&sandbox, &[&alert]);
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let running = words(&following.line());
    assert_eq!(running[1..5], ["Down", "web-1", "1", "running"]);
    gate.open();
    posting.answer().expect(200, &["healed"]);
    let healed = words(&following.line());
    assert_eq!(healed[..4], running[..4]);
    assert_eq!(healed[4..6], ["healed", "healed"]);
    sandbox.post(&alert.resolved()).expect(200, &["resolved"]);
    let verified = following.line();
    assert!(verified.contains(" verified after 10m"), "{verified}");
    assert_eq!(following.end(), (Vec::new(), Some(0)));
}

/// A reader of one line, who then goes away: it ends well and says nothing.
fn read_one_line(sandbox: &Sandbox, args: &[&str]) {
    let mut child = sandbox
        .command_of(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

#[test]
fn who_goes_away_ends_it_without_a_word() {
    let sandbox = Sandbox::new();
    told(&sandbox);
    // Nothing more is written: it has to notice by itself.
    read_one_line(&sandbox, &["history", "--follow"]);
    read_one_line(&sandbox, &["history", "--follow", "--json"]);
    // More than a pipe holds.
    let mut book = Book::new(&sandbox);
    let many: Vec<_> = (0..2_000)
        .map(|_| ("2026-11-22T16:00:00Z", intent(of("r", "A", "i", 1))))
        .collect();
    fs::remove_file(sandbox.path("state/history.jsonl")).unwrap();
    book.write("state/history.jsonl", &many);
    read_one_line(&sandbox, &["history"]);
    read_one_line(&sandbox, &["history", "--json"]);
}

// Who may.

#[test]
fn an_account_that_may_not_read_it_is_told_who_may() {
    let sandbox = Sandbox::new();
    told(&sandbox);
    chmod(&sandbox.path("state"), 0o700);
    let program = sandbox.path("program");
    install(Path::new(PROGRAM), &program, "755");
    for args in [
        &["history"][..],
        &["history", "--verify"],
        &["history", "--follow"],
    ] {
        let mut stranger = Command::new("setpriv");
        stranger
            .args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")])
            .arg("--clear-groups")
            .arg(&program);
        let came = ask_by(stranger, &sandbox, args);
        let err = "self-heal history: cannot read the history in DIR/state: Permission denied (os error 13) \
                   (use sudo, or the account root, whose folder it is)\n";
        assert_eq!(
            (came.code, came.out.as_str(), came.err.as_str()),
            (111, "", err)
        );
    }
    // The account that serves, and root without becoming it.
    drop(as_stranger(&sandbox));
    chmod(&sandbox.path("state"), 0o700);
    let came = ask(&sandbox, &["history", "--verify"]);
    assert_eq!(came.code, 0, "{came:?}");
    let mut own = Command::new("setpriv");
    own.args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")])
        .arg("--clear-groups")
        .arg(&program);
    assert_eq!(ask_by(own, &sandbox, &["history", "--verify"]), came);
}
