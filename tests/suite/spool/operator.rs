//! What an operator sees of the spool, and may do with it.

use super::*;
use crate::stage::{Gate, STRANGER, lines_with, run};

/// The words of the line about an event.
fn line_of(list: &str, name: &EventName) -> Vec<String> {
    let line = list
        .lines()
        .find(|line| line.starts_with(&name.to_string()));
    let line = line.unwrap_or_else(|| panic!("{name} is not in {list}"));
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn the_list_tells_where_everybody_is_with_each_event() {
    let yard = Yard::new();
    assert_eq!(yard.drains(&["--list"], 0), "");
    yard.escalator("down", "exit 1");
    yard.escalator("picky", "exit 100");
    yard.escalator("works", "exit 0");
    let trigger = yard.trigger(THEN, "web-1");
    yard.drains(&[], 1);
    let resolve = yard.resolve(THEN + 1, "web-1");
    let list = yard.drains(&["--list"], 1);
    let words = line_of(&list, &trigger);
    assert_eq!(
        words[1..4],
        ["action=trigger", "state=pending", "incident=web-1"]
    );
    assert!(words[4].starts_with("age="), "{list}");
    assert!(
        words[5].starts_with("down=retry:1@20") && words[5].ends_with('Z'),
        "{list}"
    );
    assert_eq!(words[6..8], ["picky=failed", "works=delivered"]);
    // Whatever a summary holds, a line is a line.
    assert!(
        list.contains("summary=\"NginxDown on web-1: \\\"web-1\\\"\\n\""),
        "{list}"
    );
    assert_eq!(list.lines().count(), 2);
    let words = line_of(&list, &resolve);
    assert_eq!(
        words[5..8],
        ["down=behind", "picky=not-sent", "works=untried"]
    );
    // Looking changes nothing.
    assert_eq!(yard.calls("works").len(), 1);
}

#[test]
fn what_failed_is_tried_again_when_the_operator_says_so() {
    let yard = Yard::new();
    yard.escalator("works", "exit 0");
    yard.escalator("pager", "exit 100");
    let trigger = yard.trigger(THEN, "web-1");
    yard.drains(&[], 1);
    let resolve = yard.resolve(THEN + 1, "web-1");
    yard.drains(&[], 1);
    assert_eq!(yard.names("failed"), [trigger.to_string()]);
    assert_eq!(yard.names("pending"), [resolve.to_string()]);

    // The key was wrong, and is mended.
    yard.escalator("pager", "exit 0");
    let said = yard.drains(&["--retry", &trigger.to_string()], 0);
    assert!(said.contains("is due"), "{said}");
    assert!(yard.names("failed").is_empty());
    yard.drains(&[], 0);
    let [trigger, resolve] = [trigger.to_string(), resolve.to_string()];
    assert_eq!(
        yard.calls("pager"),
        [trigger.clone(), trigger.clone(), resolve.clone()]
    );
    assert_eq!(yard.calls("works"), [trigger.clone(), resolve]);
    assert!(yard.names("told").is_empty() && yard.names("pending").is_empty());
    assert_eq!(
        lines_with(
            &yard.log(),
            &format!("[INFO] escalation_tried_again event={trigger} by=")
        ),
        1
    );
}

#[test]
fn what_waits_for_its_next_attempt_is_due_at_once_when_the_operator_says_so() {
    let yard = Yard::new();
    yard.escalator("pager", "exit 1");
    let name = yard.trigger(THEN, "web-1");
    yard.drains(&[], 1);
    yard.escalator("pager", "exit 0");
    yard.drains(&[], 1);
    yard.drains(&["--retry", &name.to_string()], 0);
    yard.drains(&[], 0);
    assert_eq!(yard.calls("pager").len(), 2);
    assert!(yard.log().contains("escalation_delivered event="));
    assert!(yard.log().contains("attempt=2"));
    // Nobody is left to get it now.
    let said = yard.drains(&["--retry", &name.to_string()], 1);
    assert!(said.contains("nobody is left"), "{said}");
}

#[test]
fn a_trigger_is_not_sent_behind_a_later_event() {
    let yard = Yard::new();
    yard.escalator("pager", "exit 100");
    let name = yard.trigger(THEN, "web-1");
    yard.drains(&[], 1);
    yard.escalator("pager", "exit 0");
    yard.trigger(THEN + 1, "web-1");
    yard.drains(&[], 1);
    let output = yard.drain(&["--retry", &name.to_string()]);
    assert_eq!(output.status.code(), Some(100));
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        why.contains("pager has a later event") && why.contains("discard"),
        "{why}"
    );
    assert_eq!(yard.names("failed"), [name.to_string()]);
    yard.drains(&["--discard", &name.to_string()], 0);
    yard.drains(&[], 0);
    assert!(yard.names("failed").is_empty());
}

#[test]
fn what_is_discarded_goes_to_nobody_else_and_its_resolve_to_whoever_had_it() {
    let yard = Yard::new();
    yard.escalator("down", "exit 1");
    yard.escalator("works", "exit 0");
    let trigger = yard.trigger(THEN, "web-1");
    yard.drains(&[], 1);
    let said = yard.drains(&["--discard", &trigger.to_string()], 0);
    assert!(said.contains("is discarded"), "{said}");
    let line = format!("[WARN] escalation_discarded event={trigger} by=root");
    assert_eq!(lines_with(&yard.log(), &line), 1);
    assert_eq!(yard.names("told"), [trigger.to_string()]);
    let resolve = yard.resolve(THEN + 1, "web-1");
    yard.drains(&[], 0);
    assert_eq!(
        yard.calls("works"),
        [trigger.to_string(), resolve.to_string()]
    );
    assert_eq!(yard.calls("down"), [trigger.to_string()]);
    assert!(yard.names("told").is_empty());
}

#[test]
fn a_trigger_that_nobody_has_is_removed_when_it_is_discarded() {
    for answer in ["exit 1", "exit 100"] {
        let yard = Yard::new();
        yard.escalator("pager", answer);
        let trigger = yard.trigger(THEN, "web-1");
        yard.drains(&[], 1);
        yard.drains(&["--discard", &trigger.to_string()], 0);
        yard.drains(&[], 0);
        for folder in ["pending", "told", "failed", "damaged"] {
            assert!(yard.names(folder).is_empty(), "{answer}: {folder}");
        }
        // So it is to be unknown from now on.
        yard.drains(&["--discard", &trigger.to_string()], 1);
        yard.drains(&["--retry", &trigger.to_string()], 1);
    }
}

#[test]
fn a_resolve_that_is_discarded_takes_its_trigger_with_it() {
    let yard = Yard::new();
    let answer = "test $HEAL_ACTION = trigger || exit 100";
    yard.escalator("pager", answer);
    let trigger = yard.trigger(THEN, "web-1");
    let resolve = yard.resolve(THEN + 1, "web-1");
    yard.drains(&[], 1);
    assert_eq!(yard.names("told"), [trigger.to_string()]);
    assert_eq!(yard.names("failed"), [resolve.to_string()]);
    yard.drains(&["--discard", &resolve.to_string()], 0);
    for folder in ["pending", "told", "failed"] {
        assert!(yard.names(folder).is_empty(), "{folder}");
    }
    yard.drains(&[], 0);
}

#[test]
fn an_operator_does_not_get_between_an_escalator_and_its_event() {
    let yard = Yard::new();
    let gate = Gate::new(&yard.sandbox, "gate");
    yard.escalator("pager", &gate.line());
    let name = yard.trigger(THEN, "web-1");
    let mut drain = yard.command(&[]).stderr(Stdio::null()).spawn().unwrap();
    gate.wait_for(1);
    for option in ["--retry", "--discard"] {
        let output = yard.drain(&[option, &name.to_string()]);
        assert_eq!(output.status.code(), Some(111), "{option}");
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            why.contains("pager is being sent something right now"),
            "{why}"
        );
    }
    gate.open();
    assert_eq!(drain.wait().unwrap().code(), Some(0));
    assert_eq!(yard.names("told"), [name.to_string()]);
}

#[test]
fn wrong_usage_is_told() {
    let yard = Yard::new();
    for args in [
        &["--retry"][..],
        &["--retry", "x"],
        &["--discard", "../../etc/passwd"],
        &["--list", "--list"],
        &["--list", "x"],
        &["x"],
        &["--all"],
    ] {
        let output = yard.drain(args);
        assert_eq!(output.status.code(), Some(100), "{args:?}");
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(why.starts_with("self-heal drain: "), "{args:?}: {why}");
    }
    yard.sandbox.set("HEAL_ALLOW_ROOT", "no");
    let output = yard.drain(&[]);
    assert_eq!(output.status.code(), Some(100));
    assert!(String::from_utf8_lossy(&output.stderr).contains("HEAL_ALLOW_ROOT"));
}

/// As root it becomes the account whose folders these are, and leaves nothing behind that it could not write.
#[test]
fn root_delivers_as_the_owner_of_the_state_folder() {
    use std::os::unix::fs::MetadataExt;
    let yard = Yard::new();
    yard.sandbox.set("HEAL_ALLOW_ROOT", "no");
    let who = yard.sandbox.write("who", "");
    chmod(&who, 0o666);
    let text = format!("#!/bin/sh\nid -u >>{}\n", who.display());
    yard.sandbox.script("escalate.d/pager", &text);
    let name = yard.trigger(THEN, "web-1");
    let owner = format!("{STRANGER}:{STRANGER}");
    for folder in ["state", "log"] {
        run(Command::new("chown")
            .args(["-R", &owner])
            .arg(yard.path(folder)));
    }
    yard.drains(&["--list"], 1);
    yard.drains(&[], 0);
    assert_eq!(yard.sandbox.read("who"), format!("{STRANGER}\n"));
    let mut command = yard.command(&["--discard", &name.to_string()]);
    assert!(
        command
            .env("SUDO_USER", "alice")
            .output()
            .unwrap()
            .status
            .success()
    );
    assert_eq!(
        lines_with(&yard.log(), &format!("event={name} by=alice")),
        1
    );
    let mut next = vec![yard.path("state"), yard.path("log")];
    while let Some(path) = next.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        assert_eq!(meta.uid(), STRANGER, "{}", path.display());
        if meta.is_dir() {
            next.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
}
