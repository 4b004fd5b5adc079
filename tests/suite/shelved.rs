//! `self-heal snapshots`: what is on the shelf, and one run put back by hand.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use self_heal::judge::run_id;
use serde_json::{Value, json};

use crate::stage::{Gate, Posting, STRANGER, install, lines_with, put_down, until_gone};
use crate::stopping::{Came, ask, ask_by, timeless};
use crate::support::{Alert, PROGRAM, Sandbox, chmod, until};

fn alert() -> Alert {
    Alert::firing("NginxDown", "web-1:9113")
}

/// A sandbox with a file that a handler names and changes; the handler goes on with `rest`.
fn changes(rest: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let file = sandbox.write("etc/app.conf", "old\n");
    let shown = file.display();
    sandbox.handler(
        "NginxDown",
        &format!("# self-heal: snapshot={shown}\necho new >{shown}\n{rest}"),
    );
    (sandbox, file)
}

/// The ids of the runs so far.
fn runs(sandbox: &Sandbox) -> Vec<String> {
    let history = sandbox.history();
    let intents = history.iter().filter(|line| line["event"] == "intent");
    intents
        .map(|line| line["run_id"].as_str().unwrap().to_owned())
        .collect()
}

/// The answer, with the run's id as `RUN` and its snapshot's folder as `FOLDER`.
fn asked(sandbox: &Sandbox, args: &[&str]) -> Came {
    let mut came = ask(sandbox, &[&["snapshots"][..], args].concat());
    for run in runs(sandbox) {
        let seconds = run_id::parse(&run).unwrap().started.0 / 1000;
        let folder = format!("DIR/backup/{seconds}-NginxDown");
        for text in [&mut came.out, &mut came.err] {
            *text = text.replace(&run, "RUN").replace(&folder, "FOLDER");
        }
    }
    came
}

fn said(code: i32, out: &str, err: &str) -> Came {
    Came {
        code,
        out: out.to_owned(),
        err: err.to_owned(),
    }
}

/// The fields of every row but the headings: what is where, aligned or not.
fn rows(out: &str) -> Vec<Vec<&str>> {
    let lines = out.lines().skip(1);
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

/// The commands of docs/rollback.md, with this sandbox's paths and run in the places of the real ones.
pub fn it_is_as_on_the_page(transcript: &str) {
    let sandbox = Sandbox::new();
    let file = sandbox.write("etc/nginx.conf", "old\n");
    let shown = file.display();
    let body = format!("# self-heal: snapshot={shown}\necho new >{shown}\n");
    sandbox.handler("NginxWorkers", &body);
    sandbox.script("handlers/NginxWorkers.restored", "#!/bin/bash\n");
    let alert = Alert::firing("NginxWorkers", "web-1:9113");
    sandbox.post(&alert).expect(200, &["healed"]);
    let run = runs(&sandbox).remove(0);
    let snapshot = sandbox.history()[0]["snapshot"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut here = transcript.to_owned();
    for (page, real) in [
        ("19ab3f00c2d-4711-1.NginxWorkers", run.as_str()),
        ("/var/backups/self-heal/1764000000-NginxWorkers", &snapshot),
        ("/etc/nginx/nginx.conf", &file.display().to_string()),
        (
            "/opt/self-heal/handlers",
            &sandbox.path("handlers").display().to_string(),
        ),
        (&sandbox.path("").display().to_string(), "DIR/"),
    ] {
        here = here.replace(page, real);
    }
    let words = |text: &str| {
        timeless(text)
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let parts: Vec<&str> = here.split("# self-heal ").skip(1).collect();
    assert_eq!(parts.len(), 3);
    for part in parts {
        let (args, out) = part.split_once('\n').unwrap();
        let came = ask(&sandbox, &args.split_whitespace().collect::<Vec<_>>());
        assert_eq!(
            (words(&came.out), came.err.as_str()),
            (words(out), ""),
            "{args}"
        );
    }
}

#[test]
fn an_empty_shelf_has_nothing_on_it_and_nothing_is_made() {
    let sandbox = Sandbox::new();
    assert_eq!(asked(&sandbox, &["list"]), said(1, "no snapshots\n", ""));
    assert_eq!(asked(&sandbox, &["list", "--json"]), said(1, "", ""));
    fs::remove_dir(sandbox.path("backup")).unwrap();
    assert_eq!(asked(&sandbox, &["list"]), said(1, "no snapshots\n", ""));
    let run = "19ab3f00c2d-4711-1.NginxDown";
    let none = format!("nothing to restore: there is no whole snapshot of {run}\n");
    assert_eq!(asked(&sandbox, &["restore", run]), said(1, &none, ""));
    assert!(!sandbox.path("backup").exists());
}

#[test]
fn the_shelf_is_shown_newest_first() {
    let (sandbox, file) = changes("[[ ! -e $HEAL_BACKUP_DIR/../fail ]] || exit 1\n");
    let shown = file.display().to_string();
    sandbox.post(&alert()).expect(200, &["healed"]);
    fs::write(&file, "old\n").unwrap();
    sandbox.write("fail", "");
    let other = Alert::firing("NginxDown", "web-2:9113");
    sandbox.post(&other).expect(503, &["failed"]);
    let ids = runs(&sandbox);
    let came = ask(&sandbox, &["snapshots", "list"]);
    assert_eq!((came.code, came.err.as_str()), (0, ""));
    let head: Vec<&str> = came
        .out
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(
        head,
        ["CAPTURED", "ALERT", "STATE", "BYTES", "RUN", "PATHS"]
    );
    let path = shown.replace(&sandbox.path("").display().to_string(), "DIR/");
    assert_eq!(
        rows(&came.out),
        [
            ["TIME", "NginxDown", "restored", "4", &ids[1], &path],
            ["TIME", "NginxDown", "whole", "4", &ids[0], &path],
        ]
    );
    let output = sandbox.operate(&["snapshots", "list", "--json", "--alert", "NginxDown"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let folder = sandbox.history()[0]["snapshot"].clone();
    assert_eq!(lines.len(), 2);
    let expected = json!({
        "run_id": ids[0], "alertname": "NginxDown", "captured": lines[1]["captured"], "state": "whole", "bytes": 4,
        "folder": folder, "paths": [shown], "root": null,
    });
    assert_eq!(lines[1], expected);
    assert_eq!(
        asked(&sandbox, &["list", "--alert", "Other"]),
        said(1, "no snapshots\n", "")
    );
}

#[test]
fn every_state_has_its_word() {
    let (sandbox, _) = changes("");
    sandbox.post(&alert()).expect(200, &["healed"]);
    let folder = PathBuf::from(sandbox.history()[0]["snapshot"].as_str().unwrap());
    let state = || {
        let came = ask(&sandbox, &["snapshots", "list"]);
        assert_eq!(came.code, 0, "{came:?}");
        (rows(&came.out)[0][2].to_owned(), came.err)
    };
    let word = |word: &str| (word.to_owned(), String::new());
    assert_eq!(state(), word("whole"));
    fs::write(folder.join("failed"), "").unwrap();
    assert_eq!(state(), word("unfinished"));
    let held = File::open(&folder).unwrap();
    held.lock().unwrap();
    assert_eq!(state(), word("busy"));
    held.unlock().unwrap();
    fs::write(folder.join("restored"), "").unwrap();
    assert_eq!(state(), word("restored"));
    fs::write(folder.join("manifest.json"), "{").unwrap();
    let (damaged, why) = state();
    assert_eq!(damaged, "damaged");
    assert!(why.contains("manifest.json: EOF while parsing"), "{why}");
    fs::remove_file(folder.join("manifest.json")).unwrap();
    assert_eq!(state(), word("incomplete"));
    // What is none of its own.
    for name in ["x", "17-", "1700000000-Other.bak~"] {
        fs::create_dir(sandbox.path("backup").join(name)).unwrap();
    }
    assert_eq!(rows(&ask(&sandbox, &["snapshots", "list"]).out).len(), 1);
}

#[test]
fn a_run_that_healed_is_put_back_by_hand_and_its_hook_runs() {
    let (sandbox, file) = changes("");
    sandbox.script(
        "handlers/NginxDown.restored",
        "#!/bin/bash\necho \"hook $1 $2 $3 attempt $HEAL_ATTEMPT of $HEAL_RUN_ID\"\n",
    );
    sandbox.post(&alert()).expect(200, &["healed"]);
    let run = runs(&sandbox).remove(0);
    assert_eq!(sandbox.read("etc/app.conf"), "new\n");
    let hook = "DIR/handlers/NginxDown.restored";
    assert_eq!(
        asked(&sandbox, &["restore", &run]),
        said(
            0,
            &format!("restored: RUN: 1 changed, from FOLDER\nits hook has run: {hook}\n"),
            ""
        )
    );
    assert_eq!(sandbox.read("etc/app.conf"), "old\n");
    let told = format!(
        "hook web-1:9113 NginxDown {} attempt 1 of {run}\n",
        alert().fingerprint()
    );
    assert_eq!(sandbox.read("log/NginxDown.log"), told);
    let log = sandbox.log();
    assert_eq!(
        lines_with(&log, &format!("[WARN] rolled_back run_id={run} ")),
        1,
        "{log}"
    );
    assert_eq!(lines_with(&log, " changed=1 who=anna"), 1, "{log}");
    // The lock is free and names nobody.
    assert_eq!(sandbox.read("lock/heal-NginxDown.lock"), "");
    // Once: what somebody does afterwards is his.
    fs::write(&file, "a person's\n").unwrap();
    let again = "already restored: RUN, from FOLDER: what is there now is somebody's work\n";
    assert_eq!(asked(&sandbox, &["restore", &run]), said(1, again, ""));
    assert_eq!(sandbox.read("etc/app.conf"), "a person's\n");
}

#[test]
fn a_hook_that_cannot_be_run_is_named() {
    for (spoil, why) in [
        (
            "rm handlers/NginxDown.sh",
            "there is no handler for NginxDown any more",
        ),
        (
            "chmod 777 handlers/NginxDown.sh",
            "DIR/handlers/NginxDown.sh is writable by group or others (mode 0777): chmod go-w",
        ),
        (
            "rm -r state/history.jsonl state/records",
            "for which instance is not known any more; as the account that serves: DIR/handlers/NginxDown.restored INSTANCE NginxDown FINGERPRINT",
        ),
    ] {
        let (sandbox, _) = changes("");
        sandbox.script("handlers/NginxDown.restored", "#!/bin/bash\necho hook\n");
        sandbox.post(&alert()).expect(200, &["healed"]);
        let run = runs(&sandbox).remove(0);
        let script = Command::new("bash")
            .args(["-c", spoil])
            .current_dir(sandbox.path(""))
            .status();
        assert!(script.unwrap().success());
        let came = ask(&sandbox, &["snapshots", "restore", &run]);
        assert_eq!((came.code, came.err.as_str()), (0, ""), "{came:?}");
        let lines: Vec<&str> = came.out.lines().collect();
        assert_eq!(lines[1], format!("no hook was run: {why}"));
        assert_eq!(sandbox.read("etc/app.conf"), "old\n");
        assert_eq!(sandbox.read("log/NginxDown.log"), "");
    }
    // One that fails: the files are back, and a person has to look.
    let (sandbox, _) = changes("");
    sandbox.script("handlers/NginxDown.restored", "#!/bin/bash\nexit 3\n");
    sandbox.post(&alert()).expect(200, &["healed"]);
    let run = runs(&sandbox).remove(0);
    let err = "self-heal snapshots: the files are as they were (FOLDER), but DIR/handlers/NginxDown.restored failed: handler exit 3\n";
    assert_eq!(asked(&sandbox, &["restore", &run]), said(111, "", err));
    assert_eq!(sandbox.read("etc/app.conf"), "old\n");
    assert_eq!(
        lines_with(&sandbox.log(), "[ERROR] restored_hook_failed"),
        1
    );
}

#[test]
fn nobody_interferes_with_a_run_under_way() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("etc/app.conf", "old\n");
    let gate = Gate::new(&sandbox, "gate");
    let shown = file.display();
    let body = format!(
        "# self-heal: snapshot={shown}\necho new >{shown}\n{}",
        gate.line()
    );
    sandbox.handler("NginxDown", &body);
    let posting = Posting::begin(&sandbox, &[&alert()]);
    let handler = gate.wait_for(1);
    let run = runs(&sandbox).remove(0);
    let pid = posting.pid();
    let under_way = format!("not restored: RUN is under way since TIME, by process {pid}\n");
    assert_eq!(asked(&sandbox, &["restore", &run]), said(1, &under_way, ""));
    // Its supervisor dies; the handler has the lock and goes on.
    posting.kill();
    let came = asked(&sandbox, &["restore", &run]);
    assert_eq!((came.code, came.err.as_str()), (1, ""), "{came:?}");
    assert!(came.out.starts_with("busy: "), "{came:?}");
    assert_eq!(sandbox.read("etc/app.conf"), "new\n");
    put_down(handler);
    until_gone(handler);
    // What it waited with has the lock open too.
    gate.open();
    let back = until("the lock is free", || {
        let came = asked(&sandbox, &["restore", &run]);
        (!came.out.starts_with("busy: ")).then_some(came)
    });
    assert_eq!(back, said(0, "restored: RUN: 1 changed, from FOLDER\n", ""));
    assert_eq!(sandbox.read("etc/app.conf"), "old\n");
    // The next judgement settles it as interrupted, with nothing left to put back.
    sandbox.post(&alert()).expect(200, &["healed"]);
    assert_eq!(lines_with(&sandbox.log(), "run_interrupted"), 1);
}

#[test]
fn a_lock_that_an_operator_holds_is_waited_for_and_named() {
    let (sandbox, _) = changes("");
    sandbox.post(&alert()).expect(200, &["healed"]);
    let run = runs(&sandbox).remove(0);
    let path = sandbox.path("lock/heal-NginxDown.lock");
    let held = File::open(&path).unwrap();
    held.lock().unwrap();
    let busy = "busy: DIR/lock/heal-NginxDown.lock is held by another run or an operator\n";
    assert_eq!(asked(&sandbox, &["restore", &run]), said(1, busy, ""));
    held.unlock().unwrap();
    assert_eq!(asked(&sandbox, &["restore", &run]).code, 0);
}

#[test]
fn what_cannot_be_put_back_stays_on_the_shelf() {
    let (sandbox, file) = changes("");
    sandbox.post(&alert()).expect(200, &["healed"]);
    let run = runs(&sandbox).remove(0);
    fs::remove_dir_all(sandbox.path("etc")).unwrap();
    let came = asked(&sandbox, &["restore", &run]);
    assert_eq!((came.code, came.out.as_str()), (111, ""), "{came:?}");
    assert!(
        came.err
            .starts_with("self-heal snapshots: snapshot FOLDER: "),
        "{came:?}"
    );
    assert_eq!(lines_with(&sandbox.log(), "[ERROR] rollback_failed"), 1);
    assert_eq!(
        rows(&ask(&sandbox, &["snapshots", "list"]).out)[0][2],
        "unfinished"
    );
    fs::create_dir(sandbox.path("etc")).unwrap();
    assert_eq!(asked(&sandbox, &["restore", &run]).code, 0);
    assert_eq!(fs::read_to_string(file).unwrap(), "old\n");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let sandbox = Sandbox::new();
    for (args, why) in [
        (
            &[][..],
            "say what: list, with --alert and --json if you like, or restore and a run",
        ),
        (
            &["restore"],
            "say what: list, with --alert and --json if you like, or restore and a run",
        ),
        (
            &["restore", "x", "--json"],
            "say what: list, with --alert and --json if you like, or restore and a run",
        ),
        (
            &["restore", "../x"],
            "\"../x\" is no run id: self-heal snapshots list shows them",
        ),
        (
            &["list", "--alert", "a/b"],
            "--alert: \"a/b\" is no alertname that a handler could have",
        ),
        (&["list", "x", "y"], "unexpected argument \"y\""),
    ] {
        let err = format!("self-heal snapshots: {why} (see: self-heal help snapshots)\n");
        assert_eq!(asked(&sandbox, args), said(100, "", &err), "{args:?}");
    }
}

#[test]
fn an_account_that_may_not_is_told_who_may() {
    let (sandbox, _) = changes("");
    sandbox.post(&alert()).expect(200, &["healed"]);
    let run = runs(&sandbox).remove(0);
    chmod(&sandbox.path("backup"), 0o700);
    chmod(&sandbox.path("state"), 0o700);
    let program = sandbox.path("program");
    install(Path::new(PROGRAM), &program, "755");
    let stranger = || {
        let mut command = Command::new("setpriv");
        command
            .args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")])
            .arg("--clear-groups")
            .arg(&program);
        command
    };
    let came = ask_by(stranger(), &sandbox, &["snapshots", "list"]);
    let err = "self-heal snapshots: HEAL_BACKUP_DIR: DIR/backup: Permission denied (os error 13) \
               (use sudo, or the account that serves)\n";
    assert_eq!(came, said(111, "", err));
    let came = ask_by(stranger(), &sandbox, &["snapshots", "restore", &run]);
    assert_eq!((came.code, came.out.as_str()), (111, ""), "{came:?}");
    assert!(
        came.err
            .ends_with("(use sudo, or the account root, whose folder it is)\n"),
        "{came:?}"
    );
    assert_eq!(sandbox.read("etc/app.conf"), "new\n");
}
