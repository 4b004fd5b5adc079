//! What the model remembers: the product's own records, the processes that serve, the handlers that run, the senders'
//! view of the alert, and beside them what an onlooker counts for himself. Times are wall-clock times as ever, but now
//! stays where it is and everything else grows older (`alike`).

use self_heal::judge::record::{Host, Page, Process as Numbered, Record, Run};
use self_heal::judge::{Ending, Time};

/// One tick: a quarter of the longest that a breaker stays shut.
pub const TICK: i64 = 6 * 60 * 60 * 1000;

/// Now, always.
pub const NOW: Time = Time(1_000 * TICK);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub alerts: Vec<Watched>,
    pub host: Host,
    /// What an onlooker counts of the host: ages of the runs reserved, and whether a person is told of a storm.
    pub host_runs: Vec<Start>,
    pub host_told: bool,
    pub processes: Vec<Serving>,
    /// Whether an operator paused everything.
    pub paused: bool,
    /// Whether the spool takes nothing.
    pub spool_full: bool,
    /// How often something out of the ordinary may happen yet.
    pub mischief: u8,
    /// How often a clock may be set back yet.
    pub set_back: u8,
    /// How far the senders' clock is ahead of ours, in ticks.
    pub ahead: i8,
    /// What does not hold.
    pub broken: Option<&'static str>,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watched {
    pub record: Record,
    /// The latest episode, as the senders know it, and the one before.
    pub latest: Firing,
    pub before: Option<Firing>,
    /// Its handlers that are alive: more than one is what must never be.
    pub handlers: Vec<Handler>,
    /// A process of a run past its timeout that may not be signalled.
    pub survivor: bool,
    /// Starts of runs that count, by an onlooker's own clock.
    pub starts: Vec<Start>,
    /// When its breaker opened and for how long it is to stay shut, in ticks, by an onlooker's own clock.
    pub shut: Option<(u8, u8)>,
    /// How long ago a heal or `resolved` was taken note of, which is given its time.
    pub rests: Option<u8>,
    /// Whether a person has been told last that he is needed.
    pub told: bool,
    /// Pages that are in the spool and owed still.
    pub spool: Vec<Page>,
    /// How long ago its record was damaged.
    pub damaged: Option<u8>,
    /// It is the one that a calm future is looked at for.
    pub marked: bool,
}

/// One episode, by the senders' clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Firing {
    pub starts: Time,
    pub ends: Option<Time>,
}

/// A run that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Start {
    pub age: u8,
    /// Its end has not been recorded.
    pub open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handler {
    pub run: String,
    pub age: u8,
    /// The lock file that it inherited is the one that everybody finds.
    pub lock: bool,
}

/// A process that serves one request with one alert.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Serving {
    pub alert: usize,
    pub says: Sent,
    pub force: bool,
    pub lock: bool,
    pub slot: bool,
    /// How many ticks passed between its steps, and since it reserved its run.
    pub lag: u8,
    pub reserved: u8,
    /// It has done nothing since the last tick.
    pub rested: bool,
    /// What it counted was lost with the record.
    pub lost: bool,
    pub step: Step,
}

/// What a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    pub resolved: bool,
    pub firing: Firing,
}

/// What a process does next. Between two steps everybody else may take theirs, time may pass, and it may be killed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The gates, and the look at the record without the lock; or the update of a resolved one.
    Judge,
    /// The lock, a slot, the record under the lock, the host's window.
    Lock,
    /// The decision; with it, what was in flight, and the time that was read for all of it.
    Decide {
        examined: Option<String>,
        spoiled: bool,
        at: Time,
    },
    /// A reservation goes back.
    GiveBack { at: Time, then: Then },
    /// Owed pages into the spool.
    Tell { then: Then },
    /// They are there, and are struck.
    Strike { pages: Vec<Page>, then: Then },
    /// The handler's start.
    Start { run: Run, at: Time },
    /// It waits for the handler.
    Wait { run: Run, at: Time },
    /// The handler ended.
    Settle(Over),
    /// A run that is counted and does not take place.
    CallOff { run: Run },
}

/// How a handler ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Over {
    pub run: Run,
    pub ending: Ending,
    pub survivor: bool,
    /// What it changed could not be put back.
    pub spoiled: bool,
}

/// What comes behind a step that several have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    Answer,
    Start { run: Run, at: Time },
    CallOff { run: Run },
    Settle(Over),
}

impl Serving {
    /// Its run, from the decision to the settling.
    pub fn run(&self) -> Option<&Run> {
        match &self.step {
            Step::Start { run, .. } | Step::Wait { run, .. } | Step::CallOff { run } => Some(run),
            Step::Settle(Over { run, .. }) => Some(run),
            Step::GiveBack { then, .. } | Step::Tell { then } | Step::Strike { then, .. } => {
                match then {
                    Then::Answer => None,
                    Then::Start { run, .. } | Then::CallOff { run } => Some(run),
                    Then::Settle(Over { run, .. }) => Some(run),
                }
            }
            _ => None,
        }
    }
}

/// The process that a timed-out run leaves.
pub const SURVIVOR: Numbered = Numbered { pid: 7, started: 7 };
