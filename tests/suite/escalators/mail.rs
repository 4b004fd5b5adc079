//! The message that sendmail gets, read by rules of its own, and what its exit codes are taken for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Desk, Outcome, Told, failures_with, oversized, sample, samples};
use crate::stage::lines_with;

/// A desk with a sendmail that keeps its arguments and its input and exits with the code in `exit`.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.conf("mail.to", "ops@example.org", 0o644);
    let folder = desk.sandbox.path("").display().to_string();
    let sendmail = format!(
        "#!/bin/bash\nprintf '%s\\n' \"$@\" >{folder}/arguments\ncat >{folder}/message\nexit $(<{folder}/exit)\n"
    );
    desk.sandbox.write("exit", "0\n");
    let path = desk.sandbox.script("sendmail", &sendmail);
    desk.conf("mail.sendmail", &path.display().to_string(), 0o644);
    desk
}

struct Message {
    headers: BTreeMap<String, String>,
    body: String,
}

/// Sent from this desk, and read strictly: RFC 5322 for lines and fields, RFC 2047 for words, RFC 2045 for the body.
#[track_caller]
fn sent(desk: &Desk, event: &Value) -> Message {
    desk.tell("mail", event)
        .is(Outcome::Delivered, &["taken over by"]);
    let text = desk.sandbox.read("message");
    assert!(!text.contains('\r') && text.ends_with('\n'), "{text:?}");
    assert!(text.is_ascii() && !text.contains('\0'));
    for line in text.lines() {
        assert!(line.len() <= 998, "{}", line.len());
    }
    let (head, body) = text.split_once("\n\n").unwrap();
    let mut headers = BTreeMap::new();
    for line in head.replace("\n ", " ").lines() {
        let (name, value) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("no field: {line:?}"));
        assert!(
            headers.insert(name.to_owned(), value.to_owned()).is_none(),
            "{name} twice"
        );
    }
    for line in head.lines().filter(|line| line.contains("=?")) {
        assert!(line.len() <= 76, "{line}");
    }
    let known = [
        "Auto-Submitted",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "From",
        "In-Reply-To",
        "MIME-Version",
        "Message-ID",
        "References",
        "Subject",
        "To",
    ];
    for name in headers.keys() {
        assert!(known.contains(&name.as_str()), "{name}");
    }
    for name in known.iter().filter(|name| **name != "From") {
        assert!(headers.contains_key(*name), "{name} is missing");
    }
    for name in ["Message-ID", "In-Reply-To", "References"] {
        assert!(is_message_id(&headers[name]), "{name}: {}", headers[name]);
    }
    assert_eq!(headers["Auto-Submitted"], "auto-generated");
    assert_eq!(headers["MIME-Version"], "1.0");
    assert_eq!(headers["Content-Type"], "text/plain; charset=UTF-8");
    let body = match headers["Content-Transfer-Encoding"].as_str() {
        "7bit" => body.to_owned(),
        "base64" => {
            assert!(body.lines().all(|line| line.len() <= 76));
            String::from_utf8(base64(&body.replace('\n', ""))).unwrap()
        }
        other => panic!("{other}"),
    };
    Message { headers, body }
}

impl Message {
    fn subject(&self) -> String {
        let subject = &self.headers["Subject"];
        if !subject.starts_with("=?") {
            assert!(!subject.contains("=?"), "{subject}");
            return subject.clone();
        }
        // Blanks between words are no text; each word is whole UTF-8.
        let word = |word: &str| {
            assert!(word.len() <= 75, "{word}");
            let inner = word
                .strip_prefix("=?UTF-8?B?")
                .and_then(|rest| rest.strip_suffix("?="))
                .unwrap();
            String::from_utf8(base64(inner)).unwrap()
        };
        subject.split(' ').map(word).collect()
    }
}

/// `<dot-atom@dot-atom>`, RFC 5322 section 3.6.4 in its strict form.
fn is_message_id(text: &str) -> bool {
    let inner = text
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    let Some((left, right)) = inner.and_then(|inner| inner.split_once('@')) else {
        return false;
    };
    let atom = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    left.split('.').all(atom) && right.split('.').all(atom)
}

fn base64(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 4, 0);
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for c in text.bytes().filter(|c| *c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("{c} is not base64"),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}

#[test]
fn every_event_makes_a_sound_message() {
    let desk = desk();
    for (name, event) in samples() {
        let message = sent(&desk, &event);
        assert!(!message.subject().is_empty(), "{name}");
        assert_eq!(message.headers["To"], "ops@example.org", "{name}");
        assert_eq!(
            desk.sandbox.read("arguments"),
            "-i\nops@example.org\n",
            "{name}"
        );
    }
}

#[test]
fn a_message_says_what_was_tried_and_what_to_do() {
    let message = sent(&desk(), &sample("failures"));
    assert_eq!(
        message.subject(),
        "NginxDown on web-1:9113: the handler failed 3 times in a row"
    );
    assert_eq!(message.headers["Content-Transfer-Encoding"], "7bit");
    for line in [
        "Alert: NginxDown on web-1:9113, since 2026-11-22T11:50:00.123Z",
        "Host: gw-1",
        "  attempt 3, 2026-11-22T11:53:00Z to 2026-11-22T11:53:03Z: failed, exit 1",
        "  2026-11-22T11:53:03Z failed: the restart failed: see journalctl -u nginx",
        "  self-heal reset NginxDown web-1:9113",
        "  runbook: https://wiki.example.org/nginx",
        "  severity = critical",
        "  summary = nginx does not answer",
        "Event 1795348800000-t-0123456789abcdef, group {}/{heal=\"true\"}:{}",
    ] {
        assert_eq!(
            lines_with(&message.body, line),
            1,
            "{line}\n{}",
            message.body
        );
    }
    let message = sent(&desk(), &sample("rollback"));
    assert!(
        message
            .body
            .contains("timeout, exit 1; what it changed: failed"),
        "{}",
        message.body
    );
}

/// The date is now, in the form of RFC 5322: date(1) reads it.
#[test]
fn the_date_is_one() {
    let date = sent(&desk(), &sample("failures")).headers["Date"].clone();
    let read = std::process::Command::new("date")
        .args(["-u", "-d", &date, "+%s"])
        .output()
        .unwrap();
    let seconds: u64 = String::from_utf8(read.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(seconds <= now && now - seconds < 60, "{date}");
    let again = std::process::Command::new("date")
        .args(["-u", "-R", "-d", &date])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(again.stdout).unwrap().trim(), date);
}

#[test]
fn trigger_and_resolve_stand_in_one_thread_and_no_two_messages_have_one_id() {
    let desk = desk();
    let trigger = sent(&desk, &sample("failures"));
    let resolve = sent(&desk, &sample("resolve"));
    let id = "<1795348800000-t-0123456789abcdef@gw-1>";
    assert_eq!(trigger.headers["Message-ID"], id);
    assert_ne!(resolve.headers["Message-ID"], id);
    for name in ["In-Reply-To", "References"] {
        assert_eq!(trigger.headers[name], resolve.headers[name]);
        assert_ne!(trigger.headers[name], id);
    }
    assert!(resolve.subject().starts_with("Over: "));
    let other = sent(&desk, &failures_with("dedup_key", json!("another")));
    assert_ne!(other.headers["References"], trigger.headers["References"]);
    // The same event, tried again: the same message, so that a mailbox may drop the second.
    assert_eq!(sent(&desk, &sample("failures")).headers["Message-ID"], id);
    for (member, value) in [
        ("id", json!("a b@c>\r\nX: y")),
        ("id", Value::Null),
        ("host", json!("a>\nb")),
        ("host", json!("")),
    ] {
        sent(&desk, &failures_with(member, value));
    }
}

#[test]
fn no_text_of_an_event_makes_a_header() {
    let desk = desk();
    for (name, text) in [
        ("crlf", "x\r\nBcc: victim@example.org"),
        ("lf", "x\nBcc: victim@example.org"),
        ("cr", "x\rBcc: victim@example.org"),
        ("a newline at the end", "x\n"),
        ("an empty line", "x\r\n\r\nbody"),
        ("a next line character", "x\u{85}Bcc: victim@example.org"),
        ("a line separator", "x\u{2028}Bcc: victim@example.org"),
        (
            "a word of its own",
            "=?UTF-8?Q?=0ABcc:=20victim@example.org?=",
        ),
        ("a nul", "x\0y"),
        ("blanks around", "  x  "),
        ("folding", "x\n y"),
    ] {
        for member in [
            "summary",
            "id",
            "host",
            "dedup_key",
            "reason",
            "at",
            "group_key",
            "receiver",
        ] {
            let message = sent(&desk, &failures_with(member, json!(text)));
            assert!(!message.headers.contains_key("Bcc"), "{name} {member}");
            let subject = message.subject();
            assert!(!subject.contains(char::is_control), "{name}: {subject:?}");
        }
    }
}

#[test]
fn a_subject_keeps_its_characters() {
    let desk = desk();
    for subject in [
        "plain".to_owned(),
        "é".to_owned(),
        "日本語の要約".repeat(8),
        "🔥".repeat(100),
        "a🔥é".repeat(30),
        "x".repeat(65),
        "x".repeat(66),
        "x y ".repeat(40).trim().to_owned(),
        "=?x?=".to_owned(),
    ] {
        assert_eq!(
            sent(&desk, &failures_with("summary", json!(subject))).subject(),
            subject
        );
    }
    let long = sent(&desk, &failures_with("summary", json!("🔥".repeat(1000)))).subject();
    assert_eq!(long, format!("{}…", "🔥".repeat(179)));
}

#[test]
fn a_body_of_any_text_arrives_whole() {
    let desk = desk();
    for output in [
        ".\n..\n.",
        "From me\n",
        "é 🔥\n",
        &"x".repeat(3000),
        "tab\there\n",
    ] {
        let message = sent(&desk, &failures_with("output", json!(output)));
        for line in output.lines() {
            assert!(message.body.contains(&format!("  {line}\n")), "{output}");
        }
    }
    for (name, event) in oversized() {
        assert!(sent(&desk, &event).body.len() < 400_000, "{name}");
    }
}

#[test]
fn addresses_are_addresses() {
    let desk = desk();
    for (to, arguments) in [
        ("root", "-i\nroot\n"),
        (
            "a@example.org, b.c+d@x.example.org\n root",
            "-i\na@example.org\nb.c+d@x.example.org\nroot\n",
        ),
        ("\n a@example.org,\r\n", "-i\na@example.org\n"),
    ] {
        desk.conf("mail.to", to, 0o644);
        let message = sent(&desk, &sample("failures"));
        assert_eq!(desk.sandbox.read("arguments"), arguments);
        let listed: Vec<&str> = arguments.lines().skip(1).collect();
        assert_eq!(message.headers["To"], listed.join(", "));
    }
    desk.conf("mail.from", "heal@example.org", 0o644);
    let message = sent(&desk, &sample("failures"));
    assert_eq!(message.headers["From"], "self-heal <heal@example.org>");
    assert!(
        desk.sandbox
            .read("arguments")
            .starts_with("-i\n-f\nheal@example.org\n")
    );
    for wrong in [
        "-oQ/tmp",
        "a b",
        "a@b, c@d",
        "<a@b>",
        "|/bin/sh",
        "a@b@c",
        "a@",
        "/etc/passwd",
        "\"a b\"@c",
        "a;b",
        "*",
    ] {
        desk.conf("mail.from", wrong, 0o644);
        desk.tell("mail", &sample("failures"))
            .is(Outcome::Again, &["mail.from"]);
    }
    std::fs::remove_file(desk.sandbox.path("conf/mail.from")).unwrap();
    for wrong in [
        "-oQ/tmp",
        "a@b -bs",
        "<a@b>",
        "|/bin/sh",
        "a@b@c",
        ",",
        ", ,",
        "/etc/passwd",
        "*",
        "a\u{e9}@b",
    ] {
        desk.conf("mail.to", wrong, 0o644);
        desk.tell("mail", &sample("failures"))
            .is(Outcome::Again, &["mail.to"]);
    }
}

#[test]
fn every_exit_code_of_sendmail_means_what_the_page_says() {
    let desk = desk();
    // sysexits.h, and what a shell or timeout(1) may add.
    for code in [
        1, 2, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 100, 126, 127, 255,
    ] {
        desk.sandbox.write("exit", &format!("{code}\n"));
        let outcome = match code {
            65 | 67 | 68 => Outcome::Refused,
            _ => Outcome::Again,
        };
        desk.tell("mail", &sample("failures"))
            .is(outcome, &[&format!("exit {code}")]);
    }
}

/// A sendmail made of these lines.
fn told_by(lines: &str) -> Told {
    let desk = desk();
    desk.sandbox
        .script("sendmail", &format!("#!/bin/bash\n{lines}\n"));
    desk.conf("mail.timeout", "1", 0o644);
    desk.tell("mail", &failures_with("output", json!("x".repeat(4000))))
}

#[test]
fn a_sendmail_that_hangs_dies_or_does_not_read_is_tried_again() {
    told_by("exec sleep 60").is(Outcome::Again, &["did not end within 1 s"]);
    told_by("kill -9 $$").is(Outcome::Again, &[]);
    told_by("kill -15 $$").is(Outcome::Again, &["exit 143"]);
    // What it says is kept.
    told_by("cat >/dev/null; echo queue is closed >&2; exit 75")
        .is(Outcome::Again, &["queue is closed"]);
}

/// Delivery in the background, with everything inherited: the page is handed over all the same.
#[test]
fn what_sendmail_leaves_running_is_not_waited_for() {
    let desk = desk();
    let left = desk.sandbox.path("left").display().to_string();
    desk.sandbox.script(
        "sendmail",
        &format!("#!/bin/bash\ncat >/dev/null\nsleep 600 & echo $! >{left}\n"),
    );
    let log = std::fs::File::create(desk.sandbox.path("log/escalate.log")).unwrap();
    let event = desk.sandbox.write("event", &sample("failures").to_string());
    let mut command = desk.command("mail", "mail");
    command
        .stdin(std::fs::File::open(event).unwrap())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let done = command.status();
    let pid: i32 = desk.sandbox.read("left").trim().parse().unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    assert_eq!(done.unwrap().code(), Some(0));
}

#[test]
fn a_sendmail_that_is_not_there_is_named() {
    let desk = desk();
    for path in ["/nonexistent/sendmail", "sendmail", "/tmp", "/etc/passwd"] {
        desk.conf("mail.sendmail", path, 0o644);
        desk.tell("mail", &sample("failures"))
            .is(Outcome::Again, &[path, "mail.sendmail"]);
    }
    // Without the file it is the one that every mail system brings.
    std::fs::remove_file(desk.sandbox.path("conf/mail.sendmail")).unwrap();
    if !PathBuf::from("/usr/sbin/sendmail").exists() {
        desk.tell("mail", &sample("failures"))
            .is(Outcome::Again, &["there is no /usr/sbin/sendmail"]);
    }
}
