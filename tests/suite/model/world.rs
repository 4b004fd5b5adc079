//! What the model remembers: the product's own records, the processes that serve, the handlers that run, the senders'
//! view of the alert, and beside them what an onlooker counts for himself. Times are wall-clock times as ever, but now
//! stays where it is and everything else grows older; what is too old to matter is told apart no further. So there are
//! finitely many states, and no end of time in the model.

use self_heal::judge::record::{Host, Page, Process as Numbered, Reason, Record, Run};
use self_heal::judge::{Ending, Time, Verdict};

/// One tick: an eighth of the longest that a breaker stays shut.
pub const TICK: i64 = 3 * 60 * 60 * 1000;

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
    /// How often the clock may be set back yet.
    pub set_back: u8,
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
    /// Whether a person has been told last that he is needed.
    pub told: bool,
    /// Pages that are in the spool and owed still.
    pub spool: Vec<Page>,
    /// How long ago its record was damaged.
    pub damaged: Option<u8>,
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
    /// Ticks since its last step, and since it reserved its run.
    pub lag: u8,
    pub reserved: u8,
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
    Start { run: Run, at: Time, forced: bool },
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
    Answer(Verdict),
    Start { run: Run, at: Time, forced: bool },
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
                    Then::Answer(_) => None,
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

/// How old a time is, in ticks; less than nothing for one to come.
fn ticks(time: Time) -> i64 {
    (NOW.0 - time.0).div_euclid(TICK)
}

/// How far back what matters can lie, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    pub attempts: i64,
    pub retry: i64,
    pub settle: i64,
    pub runs: i64,
    pub storm: i64,
    pub hold: i64,
}

impl World {
    /// Everything grows older by so many ticks; younger, when the clock is set back.
    pub fn grow(&mut self, ticks: i64) {
        let by = ticks * TICK;
        let older = &mut |time: &mut Time| time.0 -= by;
        for alert in &mut self.alerts {
            orders(alert, older);
            pages(alert, older);
            let record = &mut alert.record;
            spans(record, older);
            if let Some(run) = &mut record.in_flight {
                run_times(run, older);
            }
        }
        self.host.runs.iter_mut().for_each(&mut *older);
        for time in [
            &mut self.host.storm_since,
            &mut self.host.told_at,
            &mut self.host.paged_at,
        ] {
            time.iter_mut().for_each(&mut *older);
        }
        self.host
            .owed
            .iter_mut()
            .for_each(|page| older(&mut page.at));
        for process in &mut self.processes {
            said(process, older);
            inside(process, older);
            told(process, older);
        }
    }

    /// An onlooker's own clock goes on, which nobody sets back.
    pub fn pass(&mut self, reach: Reach) {
        let most = |limit: i64| u8::try_from(limit).unwrap();
        for alert in &mut self.alerts {
            alert.starts.iter_mut().for_each(|start| start.age += 1);
            // A decision may be a tick late.
            alert
                .starts
                .retain(|start| start.age <= most(reach.runs) || start.open);
            alert
                .starts
                .iter_mut()
                .for_each(|start| start.age = start.age.min(most(reach.runs) + 1));
            for handler in &mut alert.handlers {
                handler.age = (handler.age + 1).min(3);
            }
            if let Some((age, hold)) = &mut alert.shut {
                *age = (*age + 1).min(*hold + 2);
            }
            alert.damaged = alert
                .damaged
                .map(|age| age + 1)
                .filter(|age| *age < most(reach.attempts));
        }
        self.host_runs.iter_mut().for_each(|start| start.age += 1);
        self.host_runs.retain(|start| start.age < most(reach.storm));
        for process in &mut self.processes {
            process.lag += 1;
            process.reserved = (process.reserved + 1).min(most(reach.storm.max(reach.runs)));
        }
    }

    /// Tells nothing apart that no rule tells apart: the same for what is to come is the same state.
    pub fn settle_down(&mut self, reach: Reach, most: u32) {
        // A decision may be made for a moment that is a tick past.
        let back = i64::from(self.set_back.min(self.mischief)) * super::BACK + 1;
        for number in 0..self.alerts.len() {
            self.forget(number, reach, most, back);
        }
        self.order(back);
        let host = &mut self.host;
        host.runs.retain(|time| ticks(*time) < reach.storm + back);
        if host.storm_since.is_some() {
            host.storm_since = Some(NOW);
        }
        host.told_at = host
            .told_at
            .filter(|time| ticks(*time) < reach.storm + back);
        host.paged_at = host.paged_at.filter(|time| ticks(*time) <= back);
        self.host_runs.sort_unstable();
        // Who is who among the processes is the same to everybody.
        self.processes
            .sort_by_cached_key(|process| format!("{process:?}"));
    }

    fn forget(&mut self, number: usize, reach: Reach, most: u32, back: i64) {
        let alert = &mut self.alerts[number];
        let record = &mut alert.record;
        let clamp =
            |time: &mut Time, limit: i64| time.0 = time.0.max(NOW.0 - (limit + back) * TICK);
        record.attempts.clear();
        record.alertname.clear();
        record.instance.clear();
        record.fingerprint.clear();
        record.held_since = None;
        record.ineffective = record.ineffective.min(most);
        record
            .failures
            .retain(|time| ticks(*time) < reach.attempts + back);
        record.runs.retain(|time| ticks(*time) < reach.runs + back);
        record.retry_from = record
            .retry_from
            .filter(|time| ticks(*time) < reach.retry + back);
        let settle = reach.settle;
        record
            .healed_at
            .iter_mut()
            .for_each(|time| clamp(time, settle));
        record
            .deferring_since
            .iter_mut()
            .for_each(|time| clamp(time, reach.attempts));
        record
            .unknown_since
            .iter_mut()
            .for_each(|time| clamp(time, reach.attempts));
        if let Some(episode) = &mut record.episode {
            episode
                .closed_at
                .iter_mut()
                .for_each(|time| clamp(time, settle));
        }
        if let Some(breaker) = &mut record.breaker {
            clamp(&mut breaker.since, reach.hold);
            if breaker.reason == Reason::RunLimits {
                breaker.since = NOW;
            }
        }
        let far = reach.runs.max(reach.attempts);
        let processes = self
            .processes
            .iter_mut()
            .filter(|process| process.alert == number);
        for run in processes
            .filter_map(|process| process.run_mut())
            .chain(&mut record.in_flight)
        {
            run.attempt = 1;
            run.probe = false;
            clamp(&mut run.started, far);
            run.deadline = run.started;
        }
        let told: Vec<Page> = record.owed.clone();
        alert.spool.retain(|page| told.contains(page));
        if told.is_empty() {
            record.paged_at = record.paged_at.filter(|time| ticks(*time) <= back);
        }
        alert.starts.sort_unstable();
        alert.handlers.sort_unstable();
    }

    /// Of some times nothing matters but which is earlier.
    fn order(&mut self, back: i64) {
        for number in 0..self.alerts.len() {
            for which in [orders, pages] {
                let mut old: Vec<Time> = Vec::new();
                let mut see = |time: &mut Time| {
                    if time.0 < NOW.0 - back * TICK {
                        old.push(*time);
                    }
                };
                let paging = std::ptr::fn_addr_eq(
                    which,
                    pages as fn(&mut Watched, &mut dyn FnMut(&mut Time)),
                );
                let of_process = if paging { told } else { said };
                which(&mut self.alerts[number], &mut see);
                let own = |process: &&mut Serving| process.alert == number;
                self.processes
                    .iter_mut()
                    .filter(own)
                    .for_each(|process| of_process(process, &mut see));
                old.sort_unstable();
                old.dedup();
                let count = old.len() as i64;
                let mut rank = |time: &mut Time| {
                    if let Ok(place) = old.binary_search(time) {
                        time.0 = NOW.0 - back * TICK - (count - place as i64) * 10;
                    }
                };
                which(&mut self.alerts[number], &mut rank);
                let own = |process: &&mut Serving| process.alert == number;
                self.processes
                    .iter_mut()
                    .filter(own)
                    .for_each(|process| of_process(process, &mut rank));
            }
        }
    }
}

/// Times that are compared with each other: starts and ends by the senders' clock, and the end of the last run.
fn orders(alert: &mut Watched, see: &mut dyn FnMut(&mut Time)) {
    for firing in [Some(&mut alert.latest), alert.before.as_mut()]
        .into_iter()
        .flatten()
    {
        see(&mut firing.starts);
        firing.ends.iter_mut().for_each(&mut *see);
    }
    if let Some(episode) = &mut alert.record.episode {
        see(&mut episode.starts_at);
    }
    alert.record.last_end.iter_mut().for_each(see);
}

fn said(process: &mut Serving, see: &mut dyn FnMut(&mut Time)) {
    see(&mut process.says.firing.starts);
    process.says.firing.ends.iter_mut().for_each(see);
}

/// Times that are names of pages.
fn pages(alert: &mut Watched, see: &mut dyn FnMut(&mut Time)) {
    alert.record.paged_at.iter_mut().for_each(&mut *see);
    let all = alert.record.owed.iter_mut().chain(&mut alert.spool);
    all.for_each(|page| see(&mut page.at));
}

fn told(process: &mut Serving, see: &mut dyn FnMut(&mut Time)) {
    if let Step::Strike { pages, .. } = &mut process.step {
        pages.iter_mut().for_each(|page| see(&mut page.at));
    }
}

/// Times from which something is counted.
fn spans(record: &mut Record, see: &mut dyn FnMut(&mut Time)) {
    record
        .failures
        .iter_mut()
        .chain(&mut record.runs)
        .for_each(&mut *see);
    for time in [
        &mut record.retry_from,
        &mut record.healed_at,
        &mut record.deferring_since,
        &mut record.unknown_since,
    ] {
        time.iter_mut().for_each(&mut *see);
    }
    if let Some(episode) = &mut record.episode {
        episode.closed_at.iter_mut().for_each(&mut *see);
    }
    if let Some(breaker) = &mut record.breaker {
        see(&mut breaker.since);
    }
}

fn run_times(run: &mut Run, see: &mut dyn FnMut(&mut Time)) {
    see(&mut run.started);
    see(&mut run.deadline);
}

fn inside(process: &mut Serving, see: &mut dyn FnMut(&mut Time)) {
    match &mut process.step {
        Step::Decide { at, .. }
        | Step::Start { at, .. }
        | Step::Wait { at, .. }
        | Step::GiveBack { at, .. } => see(at),
        _ => {}
    }
    match &mut process.step {
        Step::GiveBack {
            then: Then::Start { at, .. },
            ..
        }
        | Step::Tell {
            then: Then::Start { at, .. },
        }
        | Step::Strike {
            then: Then::Start { at, .. },
            ..
        } => see(at),
        _ => {}
    }
    if let Some(run) = process.run_mut() {
        run_times(run, see);
    }
}

impl Serving {
    fn run_mut(&mut self) -> Option<&mut Run> {
        match &mut self.step {
            Step::Start { run, .. } | Step::Wait { run, .. } | Step::CallOff { run } => Some(run),
            Step::Settle(Over { run, .. }) => Some(run),
            Step::GiveBack { then, .. } | Step::Tell { then } | Step::Strike { then, .. } => {
                match then {
                    Then::Answer(_) => None,
                    Then::Start { run, .. } | Then::CallOff { run } => Some(run),
                    Then::Settle(Over { run, .. }) => Some(run),
                }
            }
            _ => None,
        }
    }
}
