//! Records as bytes: one JSON object behind a header that names its length and its sha256, so that
//! a record half written, or written over by something else, is known for what it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::judge::record::{
    Attempt, Breaker, Episode, Host, Page, PageKind, Process, Reason, Record, Run,
};
use crate::judge::{Alert, Ending, Rollback, RunLimit, Time, decision};

/// What stands at the beginning of every copy: the format and its version.
const MAGIC: &str = "self-heal-1";

/// The room for one copy, in bytes. The longest record allowed by the configuration's ranges fits.
pub const SLOT: usize = 8192;

/// The key of an alert's record: 64 hex digits of the sha256 of the sender's fingerprint or, when it
/// sent none, of the sorted labels. The two cannot meet: a fingerprint contains no newline.
pub fn key(alert: &Alert) -> String {
    match &alert.fingerprint {
        Some(fingerprint) => hex_digest(fingerprint.as_bytes()),
        None => {
            let mut labels = String::new();
            for part in alert.labels.iter().flat_map(|(name, value)| [name, value]) {
                labels.push_str(&part.len().to_string());
                labels.push('\n');
                labels.push_str(part);
            }
            hex_digest(labels.as_bytes())
        }
    }
}

/// Lower-case hex of the sha256 of `bytes`.
pub fn hex_digest(bytes: &[u8]) -> String {
    hex(&digest(bytes))
}

/// The sha256 of `bytes`. In one place of the program alone: what computes it is long, and a connection that finds it
/// everywhere touches more of the file than it need.
#[inline(never)]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// Something that is kept in a record file.
pub trait Kept: Clone + Default + PartialEq + Sized {
    /// Whether this change has to outlast a power failure.
    fn durable(&self, before: &Self) -> bool {
        self != before
    }

    /// What stands in for a damaged one: whatever runs nothing for as long as it could have mattered.
    fn unknown(now: Time) -> Self;
    /// As JSON.
    fn to_json(&self) -> Result<String, serde_json::Error>;
    /// From JSON.
    fn from_json(text: &str) -> Result<Self, serde_json::Error>;
}

impl Kept for Record {
    fn unknown(now: Time) -> Record {
        decision::unknown(now)
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&RecordShape::from(self))
    }

    fn from_json(text: &str) -> Result<Record, serde_json::Error> {
        serde_json::from_str::<RecordShape>(text)?.try_into()
    }
}

impl Kept for Host {
    /// The window need not: it counts what happened within minutes, and a machine that starts anew has run nothing
    /// yet. What a person was told of, he has to be told the end of.
    fn durable(&self, before: &Host) -> bool {
        (self.page, self.told_at, &self.owed) != (before.page, before.told_at, &before.owed)
    }

    fn unknown(now: Time) -> Host {
        Host {
            runs: vec![now; RunLimit::MOST_HOST as usize],
            ..Host::default()
        }
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&HostShape::from(self))
    }

    fn from_json(text: &str) -> Result<Host, serde_json::Error> {
        serde_json::from_str::<HostShape>(text)?.try_into()
    }
}

/// One copy as written: header line, JSON, newline. `sequence` tells the newer of two copies.
pub fn encode<T: Kept>(value: &T, key: &str, sequence: u64) -> Result<Vec<u8>, serde_json::Error> {
    let body = format!("{key} {sequence} {}\n", value.to_json()?);
    let digest = hex_digest(body.as_bytes());
    Ok(format!("{MAGIC} {} {digest}\n{body}", body.len()).into_bytes())
}

/// What a copy holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Copy<T> {
    /// Never written: nothing but zeros.
    Blank,
    /// Whole.
    Whole {
        /// Whose record it is.
        key: String,
        /// The newer of two copies has the larger one.
        sequence: u64,
        /// The value.
        value: T,
    },
    /// Neither.
    Damaged,
}

/// Reads one copy. Bytes behind its length do not matter.
pub fn decode<T: Kept>(copy: &[u8]) -> Copy<T> {
    // In pieces, each without a branch: a C library may compare one byte at a time.
    let blank = |piece: &[u8]| piece.iter().fold(0, |all, byte| all | byte) == 0;
    if copy.chunks(64).all(blank) {
        return Copy::Blank;
    }
    whole(copy).unwrap_or(Copy::Damaged)
}

/// How long a copy is that begins so, its first line included; `None` if that is no beginning of one.
pub fn length(beginning: &[u8]) -> Option<usize> {
    let (start, length, _) = header(beginning)?;
    start.checked_add(length)
}

/// Which sequence a copy says it has that begins so, whole or not.
pub fn sequence(beginning: &[u8]) -> Option<u64> {
    let (start, ..) = header(beginning)?;
    let sequence = beginning.get(start..)?.split(|byte| *byte == b' ').nth(1)?;
    std::str::from_utf8(sequence).ok()?.parse().ok()
}

/// Where the second line begins, its length, its digest.
fn header(copy: &[u8]) -> Option<(usize, usize, &str)> {
    let line_end = copy.iter().take(128).position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(copy.get(..line_end)?).ok()?;
    let mut words = header.split(' ');
    if words.next()? != MAGIC {
        return None;
    }
    let length: usize = words.next()?.parse().ok()?;
    let digest = words.next()?;
    words.next().is_none().then_some(())?;
    Some((line_end.checked_add(1)?, length, digest))
}

fn whole<T: Kept>(copy: &[u8]) -> Option<Copy<T>> {
    let (start, length, digest) = header(copy)?;
    let body = copy.get(start..start.checked_add(length)?)?;
    if hex_digest(body) != digest {
        return None;
    }
    let body = std::str::from_utf8(body).ok()?.strip_suffix('\n')?;
    let (key, rest) = body.split_once(' ')?;
    let (sequence, json) = rest.split_once(' ')?;
    Some(Copy::Whole {
        key: key.to_owned(),
        sequence: sequence.parse().ok()?,
        value: T::from_json(json).ok()?,
    })
}

/// [`Record`] as JSON: times and durations in milliseconds.
#[derive(Serialize, Deserialize)]
struct RecordShape {
    alertname: String,
    instance: String,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    episode: Option<EpisodeShape>,
    failures: Vec<i64>,
    ineffective: u32,
    runs: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_end: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_from: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healed_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deferring_since: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<BreakerShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<RunShape>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    survivors: Vec<(i32, u64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_since: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    owed: Vec<PageShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paged_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<AttemptShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_since: Option<i64>,
}

/// A page that is owed.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PageShape {
    /// When, whether it is a resolve, the reason.
    Now(i64, bool, String),
    /// As before there was a spool: when, and the reason; none of a resolve.
    Before(i64, Option<String>),
}

/// Run id, attempt, start, end, ending, rollback.
type AttemptShape = (String, u32, i64, i64, String, u8);

#[derive(Serialize, Deserialize)]
struct EpisodeShape {
    starts_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct BreakerShape {
    reason: String,
    since: i64,
    hold_ms: u64,
    half_open: bool,
}

#[derive(Serialize, Deserialize)]
struct RunShape {
    id: String,
    attempt: u32,
    started: i64,
    deadline: i64,
    probe: bool,
    supervisor: (i32, u64),
}

#[derive(Serialize, Deserialize)]
struct HostShape {
    runs: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storm_since: Option<i64>,
    #[serde(default)]
    page: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    told_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    owed: Vec<PageShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paged_at: Option<i64>,
}

impl From<&Record> for RecordShape {
    fn from(record: &Record) -> RecordShape {
        RecordShape {
            alertname: record.alertname.clone(),
            instance: record.instance.clone(),
            fingerprint: record.fingerprint.clone(),
            episode: record.episode.as_ref().map(|e| EpisodeShape {
                starts_at: e.starts_at.0,
                closed_at: e.closed_at.map(|t| t.0),
            }),
            failures: millis(&record.failures),
            ineffective: record.ineffective,
            runs: millis(&record.runs),
            last_end: record.last_end.map(|t| t.0),
            retry_from: record.retry_from.map(|t| t.0),
            healed_at: record.healed_at.map(|t| t.0),
            deferring_since: record.deferring_since.map(|t| t.0),
            breaker: record.breaker.as_ref().map(|b| BreakerShape {
                reason: b.reason.as_str().to_owned(),
                since: b.since.0,
                hold_ms: u64::try_from(b.hold.as_millis()).unwrap_or(u64::MAX),
                half_open: b.half_open,
            }),
            in_flight: record.in_flight.as_ref().map(|r| RunShape {
                id: r.id.clone(),
                attempt: r.attempt,
                started: r.started.0,
                deadline: r.deadline.0,
                probe: r.probe,
                supervisor: (r.supervisor.pid, r.supervisor.started),
            }),
            survivors: record
                .survivors
                .iter()
                .map(|s| (s.pid, s.started))
                .collect(),
            unknown_since: record.unknown_since.map(|t| t.0),
            page: record.page.map(|reason| reason.as_str().to_owned()),
            owed: record.owed.iter().map(page_shape).collect(),
            paged_at: record.paged_at.map(|t| t.0),
            attempts: record.attempts.iter().map(attempt_shape).collect(),
            held_since: record.held_since.map(|t| t.0),
        }
    }
}

impl TryFrom<RecordShape> for Record {
    type Error = serde_json::Error;

    fn try_from(shape: RecordShape) -> Result<Record, serde_json::Error> {
        let breaker = match shape.breaker {
            Some(b) => Some(Breaker {
                reason: reason(&b.reason)?,
                since: Time(b.since),
                hold: Duration::from_millis(b.hold_ms),
                half_open: b.half_open,
            }),
            None => None,
        };
        Ok(Record {
            episode: shape.episode.map(|e| Episode {
                starts_at: Time(e.starts_at),
                closed_at: e.closed_at.map(Time),
            }),
            failures: times(shape.failures),
            ineffective: shape.ineffective,
            runs: times(shape.runs),
            last_end: shape.last_end.map(Time),
            retry_from: shape.retry_from.map(Time),
            healed_at: shape.healed_at.map(Time),
            deferring_since: shape.deferring_since.map(Time),
            breaker,
            in_flight: shape.in_flight.map(|r| Run {
                id: r.id,
                attempt: r.attempt,
                started: Time(r.started),
                deadline: Time(r.deadline),
                probe: r.probe,
                supervisor: Process {
                    pid: r.supervisor.0,
                    started: r.supervisor.1,
                },
            }),
            survivors: shape
                .survivors
                .into_iter()
                .map(|(pid, started)| Process { pid, started })
                .collect(),
            unknown_since: shape.unknown_since.map(Time),
            page: shape.page.as_deref().map(reason).transpose()?,
            owed: pages(&shape.owed)?,
            paged_at: shape.paged_at.map(Time),
            attempts: shape
                .attempts
                .into_iter()
                .map(attempt)
                .collect::<Result<_, _>>()?,
            held_since: shape.held_since.map(Time),
            alertname: shape.alertname,
            instance: shape.instance,
            fingerprint: shape.fingerprint,
        })
    }
}

impl From<&Host> for HostShape {
    fn from(host: &Host) -> HostShape {
        HostShape {
            runs: millis(&host.runs),
            storm_since: host.storm_since.map(|t| t.0),
            page: host.page,
            told_at: host.told_at.map(|t| t.0),
            owed: host.owed.iter().map(page_shape).collect(),
            paged_at: host.paged_at.map(|t| t.0),
        }
    }
}

impl TryFrom<HostShape> for Host {
    type Error = serde_json::Error;

    fn try_from(shape: HostShape) -> Result<Host, serde_json::Error> {
        Ok(Host {
            owed: pages(&shape.owed)?,
            runs: times(shape.runs),
            storm_since: shape.storm_since.map(Time),
            page: shape.page,
            told_at: shape.told_at.map(Time),
            paged_at: shape.paged_at.map(Time),
        })
    }
}

fn page_shape(page: &Page) -> PageShape {
    let (over, reason) = match page.what {
        PageKind::Trigger(reason) => (false, reason),
        PageKind::Resolve(reason) => (true, reason),
    };
    PageShape::Now(page.at.0, over, reason.as_str().to_owned())
}

fn pages(shapes: &[PageShape]) -> Result<Vec<Page>, serde_json::Error> {
    let mut pages: Vec<Page> = Vec::new();
    for shape in shapes {
        let (at, what) = match shape {
            PageShape::Now(at, true, word) => (at, PageKind::Resolve(reason(word)?)),
            PageShape::Now(at, false, word) | PageShape::Before(at, Some(word)) => {
                (at, PageKind::Trigger(reason(word)?))
            }
            PageShape::Before(at, None) => match pages.last().map(|page| page.what) {
                Some(PageKind::Trigger(reason)) => (at, PageKind::Resolve(reason)),
                // The page that it ends never was in a spool: it would go to nobody.
                _ => continue,
            },
        };
        pages.push(Page {
            at: Time(*at),
            what,
        });
    }
    Ok(pages)
}

fn attempt_shape(attempt: &Attempt) -> AttemptShape {
    let rollback = match attempt.rollback {
        Rollback::None => 0,
        Rollback::Done => 1,
        Rollback::Failed => 2,
    };
    let ending = match attempt.ending {
        Some(Ending::Exit(code)) => format!("exit {code}"),
        Some(Ending::Signal(number)) => format!("signal {number}"),
        Some(Ending::TimedOut) => "timeout".to_owned(),
        Some(Ending::NotStarted) => "not-started".to_owned(),
        Some(Ending::Lost) => "lost".to_owned(),
        None => "interrupted".to_owned(),
    };
    (
        attempt.run_id.clone(),
        attempt.attempt,
        attempt.started.0,
        attempt.ended.0,
        ending,
        rollback,
    )
}

fn attempt(shape: AttemptShape) -> Result<Attempt, serde_json::Error> {
    let unknown = || serde::de::Error::custom("an unknown ending");
    let (run_id, number, started, ended, ending, rollback) = shape;
    let code = |text: &str| text.parse().map_err(|_| unknown());
    let ending = match ending.split_once(' ') {
        Some(("exit", text)) => Some(Ending::Exit(code(text)?)),
        Some(("signal", text)) => Some(Ending::Signal(code(text)?)),
        None if ending == "timeout" => Some(Ending::TimedOut),
        None if ending == "not-started" => Some(Ending::NotStarted),
        None if ending == "lost" => Some(Ending::Lost),
        None if ending == "interrupted" => None,
        _ => return Err(unknown()),
    };
    let rollback = match rollback {
        0 => Rollback::None,
        1 => Rollback::Done,
        2 => Rollback::Failed,
        _ => return Err(unknown()),
    };
    Ok(Attempt {
        run_id,
        attempt: number,
        started: Time(started),
        ended: Time(ended),
        ending,
        rollback,
    })
}

fn millis(times: &[Time]) -> Vec<i64> {
    times.iter().map(|time| time.0).collect()
}

fn times(millis: Vec<i64>) -> Vec<Time> {
    millis.into_iter().map(Time).collect()
}

fn reason(word: &str) -> Result<Reason, serde_json::Error> {
    Reason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == word)
        .ok_or_else(|| serde::de::Error::custom("an unknown reason"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endings() -> impl Iterator<Item = Attempt> {
        let endings = [
            Some(Ending::Exit(1)),
            Some(Ending::Signal(9)),
            Some(Ending::TimedOut),
            Some(Ending::NotStarted),
            Some(Ending::Lost),
            None,
        ];
        let rollbacks = [Rollback::None, Rollback::Done, Rollback::Failed];
        endings
            .into_iter()
            .zip(rollbacks.into_iter().cycle())
            .map(|(ending, rollback)| Attempt {
                run_id: "19ab3f00c2d-4711-1.NginxDown".into(),
                attempt: 1,
                started: Time(17),
                ended: Time(18),
                ending,
                rollback,
            })
    }

    fn record() -> Record {
        Record {
            alertname: "NginxDown".into(),
            instance: "web-1:9113".into(),
            fingerprint: "b2cf8126af425ee7".into(),
            episode: Some(Episode {
                starts_at: Time(5),
                closed_at: Some(Time(-7)),
            }),
            failures: vec![Time(1), Time(2)],
            ineffective: 2,
            runs: vec![Time(3)],
            last_end: Some(Time(4)),
            retry_from: Some(Time(6)),
            healed_at: Some(Time(8)),
            deferring_since: Some(Time(9)),
            breaker: Some(Breaker {
                reason: Reason::Ineffective,
                since: Time(10),
                hold: Duration::from_millis(14_400_001),
                half_open: true,
            }),
            in_flight: Some(Run {
                id: "r1".into(),
                attempt: 2,
                started: Time(11),
                deadline: Time(12),
                probe: true,
                supervisor: Process { pid: 4, started: 5 },
            }),
            survivors: vec![Process {
                pid: 7,
                started: 99,
            }],
            unknown_since: Some(Time(13)),
            page: Some(Reason::Survivor),
            owed: vec![
                Page {
                    at: Time(14),
                    what: PageKind::Trigger(Reason::Survivor),
                },
                Page {
                    at: Time(15),
                    what: PageKind::Resolve(Reason::Truncated),
                },
            ],
            paged_at: Some(Time(15)),
            attempts: endings().collect(),
            held_since: Some(Time(16)),
        }
    }

    #[test]
    fn a_record_survives_the_journey() {
        for (sequence, value) in [record(), Record::default()].into_iter().enumerate() {
            let sequence = sequence as u64;
            let mut bytes = encode(&value, "k", sequence).unwrap();
            bytes.resize(8192, 0);
            assert_eq!(
                decode(&bytes),
                Copy::Whole {
                    key: "k".into(),
                    sequence,
                    value
                }
            );
        }
        let host = Host {
            runs: vec![Time(1)],
            storm_since: Some(Time(2)),
            page: true,
            told_at: Some(Time(3)),
            owed: record().owed,
            paged_at: Some(Time(4)),
        };
        let bytes = encode(&host, "host", 3).unwrap();
        assert_eq!(
            decode(&bytes),
            Copy::Whole {
                key: "host".into(),
                sequence: 3,
                value: host
            }
        );
    }

    /// As it was written before pages went through a spool: when, and why; a resolve had no reason.
    #[test]
    fn pages_owed_by_the_version_before_are_read() {
        let text = |owed: &str| {
            format!(
                r#"{{"alertname":"A","instance":"i","fingerprint":"f","failures":[1],"ineffective":0,"runs":[1],"page":"failures","owed":{owed}}}"#
            )
        };
        let read = |owed: &str| Record::from_json(&text(owed)).unwrap().owed;
        let page = |at, what| Page { at: Time(at), what };
        assert_eq!(
            read(r#"[[14,"failures"],[15,null],[16,"gave-up"]]"#),
            [
                page(14, PageKind::Trigger(Reason::Failures)),
                page(15, PageKind::Resolve(Reason::Failures)),
                page(16, PageKind::Trigger(Reason::GaveUp)),
            ]
        );
        // Of a page that is owed no more: nobody was told of it by way of the spool.
        assert_eq!(read("[[15,null]]"), []);
        assert!(Record::from_json(&text(r#"[[14,"?"]]"#)).is_err());
    }

    #[test]
    fn the_largest_record_fits_its_slot() {
        let mut largest = record();
        largest.instance = "\u{1}".repeat(Record::TEXT);
        largest.alertname = "a".repeat(128);
        largest.fingerprint = "f".repeat(128);
        largest.failures = vec![Time(1_999_999_999_999); 100];
        largest.runs = vec![Time(1_999_999_999_999); RunLimit::MOST as usize + 1];
        largest.owed = vec![
            Page {
                at: Time(1_999_999_999_999),
                what: PageKind::Trigger(Reason::Interrupted)
            };
            Record::OWED
        ];
        let id = format!("19ab3f00c2d-4194304-100.{}", "a".repeat(128));
        for attempt in &mut largest.attempts {
            attempt.run_id.clone_from(&id);
            (attempt.started, attempt.ended) = (largest.runs[0], largest.runs[0]);
            attempt.ending = Some(Ending::NotStarted);
        }
        while largest.attempts.len() < Record::ATTEMPTS {
            largest.attempts.push(largest.attempts[0].clone());
        }
        largest.in_flight.as_mut().unwrap().id = id;
        assert!(encode(&largest, &"0".repeat(64), u64::MAX).unwrap().len() <= SLOT);
        let host = Host {
            runs: vec![Time(1_999_999_999_999); RunLimit::MOST_HOST as usize],
            owed: largest.owed.clone(),
            ..Host::default()
        };
        assert!(encode(&host, "host", u64::MAX).unwrap().len() <= SLOT);
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let bytes = encode(&record(), "k", 1).unwrap();
        for place in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[place] ^= 0x20;
            assert_eq!(decode::<Record>(&torn), Copy::Damaged, "byte {place}");
            assert_eq!(
                decode::<Record>(&bytes[..place]),
                expect_cut(place),
                "cut at {place}"
            );
        }
    }

    fn expect_cut(length: usize) -> Copy<Record> {
        if length == 0 {
            Copy::Blank
        } else {
            Copy::Damaged
        }
    }

    #[test]
    fn keys_of_different_label_sets_differ() {
        let alert = |labels: &[(&str, &str)], fingerprint: Option<&str>| Alert {
            status: crate::judge::Status::Firing,
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
            annotations: Default::default(),
            starts_at: None,
            ends_at: None,
            generator_url: String::new(),
            fingerprint: fingerprint.map(str::to_owned),
        };
        let keys = [
            key(&alert(&[("a", "b")], None)),
            key(&alert(&[("a", "b\n1\nc")], None)),
            key(&alert(&[("a", "b"), ("c", "")], None)),
            key(&alert(&[("ab", "")], None)),
            key(&alert(&[], None)),
            key(&alert(&[("a", "b")], Some("f"))),
        ];
        for (i, one) in keys.iter().enumerate() {
            assert_eq!(one.len(), 64);
            assert!(keys[i + 1..].iter().all(|other| one != other));
        }
        assert_eq!(key(&alert(&[("x", "y")], Some("f"))), keys[5]);
    }
}
