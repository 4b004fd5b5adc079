//! Pages on their way to a person: what an escalator is sent next, what its answer means, and when an event is
//! done with. Each escalator is judged by itself; within an incident events go in order, and one incident
//! never holds another up. It refuses to send a resolve to whoever was not sent its trigger.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::time::Time;

/// The wait after the first failed attempt; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(15);

/// The longest wait before its jitter.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How far jitter moves a wait, to either side, as a share of it.
const JITTER: f64 = 0.2;

/// The longest wait with its jitter: an attempt due later than this from now was planned by a clock that has
/// been set back since.
const FARTHEST: Duration = Duration::from_secs(72 * 60);

/// What an event does to its incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A person is needed.
    Trigger,
    /// No longer.
    Resolve,
}

impl Action {
    /// The word used outside the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Trigger => "trigger",
            Action::Resolve => "resolve",
        }
    }
}

/// The name of an event: `{milliseconds since 1970:013}-{t|r}-{16 hex digits of sha256(dedup key)}`. Names sort
/// by time, so the events of an incident sort in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName {
    at: i64,
    action: Action,
    incident: String,
}

impl EventName {
    /// The largest time that 13 digits hold: in the year 2286.
    const LATEST: i64 = 9_999_999_999_999;

    /// The name of the event of this time, brought into the range of 13 digits, for the incident whose dedup
    /// key has this sha256 in hex, of which the first 16 digits count. `None` if that is no such hex.
    pub fn new(at: Time, action: Action, sha256: &str) -> Option<EventName> {
        let incident = sha256.get(..16)?;
        incident.bytes().all(is_hex).then(|| EventName {
            at: at.0.clamp(0, EventName::LATEST),
            action,
            incident: incident.to_owned(),
        })
    }

    /// Reads a name, exactly as [`fmt::Display`] writes it.
    pub fn parse(text: &str) -> Option<EventName> {
        let (at, rest) = text.split_once('-')?;
        let (letter, incident) = rest.split_once('-')?;
        if at.len() != 13 || !at.bytes().all(|b| b.is_ascii_digit()) || incident.len() != 16 {
            return None;
        }
        let action = match letter {
            "t" => Action::Trigger,
            "r" => Action::Resolve,
            _ => return None,
        };
        EventName::new(Time(at.parse().ok()?), action, incident)
    }

    /// When its page was decided on.
    pub fn at(&self) -> Time {
        Time(self.at)
    }

    /// What it does.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The incident: 16 hex digits of the sha256 of the dedup key.
    pub fn incident(&self) -> &str {
        &self.incident
    }
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.action {
            Action::Trigger => 't',
            Action::Resolve => 'r',
        };
        write!(f, "{:013}-{letter}-{}", self.at, self.incident)
    }
}

/// How far one escalator is with one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Attempts begun so far.
    pub attempts: u32,
    /// What came of them.
    pub stage: Stage,
}

/// What came of the attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not delivered; not to be tried before this time.
    Open {
        /// When it is due.
        next: Time,
    },
    /// It took it.
    Delivered,
    /// It refused it for good.
    Failed,
    /// An operator does not want it delivered.
    Discarded,
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::Open { next: Time(0) }
    }
}

impl Mark {
    /// Whether nothing more is to be done.
    pub fn is_final(self) -> bool {
        !matches!(self.stage, Stage::Open { .. })
    }

    /// The mark after attempt number `attempt`, which ended with this exit code (`None`: how it ended is not
    /// known). A mark that has counted this attempt already stays as it is, so an ending may be told twice.
    pub fn after(self, attempt: u32, code: Option<i32>, now: Time, wait: Duration) -> Mark {
        if self.is_final() || self.attempts >= attempt {
            return self;
        }
        let stage = match code {
            Some(0) => Stage::Delivered,
            Some(100) => Stage::Failed,
            _ => Stage::Open {
                next: now.plus(wait),
            },
        };
        Mark {
            attempts: attempt,
            stage,
        }
    }
}

/// How long to wait after attempt number `attempt`, from 1, failed: 15 s, doubling up to an hour, moved by up to 20 %
/// as `chance` says, so that hosts and events that failed together do not come back together.
pub fn backoff(attempt: u32, chance: u16) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let plain = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    let share = f64::from(chance) / f64::from(u16::MAX);
    plain.mul_f64(1.0 + JITTER * (2.0 * share - 1.0))
}

/// Where an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// To be delivered.
    Pending,
    /// A trigger that everybody has; it waits for its resolve.
    Told,
    /// Refused for good by somebody, had by everybody else; it waits for an operator.
    Failed,
}

impl Place {
    /// Every place.
    pub const ALL: [Place; 3] = [Place::Pending, Place::Told, Place::Failed];

    /// The word used outside the program, and the folder's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Place::Pending => "pending",
            Place::Told => "told",
            Place::Failed => "failed",
        }
    }
}

/// An event as the spool has it. Everything below takes the events sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: EventName,
    /// Where it is.
    pub place: Place,
    /// The marks of the escalators that have one.
    pub marks: BTreeMap<String, Mark>,
}

impl Event {
    /// The mark of this escalator.
    pub fn mark(&self, escalator: &str) -> Mark {
        self.marks.get(escalator).copied().unwrap_or_default()
    }
}

/// Where one escalator stands with one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing more is to be done. For a resolve that is so, too, when this escalator has no trigger open.
    Final,
    /// An earlier event of the incident comes first.
    Behind,
    /// It may be tried from this time on.
    Next(Time),
}

/// Where this escalator stands with each event, in the order of the events.
pub fn standings(events: &[Event], escalator: &str) -> Vec<Standing> {
    let mut held = BTreeSet::new();
    let mut open = BTreeSet::new();
    events
        .iter()
        .map(|event| {
            let incident = event.name.incident();
            let mark = event.mark(escalator);
            if held.contains(incident) {
                return Standing::Behind;
            }
            if event.place == Place::Pending {
                let unsent = event.name.action() == Action::Resolve && !open.contains(incident);
                match mark.stage {
                    Stage::Open { next } if !unsent => {
                        held.insert(incident);
                        return Standing::Next(next);
                    }
                    _ => {}
                }
            }
            if mark.stage == Stage::Delivered {
                match event.name.action() {
                    Action::Trigger => open.insert(incident),
                    Action::Resolve => open.remove(incident),
                };
            }
            Standing::Final
        })
        .collect()
}

/// Whether an attempt planned for `next` is due. A time farther ahead than any wait is, too: a clock was set back.
pub fn is_due(next: Time, now: Time) -> bool {
    next <= now || next > now.plus(FARTHEST)
}

/// What is to be done next for one escalator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This event is to be sent.
    Send(EventName),
    /// Nothing yet; something from this time on.
    Wait(Time),
    /// Nothing.
    Nothing,
}

/// The oldest event that is due for this escalator and behind no other of its incident.
pub fn next(events: &[Event], escalator: &str, now: Time) -> Next {
    let mut soonest: Option<Time> = None;
    for (event, standing) in events.iter().zip(standings(events, escalator)) {
        match standing {
            Standing::Next(next) if is_due(next, now) => return Next::Send(event.name.clone()),
            Standing::Next(next) => {
                soonest = Some(soonest.map_or(next, |time| time.min(next)));
            }
            Standing::Final | Standing::Behind => {}
        }
    }
    soonest.map_or(Next::Nothing, Next::Wait)
}

/// Where an event goes that is final for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposal {
    /// A trigger that waits for its resolve from now on.
    Told {
        /// The event.
        name: EventName,
        /// Whether anybody was told.
        anybody: bool,
    },
    /// One that somebody refused for good.
    Failed(EventName),
    /// A resolve, and what it ends: these are removed, in this order, so that a removal that is cut short is
    /// taken up again by the resolve, the last one.
    Removed(Vec<EventName>),
}

/// What becomes of the pending events that are final for each of these escalators; an escalator that is not among them
/// is not waited for. A resolve stays for as long as an earlier event of its incident has failed: if an operator has
/// that sent after all, the resolve has to follow it.
pub fn dispose(events: &[Event], escalators: &[String]) -> Vec<Disposal> {
    let standings: Vec<Vec<Standing>> = escalators
        .iter()
        .map(|escalator| standings(events, escalator))
        .collect();
    let mut found = Vec::new();
    let mut removed: BTreeSet<&EventName> = BTreeSet::new();
    // Of each incident, what came before and is not removed.
    let mut earlier: BTreeMap<&str, Vec<(&EventName, bool)>> = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        let name = &event.name;
        let before = earlier.entry(name.incident()).or_default();
        let done = standings
            .iter()
            .all(|standing| standing.get(index) == Some(&Standing::Final));
        let refused = event.place == Place::Pending
            && escalators
                .iter()
                .any(|escalator| event.mark(escalator).stage == Stage::Failed);
        if event.place != Place::Pending || !done {
            before.push((name, event.place == Place::Failed));
        } else if refused {
            found.push(Disposal::Failed(name.clone()));
            before.push((name, true));
        } else if name.action() == Action::Trigger {
            let anybody = event.marks.values().any(|m| m.stage == Stage::Delivered);
            found.push(Disposal::Told {
                name: name.clone(),
                anybody,
            });
            before.push((name, false));
        } else if before.iter().any(|(_, failed)| *failed) {
            before.push((name, false));
        } else {
            let ended: Vec<&EventName> = before
                .drain(..)
                .map(|(name, _)| name)
                .chain([name])
                .collect();
            removed.extend(&ended);
            found.push(Disposal::Removed(ended.into_iter().cloned().collect()));
        }
    }
    found.retain(|disposal| match disposal {
        Disposal::Told { name, .. } | Disposal::Failed(name) => !removed.contains(name),
        Disposal::Removed(_) => true,
    });
    found
}

/// What an operator's word does to the marks of one event: the new marks of those escalators whose mark changes.
pub type Changes = Vec<(String, Mark)>;

/// The marks after "try again": what was refused for good is open again, what waits is due now.
///
/// # Errors
/// A later event of the incident has been delivered to an escalator that refused this one: sent now, it would turn that
/// escalator's view of the incident back.
pub fn retry(events: &[Event], name: &EventName) -> Result<Changes, String> {
    let Some(event) = events.iter().find(|event| event.name == *name) else {
        return Ok(Vec::new());
    };
    let mut changes = Vec::new();
    for (escalator, mark) in &event.marks {
        let next = match mark.stage {
            Stage::Failed | Stage::Open { .. } => Stage::Open { next: Time(0) },
            Stage::Delivered | Stage::Discarded => continue,
        };
        let overtaken = events.iter().any(|other| {
            other.name > *name
                && other.name.incident() == name.incident()
                && other.mark(escalator).stage == Stage::Delivered
        });
        if overtaken {
            return Err(format!(
                "{escalator} has a later event of this incident already: sent now, this one would tell it what is over; discard it"
            ));
        }
        let mark = Mark {
            attempts: mark.attempts,
            stage: next,
        };
        changes.push((escalator.clone(), mark));
    }
    Ok(changes)
}

/// The marks after "not any more": whoever does not have it is not sent it.
pub fn discard(event: &Event, escalators: &[String]) -> Changes {
    let known: BTreeSet<&String> = escalators.iter().chain(event.marks.keys()).collect();
    known
        .into_iter()
        .filter_map(|escalator| {
            let mark = event.mark(escalator);
            let without = matches!(mark.stage, Stage::Open { .. } | Stage::Failed);
            without.then(|| {
                let stage = Stage::Discarded;
                (escalator.clone(), Mark { stage, ..mark })
            })
        })
        .collect()
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
