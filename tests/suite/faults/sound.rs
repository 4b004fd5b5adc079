//! What holds whatever happened, and what a sender hears.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use self_heal::judge::{Record, Verdict};
use self_heal::sys::state::file::Store;

use crate::support::{Answer, Sandbox, until};
use crate::tracing::Fault;

/// A handler that holds a lock of its own while it is at work, notes every run, does this and ends with this code.
pub(super) fn handler(sandbox: &Sandbox, directives: &str, body: &str, exit: i32) {
    let seen = sandbox.path("seen");
    let seen = seen.display();
    let text = format!(
        "#!/bin/sh\n{directives}exec 9>>{seen}/held\nflock -n 9 || echo twice >>{seen}/twice\n\
         echo \"$HEAL_ATTEMPT\" >>{seen}/ran\n{body}exit {exit}\n"
    );
    sandbox.script("handlers/Down.sh", &text);
}

/// How many handlers ran.
pub(super) fn ran(sandbox: &Sandbox) -> usize {
    let text = fs::read_to_string(sandbox.path("seen/ran")).unwrap_or_default();
    text.lines().count()
}

/// Every record. Each is whole: as it was, or as it was to be.
fn records(sandbox: &Sandbox) -> Vec<Record> {
    let all = Store::at(&sandbox.path("state")).list_all().unwrap();
    all.into_iter()
        .map(|(key, record)| record.unwrap_or_else(|| panic!("record {key} is damaged")))
        .collect()
}

/// No lock is held by nobody, no handler ran at the same time as another or without being counted, every record is
/// whole and the history a chain.
#[track_caller]
pub(super) fn sound(sandbox: &Sandbox) {
    // A handler that lost its supervisor holds its lock until it has ended, and nobody else does.
    for entry in fs::read_dir(sandbox.path("lock")).unwrap() {
        let path = entry.unwrap().path();
        until("a lock is free", || File::open(&path).ok()?.try_lock().ok());
    }
    assert!(!sandbox.path("seen/twice").exists(), "two handlers at once");
    let ran = ran(sandbox);
    let counted: usize = records(sandbox)
        .iter()
        .map(|record| record.runs.len())
        .sum();
    assert!(ran <= counted, "{ran} handlers ran, {counted} were counted");
    for folder in ["state/damaged", "state/spool/damaged"] {
        let names = fs::read_dir(sandbox.path(folder)).into_iter().flatten();
        assert_eq!(names.count(), 0, "{folder}");
    }
    if sandbox.path("state/history.jsonl").exists() {
        let verified = sandbox.operate(&["history", "--verify"]);
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(verified.status.success(), "{said}");
    }
}

/// What the sender heard, if it heard anything: never that it has nothing more to do where that is not so.
#[track_caller]
pub(super) fn heard(output: &Output, fault: Option<Fault>, settled: &[&str]) -> Option<Answer> {
    complained(output, fault);
    if output.stdout.is_empty() {
        assert!(fault.is_some(), "no answer: {output:?}");
        return None;
    }
    let answer = Answer::parse(&output.stdout);
    if answer.code != 200 {
        // Alertmanager repeats what got a 5xx, and nothing else.
        assert_eq!(answer.code, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    if let Some(results) = answer.json()["results"].as_array() {
        let mut all = true;
        for result in results {
            let verdict = Verdict::ALL
                .into_iter()
                .find(|v| result["verdict"] == v.as_str());
            all &= verdict.unwrap().settled();
            assert_eq!(result["settled"], verdict.unwrap().settled(), "{answer:?}");
        }
        // 503 with every alert settled is possible as well: what a group owes is not told of yet.
        assert!(all || answer.code == 503, "{answer:?}");
    }
    if answer.code == 200 {
        // What may not be looked at stays so until a person has seen to it.
        let closed: &[&str] = match fault {
            Some(Fault::Fail("EACCES")) => &["not-allowed", "unsafe-handler"],
            _ => &[],
        };
        for verdict in answer.verdicts() {
            let settled = [settled, closed].concat();
            assert!(settled.contains(&verdict.as_str()), "{answer:?}");
        }
    }
    Some(answer)
}

/// No panic; without memory a process may end at once.
#[track_caller]
pub(super) fn complained(output: &Output, fault: Option<Fault>) {
    let said = String::from_utf8_lossy(&output.stderr);
    let memory = matches!(fault, Some(Fault::Fail("ENOMEM")));
    assert!(memory || !said.contains("panicked"), "{said}");
    let killed = output.status.signal();
    assert!(
        memory || killed.is_none() || fault == Some(Fault::Kill),
        "ended by signal {killed:?}: {said}"
    );
}

/// The timer comes by until nothing waits.
#[track_caller]
pub(super) fn drained(sandbox: &Sandbox) {
    // An escalator that lost its supervisor is waited for.
    until("the spool is drained", || {
        if sandbox.operate(&["drain"]).status.success() {
            return Some(());
        }
        retry(sandbox);
        None
    });
}

/// What was tried in vain is not waited for.
pub(super) fn retry(sandbox: &Sandbox) {
    for event in fs::read_dir(sandbox.path("state/spool/pending")).unwrap() {
        let event = event.unwrap().file_name();
        sandbox.operate(&["drain", "--retry", event.to_str().unwrap()]);
    }
}

/// A page whose file the medium or a mode would not give out is kept aside, loudly: a person puts it back.
pub(super) fn mended(sandbox: &Sandbox, fault: Fault) {
    let spool = sandbox.path("state/spool");
    for entry in fs::read_dir(spool.join("damaged")).into_iter().flatten() {
        assert!(
            matches!(fault, Fault::Fail("EIO" | "EACCES") | Fault::FailOn("EIO")),
            "kept aside after {fault:?}"
        );
        let kept = entry.unwrap();
        assert!(sandbox.log().contains("event_damaged"), "{}", sandbox.log());
        assert_eq!(sandbox.operate(&["drain", "--list"]).status.code(), Some(1));
        let name = kept.file_name().into_string().unwrap();
        let (event, _) = name.rsplit_once('-').unwrap();
        let was_told = sandbox.path("saved/state/spool/told").join(event).exists();
        let place = if was_told { "told" } else { "pending" };
        fs::rename(kept.path(), spool.join(place).join(event)).unwrap();
    }
}
