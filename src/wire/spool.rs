//! The bytes of the spool: an event's file, with room for the marks of its escalators, and an escalator's journal.
//! Both have a fixed size and are changed in place, so that a page leaves a machine whose disk is full. What was
//! written by half, or written over by something else, is known for what it is.

use super::json;
use super::records::{digest, hex_digest};
use crate::judge::Time;
use crate::judge::delivery::{EventName, Mark, Stage};

/// What stands at the beginning of an event's file: the format and its version.
const MAGIC: &str = "self-heal-event-1";

/// The first page of an event's file, in bytes: what it is, and the rooms.
pub const HEADER: usize = 4096;

/// The longest event, in bytes of JSON.
pub const MOST_JSON: usize = 60 * 1024;

/// The size of an event's file, whatever it holds.
pub const FILE: usize = HEADER + MOST_JSON;

/// The room for the header's line, in bytes.
const LINE: usize = 256;

/// The room for one mark, in bytes: within one sector of any disk, so that it is written whole or not at all.
pub const ROOM: usize = 128;

/// How many escalators an event has room for.
pub const ROOMS: usize = (HEADER - LINE) / ROOM;

/// The size of a journal, in bytes.
pub const JOURNAL: usize = 128;

/// An event's file from its beginning to the end of the JSON, without any mark.
///
/// # Errors
/// One sentence: too long, no JSON object, or a dedup key that the name was not made of.
pub fn encode(name: &EventName, event: &[u8]) -> Result<Vec<u8>, String> {
    if event.len() > MOST_JSON {
        let length = event.len();
        return Err(format!(
            "an event of {length} bytes: {MOST_JSON} is the most"
        ));
    }
    let key = dedup_key(event).ok_or("an event without a dedup_key")?;
    if hex_digest(key.as_bytes()).get(..16) != Some(name.incident()) {
        return Err(format!(
            "{name} is not the name of an event of this dedup_key"
        ));
    }
    let line = format!("{MAGIC} {name} {} {}\n", event.len(), hex_digest(event));
    let mut bytes = line.into_bytes();
    bytes.resize(HEADER, 0);
    bytes.extend_from_slice(event);
    Ok(bytes)
}

/// The first page of an event's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How long the JSON is.
    pub length: usize,
    /// Its sha256 in hex.
    pub sha256: String,
    /// What is in each room.
    pub rooms: Vec<Room>,
}

/// What a room holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// Nothing.
    Free,
    /// An escalator's mark.
    Mark(String, Mark),
    /// Something that is no mark of this event. Whose it was is not known: that escalator counts as untried, since
    /// a page twice is better than none.
    Damaged,
}

/// Reads the first page of the file of the event of this name; `None` when it is anything else.
pub fn header(page: &[u8], name: &EventName) -> Option<Header> {
    let line = page.get(..LINE)?;
    let end = line.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(line.get(..end)?).ok()?;
    let mut words = line.split(' ');
    let known = words.next() == Some(MAGIC) && words.next() == Some(&*name.to_string());
    let length: usize = words.next()?.parse().ok()?;
    let sha256 = words.next()?.to_owned();
    if !known || words.next().is_some() || length > MOST_JSON || sha256.len() != 64 {
        return None;
    }
    let rooms = page.get(LINE..HEADER)?.chunks_exact(ROOM);
    Some(Header {
        length,
        sha256,
        rooms: rooms.map(|bytes| room(bytes, name)).collect(),
    })
}

impl Header {
    /// Whether these bytes are the event's JSON.
    pub fn is_of(&self, event: &[u8]) -> bool {
        event.len() == self.length && hex_digest(event) == self.sha256
    }

    /// Which room takes a mark of this escalator: its own, or a free one, or one that nobody whom `wanted` names has.
    /// `None` when there is none.
    pub fn room_for(&self, escalator: &str, wanted: &dyn Fn(&str) -> bool) -> Option<usize> {
        let own = |room: &Room| matches!(room, Room::Mark(name, _) if name == escalator);
        let free = |room: &Room| matches!(room, Room::Free | Room::Damaged);
        let unused = |room: &Room| matches!(room, Room::Mark(name, _) if !wanted(name));
        let first = |fits: &dyn Fn(&Room) -> bool| self.rooms.iter().position(fits);
        first(&own)
            .or_else(|| first(&free))
            .or_else(|| first(&unused))
    }
}

/// Where a room begins in the file.
pub fn place_of(room: usize) -> u64 {
    (LINE + room * ROOM) as u64
}

/// What a room holds that has this mark: `escalator stage attempts next check`, the check being 8 hex digits of the
/// sha256 of what stands before it and of the event's name.
pub fn mark(name: &EventName, escalator: &str, mark: Mark) -> Vec<u8> {
    let (stage, next) = match mark.stage {
        Stage::Open { next } => ("open", next.0),
        Stage::Delivered => ("delivered", 0),
        Stage::Failed => ("failed", 0),
        Stage::Discarded => ("discarded", 0),
    };
    let text = format!("{escalator} {stage} {} {next}", mark.attempts);
    let mut bytes = format!("{text} {}\n", check(name, &text)).into_bytes();
    bytes.resize(ROOM, 0);
    bytes
}

fn room(bytes: &[u8], name: &EventName) -> Room {
    if bytes.iter().all(|byte| *byte == 0) {
        return Room::Free;
    }
    read_mark(bytes, name).map_or(Room::Damaged, |(escalator, mark)| {
        Room::Mark(escalator, mark)
    })
}

fn read_mark(bytes: &[u8], name: &EventName) -> Option<(String, Mark)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (text, rest) = text.split_once('\n')?;
    let (text, sum) = text.rsplit_once(' ')?;
    if sum != check(name, text) || !rest.bytes().all(|byte| byte == 0) {
        return None;
    }
    let mut words = text.split(' ');
    let escalator = words.next()?.to_owned();
    let stage = words.next()?;
    let attempts = words.next()?.parse().ok()?;
    let next = Time(words.next()?.parse().ok()?);
    let stage = match stage {
        "open" => Stage::Open { next },
        "delivered" => Stage::Delivered,
        "failed" => Stage::Failed,
        "discarded" => Stage::Discarded,
        _ => return None,
    };
    Some((escalator, Mark { attempts, stage }))
}

fn check(name: &EventName, text: &str) -> String {
    let digest = hex_digest(format!("{name} {text}").as_bytes());
    digest.get(..8).unwrap_or_default().to_owned()
}

/// The dedup key that an event's JSON names.
pub fn dedup_key(event: &[u8]) -> Option<String> {
    member(event, "dedup_key")
}

/// The text of a member of an event's JSON; `None` when there is none.
pub fn member(event: &[u8], name: &str) -> Option<String> {
    let members = json::members(json::check(event).ok()?)?;
    let (_, value) = members.into_iter().find(|(known, _)| known == name)?;
    json::text(value)
}

/// The last that is known of an escalator's last attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event.
    pub event: EventName,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How far it came.
    pub said: Said,
}

/// How far an attempt came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It was about to start. Its escalator did not run, or what started it was killed before it could.
    Trying,
    /// Its escalator was started; how it ended is not known.
    Started,
    /// It ended with this exit code.
    Ended(i32),
}

/// What names an attempt in the journal; an ending, or `started`, stands behind it.
pub fn attempt(event: &EventName, attempt: u32) -> String {
    format!("{event} {attempt}")
}

/// The journal's content before an attempt: as long as every other, so that each writes over the whole of the last.
pub fn trying(event: &EventName, number: u32) -> Vec<u8> {
    line(&format!("{} trying", attempt(event, number)))
}

/// The journal's content while nothing is on its way.
pub fn blank() -> Vec<u8> {
    line("-")
}

fn line(text: &str) -> Vec<u8> {
    format!("{text:<width$}\n", width = JOURNAL - 1).into_bytes()
}

/// What a journal says; `None` when nothing is on its way, and for what is no journal.
pub fn entry(bytes: &[u8]) -> Option<Entry> {
    let line = std::str::from_utf8(bytes.get(..JOURNAL)?).ok()?;
    let mut words = line.strip_suffix('\n')?.split_ascii_whitespace();
    let event = EventName::parse(words.next()?)?;
    let attempt = words.next()?.parse().ok()?;
    let said = match words.next()? {
        "trying" => Said::Trying,
        "started" => Said::Started,
        code => Said::Ended(code.parse().ok()?),
    };
    words.next().is_none().then_some(Entry {
        event,
        attempt,
        said,
    })
}

/// The chance that moves a wait, the same for the same attempt on the same host.
pub fn chance(host: &str, event: &EventName, escalator: &str, attempt: u32) -> u16 {
    let digest = digest(format!("{host}\n{event}\n{escalator}\n{attempt}").as_bytes());
    let mut bytes = digest.iter().copied();
    u16::from_be_bytes([
        bytes.next().unwrap_or_default(),
        bytes.next().unwrap_or_default(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::delivery::Action;

    const EVENT: &[u8] = br#"{"version":1,"dedup_key":"k\u0065y","summary":"\u0000 \" x"}"#;

    fn name() -> EventName {
        EventName::new(Time(5), Action::Trigger, &hex_digest(b"key")).unwrap()
    }

    fn file() -> Vec<u8> {
        encode(&name(), EVENT).unwrap()
    }

    #[test]
    fn an_event_survives_the_journey() {
        let file = file();
        let header = header(&file, &name()).unwrap();
        assert_eq!(header.rooms, vec![Room::Free; ROOMS]);
        assert!(header.is_of(&file[HEADER..]));
        assert_eq!(&file[HEADER..], EVENT);
        assert!(!header.is_of(&file[HEADER..file.len() - 1]));
        assert_eq!(FILE, 65_536);
        assert_eq!(ROOMS, 30);
    }

    #[test]
    fn an_event_that_cannot_be_kept_is_refused() {
        let long = format!(r#"{{"dedup_key":"key","x":"{}"}}"#, "y".repeat(MOST_JSON));
        for (bad, why) in [
            (long.as_bytes(), "bytes"),
            (b"{\"dedup_key\":\"other\"}", "name"),
            (b"{\"dedup_key\":1}", "dedup_key"),
            (b"{}", "dedup_key"),
            (b"[\"dedup_key\",\"key\"]", "dedup_key"),
            (b"{\"dedup_key\":\"key\"", "dedup_key"),
            (b"", "dedup_key"),
        ] {
            assert!(encode(&name(), bad).unwrap_err().contains(why), "{why}");
        }
    }

    #[test]
    fn any_changed_byte_of_line_or_event_is_noticed() {
        let whole = file();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let places = (0..first).chain(HEADER..whole.len());
        for place in places {
            let mut torn = whole.clone();
            torn[place] ^= 0x21;
            let good = header(&torn, &name()).is_some_and(|header| header.is_of(&torn[HEADER..]));
            assert!(!good, "byte {place}");
        }
        let other = EventName::new(Time(6), Action::Trigger, &hex_digest(b"key")).unwrap();
        assert_eq!(header(&whole, &other), None);
        assert_eq!(header(&whole[..HEADER - 1], &name()), None);
        assert_eq!(header(&[], &name()), None);
        assert_eq!(header(&[0; FILE], &name()), None);
    }

    fn marks() -> [Mark; 5] {
        let open = |next| Stage::Open { next: Time(next) };
        [
            Mark {
                attempts: 0,
                stage: open(0),
            },
            Mark {
                attempts: u32::MAX,
                stage: open(i64::MIN),
            },
            Mark {
                attempts: 1,
                stage: Stage::Delivered,
            },
            Mark {
                attempts: 2,
                stage: Stage::Failed,
            },
            Mark {
                attempts: 3,
                stage: Stage::Discarded,
            },
        ]
    }

    #[test]
    fn a_mark_survives_the_journey_and_any_changed_byte_is_noticed() {
        let longest = "a".repeat(64);
        for one in marks() {
            let bytes = mark(&name(), &longest, one);
            assert_eq!(bytes.len(), ROOM);
            assert_eq!(room(&bytes, &name()), Room::Mark(longest.clone(), one));
            for place in 0..ROOM {
                let mut torn = bytes.clone();
                torn[place] ^= 0x21;
                assert_eq!(room(&torn, &name()), Room::Damaged, "byte {place}");
            }
            // One that another event left in the same file.
            let other = EventName::new(Time(6), Action::Trigger, &hex_digest(b"key")).unwrap();
            assert_eq!(room(&bytes, &other), Room::Damaged);
        }
    }

    #[test]
    fn a_mark_has_a_room_of_its_own() {
        let mut file = file();
        let mut set = |room: usize, escalator: &str| {
            let place = place_of(room) as usize;
            file[place..place + ROOM].copy_from_slice(&mark(&name(), escalator, marks()[2]));
        };
        for room in 0..ROOMS {
            set(room, &format!("e{room}"));
        }
        let full = header(&file, &name()).unwrap();
        assert_eq!(full.room_for("e7", &|_| true), Some(7));
        assert_eq!(full.room_for("new", &|_| true), None);
        assert_eq!(full.room_for("new", &|name| name != "e3"), Some(3));
        file[place_of(5) as usize] ^= 1;
        let damaged = header(&file, &name()).unwrap();
        assert_eq!(damaged.room_for("new", &|_| true), Some(5));
        assert_eq!(damaged.room_for("e7", &|_| true), Some(7));
    }

    #[test]
    fn a_journal_says_how_far_an_attempt_came() {
        let bytes = trying(&name(), 7);
        assert_eq!(bytes.len(), JOURNAL);
        let said =
            |text: &str| entry(&line(&format!("{} {text}", attempt(&name(), 7)))).map(|e| e.said);
        assert_eq!(entry(&bytes).unwrap().attempt, 7);
        assert_eq!(said("trying"), Some(Said::Trying));
        assert_eq!(said("started"), Some(Said::Started));
        assert_eq!(said("0"), Some(Said::Ended(0)));
        assert_eq!(said("137"), Some(Said::Ended(137)));
        assert_eq!((said("0 0"), said(""), said("x")), (None, None, None));
        assert_eq!(blank().len(), JOURNAL);
        for nothing in [blank(), Vec::new(), vec![0; JOURNAL], bytes[..20].to_vec()] {
            assert_eq!(entry(&nothing), None);
        }
        assert!(trying(&name(), u32::MAX).len() == JOURNAL);
    }

    #[test]
    fn chances_differ_and_stay() {
        let one = chance("gw-1", &name(), "pager", 1);
        assert_eq!(one, chance("gw-1", &name(), "pager", 1));
        let others = [
            chance("gw-2", &name(), "pager", 1),
            chance("gw-1", &name(), "mail", 1),
            chance("gw-1", &name(), "pager", 2),
        ];
        assert!(!others.contains(&one));
    }
}
