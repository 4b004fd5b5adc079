//! Pages from the spool to the escalators: the only place where delivery's effects are put in order. What is due, and
//! what an answer means, is in `judge::delivery`; the machine is in `sys::spool` and `sys::escalator`.
//!
//! The order that matters: an escalator's lock before the spool is read, so that no mark is older than the lock; the
//! journal before the escalator starts; the mark durable before the journal is cleared and the lock released; the page
//! struck from the record that owes it before its event is removed.

use std::time::Duration;

use crate::judge::Time;
use crate::judge::delivery::{self, Disposal, Event, EventName, Mark, Next, Place, Stage};
use crate::paging;
use crate::sys::escalator::{self, Attempt, Escalator, Found};
use crate::sys::handler::{Exit, Running};
use crate::sys::log::Log;
use crate::sys::signals::Signals;
use crate::sys::spool::{Journal, Locked, Spool, Waiting};
use crate::sys::state::file::Store;
use crate::sys::{clock, files, identity, settings};
use crate::wire::config::Config;
use crate::wire::spool as bytes;
use crate::wire::timestamp::rfc3339;

pub mod drain;

/// How long a round may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// How long one attempt may take.
    pub attempt: Duration,
    /// For how long new attempts are started.
    pub start: Duration,
}

impl Bound {
    /// For the process of a connection, which is done already.
    pub const CONNECTION: Bound = Bound {
        attempt: Duration::from_secs(30),
        start: Duration::from_secs(10),
    };

    /// For `self-heal drain`.
    pub const DRAIN: Bound = Bound {
        attempt: Duration::from_secs(30),
        start: Duration::MAX,
    };
}

/// How often in a row an escalator may fail before it is left alone for the rest of the round: its service is down,
/// and whatever else it were sent would fail too.
const PATIENCE: u32 = 3;

/// timeout(1): the command was ended.
const TIMED_OUT: i32 = 124;

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Attempts made.
    pub attempts: u32,
    /// Those of them that delivered an event.
    pub delivered: u32,
}

/// Strikes the page of an event from the record that owes it; `struck(name, dedup key)`. Called under the spool's
/// lock, so it must not take that itself. An error keeps the event.
pub type Strike<'a> = dyn FnMut(&EventName, &str) -> Result<(), String> + 'a;

/// One round over all escalators: what killed deliverers left is taken note of; everything due is sent, one event at a
/// time to each escalator and to all of them at once; what is final for everybody goes where it belongs. An escalator
/// that somebody else is busy with is left to him. After SIGTERM nothing new is started.
///
/// # Errors
/// One sentence, logged already: the escalate folder or the spool cannot be used. Nothing is lost.
pub fn deliver(
    config: &Config,
    log: &mut Log,
    signals: &mut Signals,
    clock: &dyn Fn() -> Time,
    bound: &Bound,
    struck: &mut Strike<'_>,
) -> Result<Round, String> {
    if Spool::idle(&config.state_dir) {
        return Ok(Round::default());
    }
    let found = escalators(config, log)?;
    let spool = Spool::open(&config.state_dir).map_err(|error| spool_failed(log, &error))?;
    let mut courier = Courier::new(config, spool, log, clock, found.names());
    courier.deliver(&found, signals, bound, struck)
}

/// Sends what is due in the spool, by a process that is done with its own work. What keeps it from being sent is in the
/// log; the next process tries again.
pub fn in_passing(config: &Config, log: &mut Log, signals: &mut Signals) {
    // Made before the first page: on the day that the disk is full it would be too late.
    if !Spool::made(&config.state_dir) {
        let _ = Spool::open(&config.state_dir);
    }
    // Opened for the first page alone: as a rule there is none.
    let mut store = None;
    let mut struck = |name: &EventName, key: &str| {
        let store = store.get_or_insert_with(|| Store::open(&config.state_dir));
        match store {
            Ok(store) => paging::strike(store, name, key),
            Err(error) => Err(error.to_string()),
        }
    };
    let bound = &Bound::CONNECTION;
    let _ = deliver(config, log, signals, &clock::now, bound, &mut struck);
}

/// The escalators, and in the log what is wrong with them.
fn escalators(config: &Config, log: &mut Log) -> Result<Found, String> {
    let known = escalator::known(&config.escalate_dir, &config.state_dir);
    let found = known.map_err(|why| {
        let why = format!("HEAL_ESCALATE_DIR: {why}");
        log.error("escalators_unusable", &[("error", &why)]);
        why
    })?;
    for (name, why) in &found.refused {
        log.error("escalator_unsafe", &[("escalator", name), ("why", why)]);
    }
    for name in &found.gone {
        log.error("escalator_gone", &[("escalator", name)]);
    }
    for why in &found.odd {
        log.error("escalator_unsafe", &[("why", why)]);
    }
    Ok(found)
}

fn spool_failed(log: &mut Log, error: &dyn std::fmt::Display) -> String {
    let why = error.to_string();
    log.error("spool_failed", &[("error", &why)]);
    format!("spool: {why}")
}

struct Courier<'a> {
    config: &'a Config,
    spool: Spool,
    log: &'a mut Log,
    clock: &'a dyn Fn() -> Time,
    /// The escalators that events wait for.
    names: Vec<String>,
    host: String,
    home: String,
    conf_dir: String,
    /// The unfinished events, with the marks of the escalators whose lock is held as they are on disk.
    events: Vec<Event>,
    round: Round,
}

/// An escalator whose lock is held.
struct Lane {
    escalator: Escalator,
    journal: Journal,
    under_way: Option<(EventName, u32, Running)>,
    failures: u32,
    over: bool,
}

/// How an attempt ended, for the log.
struct Ended {
    code: Option<i32>,
    said: String,
}

impl Ended {
    fn by(code: i32) -> Ended {
        let said = if code == TIMED_OUT {
            "timeout".to_owned()
        } else {
            code.to_string()
        };
        Ended {
            code: Some(code),
            said,
        }
    }

    fn unknown(said: impl Into<String>) -> Ended {
        Ended {
            code: None,
            said: said.into(),
        }
    }
}

impl<'a> Courier<'a> {
    fn new(
        config: &'a Config,
        spool: Spool,
        log: &'a mut Log,
        clock: &'a dyn Fn() -> Time,
        names: Vec<String>,
    ) -> Courier<'a> {
        Courier {
            config,
            spool,
            log,
            clock,
            names,
            host: identity::host(),
            home: identity::home(),
            conf_dir: settings::folder().to_string_lossy().into_owned(),
            events: Vec::new(),
            round: Round::default(),
        }
    }

    fn deliver(
        &mut self,
        found: &Found,
        signals: &mut Signals,
        bound: &Bound,
        struck: &mut Strike<'_>,
    ) -> Result<Round, String> {
        let mut lanes = Vec::new();
        for escalator in &found.ready {
            lanes.extend(self.take(&escalator.name).map(|journal| Lane {
                escalator: escalator.clone(),
                journal,
                under_way: None,
                failures: 0,
                over: false,
            }));
        }
        // What one of these did while it was trusted, or there, still counts.
        let known = Spool::escalators(&self.config.state_dir).unwrap_or_default();
        let refused: Vec<(String, Journal)> = found
            .refused
            .iter()
            .map(|(name, _)| name)
            .chain(&found.gone)
            .filter(|name| known.contains(name))
            .filter_map(|name| Some((name.clone(), self.take(name)?)))
            .collect();
        self.load()?;
        for lane in &mut lanes {
            lane.over = !self.catch_up(&lane.escalator.name, &lane.journal);
        }
        for (name, journal) in refused {
            self.catch_up(&name, &journal);
            self.release(&name, journal);
        }
        self.run(&mut lanes, signals, bound);
        for lane in lanes {
            self.release(&lane.escalator.name, lane.journal);
        }
        self.settle(struck)?;
        Ok(self.round)
    }

    fn take(&mut self, escalator: &str) -> Option<Journal> {
        self.spool.journal(escalator).unwrap_or_else(|error| {
            let values = [("escalator", escalator), ("error", &error.to_string())];
            self.log.error("spool_failed", &values);
            None
        })
    }

    fn release(&mut self, escalator: &str, journal: Journal) {
        if let Err(error) = journal.release() {
            let values = [("escalator", escalator), ("error", &error.to_string())];
            self.log.error("spool_failed", &values);
        }
    }

    /// Reads the spool. What is damaged is kept aside, and holds nothing else up.
    fn load(&mut self) -> Result<(), String> {
        let listing = self.spool.unfinished();
        let listing = listing.map_err(|error| spool_failed(self.log, &error))?;
        if !listing.damaged.is_empty() {
            let lock = self.spool.lock();
            let lock = lock.map_err(|error| spool_failed(self.log, &error))?;
            for (place, file) in listing.damaged {
                keep_aside(self.log, &lock, place, &file, (self.clock)());
            }
        }
        self.events = listing.events;
        Ok(())
    }

    /// Takes note of what a killed deliverer's attempt came to. False if that cannot be written down: then nothing
    /// may be sent.
    fn catch_up(&mut self, escalator: &str, journal: &Journal) -> bool {
        let noted = match journal.entry() {
            Ok(None) => return true,
            Ok(Some(entry)) => match entry.said {
                bytes::Said::Trying => true,
                bytes::Said::Started => {
                    let ended = Ended::unknown("unknown");
                    self.note(escalator, &entry.event, entry.attempt, &ended)
                }
                bytes::Said::Ended(code) => {
                    self.note(escalator, &entry.event, entry.attempt, &Ended::by(code))
                }
            },
            Err(error) => {
                spool_failed(self.log, &error);
                false
            }
        };
        // An entry that stays counts no second time: its attempt is on the mark.
        noted
            && journal
                .clear()
                .map_err(|error| spool_failed(self.log, &error))
                .is_ok()
    }

    fn run(&mut self, lanes: &mut [Lane], signals: &mut Signals, bound: &Bound) {
        let began = (self.clock)();
        loop {
            let late = (self.clock)().since(began) >= bound.start || signals.terminated();
            for lane in lanes.iter_mut() {
                if lane.under_way.is_none() && !lane.over && !late {
                    self.start_next(lane, bound);
                }
            }
            if lanes.iter().all(|lane| lane.under_way.is_none()) {
                return;
            }
            for lane in lanes.iter_mut() {
                self.look_after(lane, signals);
            }
            let ready = |lane: &Lane| lane.under_way.is_none() && !lane.over;
            if !lanes.iter().any(ready) {
                signals.wait(bound.attempt);
            }
        }
    }

    /// Starts the next attempt of an escalator; without one it is over for this round.
    fn start_next(&mut self, lane: &mut Lane, bound: &Bound) {
        lane.over = true;
        while let Next::Send(name) =
            delivery::next(&self.events, &lane.escalator.name, (self.clock)())
        {
            let json = match self.spool.json(&name, Place::Pending) {
                Ok(Some(json)) => json,
                Ok(None) => {
                    self.put_aside(&name);
                    continue;
                }
                Err(error) => {
                    spool_failed(self.log, &error);
                    return;
                }
            };
            let number = self
                .mark_of(&name, &lane.escalator.name)
                .attempts
                .saturating_add(1);
            let path = self.config.log_dir.join("escalate.log");
            let output = files::open_log(&path).map_err(|error| {
                let values = [
                    ("file", &*path.to_string_lossy()),
                    ("error", &error.to_string()),
                ];
                self.log.error("escalate_log_failed", &values);
            });
            let attempt = Attempt {
                escalator: &lane.escalator,
                event: &name,
                number,
                json: &json,
                home: &self.home,
                conf_dir: &self.conf_dir,
                timeout: bound.attempt,
                log: output.as_ref().ok(),
            };
            self.round.attempts += 1;
            match escalator::start(&attempt, &lane.journal) {
                Ok(running) => {
                    lane.under_way = Some((name, number, running));
                    lane.over = false;
                }
                Err(error) => {
                    let ended = Ended::unknown(error.to_string());
                    self.note(&lane.escalator.name, &name, number, &ended);
                }
            }
            return;
        }
    }

    /// Sees whether an escalator has ended, and takes note of it.
    fn look_after(&mut self, lane: &mut Lane, signals: &mut Signals) {
        let Some((name, number, running)) = &lane.under_way else {
            return;
        };
        let ended = match running.poll(signals) {
            Ok(None) => return,
            Ok(Some(ended)) => match ended.exit {
                Exit::Code(code) => Ended::by(code),
                // The wrapper was killed: it may have written down more than its end tells.
                Exit::Signal(_) | Exit::TimedOut => in_journal(&lane.journal, *number),
            },
            Err(_) => in_journal(&lane.journal, *number),
        };
        let noted = self.note(&lane.escalator.name, name, *number, &ended);
        lane.failures = match ended.code {
            Some(0 | 100) => 0,
            _ => lane.failures + 1,
        };
        lane.under_way = None;
        // What was not noted would be sent again: not by this process, and not at once.
        lane.over = !noted || lane.failures >= PATIENCE;
        if noted && let Err(error) = lane.journal.clear() {
            spool_failed(self.log, &error);
        }
    }

    fn mark_of(&self, name: &EventName, escalator: &str) -> Mark {
        let event = self.events.iter().find(|event| event.name == *name);
        event.map(|event| event.mark(escalator)).unwrap_or_default()
    }

    /// Writes down what an attempt came to. False if that failed.
    fn note(&mut self, escalator: &str, name: &EventName, number: u32, ended: &Ended) -> bool {
        let Some(event) = self.events.iter().position(|event| event.name == *name) else {
            // Discarded meanwhile, or kept aside.
            return true;
        };
        let before = self.mark_of(name, escalator);
        let chance = bytes::chance(&self.host, name, escalator, number);
        let now = (self.clock)();
        let after = before.after(number, ended.code, now, delivery::backoff(number, chance));
        if after == before {
            return true;
        }
        let names = &self.names;
        let marks = [(escalator.to_owned(), after)];
        let written = self
            .spool
            .lock()
            .and_then(|lock| lock.mark(name, &marks, &|name| names.iter().any(|n| n == name)));
        if let Err(error) = written {
            spool_failed(self.log, &error);
            return false;
        }
        if let Some(event) = self.events.get_mut(event) {
            event.marks.insert(escalator.to_owned(), after);
        }
        self.tell(escalator, name, number, after, &ended.said);
        true
    }

    fn tell(&mut self, escalator: &str, name: &EventName, number: u32, mark: Mark, said: &str) {
        let (event, number) = (name.to_string(), number.to_string());
        let mut values = vec![
            ("event", event.as_str()),
            ("action", name.action().as_str()),
            ("escalator", escalator),
            ("attempt", &number),
        ];
        match mark.stage {
            Stage::Delivered => {
                self.round.delivered += 1;
                self.log.info("escalation_delivered", &values);
            }
            Stage::Open { next } => {
                let next = rfc3339(next);
                values.extend([("exit", said), ("next", &next)]);
                self.log.warn("escalation_retry", &values);
            }
            Stage::Failed | Stage::Discarded => {
                values.push(("exit", said));
                self.log.error("escalation_failed", &values);
            }
        }
    }

    fn put_aside(&mut self, name: &EventName) {
        self.events.retain(|event| event.name != *name);
        match self.spool.lock() {
            Ok(lock) => keep_aside(
                self.log,
                &lock,
                Place::Pending,
                &name.to_string(),
                (self.clock)(),
            ),
            Err(error) => drop(spool_failed(self.log, &error)),
        }
    }

    /// Puts what is final for everybody where it belongs.
    fn settle(&mut self, struck: &mut Strike<'_>) -> Result<(), String> {
        settle(&self.spool, self.log, &self.names, (self.clock)(), struck)
    }
}

/// What the journal says of this attempt, once its wrapper is gone.
fn in_journal(journal: &Journal, number: u32) -> Ended {
    match journal.entry() {
        Ok(Some(entry)) if entry.attempt == number => match entry.said {
            bytes::Said::Ended(code) => Ended::by(code),
            bytes::Said::Trying | bytes::Said::Started => Ended::unknown("unknown"),
        },
        _ => Ended::unknown("unknown"),
    }
}

fn keep_aside(log: &mut Log, lock: &Locked<'_>, place: Place, file: &str, now: Time) {
    match lock.keep_aside(place, file, now) {
        Ok(kept) => {
            let values = [("event", file), ("kept", &*kept.to_string_lossy())];
            log.error("event_damaged", &values);
        }
        Err(error) => {
            let values = [("event", file), ("error", &error.to_string())];
            log.error("event_damaged", &values);
        }
    }
}

/// Puts what is final for these escalators where it belongs, in the order in which that may be cut short anywhere.
fn settle(
    spool: &Spool,
    log: &mut Log,
    names: &[String],
    now: Time,
    struck: &mut Strike<'_>,
) -> Result<(), String> {
    let done = (|| {
        let lock = spool.lock()?;
        let listing = spool.unfinished()?;
        for (place, file) in &listing.damaged {
            keep_aside(log, &lock, *place, file, now);
        }
        for disposal in delivery::dispose(&listing.events, names) {
            match disposal {
                Disposal::Told { name, anybody } => {
                    lock.put_into(&name, Place::Pending, Place::Told)?;
                    if !anybody {
                        log.warn("escalation_untold", &[("event", &name.to_string())]);
                    }
                }
                Disposal::Failed(name) => lock.put_into(&name, Place::Pending, Place::Failed)?,
                Disposal::Removed(ended) => {
                    remove(spool, log, &lock, &listing.events, &ended, now, struck)?
                }
            }
        }
        Ok(())
    })();
    done.map_err(|error: std::io::Error| spool_failed(log, &error))
}

/// Removes events, once every page of theirs is struck.
fn remove(
    spool: &Spool,
    log: &mut Log,
    lock: &Locked<'_>,
    events: &[Event],
    ended: &[EventName],
    now: Time,
    struck: &mut Strike<'_>,
) -> std::io::Result<()> {
    for name in ended {
        let event = events.iter().find(|event| event.name == *name);
        let place = event.map_or(Place::Pending, |event| event.place);
        let json = spool.json(name, place)?;
        let Some(key) = json.and_then(|json| bytes::dedup_key(&json)) else {
            keep_aside(log, lock, place, &name.to_string(), now);
            continue;
        };
        if let Err(why) = struck(name, &key) {
            let values = [("event", &*name.to_string()), ("error", &why)];
            log.error("escalation_not_struck", &values);
            return Ok(());
        }
    }
    ended.iter().try_for_each(|name| lock.remove(name))
}

/// How much waits; nothing where there is no spool yet.
///
/// # Errors
/// The spool cannot be read.
pub fn waiting(config: &Config) -> Result<Waiting, String> {
    Spool::waiting(&config.state_dir).map_err(|error| format!("spool: {error}"))
}
