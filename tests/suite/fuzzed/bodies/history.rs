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

/// Lines as this program writes them, now and then rotated, or one cut off by a crash; then one byte changed. A crash right
/// before or behind a rotation is left out: docs/operations.md says what it costs.
fn written(pieces: &mut Pieces<'_>) {
    let mut files = vec![Vec::new()];
    let mut head = GENESIS.to_owned();
    let count = 1 + pieces.below(5);
    let cut = pieces.maybe(|pieces| (pieces.below(count), pieces.byte()));
    for number in 0..count {
        // Something of it at least: an append that left nothing is none.
        let cut_here = cut.filter(|(at, _)| *at == number && number + 1 < count);
        let cut_before = cut.is_some_and(|(at, _)| at + 1 == number);
        let quiet = number > 0 && cut_here.is_none() && !cut_before;
        if quiet && files.len() < 3 && pieces.flag() {
            files.push(Vec::new());
        }
        let file = files.last_mut().unwrap();
        let (glue, prev) = match file.is_empty() {
            true => ("", head.clone()),
            false => history::after(file, true).unwrap(),
        };
        let line = line(pieces, &prev);
        file.extend_from_slice(glue.as_bytes());
        match cut_here {
            Some((_, keep)) => {
                let keep = 1 + usize::from(keep) % (line.len() - 1);
                file.extend_from_slice(&line.as_bytes()[..keep]);
            }
            None => {
                file.extend_from_slice(line.as_bytes());
                head = history::digest(line.as_bytes());
            }
        }
    }
    let head = Head::parse(Some(head.as_bytes()));
    let parts = rotated(&files);
    let walked = chain::walk(&parts, head);
    assert_eq!((walked.broken, walked.good), (None, walked.lines));
    let torn = walked
        .notes
        .iter()
        .any(|note| note.contains("no whole record"));
    let shortened = parts
        .iter()
        .flat_map(|part| &part.links)
        .any(|link| link.prev.is_none());
    assert_eq!(torn, shortened);

    let number = pieces.below(files.len());
    let file = &mut files[number];
    let at = usize::from(pieces.byte()) * file.len() / 256;
    file[at] ^= 1 + pieces.byte() % 255;
    let size = file.len();
    let walked = chain::walk(&rotated(&files), head);
    assert!(
        walked.broken.is_some(),
        "byte {at} of {size} in file {number} changed: {walked:?}"
    );
}

/// The files, oldest first, as logrotate(8) names them.
fn rotated(files: &[Vec<u8>]) -> Vec<Part> {
    let parts = (0..files.len()).rev().zip(files);
    let named = parts.map(|(age, bytes)| match age {
        0 => part("history.jsonl", bytes),
        age => part(&format!("history.jsonl.{age}"), bytes),
    });
    named.collect()
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
