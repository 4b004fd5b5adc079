//! docs/escalation.md, held to what the shipped escalators do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::answers::CODES;
use super::fake::Fake;
use super::{Desk, KEY, Outcome, SHIPPED, Told, pagerduty, sample, samples};
use crate::docs::table;
use crate::support::{PROJECT, Sandbox, feed};

/// The words between backquotes in a cell.
fn words(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_shipped_escalator_has_its_row() {
    let rows = table("| escalator | tells | needs |");
    let named: Vec<String> = rows.iter().flat_map(|row| words(&row[0])).collect();
    assert_eq!(named, SHIPPED);
    let files = fs::read_dir(Path::new(PROJECT).join("handlers/escalate")).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, named.into_iter().collect());
}

#[test]
fn every_configuration_file_has_its_row_and_its_line_in_the_script() {
    let mut asked = BTreeMap::new();
    for name in SHIPPED {
        let text =
            fs::read_to_string(Path::new(PROJECT).join("handlers/escalate").join(name)).unwrap();
        for line in text.lines() {
            let Some((_, call)) = line
                .split_once("setting ")
                .filter(|_| !line.starts_with('#'))
            else {
                continue;
            };
            let (ending, rest) = call.split_once(' ').unwrap();
            let mode = if rest.starts_with("secret") {
                "0640"
            } else {
                "0644"
            };
            assert!(
                text.contains(&format!("\n#   {name}.{ending} ")),
                "{name}.{ending} is not in its head"
            );
            asked.insert(format!("{name}.{ending}"), mode.to_owned());
        }
    }
    let rows = table("| file | mode | what |");
    let shown = rows
        .iter()
        .map(|row| (words(&row[0]).remove(0), row[1].clone()));
    assert_eq!(shown.collect::<BTreeMap<_, _>>(), asked);
}

#[test]
fn every_answer_means_what_the_page_says() {
    let outcome = |cell: &str| match cell {
        "delivered" => Outcome::Delivered,
        "refused" => Outcome::Refused,
        "again" => Outcome::Again,
        other => panic!("{other}"),
    };
    let mut shown = Vec::new();
    for row in table("| answer | `pagerduty` | `webhook` |") {
        shown.extend(
            words(&row[0])
                .iter()
                .map(|code| (code.parse().unwrap(), outcome(&row[1]), outcome(&row[2]))),
        );
    }
    shown.sort_by_key(|row: &(u16, Outcome, Outcome)| row.0);
    assert_eq!(shown, CODES);
}

#[test]
fn every_severity_of_the_page_becomes_what_it_says() {
    let mut seen = BTreeSet::new();
    for row in table("| label `severity` | PagerDuty's |") {
        let severity = words(&row[1]).remove(0);
        for word in words(&row[0]) {
            assert_eq!(pagerduty::severity_of(&word), severity, "{word}");
        }
        seen.insert(severity);
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn every_member_of_an_event_is_on_the_page() {
    let rows = table("| member | what |");
    let shown: BTreeSet<String> = rows.iter().flat_map(|row| words(&row[0])).collect();
    let mut known = BTreeSet::new();
    for (name, event) in samples() {
        if name != "hostile" && name != "mistyped" {
            known.extend(event.as_object().unwrap().keys().cloned());
        }
    }
    assert_eq!(shown, known);
}

/// The commands for trying it, with the folder and the account of the test.
pub fn trying_works(commands: &str) {
    let fake = Fake::accepting(2);
    let desk = Desk::at(&fake.url("/x"));
    // The healer is whoever runs the test.
    let here = commands.replace("sudo -n -u healer /opt/self-heal/", "./");
    assert_eq!(here.matches("./escalate.d/pagerduty").count(), 2);
    desk.command("pagerduty", "pagerduty");
    let mut command = desk.clean(Command::new("bash"));
    command
        .args(["-euo", "pipefail", "-c", &here])
        .current_dir(desk.sandbox.path(""));
    let told = Told::of(&command.stdin(Stdio::null()).output().unwrap());
    assert_eq!(
        told.is(Outcome::Delivered, &[])
            .said
            .matches("delivered")
            .count(),
        2
    );
    for action in ["trigger", "resolve"] {
        let event = fake.body("/x");
        assert_eq!(
            (&event["event_action"], &event["dedup_key"]),
            (&action.into(), &"self-heal-test".into())
        );
        assert_eq!(event["routing_key"], KEY);
    }
}

/// The page's own escalator.
pub fn the_example_works(script: &str) {
    assert_eq!(script.matches("=/srv/board/pages\n").count(), 1);
    assert!(script.lines().count() <= 10);
    let sandbox = Sandbox::new();
    let board = sandbox.path("board");
    let path = sandbox.script(
        "board.sh",
        &script.replace(
            "/srv/board/pages\n",
            &format!("{}/pages\n", board.display()),
        ),
    );
    let tell = |id: &str, event: &str| {
        let mut command = Command::new(&path);
        command.env("HEAL_EVENT_ID", id);
        feed(command, event.as_bytes()).status.code()
    };
    let event = sample("failures").to_string();
    assert_eq!(tell("1-t-a", &event), Some(75), "not mounted");
    fs::create_dir(&board).unwrap();
    assert_eq!(tell("1-t-a", &event), Some(0));
    assert_eq!(tell("1-t-a", &event), Some(0));
    assert_eq!(tell("2-t-a", "no event"), Some(100));
    assert_eq!(
        tell("3-t-a", "{\"action\":\"trigger\",\"summary\":\"a\\nb\"}"),
        Some(0)
    );
    let lines = fs::read_to_string(board.join("pages")).unwrap();
    let summary = sample("failures")["summary"].as_str().unwrap().to_owned();
    assert_eq!(
        lines,
        format!("1-t-a trigger {summary}\n3-t-a trigger a b\n")
    );
    // It cannot be written.
    fs::remove_file(board.join("pages")).unwrap();
    fs::create_dir(board.join("pages")).unwrap();
    assert_eq!(tell("4-t-a", &event), Some(75));
}
