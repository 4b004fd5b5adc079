//! What may be missing, full, cut off or not an event at all, for each of the three.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::fake::Fake;
use super::{Desk, Outcome, SHIPPED, Told, sample};
use crate::support::{PROJECT, feed};

/// Everything in place, `count` answers waiting.
fn ready(count: usize) -> (Desk, Fake) {
    let fake = Fake::accepting(count);
    let desk = Desk::at(&fake.url("/x"));
    desk.conf("mail.to", "root", 0o644);
    let sendmail = desk
        .sandbox
        .script("sendmail", "#!/bin/bash\ncat >/dev/null\n");
    desk.conf("mail.sendmail", &sendmail.display().to_string(), 0o644);
    (desk, fake)
}

#[test]
fn what_is_no_event_is_refused() {
    let (desk, fake) = ready(1);
    for name in SHIPPED {
        for text in [
            "",
            "\n",
            "x",
            "[]",
            "null",
            "7",
            "\"text\"",
            "{",
            "{}{}",
            "{} x",
            "\0",
            "{\"a\":1,}",
            "{\"action\":\"explode\"}",
            "{\"action\":7}",
        ] {
            let told = Told::of(&feed(desk.command(name, name), text.as_bytes()));
            assert_eq!(
                told.outcome,
                Outcome::Refused,
                "{name} {text:?}: {}",
                told.said
            );
        }
    }
    assert!(fake.untouched());
}

#[test]
fn an_event_that_lacks_everything_is_still_a_page() {
    let (desk, _fake) = ready(2);
    for name in SHIPPED {
        desk.tell(name, &json!({}))
            .is(Outcome::Delivered, &["trigger"]);
    }
}

#[test]
fn an_action_that_the_event_lacks_is_the_environments() {
    let (desk, fake) = ready(1);
    let mut command = desk.command("pagerduty", "pagerduty");
    command.env("HEAL_ACTION", "resolve");
    Told::of(&feed(command, b"{\"dedup_key\":\"k\"}")).is(Outcome::Delivered, &["resolve"]);
    assert_eq!(fake.body("/x")["event_action"], "resolve");
}

/// As after unpacking on a small system: everything is there but one program.
#[test]
fn a_program_that_is_missing_is_named_with_its_package() {
    for (name, lacking) in [
        ("pagerduty", "jq"),
        ("pagerduty", "curl"),
        ("webhook", "jq"),
        ("webhook", "curl"),
        ("mail", "jq"),
    ] {
        let (desk, fake) = ready(1);
        fs::create_dir(desk.sandbox.path("bin")).unwrap();
        for tool in [
            "bash",
            "cat",
            "stat",
            "tr",
            "head",
            "tail",
            "sha256sum",
            "timeout",
            "jq",
            "curl",
        ] {
            if tool != lacking {
                symlink(
                    Path::new("/usr/bin").join(tool),
                    desk.sandbox.path("bin").join(tool),
                )
                .unwrap();
            }
        }
        let mut command = desk.command(name, name);
        command.env("PATH", desk.sandbox.path("bin"));
        let told = Told::of(&feed(command, sample("failures").to_string().as_bytes()));
        told.is(
            Outcome::Again,
            &[&format!(
                "{lacking} is not installed: apt-get install {lacking}"
            )],
        );
        assert!(fake.untouched());
    }
}

/// A log on a full disk must not make a delivered page look undelivered: it would come again and again.
#[test]
fn a_log_that_is_full_changes_no_exit_code() {
    let (desk, _fake) = ready(2);
    for name in SHIPPED {
        for (event, code) in [(sample("failures").to_string(), 0), ("x".to_owned(), 100)] {
            let file = desk.sandbox.write("event", &event);
            let full = File::options().write(true).open("/dev/full").unwrap();
            let mut command = desk.command(name, name);
            command
                .stdin(File::open(file).unwrap())
                .stdout(full.try_clone().unwrap())
                .stderr(full);
            assert_eq!(command.status().unwrap().code(), Some(code), "{name}");
        }
    }
}

/// A copy that was cut off, by a full disk for one, must neither lose a page nor refuse it.
#[test]
fn a_copy_that_was_cut_off_delivers_nothing_and_says_so() {
    let (desk, fake) = ready(1);
    for name in SHIPPED {
        let whole =
            fs::read_to_string(Path::new(PROJECT).join("handlers/escalate").join(name)).unwrap();
        // Beyond the first line and its brace; a file that is empty or less is not executed by self-heal.
        let mut ends: Vec<usize> = (64..whole.len()).step_by(397).collect();
        ends.extend([4096, 8192, whole.len() - 3]);
        for end in ends
            .into_iter()
            .filter(|end| whole.is_char_boundary(*end) && *end < whole.len())
        {
            let path = desk.sandbox.script("escalate.d/cut", &whole[..end]);
            let told = feed(
                desk.clean(Command::new(path)),
                sample("failures").to_string().as_bytes(),
            );
            assert_eq!(Told::of(&told).outcome, Outcome::Again, "{name} {end}");
        }
    }
    assert!(fake.untouched());
}

/// Each works alone, so what they share stands in each; it must not drift apart.
#[test]
fn what_is_the_same_is_the_same() {
    let shared = |name: &str| -> Vec<String> {
        let text =
            fs::read_to_string(Path::new(PROJECT).join("handlers/escalate").join(name)).unwrap();
        let parts = text.split("\n# --- The same in ").skip(1);
        parts
            .map(|part| {
                part.split("\n# --- End of what is the same.")
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    let [pagerduty, webhook, mail] = SHIPPED.map(shared);
    assert_eq!([pagerduty.len(), webhook.len(), mail.len()], [2, 3, 2]);
    assert!(pagerduty[0] == webhook[0] && webhook[0] == mail[0]);
    assert!(pagerduty[1] == webhook[1]);
    assert!(webhook[2] == mail[1]);
}
