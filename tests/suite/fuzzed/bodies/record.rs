//! A record is read as it was written, damage is known for damage, and whatever a record says it can be judged.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use self_heal::judge::record::{
    Attempt, Breaker, Episode, Host, Page, PageKind, Process, Reason, Record, Run,
};
use self_heal::judge::storm::{self, Reservation};
use self_heal::judge::{
    Alert, Decision, Ended, Ending, Force, Limits, Look, Proposal, Rollback, RunLimit, Status,
    decision, pages, reset, standing,
};
use self_heal::wire::records::{self, Copy, Kept};

use super::pieces::Pieces;

pub fn body(data: &[u8]) {
    let mut pieces = Pieces::new(data);
    match pieces.below(4) {
        0 => {
            decoded::<Record>(pieces.rest());
            decoded::<Host>(pieces.rest());
        }
        1 => {
            // Behind the digest, where chance does not get by itself.
            let json = String::from_utf8_lossy(pieces.rest()).into_owned();
            if let Ok(record) = Record::from_json(&json) {
                kept(&record);
                judged(&record, &mut Pieces::new(json.as_bytes()));
            }
            if let Ok(host) = Host::from_json(&json) {
                kept(&host);
                stormy(&host, &mut Pieces::new(json.as_bytes()));
            }
        }
        2 => {
            let host = host(&mut pieces);
            kept(&host);
            stormy(&host, &mut pieces);
        }
        _ => {
            let record = record(&mut pieces);
            kept(&record);
            judged(&record, &mut pieces);
        }
    }
}

/// Any bytes: whole and stable, or damaged.
pub(super) fn decoded<T: Kept + Debug>(bytes: &[u8]) {
    if let Some(length) = records::length(bytes) {
        assert!(length > 0);
    }
    if let Copy::Whole {
        key,
        sequence,
        value,
    } = records::decode::<T>(bytes)
    {
        assert_eq!(records::sequence(bytes), Some(sequence));
        let again = records::encode(&value, &key, sequence).unwrap();
        let whole = Copy::Whole {
            key,
            sequence,
            value,
        };
        assert_eq!(records::decode::<T>(&again), whole);
    }
}

/// Written and read it is the same, in its slot too; changed in one place or cut off it is damaged.
pub(super) fn kept<T: Kept + Debug>(value: &T) {
    let key = "k".repeat(64);
    let mut copy = records::encode(value, &key, 7).unwrap();
    assert_eq!(records::length(&copy), Some(copy.len()));
    assert_eq!(records::sequence(&copy), Some(7));
    let whole = Copy::Whole {
        key,
        sequence: 7,
        value: value.clone(),
    };
    assert_eq!(records::decode::<T>(&copy), whole);
    let length = copy.len();
    copy.resize(length + 100, 0);
    assert_eq!(records::decode::<T>(&copy), whole);
    assert_eq!(records::decode::<T>(&copy[..length - 1]), Copy::Damaged);
    for at in [0, length / 3, length / 2, length - 2] {
        copy[at] ^= 1;
        assert_eq!(
            records::decode::<T>(&copy),
            Copy::Damaged,
            "byte {at} of {length}"
        );
        copy[at] ^= 1;
    }
    assert_eq!(records::decode::<T>(&[0; 64]), Copy::Blank);
}

/// Every rule has an answer to it, and what the answer leaves can be kept.
fn judged(record: &Record, pieces: &mut Pieces<'_>) {
    let now = pieces.time();
    let alert = alert(pieces);
    let limits = limits(pieces);
    let survivor = pieces.maybe(process);
    let force = pieces.pick(&[Force::No, Force::PastBreakerAndDelays]);
    standing::standing(record, &limits, survivor, now);
    self_heal::wire::report::standing(record, &limits, now);
    let (next, seen) = decision::look(record, &alert, &limits, survivor, force, now);
    match seen {
        Look::NeedsLock => assert_eq!(&next, record),
        Look::Answer(_) => assert!(record.in_flight.is_none()),
    }
    same(&next);
    let proposal = Proposal {
        id: "2-2-2.A",
        timeout: Duration::from_secs(pieces.number() >> 20),
        supervisor: process(pieces),
        interrupted: pieces.pick(&[Rollback::None, Rollback::Done, Rollback::Failed]),
        force,
    };
    let (next, did) = decision::decide(record, &alert, &limits, survivor, &proposal, now);
    same(&next);
    if let Decision::Run { run, .. } = did {
        assert_eq!(next.in_flight.as_ref(), Some(&run));
        // A forced one while the windows are full of runs to come, after the clock was set back, makes them no fuller.
        let full = limits
            .run_limits
            .iter()
            .map(|limit| limit.runs as usize)
            .max()
            .unwrap_or(0);
        let to_come = next.runs.len() > full && next.runs.iter().all(|start| *start > now);
        assert!(next.runs.contains(&now) || to_come, "it is counted");
        let ended = Ended {
            ending: ending(pieces),
            survivors: pieces.list(2, process),
            rollback: pieces.pick(&[Rollback::None, Rollback::Done, Rollback::Failed]),
        };
        let (settled, _) = decision::settle(&next, &run, &ended, &limits, pieces.time());
        assert!(settled.in_flight.is_none());
        same(&settled);
    } else {
        assert!(next.in_flight.is_none());
    }
    let (resolved, _) = decision::resolve(record, &alert, &limits, now);
    assert_eq!(
        (&resolved.runs, &resolved.in_flight),
        (&record.runs, &record.in_flight)
    );
    same(&resolved);
    same(&decision::hold(record, &alert, now));
    same(&decision::sweep(record, &limits, survivor, now).0);
    let undone = reset::reset(record, now);
    assert_eq!(
        reset::reset(&undone, now),
        undone,
        "a second reset changes nothing"
    );
    same(&undone);
    assert!(pages::struck(record, &record.owed).owed.is_empty());
}

fn same(record: &Record) {
    let json = record.to_json().unwrap();
    assert_eq!(&Record::from_json(&json).unwrap(), record, "{json}");
}

fn stormy(host: &Host, pieces: &mut Pieces<'_>) {
    let now = pieces.time();
    let limit = RunLimit {
        runs: 1 + u32::from(pieces.byte()),
        window: Duration::from_secs(pieces.number() >> 30),
    };
    let seen = storm::look(host, limit, now).1;
    let mut next = host.clone();
    let got = storm::reserve(&mut next, limit, now);
    assert_eq!(got, seen);
    assert!(next.owed.len() <= Record::OWED.max(host.owed.len()));
    if matches!(got, Reservation::Granted { .. }) {
        let count = next.runs.len();
        assert!(count <= limit.runs as usize);
        storm::give_back(&mut next, now);
        assert_eq!(next.runs.len(), count - 1);
    }
    let json = next.to_json().unwrap();
    assert_eq!(Host::from_json(&json).unwrap(), next);
}

pub(super) fn process(pieces: &mut Pieces<'_>) -> Process {
    Process {
        pid: pieces.number() as i32,
        started: pieces.number(),
    }
}

fn ending(pieces: &mut Pieces<'_>) -> Ending {
    match pieces.below(8) {
        0 => Ending::Signal(i32::from(pieces.byte())),
        1 => Ending::TimedOut,
        2 => Ending::NotStarted,
        3 => Ending::Lost,
        _ => Ending::Exit(pieces.pick(&[0, 1, 2, 75, 255])),
    }
}

pub(super) fn page(pieces: &mut Pieces<'_>) -> Page {
    let reason = pieces.pick(&Reason::ALL);
    Page {
        at: pieces.time(),
        what: if pieces.flag() {
            PageKind::Trigger(reason)
        } else {
            PageKind::Resolve(reason)
        },
    }
}

fn alert(pieces: &mut Pieces<'_>) -> Alert {
    Alert {
        status: Status::Firing,
        labels: BTreeMap::from([("alertname".to_owned(), pieces.text())]),
        annotations: BTreeMap::new(),
        starts_at: pieces.maybe(Pieces::time),
        ends_at: pieces.maybe(Pieces::time),
        generator_url: String::new(),
        fingerprint: pieces.maybe(Pieces::text),
    }
}

fn limits(pieces: &mut Pieces<'_>) -> Limits {
    let span = |pieces: &mut Pieces<'_>| match pieces.byte() {
        255 => Duration::from_millis(pieces.number()),
        seconds => Duration::from_secs(u64::from(seconds) * 100),
    };
    Limits {
        max_attempts: 1 + pieces.below(5) as u32,
        attempt_window: span(pieces),
        retry_delay: span(pieces),
        settle: span(pieces),
        run_limits: pieces.list(3, |pieces| RunLimit {
            runs: 1 + pieces.below(5) as u32,
            window: span(pieces).max(Duration::from_secs(1)),
        }),
    }
}

pub(super) fn record(pieces: &mut Pieces<'_>) -> Record {
    Record {
        alertname: pieces.name(),
        instance: pieces.text(),
        fingerprint: pieces.text(),
        episode: pieces.maybe(|pieces| Episode {
            starts_at: pieces.time(),
            closed_at: pieces.maybe(Pieces::time),
        }),
        failures: pieces.list(5, Pieces::time),
        ineffective: pieces.number() as u32,
        runs: pieces.list(6, Pieces::time),
        last_end: pieces.maybe(Pieces::time),
        retry_from: pieces.maybe(Pieces::time),
        healed_at: pieces.maybe(Pieces::time),
        deferring_since: pieces.maybe(Pieces::time),
        breaker: pieces.maybe(|pieces| Breaker {
            reason: pieces.pick(&Reason::ALL),
            since: pieces.time(),
            hold: Duration::from_millis(pieces.number()),
            half_open: pieces.flag(),
        }),
        in_flight: pieces.maybe(|pieces| Run {
            id: pieces.text(),
            attempt: pieces.number() as u32,
            started: pieces.time(),
            deadline: pieces.time(),
            probe: pieces.flag(),
            supervisor: process(pieces),
        }),
        survivors: pieces.list(2, process),
        unknown_since: pieces.maybe(Pieces::time),
        page: pieces.maybe(|pieces| pieces.pick(&Reason::ALL)),
        owed: pieces.list(3, page),
        paged_at: pieces.maybe(Pieces::time),
        attempts: pieces.list(3, |pieces| Attempt {
            run_id: pieces.text(),
            attempt: u32::from(pieces.byte()),
            started: pieces.time(),
            ended: pieces.time(),
            ending: pieces.maybe(ending),
            rollback: pieces.pick(&[Rollback::None, Rollback::Done, Rollback::Failed]),
        }),
        held_since: pieces.maybe(Pieces::time),
    }
}

fn host(pieces: &mut Pieces<'_>) -> Host {
    Host {
        runs: pieces.list(8, Pieces::time),
        storm_since: pieces.maybe(Pieces::time),
        page: pieces.flag(),
        told_at: pieces.maybe(Pieces::time),
        owed: pieces.list(3, page),
        paged_at: pieces.maybe(Pieces::time),
    }
}
