//! The history's chain holds as it is written, crashes and rotations included, and a changed byte breaks it.

use self_heal::judge::Time;
use self_heal::wire::chronicle::chain::{self, Head, Link, Part, Walked};
use self_heal::wire::chronicle::runs::Runs;
use self_heal::wire::chronicle::summary::Summary;
use self_heal::wire::chronicle::{Entry, Filter};
use self_heal::wire::history::{self, Event, GENESIS, RunLine};
use self_heal::wire::{paint::Paint, timestamp};

use super::pieces::Pieces;

pub fn body(data: &[u8]) {
    let mut pieces = Pieces::new(data);
    if pieces.flag() {
        written(&mut pieces);
    } else {
        anything(&mut pieces);
    }
}

/// Bytes that were found where a history should be.
fn anything(pieces: &mut Pieces<'_>) {
    let head = pieces.list(64, Pieces::byte);
    let head = Head::parse(pieces.flag().then_some(&head));
    let bytes = pieces.rest();
    let filter = Filter::default();
    let (mut runs, mut summary) = (Runs::default(), Summary::default());
    let parts: Vec<Part> = bytes
        .split(|b| *b == 0)
        .enumerate()
        .map(|(n, bytes)| part(&n.to_string(), bytes))
        .collect();
    for line in bytes.split(|b| *b == 0 || *b == b'\n') {
        if let Some(entry) = Entry::parse(line) {
            assert!(filter.takes(&entry));
            runs.add(&entry, &filter);
            summary.add(&entry, &filter);
        }
    }
    let count: usize = parts.iter().map(|part| part.links.len()).sum();
    let walked = chain::walk(&parts, head);
    assert_eq!(walked.lines, count);
    assert!(
        walked.good <= count
            && walked.broken.is_some() == (walked.good < count || head_only(&walked))
    );
    runs.settle(&filter, &mut |_| false);
    for line in summary.to_json().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let shown = summary.to_text(Paint::default());
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'));
}

/// Whether the fault is the head file's, behind all the lines.
fn head_only(walked: &Walked) -> bool {
    walked
        .broken
        .as_ref()
        .is_some_and(|(place, _)| place.line == 0)
}

fn part(name: &str, bytes: &[u8]) -> Part {
    let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    Part {
        name: name.to_owned(),
        links: linked(lines),
    }
}

fn linked(lines: Vec<&[u8]>) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    for line in lines {
        let link = chain::link(line, links.last());
        links.push(link);
    }
    links
}

/// Lines as this program writes them, now and then cut off by a crash; rotated; then one byte changed.
fn written(pieces: &mut Pieces<'_>) {
    let mut file = Vec::new();
    let mut prev = GENESIS.to_owned();
    let count = 1 + pieces.below(5);
    let cut = pieces.maybe(|pieces| (pieces.below(count), pieces.byte()));
    for number in 0..count {
        if let Some((glue, last)) = (!file.is_empty()).then(|| history::after(&file, true).unwrap())
        {
            file.extend_from_slice(glue.as_bytes());
            prev = last;
        }
        let line = line(pieces, &prev);
        let keep = match cut {
            // Something of it at least: an append that left nothing is none.
            Some((at, keep)) if at == number && number + 1 < count => {
                1 + usize::from(keep) % (line.len() - 1)
            }
            _ => line.len(),
        };
        file.extend_from_slice(&line.as_bytes()[..keep]);
    }
    let last = file
        .strip_suffix(b"\n")
        .unwrap()
        .rsplit(|b| *b == b'\n')
        .next()
        .unwrap();
    let head = Head::of(last);
    let rotated = rotate(&file, pieces);
    let walked = chain::walk(&rotated, head);
    assert_eq!((walked.broken, walked.good), (None, walked.lines));
    let torn = walked
        .notes
        .iter()
        .any(|note| note.contains("no whole record"));
    let shortened = rotated
        .iter()
        .flat_map(|part| &part.links)
        .any(|link| link.prev.is_none());
    assert_eq!(torn, shortened);

    let at = usize::from(pieces.byte()) * file.len() / 256;
    let change = 1 + pieces.byte() % 255;
    file[at] ^= change;
    let walked = chain::walk(&[part("history.jsonl", &file)], head);
    assert!(
        walked.broken.is_some(),
        "byte {at} of {} changed: {walked:?}",
        file.len()
    );
}

trait Vouched {
    fn of(line: &[u8]) -> Head;
}

impl Vouched for Head {
    fn of(line: &[u8]) -> Head {
        Head::parse(Some(history::digest(line).as_bytes()))
    }
}

fn rotate(file: &[u8], pieces: &mut Pieces<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = file;
    for number in (1..3).rev() {
        let ends = rest
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(at, _)| at + 1);
        let ends: Vec<usize> = ends.collect();
        if pieces.flag() && ends.len() > 1 {
            let (old, new) = rest.split_at(ends[pieces.below(ends.len() - 1)]);
            parts.push(part(&format!("history.jsonl.{number}"), old));
            rest = new;
        }
    }
    parts.push(part("history.jsonl", rest));
    parts
}

/// One line, and read again it says the same.
fn line(pieces: &mut Pieces<'_>, prev: &str) -> String {
    let texts: [String; 8] = std::array::from_fn(|_| pieces.text());
    let [
        run_id,
        alertname,
        instance,
        fingerprint,
        group_key,
        peer,
        one,
        two,
    ] = &texts;
    let run = RunLine {
        run_id,
        alertname,
        instance,
        fingerprint,
        group_key,
        peer,
        attempt: u32::from(pieces.byte()),
        forced: pieces.flag(),
    };
    let attempt = run.attempt;
    let event = match pieces.below(5) {
        0 => Event::Intent {
            run,
            handler: one,
            handler_sha256: two,
            timeout_ms: pieces.number(),
            snapshot: Some(two),
        },
        1 => Event::Observed {
            run,
            handler: one,
            handler_sha256: two,
            would: one,
            command: two,
        },
        2 => Event::Verified {
            run,
            lasted_ms: pieces.maybe(Pieces::number),
        },
        3 => Event::Ineffective { run, count: 3 },
        _ => Event::Result {
            run,
            handler_sha256: Some(one),
            exit: pieces.maybe(|pieces| i32::from(pieces.byte())),
            outcome: one,
            duration_ms: pieces.maybe(Pieces::number),
            verdict: Some(two),
            rollback: None,
        },
    };
    let at: Time = pieces.time();
    let line = history::line(at, &event, prev).unwrap();
    let bare = line.strip_suffix('\n').unwrap();
    assert!(!bare.contains('\n'));
    let entry = Entry::parse(bare.as_bytes()).unwrap();
    assert_eq!(Some(entry.at), timestamp::parse(&timestamp::rfc3339(at)));
    let said = [
        &*entry.run_id,
        &*entry.alertname,
        &*entry.instance,
        &*entry.fingerprint,
    ];
    assert_eq!(said, [run_id, alertname, instance, fingerprint]);
    assert_eq!(entry.attempt, attempt);
    let named = chain::prev(bare.as_bytes());
    assert_eq!(named, chain::digest(prev.as_bytes()));
    line
}
