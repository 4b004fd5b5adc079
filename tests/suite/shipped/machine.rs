//! A booted container with the shipped handlers of this module installed where the documentation says.

use std::fs;
use std::process::Output;

use crate::spawners::Place;
use crate::spawners::container::Container;
use crate::support::{Alert, Answer, PROJECT};

/// `docs/handlers.md`: which shipped file goes where, with which mode.
fn places() -> Vec<[String; 3]> {
    let page = fs::read_to_string(format!("{PROJECT}/docs/handlers.md")).unwrap();
    let rows = page
        .lines()
        .skip_while(|line| *line != "| shipped file | goes to | mode |")
        .skip(2)
        .take_while(|line| line.starts_with("| "));
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let places: Vec<[String; 3]> = rows
        .map(|row| {
            let cells: Vec<String> = row.split('|').map(cell).collect();
            let [_, from, to, mode, _] = cells.try_into().unwrap();
            [from, to, mode]
        })
        .collect();
    assert!(places.len() > 8, "{places:?}");
    places
}

/// Every handler, and what belongs to it, has its row; a file of settings says itself where it goes.
#[test]
fn the_documented_places_are_those_of_every_file() {
    let places = places();
    for folder in ["handlers", "handlers/root"] {
        for entry in fs::read_dir(format!("{PROJECT}/{folder}")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let elsewhere = ["NginxDown.sh", "ServiceDown.sh"].contains(&&*name);
            let file = format!("{folder}/{name}");
            assert!(
                elsewhere
                    || entry.file_type().unwrap().is_dir()
                    || places.iter().any(|[from, _, _]| *from == file),
                "{file} has no place"
            );
        }
    }
    for [from, to, _] in places {
        let text = fs::read_to_string(format!("{PROJECT}/{from}")).unwrap();
        assert!(
            !from.starts_with("deploy/") || text.starts_with(&format!("# {to}")),
            "{from} does not say that it is {to}"
        );
    }
}

/// Boots one, the listener restarted with what its unit has got besides.
pub fn with_handlers() -> Container {
    let machine = Container::with("self-heal.service");
    for [from, to, mode] in places() {
        let text = fs::read_to_string(format!("{PROJECT}/{from}")).unwrap();
        machine.install(&mode, &to, &text);
    }
    machine.run(&["systemctl", "daemon-reload"]);
    machine.run(&["systemctl", "restart", "self-heal.service"]);
    machine.until_listening(true);
    machine
}

/// The alert, posted to the listener; with a failure comes what the handler said.
#[track_caller]
pub fn post(machine: &Container, alert: &Alert, code: u16, verdict: &str) {
    let answer: Answer = machine.connect().post(alert);
    let logs = machine.bash("tail -n 99 /var/log/self-heal/*.log");
    assert_eq!(answer.code, code, "{} {logs}", answer.body);
    assert_eq!(answer.verdicts(), [verdict], "{logs}");
}

/// A file of the handler folder, run by hand as the healer, with these labels.
pub fn by_hand(machine: &Container, file: &str, labels: &[(&str, &str)]) -> Output {
    let path = format!("/opt/self-heal/handlers/{file}");
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("HEAL_LABEL_{name}={value}"))
        .collect();
    let mut words = vec!["runuser", "-u", "healer", "--", "env", "-i"];
    words.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    words.extend(labels.iter().map(String::as_str));
    words.extend([&*path, "localhost:80", file, "b2cf8126af425ee7"]);
    machine.try_run(&words)
}
