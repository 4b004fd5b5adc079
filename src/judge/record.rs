//! What is remembered of one alert between connections, and of the host's runs as a whole.
//! Plain values: how they are written is `wire::records`, where is `sys::state`.

use std::time::Duration;

use super::ending::{Ending, Rollback};
use super::time::Time;

/// The memory of one alert. The default is an alert never seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// The alertname, for people; the record is found by its key.
    pub alertname: String,
    /// The instance, for people, cut to [`Record::TEXT`] bytes.
    pub instance: String,
    /// The sender's fingerprint; empty when it sent none.
    pub fingerprint: String,
    /// The latest episode known.
    pub episode: Option<Episode>,
    /// When the failures in a row ended (an interrupted run: when it began), oldest first.
    pub failures: Vec<Time>,
    /// Heals in a row that changed nothing.
    pub ineffective: u32,
    /// When the runs that count for the run limits began, oldest first.
    pub runs: Vec<Time>,
    /// When the last run ended, whatever came of it.
    pub last_end: Option<Time>,
    /// What the retry delay counts from.
    pub retry_from: Option<Time>,
    /// When the handler last exited 0 in this episode, until that is judged.
    pub healed_at: Option<Time>,
    /// The first deferral since something was healed or the breaker opened; failures are passed over.
    pub deferring_since: Option<Time>,
    /// The breaker; `None` while it is closed.
    pub breaker: Option<Breaker>,
    /// The run whose end has not been recorded.
    pub in_flight: Option<Run>,
    /// What a run past its timeout left behind that may not be signalled.
    pub survivors: Vec<Process>,
    /// Since when nothing is known because the record was damaged.
    pub unknown_since: Option<Time>,
    /// Why a person is being told right now.
    pub page: Option<Reason>,
    /// Pages decided on and not yet in the spool, oldest first.
    pub owed: Vec<Page>,
    /// When the last page was decided.
    pub paged_at: Option<Time>,
    /// The latest runs that ended, oldest first, for the page and for people.
    pub attempts: Vec<Attempt>,
    /// Since when a pause holds it back, as far as is known.
    pub held_since: Option<Time>,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Its id.
    pub run_id: String,
    /// Which attempt in a row it was, from 1.
    pub attempt: u32,
    /// When it was counted.
    pub started: Time,
    /// When its end was recorded.
    pub ended: Time,
    /// How; `None` where it lost its supervisor.
    pub ending: Option<Ending>,
    /// What became of what it had changed.
    pub rollback: Rollback,
}

impl Owes for Record {
    fn owes(&mut self) -> (&mut Vec<Page>, &mut Option<Time>) {
        (&mut self.owed, &mut self.paged_at)
    }
}

impl Record {
    /// The most attempts remembered.
    pub const ATTEMPTS: usize = 8;

    /// The longest text kept of a label, in bytes.
    pub const TEXT: usize = 256;

    /// The most pages a record owes at once. Beyond that the newest beginnings and ends are kept: they
    /// carry the same dedup key, so one of each says it all; a beginning goes with its end.
    pub const OWED: usize = 8;

    /// Whether the breaker holds runs back. A breaker closes with its episode, one opened by the
    /// run limits does not.
    pub fn breaker_open(&self) -> bool {
        let closed = self.episode.as_ref().is_some_and(|e| e.closed_at.is_some());
        self.breaker
            .as_ref()
            .is_some_and(|b| !closed || b.reason == Reason::RunLimits)
    }
}

/// One stretch of firing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Episode {
    /// The latest start the sender gave for it, by the sender's clock.
    pub starts_at: Time,
    /// When `resolved` arrived, by our clock; `None` while it fires.
    pub closed_at: Option<Time>,
}

/// A breaker that is open, or half-open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Breaker {
    /// What opened it.
    pub reason: Reason,
    /// When it opened, or opened again.
    pub since: Time,
    /// How long it stays shut before one attempt is let through; unused for run limits.
    pub hold: Duration,
    /// One attempt was let through, exited 0, and waits for `resolved`.
    pub half_open: bool,
}

/// Why a breaker opened or a person is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// As many failures in a row as there are attempts.
    Failures,
    /// As many heals in a row without effect.
    Ineffective,
    /// The handler asked for a person.
    GaveUp,
    /// More runs than a window allows.
    RunLimits,
    /// A deferral a whole attempt window after the first, and nothing healed in between.
    Deferrals,
    /// A run lost its supervisor.
    Interrupted,
    /// Something of a run past its timeout cannot be ended.
    Survivor,
    /// What a failed handler changed could not be put back.
    Rollback,
    /// The host's limit on runs was reached.
    Storm,
    /// The sender cut alerts off.
    Truncated,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 10] = [
        Reason::Failures,
        Reason::Ineffective,
        Reason::GaveUp,
        Reason::RunLimits,
        Reason::Deferrals,
        Reason::Interrupted,
        Reason::Survivor,
        Reason::Rollback,
        Reason::Storm,
        Reason::Truncated,
    ];

    /// The word used outside the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Failures => "failures",
            Reason::Ineffective => "ineffective",
            Reason::GaveUp => "gave-up",
            Reason::RunLimits => "run-limits",
            Reason::Deferrals => "deferrals",
            Reason::Interrupted => "interrupted",
            Reason::Survivor => "survivor",
            Reason::Rollback => "rollback",
            Reason::Storm => "storm",
            Reason::Truncated => "truncated",
        }
    }
}

/// A run that has been counted and whose end is not known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Its id, unique on this host.
    pub id: String,
    /// Which attempt in a row it is, from 1.
    pub attempt: u32,
    /// When it was counted.
    pub started: Time,
    /// When it is past its timeout.
    pub deadline: Time,
    /// Whether an open breaker let it through.
    pub probe: bool,
    /// The process that supervises it.
    pub supervisor: Process,
}

/// A process by number and start, so that a reused number is not mistaken for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Start in clock ticks since boot (proc(5), /proc/PID/stat field 22).
    pub started: u64,
}

/// A page: the beginning or the end of telling a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// When it was decided.
    pub at: Time,
    /// What it says.
    pub what: PageKind,
}

/// What a page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageKind {
    /// A person is needed.
    Trigger(Reason),
    /// No longer: the reason of the page that ends.
    Resolve(Reason),
}

/// What owes pages: the record of an alert or a group, and the host's.
pub trait Owes {
    /// The pages decided on and not yet in the spool, and when the last one was decided.
    fn owes(&mut self) -> (&mut Vec<Page>, &mut Option<Time>);
}

/// The host's memory: the runs of every alert together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Host {
    /// When the runs within the window were reserved, oldest first.
    pub runs: Vec<Time>,
    /// When the present storm was declared; `None` outside a storm.
    pub storm_since: Option<Time>,
    /// Whether a person is being told of a storm right now.
    pub page: bool,
    /// When a person was last told of a storm.
    pub told_at: Option<Time>,
    /// Pages decided on and not yet in the spool, oldest first.
    pub owed: Vec<Page>,
    /// When the last page was decided.
    pub paged_at: Option<Time>,
}

impl Owes for Host {
    fn owes(&mut self) -> (&mut Vec<Page>, &mut Option<Time>) {
        (&mut self.owed, &mut self.paged_at)
    }
}
