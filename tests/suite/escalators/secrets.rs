//! The routing key and the webhook's URL reach curl and the receiver, and nothing else.

use std::fs;
use std::process::Command;

use super::fake::Fake;
use super::{Desk, KEY, Outcome, SECRET_PATH, Told, sample};
use crate::stage::lines_with;
use crate::support::feed;

/// By way of strace(1) with this system call traced; the trace.
fn traced(desk: &Desk, name: &str, calls: &str, variables: &[(&str, &str)]) -> (Told, String) {
    let trace = desk.sandbox.path("trace");
    let mut command = Command::new("strace");
    // -v: the environment too, not only how much of it there is.
    command
        .args([
            "-f",
            "-v",
            "-s",
            "999999",
            "-e",
            &format!("trace={calls}"),
            "-o",
        ])
        .arg(&trace);
    command.arg(desk.command(name, name).get_program());
    let mut command = desk.clean(command);
    command.envs(variables.iter().copied());
    let done = feed(command, sample("failures").to_string().as_bytes());
    (Told::of(&done), fs::read_to_string(trace).unwrap())
}

/// Names that a caller may have exported, and shell options in the environment.
const LEAKY: [(&str, &str); 8] = [
    ("key", "x"),
    ("value", "x"),
    ("url", "x"),
    ("path", "x"),
    ("body", "x"),
    ("secrets", "x"),
    ("text", "x"),
    ("SHELLOPTS", "allexport:verbose:xtrace"),
];

#[test]
fn no_argument_and_no_environment_has_the_secret() {
    for variables in [&[][..], &LEAKY] {
        for (name, secret) in [("pagerduty", KEY), ("webhook", SECRET_PATH)] {
            let fake = Fake::accepting(1);
            let desk = Desk::at(&fake.url(SECRET_PATH));
            let (told, trace) = traced(&desk, name, "execve", variables);
            let told = told.is(Outcome::Delivered, &[]);
            assert!(!told.said.contains(secret), "{}", told.said);
            // The trace shows what it is looked for in: arguments and environments, of every program.
            for shown in ["curl", "\"jq\"", "--data-binary", "HEAL_CONF_DIR="] {
                assert!(trace.contains(shown), "{shown}");
            }
            assert!(lines_with(&trace, "execve(") >= 4, "{trace}");
            assert!(!trace.contains(secret), "{name}: {}", leak(&trace, secret));
            assert!(String::from_utf8_lossy(&fake.request().body).len() > 100);
        }
    }
}

fn leak<'a>(trace: &'a str, secret: &str) -> &'a str {
    trace
        .lines()
        .find(|line| line.contains(secret))
        .unwrap_or("")
}

/// A page has to leave a machine whose disk is full: nothing is created, for here-documents or otherwise.
#[test]
fn no_file_is_made() {
    let fake = Fake::accepting(2);
    let desk = Desk::at(&fake.url(SECRET_PATH));
    desk.conf("mail.to", "root", 0o644);
    desk.conf("mail.sendmail", "/bin/cat", 0o644);
    for name in ["pagerduty", "webhook", "mail"] {
        let (_, trace) = traced(
            &desk,
            name,
            "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,memfd_create",
            &[],
        );
        assert!(lines_with(&trace, "openat(") > 20, "{trace}");
        let made: Vec<&str> = trace
            .lines()
            .filter(|line| {
                ["O_CREAT", "O_TMPFILE", "creat(", "mkdir", "mknod"]
                    .iter()
                    .any(|word| line.contains(word))
            })
            .filter(|line| !line.contains("\"/dev/null\""))
            .collect();
        assert!(made.is_empty(), "{name}: {made:?}");
    }
}
