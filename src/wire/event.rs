//! What a page says, as the JSON that every escalator reads. It fits the room that the spool keeps for it,
//! whatever the sender and the handler wrote.

use std::collections::BTreeMap;

use serde::Serialize;

use super::quote::shell;
use super::report::{self, opening};
use super::timestamp::rfc3339;
use crate::judge::alert::cut;
use crate::judge::record::{Attempt, Page, PageKind, Reason};
use crate::judge::{Ending, Record, Time};

/// The longest event, in bytes; the spool's room is this large.
pub const LONGEST: usize = 60 * 1024;

/// The longest summary, in characters: PagerDuty's limit (Events API v2, payload.summary).
const SUMMARY: usize = 1024;

/// How much of the handler's output an event carries, in bytes.
pub const OUTPUT: usize = 4096;

/// What a page is about, beside its record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// This host's name.
    pub host: &'a str,
    /// Labels of the alert; `None` where only its record is at hand.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// Annotations of the alert.
    pub annotations: Option<&'a BTreeMap<String, String>>,
    /// When the alert began, by the sender's clock.
    pub starts_at: Option<Time>,
    /// Where it comes from; may be empty.
    pub generator_url: &'a str,
    /// The sender's own address; may be empty.
    pub external_url: &'a str,
    /// May be empty.
    pub group_key: &'a str,
    /// May be empty.
    pub receiver: &'a str,
    /// The end of the handler's output.
    pub output: &'a str,
    /// What is to be known beside the reason, in a sentence; may be empty.
    pub detail: &'a str,
    /// The handler's log; may be empty.
    pub log: &'a str,
}

#[derive(Serialize)]
struct Event<'a> {
    version: u32,
    id: &'a str,
    action: &'a str,
    dedup_key: &'a str,
    reason: &'a str,
    summary: &'a str,
    detail: String,
    at: String,
    host: &'a str,
    alert: AlertShape<'a>,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'a str, &'a str>,
    attempts: Vec<AttemptShape<'a>>,
    output: String,
    links: Vec<Link<'a>>,
    commands: Vec<String>,
    group_key: &'a str,
    receiver: &'a str,
}

#[derive(Serialize)]
struct AlertShape<'a> {
    alertname: &'a str,
    instance: &'a str,
    fingerprint: &'a str,
    starts_at: String,
}

#[derive(Serialize)]
struct AttemptShape<'a> {
    run_id: &'a str,
    attempt: u32,
    started: String,
    ended: String,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback: Option<&'a str>,
}

#[derive(Serialize)]
struct Link<'a> {
    href: &'a str,
    text: &'a str,
}

/// How much of the sender's and the handler's text goes in; tried from the largest to the smallest.
struct Room {
    texts: usize,
    text: usize,
    output: usize,
}

const ROOMS: [Room; 3] = [
    Room {
        texts: 16 * 1024,
        text: 2048,
        output: OUTPUT,
    },
    Room {
        texts: 4096,
        text: 256,
        output: 1024,
    },
    Room {
        texts: 0,
        text: 128,
        output: 0,
    },
];

/// The event of a page that the record owes: `id` is its name in the spool, `dedup_key` its incident.
pub fn of_record(
    record: &Record,
    page: &Page,
    id: &str,
    dedup_key: &str,
    subject: &Subject<'_>,
) -> String {
    let (action, reason) = match page.what {
        PageKind::Trigger(reason) => ("trigger", reason),
        PageKind::Resolve(reason) => ("resolve", reason),
    };
    let what = match reason {
        Reason::Storm => format!("self-heal on {}", subject.host),
        Reason::Truncated => format!("group {}", cut(&record.instance, 200)),
        _ => format!("{} on {}", record.alertname, record.instance),
    };
    let words = match action {
        "resolve" => "over",
        _ => opening(reason),
    };
    let summary = format!("{what}: {words}{}", tried(record, page, reason));
    let mut text = String::new();
    for room in ROOMS {
        let event = Event {
            version: 1,
            id,
            action,
            dedup_key,
            reason: reason.as_str(),
            summary: first_chars(&summary, SUMMARY),
            detail: detail(page, reason, subject.detail),
            at: rfc3339(page.at),
            host: cut(subject.host, 255),
            alert: AlertShape {
                alertname: &record.alertname,
                instance: if reason == Reason::Truncated {
                    ""
                } else {
                    &record.instance
                },
                fingerprint: &record.fingerprint,
                starts_at: subject.starts_at.map(rfc3339).unwrap_or_default(),
            },
            labels: texts(subject.labels, &room),
            annotations: texts(subject.annotations, &room),
            attempts: record.attempts.iter().map(attempt).collect(),
            output: printable(last_bytes(subject.output, room.output)),
            links: links(subject),
            commands: commands(record, reason, dedup_key, subject),
            group_key: cut(subject.group_key, 1024),
            receiver: cut(subject.receiver, 256),
        };
        text = serde_json::to_string(&event).unwrap_or_default();
        if text.len() <= LONGEST {
            break;
        }
    }
    text
}

/// What was tried, as the end of the summary.
fn tried(record: &Record, page: &Page, reason: Reason) -> String {
    let no_runs = matches!(reason, Reason::Storm | Reason::Truncated);
    if no_runs || matches!(page.what, PageKind::Resolve(_)) {
        return String::new();
    }
    match (record.attempts.len(), record.attempts.last()) {
        (count, Some(last)) => {
            let s = if count == 1 { "" } else { "s" };
            format!(" ({count} attempt{s}, last: {})", ending(last))
        }
        _ => String::new(),
    }
}

fn ending(attempt: &Attempt) -> String {
    attempt
        .ending
        .map_or("interrupted".to_owned(), report::ended)
}

fn detail(page: &Page, reason: Reason, more: &str) -> String {
    let words = match page.what {
        PageKind::Resolve(_) => "Nobody is needed any more.",
        PageKind::Trigger(_) => match reason {
            Reason::Storm => "Runs go on as the window frees; look for the common cause.",
            Reason::Truncated => {
                "The sender never delivers what it cut off: set max_alerts: 0 in alertmanager.yml."
            }
            Reason::Interrupted => {
                "The run stays counted as a failure; the next attempt comes by itself."
            }
            Reason::Survivor => "The alert stays busy while that process lives: end it as root.",
            Reason::Rollback => "What the handler changed is not put right: a person has to do it.",
            _ => {
                "Nothing more is run for this alert until it resolves or the breaker is tried again."
            }
        },
    };
    if more.is_empty() {
        return words.to_owned();
    }
    format!("{words} {}", cut(more, 1024))
}

/// For a person who has just been woken. The key is hex and the alertname a safe name: no text of a sender
/// stands in a line that is pasted into a shell.
fn commands(record: &Record, reason: Reason, key: &str, subject: &Subject<'_>) -> Vec<String> {
    let mut commands = Vec::new();
    if !subject.log.is_empty() {
        commands.push(format!("sudo tail -n 50 {}", shell(subject.log)));
    }
    // A storm, and a group that has a name, end by themselves.
    if reason == Reason::Storm || (reason == Reason::Truncated && !record.instance.is_empty()) {
        return commands;
    }
    if !record.alertname.is_empty() {
        commands.push(format!(
            "sudo self-heal pause --alert {} --for 1h --reason '…'",
            record.alertname
        ));
    }
    commands.push(format!("sudo self-heal reset --key {key}"));
    commands
}

fn links<'a>(subject: &Subject<'a>) -> Vec<Link<'a>> {
    let annotation = |names: &[&str]| {
        let annotations = subject.annotations?;
        names.iter().find_map(|name| annotations.get(*name))
    };
    let known = [
        (Some(subject.generator_url), "generator"),
        (
            annotation(&["dashboard_url", "dashboard"]).map(String::as_str),
            "dashboard",
        ),
        (
            annotation(&["runbook_url", "runbook"]).map(String::as_str),
            "runbook",
        ),
        (Some(subject.external_url), "alertmanager"),
    ];
    // A control character is in no URL, and takes six bytes of the event's room.
    let usable = |href: &&str| {
        href.len() <= 2048
            && (href.starts_with("http://") || href.starts_with("https://"))
            && !href.contains(char::is_control)
    };
    known
        .into_iter()
        .filter_map(|(href, text)| {
            let href = href.filter(usable)?;
            Some(Link { href, text })
        })
        .collect()
}

fn attempt(attempt: &Attempt) -> AttemptShape<'_> {
    AttemptShape {
        run_id: &attempt.run_id,
        attempt: attempt.attempt,
        started: rfc3339(attempt.started),
        ended: rfc3339(attempt.ended),
        outcome: attempt.ending.map_or("interrupted", report::outcome),
        exit: match attempt.ending {
            Some(Ending::Exit(code)) => Some(code),
            _ => None,
        },
        rollback: report::rollback(attempt.rollback),
    }
}

/// As many of the texts as there is room for, in the order of their names, each cut.
fn texts<'a>(map: Option<&'a BTreeMap<String, String>>, room: &Room) -> BTreeMap<&'a str, &'a str> {
    let mut left = room.texts;
    let mut taken = BTreeMap::new();
    // What tells how grave it is goes in first.
    let first = map.and_then(|map| map.get_key_value("severity"));
    for (name, text) in first.into_iter().chain(map.into_iter().flatten()) {
        let (name, text) = (name.as_str(), cut(text, room.text));
        let size = name.len() + text.len();
        let fits = size <= left || (name == "severity" && size <= 256);
        if fits && !taken.contains_key(name) {
            left = left.saturating_sub(size);
            taken.insert(name, text);
        }
    }
    taken
}

/// What is no text stands as U+FFFD: a terminal or a mail reader may show it.
fn printable(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

fn first_chars(text: &str, most: usize) -> &str {
    let end = text.char_indices().nth(most).map_or(text.len(), |(i, _)| i);
    text.get(..end).unwrap_or(text)
}

fn last_bytes(text: &str, most: usize) -> &str {
    let start = text.len().saturating_sub(most);
    let start = (start..=text.len()).find(|i| text.is_char_boundary(*i));
    text.get(start.unwrap_or(text.len())..).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::judge::Rollback;

    fn record() -> Record {
        Record {
            alertname: "NginxDown".into(),
            instance: "web-1:9113".into(),
            fingerprint: "b2cf".into(),
            attempts: vec![
                Attempt {
                    run_id: "r1.NginxDown".into(),
                    attempt: 1,
                    started: Time(0),
                    ended: Time(1000),
                    ending: Some(Ending::Exit(1)),
                    rollback: Rollback::Done,
                },
                Attempt {
                    run_id: "r2.NginxDown".into(),
                    attempt: 2,
                    started: Time(60_000),
                    ended: Time(61_000),
                    ending: Some(Ending::TimedOut),
                    rollback: Rollback::Failed,
                },
            ],
            ..Record::default()
        }
    }

    fn page(what: PageKind) -> Page {
        Page {
            at: Time(62_000),
            what,
        }
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_page_says_what_was_tried_with_what_result_and_what_to_do() {
        let labels = BTreeMap::from([("severity".to_owned(), "critical".to_owned())]);
        let annotations = BTreeMap::from([
            ("runbook_url".to_owned(), "https://r.example/1".to_owned()),
            ("dashboard".to_owned(), "javascript:alert(1)".to_owned()),
        ]);
        let subject = Subject {
            host: "gw-1",
            labels: Some(&labels),
            annotations: Some(&annotations),
            starts_at: Some(Time(0)),
            generator_url: "http://p.example/graph",
            output: "trying\u{1b}[2J\nfailed\n",
            log: "/var/log/self-heal/NginxDown.log",
            ..Subject::default()
        };
        let trigger = page(PageKind::Trigger(Reason::Failures));
        let event = read(&of_record(&record(), &trigger, "id", "k0", &subject));
        assert_eq!(
            event["summary"],
            "NginxDown on web-1:9113: as many failures in a row as there are attempts \
             (2 attempts, last: handler ended past its timeout)"
        );
        assert_eq!(event["action"], "trigger");
        assert_eq!(event["reason"], "failures");
        assert_eq!(event["labels"]["severity"], "critical");
        assert_eq!(event["attempts"][0]["exit"], 1);
        assert_eq!(event["attempts"][0]["rollback"], "restored");
        assert_eq!(event["attempts"][1]["outcome"], "timeout");
        assert_eq!(event["attempts"][1].get("exit"), None);
        assert_eq!(event["output"], "trying\u{fffd}[2J\nfailed\n");
        let links: Vec<_> = event["links"].as_array().unwrap().iter().collect();
        assert_eq!(links.len(), 2, "{links:?}");
        assert_eq!(
            event["commands"],
            serde_json::json!([
                "sudo tail -n 50 /var/log/self-heal/NginxDown.log",
                "sudo self-heal pause --alert NginxDown --for 1h --reason '…'",
                "sudo self-heal reset --key k0"
            ])
        );

        let resolve = page(PageKind::Resolve(Reason::Failures));
        let event = read(&of_record(&record(), &resolve, "id", "k0", &subject));
        assert_eq!(event["action"], "resolve");
        assert_eq!(event["summary"], "NginxDown on web-1:9113: over");
    }

    #[test]
    fn whatever_is_written_an_event_fits_its_room() {
        let huge: BTreeMap<String, String> = (0..2000)
            .map(|n| (format!("l{n}\u{1}"), "\u{1}".repeat(5000)))
            .chain([("severity".to_owned(), "critical".to_owned())])
            .collect();
        let mut worst = record();
        worst.instance = "\u{1}".repeat(Record::TEXT);
        for attempt in &mut worst.attempts {
            attempt.run_id = "a".repeat(160);
        }
        worst.attempts = worst.attempts.iter().cycle().take(8).cloned().collect();
        let long = "\u{1}".repeat(100_000);
        let url = format!("http://{}", "\u{1}".repeat(2000));
        let linked: BTreeMap<String, String> = ["dashboard", "runbook"]
            .map(|name| (name.to_owned(), url.clone()))
            .into_iter()
            .chain(huge.clone())
            .collect();
        let subject = Subject {
            host: &long,
            labels: Some(&huge),
            annotations: Some(&linked),
            generator_url: &url,
            external_url: &url,
            group_key: &long,
            receiver: &long,
            output: &long,
            detail: &long,
            ..Subject::default()
        };
        for reason in Reason::ALL {
            let trigger = page(PageKind::Trigger(reason));
            let text = of_record(&worst, &trigger, "id", &"0".repeat(64), &subject);
            assert!(text.len() <= LONGEST, "{}", text.len());
            assert_eq!(read(&text)["labels"]["severity"], "critical");
        }
    }

    #[test]
    fn nothing_is_cut_within_a_character() {
        assert_eq!(last_bytes("aéb", 2), "b");
        assert_eq!(last_bytes("aéb", 3), "éb");
        assert_eq!(first_chars("éé€", 2), "éé");
        assert_eq!(first_chars("é", 5), "é");
    }
}
