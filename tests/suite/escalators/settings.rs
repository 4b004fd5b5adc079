//! The configuration files: which are taken, and what is said of the others. Nothing that is wrong there loses a page.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::process::Command;

use super::fake::Fake;
use super::{Desk, KEY, Outcome, SECRET_PATH, SHIPPED, Told, sample};
use crate::stage::{STRANGER, as_root};
use crate::support::{chmod, feed};

/// Two pages by one escalator under two names go to two places with two keys.
#[test]
fn a_copy_or_link_under_another_name_has_files_of_its_own() {
    let (here, there) = (Fake::accepting(1), Fake::accepting(1));
    let other = "E0123456789abcdefABCDEF012345678";
    let desk = Desk::at(&here.url("/x"));
    desk.conf("pagerduty-eu.key", other, 0o600);
    desk.conf("pagerduty-eu.url", &there.url("/eu"), 0o644);
    desk.tell("pagerduty", &sample("failures"))
        .is(Outcome::Delivered, &[" pagerduty "]);
    let link = desk.command("pagerduty", "pagerduty-eu");
    let told = Told::of(&feed(link, sample("failures").to_string().as_bytes()));
    told.is(
        Outcome::Delivered,
        &[" pagerduty-eu ", "1795348800000-t-0123456789abcdef"],
    );
    assert_eq!(here.body("/x")["routing_key"], KEY);
    assert_eq!(there.body("/eu")["routing_key"], other);
}

#[test]
fn without_its_files_each_says_which_one_to_write() {
    for (name, file) in [
        ("pagerduty", "pagerduty.key"),
        ("webhook", "webhook.url"),
        ("mail", "mail.to"),
    ] {
        let desk = Desk::new();
        let path = desk.sandbox.path("conf").join(file).display().to_string();
        desk.tell(name, &sample("failures"))
            .is(Outcome::Again, &[&path]);
    }
}

#[test]
fn a_secret_that_others_may_read_is_not_used() {
    as_root();
    let fake = Fake::accepting(1);
    for (name, file, text) in [
        ("pagerduty", "pagerduty.key", KEY.to_owned()),
        ("webhook", "webhook.url", fake.url("/x")),
    ] {
        let desk = Desk::at(&fake.url("/x"));
        let path = desk.conf(file, &text, 0o600);
        let shown = path.display().to_string();
        for mode in [0o604, 0o644, 0o602, 0o601, 0o620, 0o660, 0o666, 0o777] {
            chmod(&path, mode);
            desk.tell(name, &sample("failures"))
                .is(Outcome::Again, &[&shown, "chmod"]);
        }
        chmod(&path, 0o600);
        chown(&path, Some(STRANGER), None).unwrap();
        desk.tell(name, &sample("failures"))
            .is(Outcome::Again, &[&shown, "chown"]);
    }
    assert!(fake.untouched());
}

#[test]
fn roots_file_may_be_readable_by_the_healers_group_and_the_healers_own_by_itself() {
    as_root();
    for (owner, mode, outcome) in [
        (0, 0o640, Outcome::Delivered),
        (STRANGER, 0o600, Outcome::Delivered),
        (STRANGER, 0o400, Outcome::Delivered),
        (STRANGER, 0o640, Outcome::Again),
        (0, 0o600, Outcome::Again),
    ] {
        let fake = Fake::accepting(1);
        let desk = Desk::at(&fake.url("/x"));
        let key = desk.conf("pagerduty.key", KEY, mode);
        chown(&key, Some(owner), Some(STRANGER)).unwrap();
        let healer = STRANGER.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &healer, "--regid", &healer, "--clear-groups"]);
        // Made by the call, so that the link is there.
        let link = desk
            .command("pagerduty", "pagerduty")
            .get_program()
            .to_owned();
        // The project's folder may be closed to the stranger.
        fs::remove_file(&link).unwrap();
        let shipped = fs::read_to_string(format!(
            "{}/handlers/escalate/pagerduty",
            crate::support::PROJECT
        ))
        .unwrap();
        desk.sandbox.script("escalate.d/pagerduty", &shipped);
        command.arg(link);
        let done = feed(
            desk.clean(command),
            sample("failures").to_string().as_bytes(),
        );
        assert_eq!(Told::of(&done).outcome, outcome, "{owner} {mode:o}");
    }
}

/// Who may write any of these could send pages, and with them the key, elsewhere.
#[test]
fn a_file_that_others_may_write_is_not_used() {
    let fake = Fake::accepting(1);
    for (name, ending, text) in [
        ("pagerduty", "url", fake.url("/x")),
        ("pagerduty", "timeout", "5".to_owned()),
        ("webhook", "timeout", "5".to_owned()),
        ("mail", "to", "root".to_owned()),
        ("mail", "from", "root".to_owned()),
        ("mail", "sendmail", "/bin/true".to_owned()),
    ] {
        let desk = Desk::at(&fake.url("/x"));
        desk.conf("mail.to", "root", 0o644);
        let path = desk.conf(&format!("{name}.{ending}"), &text, 0o646);
        let path = path.display().to_string();
        desk.tell(name, &sample("failures"))
            .is(Outcome::Again, &[&path, "written by others"]);
    }
    assert!(fake.untouched());
}

#[test]
fn a_value_that_is_none_is_named_with_its_file() {
    let fake = Fake::accepting(1);
    let keys = [
        "",
        "short",
        "R0123456789abcdefABCDEF01234567\n8",
        "R0123456789abcdefABCDEF0123456789",
        "R0123456789abcdefABCDEF01234567\"",
    ];
    let urls = [
        "",
        "events.pagerduty.com",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\"",
        "http://127.0.0.1/\\",
        "http://127.0.0.1/x\nproxy = \"http://x\"",
        "-K/etc/passwd",
    ];
    let mut wrong: Vec<(&str, &str, String)> = Vec::new();
    wrong.extend(keys.map(|key| ("pagerduty", "key", key.to_owned())));
    wrong.extend(urls.map(|url| ("pagerduty", "url", url.to_owned())));
    wrong.extend(urls.map(|url| ("webhook", "url", url.to_owned())));
    // The key would go over the network in clear.
    wrong.push(("pagerduty", "url", "http://pager.example.org/x".to_owned()));
    wrong.push((
        "pagerduty",
        "url",
        "http://127.0.0.1.example.org/x".to_owned(),
    ));
    for seconds in ["", "0", "26", "1.5", "-1", "1 2", "1$(id)"] {
        wrong.extend(SHIPPED.map(|name| (name, "timeout", seconds.to_owned())));
    }
    for (name, ending, text) in wrong {
        let desk = Desk::at(&fake.url("/x"));
        desk.conf("mail.to", "root", 0o644);
        let path = desk.conf(&format!("{name}.{ending}"), &text, 0o600);
        desk.tell(name, &sample("failures"))
            .is(Outcome::Again, &[&path.display().to_string()]);
    }
    assert!(fake.untouched());
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    for make in ["mkdir", "mkfifo"] {
        let desk = Desk::at("http://127.0.0.1:9/x");
        let key = desk.sandbox.path("conf/pagerduty.key");
        fs::remove_file(&key).unwrap();
        assert!(Command::new(make).arg(&key).status().unwrap().success());
        desk.tell("pagerduty", &sample("failures"))
            .is(Outcome::Again, &["no regular file"]);
    }
    let desk = Desk::at("http://127.0.0.1:9/x");
    let key = desk.sandbox.path("conf/pagerduty.key");
    fs::remove_file(&key).unwrap();
    symlink("/nonexistent", &key).unwrap();
    desk.tell("pagerduty", &sample("failures"))
        .is(Outcome::Again, &[&key.display().to_string()]);
}

/// Blanks and line ends around a value do not count: editors leave them, of either kind.
#[test]
fn a_line_end_of_any_kind_is_none_of_the_value() {
    for end in ["", "\n", "\r\n", " \n\n"] {
        let fake = Fake::accepting(2);
        let desk = Desk::new();
        let url = format!("{}{end}", fake.url(SECRET_PATH));
        for (file, text) in [
            ("pagerduty.key", format!("{KEY}{end}")),
            ("pagerduty.url", url.clone()),
            ("webhook.url", url),
        ] {
            let path = desk.sandbox.write(&format!("conf/{file}"), &text);
            chmod(&path, 0o600);
        }
        for name in ["pagerduty", "webhook"] {
            desk.tell(name, &sample("failures"))
                .is(Outcome::Delivered, &[]);
            fake.body(SECRET_PATH);
        }
    }
}

/// Without a file the events go to PagerDuty itself: what curl is given is read from its configuration.
#[test]
fn without_a_url_it_is_pagerdutys() {
    let desk = Desk::new();
    desk.conf("pagerduty.key", KEY, 0o600);
    let seen = desk.sandbox.path("seen");
    fs::create_dir(desk.sandbox.path("bin")).unwrap();
    let curl = format!(
        "#!/bin/bash\nwhile (($#)); do [[ $1 == --config ]] && cat \"$2\" >{}; shift; done\ncat >/dev/null\n\
         printf 'HTTP/1.1 202 Accepted\\r\\n\\r\\n|202'\n",
        seen.display()
    );
    desk.sandbox.script("bin/curl", &curl);
    let mut command = desk.command("pagerduty", "pagerduty");
    command.env(
        "PATH",
        format!("{}:/usr/bin:/bin", desk.sandbox.path("bin").display()),
    );
    let done = feed(command, sample("failures").to_string().as_bytes());
    Told::of(&done).is(Outcome::Delivered, &[]);
    assert_eq!(
        fs::read_to_string(seen).unwrap(),
        "url = \"https://events.pagerduty.com/v2/enqueue\"\n"
    );
}

/// self-heal runs a link by the link's own path: where it leads to, the name would be another's.
#[test]
fn self_heal_runs_a_link_under_its_own_name_and_no_empty_file() {
    let fake = Fake::accepting(1);
    let desk = Desk::new();
    desk.conf("webhook-ops.url", &fake.url("/ops"), 0o600);
    let shipped = format!("{}/handlers/escalate/webhook", crate::support::PROJECT);
    desk.sandbox
        .script("escalate.d/webhook", &fs::read_to_string(shipped).unwrap());
    symlink("webhook", desk.sandbox.path("escalate.d/webhook-ops")).unwrap();
    desk.sandbox.script("escalate.d/half-copied", "");
    let found = self_heal::sys::escalator::find(&desk.sandbox.path("escalate.d")).unwrap();
    let ready: Vec<&str> = found.ready.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(ready, ["webhook", "webhook-ops"]);
    assert_eq!(found.refused.len(), 1, "{:?}", found.refused);
    assert!(
        found.refused[0].1.contains("is empty"),
        "{:?}",
        found.refused
    );
    let command = desk.clean(Command::new(&found.ready[1].path));
    let told = Told::of(&feed(command, sample("failures").to_string().as_bytes()));
    told.is(Outcome::Delivered, &[" webhook-ops "]);
    fake.body("/ops");
}
