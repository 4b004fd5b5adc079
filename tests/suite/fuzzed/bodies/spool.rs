//! A page in the spool is read as it was put there, and what was written over it by half is known for what it is.

use std::collections::BTreeMap;

use self_heal::judge::Time;
use self_heal::judge::delivery::{Action, EventName, Mark, Stage, backoff};
use self_heal::wire::event::{self, Subject};
use self_heal::wire::records::hex_digest;
use self_heal::wire::spool::{self, Entry, HEADER, JOURNAL, ROOM, ROOMS, Room, Said};

use super::pieces::Pieces;
use super::record;

pub fn body(data: &[u8]) {
    let mut pieces = Pieces::new(data);
    match pieces.below(4) {
        0 => found(pieces.rest()),
        1 => told(&mut pieces),
        2 => journal(&mut pieces),
        _ => marked(&mut pieces),
    }
}

fn name(pieces: &mut Pieces<'_>, key: &str) -> EventName {
    let action = pieces.pick(&[Action::Trigger, Action::Resolve]);
    let name = EventName::new(pieces.time(), action, &hex_digest(key.as_bytes())).unwrap();
    assert_eq!(EventName::parse(&name.to_string()), Some(name.clone()));
    name
}

/// Bytes that were found where a page, a journal or a name should be.
fn found(bytes: &[u8]) {
    let name = EventName::new(Time(5), Action::Trigger, &hex_digest(b"key")).unwrap();
    let mut page = bytes.to_vec();
    page.resize(HEADER, 0);
    if let Some(header) = spool::header(&page, &name) {
        assert_eq!(header.rooms.len(), ROOMS);
        header.is_of(bytes);
    }
    if let Some(entry) = spool::entry(bytes) {
        let again = spool::attempt(&entry.event, entry.attempt);
        assert!(EventName::parse(again.split(' ').next().unwrap()) == Some(entry.event));
    }
    spool::dedup_key(bytes);
    let text = String::from_utf8_lossy(bytes);
    if let Some(name) = EventName::parse(&text) {
        assert_eq!(name.to_string(), text);
    }
}

/// The page of any record about any alert fits its room and says what it is about.
fn told(pieces: &mut Pieces<'_>) {
    let known = record::record(pieces);
    let page = record::page(pieces);
    let key = hex_digest(&[pieces.byte()]);
    let texts: [String; 6] = std::array::from_fn(|_| pieces.text());
    let repeat = pieces.pick(&[1, 1, 1, 40, 700]);
    let maps: [BTreeMap<String, String>; 2] = std::array::from_fn(|_| {
        let texts = pieces.list(4, |pieces| (pieces.text(), pieces.text().repeat(repeat)));
        texts.into_iter().collect()
    });
    let url = format!("https://{}", texts[1]);
    let output = texts[4].repeat(repeat);
    let subject = Subject {
        host: &texts[0],
        labels: pieces.flag().then_some(&maps[0]),
        annotations: pieces.flag().then_some(&maps[1]),
        starts_at: pieces.maybe(Pieces::time),
        generator_url: &url,
        external_url: &texts[1],
        group_key: &texts[2],
        receiver: &texts[3],
        output: &output,
        detail: &texts[5],
        log: "/var/log/self-heal/A.log",
    };
    let name = name(pieces, &key);
    let json = event::of_record(&known, &page, &name.to_string(), &key, &subject);
    assert!(json.len() <= event::LONGEST);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["dedup_key"], *key);
    assert_eq!(value["alert"]["alertname"], *known.alertname);
    assert!(value["summary"].as_str().unwrap().chars().count() <= 1024);
    assert!(
        !value["output"]
            .as_str()
            .unwrap()
            .contains(|c: char| c.is_control() && !"\n\t".contains(c))
    );
    let file = spool::encode(&name, json.as_bytes()).unwrap();
    let header = spool::header(&file, &name).unwrap();
    assert!(header.is_of(&file[HEADER..]));
    assert_eq!(spool::dedup_key(&file[HEADER..]), Some(key));
}

/// Marks in their rooms are read as they were made; one changed byte is seen.
fn marked(pieces: &mut Pieces<'_>) {
    let name = name(pieces, "key");
    let event = br#"{"dedup_key":"key"}"#;
    let mut file = spool::encode(&name, event).unwrap();
    let mut wanted = vec![Room::Free; ROOMS];
    for _ in 0..pieces.below(5) {
        let escalator = pieces.name();
        let stage = match pieces.below(4) {
            0 => Stage::Delivered,
            1 => Stage::Failed,
            2 => Stage::Discarded,
            _ => Stage::Open {
                next: pieces.time(),
            },
        };
        let mark = Mark {
            attempts: pieces.number() as u32,
            stage,
        };
        let header = spool::header(&file, &name).unwrap();
        let room = header.room_for(&escalator, &|_| true).unwrap();
        let at = spool::place_of(room) as usize;
        file[at..at + ROOM].copy_from_slice(&spool::mark(&name, &escalator, mark));
        wanted[room] = Room::Mark(escalator, mark);
        assert_eq!(spool::header(&file, &name).unwrap().rooms, wanted);
        let code = pieces.maybe(|pieces| i32::from(pieces.byte()));
        let attempt = mark.attempts.saturating_add(1);
        let after = mark.after(
            attempt,
            code,
            pieces.time(),
            backoff(attempt, pieces.number() as u16),
        );
        assert_eq!(
            after.after(attempt, code, Time(0), backoff(1, 0)),
            after,
            "told twice"
        );
    }
    let at = spool::place_of(0) as usize + pieces.below(ROOM);
    file[at] ^= 1 + pieces.byte() % 255;
    let header = spool::header(&file, &name).unwrap();
    assert_ne!(header.rooms[0], wanted[0]);
    assert_eq!(header.rooms[1..], wanted[1..]);
    assert!(header.is_of(event));
}

fn journal(pieces: &mut Pieces<'_>) {
    let name = name(pieces, "key");
    let number = pieces.number() as u32;
    let line = spool::trying(&name, number);
    assert_eq!((line.len(), spool::blank().len()), (JOURNAL, JOURNAL));
    let wanted = Entry {
        event: name,
        attempt: number,
        said: Said::Trying,
    };
    assert_eq!(spool::entry(&line), Some(wanted));
    assert_eq!(spool::entry(&spool::blank()), None);
    assert_eq!(spool::entry(&line[..JOURNAL - 1]), None);
}
