//! States that are alike for all that is to come are one state. Now stays where it is and everything else grows older;
//! what is too old to matter is told apart no further, nor is what no rule will read again, nor who is who among
//! processes and alerts. So there are finitely many states, for runs of any length.

use std::hash::{DefaultHasher, Hash, Hasher};

use self_heal::judge::Time;
use self_heal::judge::record::{Host, Page, Reason, Record, Run};

use super::BACK;
use super::world::{Firing, NOW, Over, Serving, Step, TICK, Then, Watched, World};

/// How far back what matters can lie, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    pub attempts: i64,
    pub retry: i64,
    pub settle: i64,
    pub runs: i64,
    /// `None` where the host has no limit.
    pub storm: Option<i64>,
}

/// Earlier than anything.
const LONG_AGO: Time = Time(0);

/// How old a time is, in ticks; less than nothing for one to come.
fn ticks(time: Time) -> i64 {
    (NOW.0 - time.0).div_euclid(TICK)
}

fn before(ticks: i64) -> Time {
    Time(NOW.0 - ticks * TICK)
}

fn most(limit: i64) -> u8 {
    u8::try_from(limit).unwrap()
}

impl World {
    /// Everything grows older by so many ticks; younger, when the clock is set back.
    pub fn grow(&mut self, ticks: i64) {
        let by = ticks * TICK;
        let older = &mut |time: &mut Time| time.0 -= by;
        for alert in &mut self.alerts {
            starts(alert, older);
            ends(alert, older);
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
            older(&mut process.says.firing.starts);
            process.says.firing.ends.iter_mut().for_each(&mut *older);
            inside(process, older);
            told(process, older);
            if let Some(run) = process.run_mut() {
                run_times(run, older);
            }
        }
    }

    /// An onlooker's own clock goes on, which nobody sets back.
    pub fn pass(&mut self, reach: Reach) {
        for alert in &mut self.alerts {
            alert.starts.iter_mut().for_each(|start| start.age += 1);
            for handler in &mut alert.handlers {
                handler.age = (handler.age + 1).min(3);
            }
            if let Some((age, _)) = &mut alert.shut {
                *age += 1;
            }
            alert.rests = alert.rests.map(|age| age + 1);
            alert.damaged = alert
                .damaged
                .map(|age| age + 1)
                .filter(|age| *age < most(reach.attempts));
        }
        self.host_runs.iter_mut().for_each(|start| start.age += 1);
        for process in &mut self.processes {
            if !matches!(process.step, Step::Wait { .. }) {
                process.lag += 1;
                process.rested = true;
            }
            process.reserved += 1;
        }
    }

    /// Tells nothing apart that no rule tells apart.
    pub fn settle_down(&mut self, reach: Reach, attempts: u32) {
        let back = i64::from(self.set_back.min(self.mischief)) * BACK;
        for process in &mut self.processes {
            process.forget(reach, back);
        }
        let earliest = before(back - i64::from(self.ahead).min(0));
        for number in 0..self.alerts.len() {
            self.order_episodes(number, earliest);
            self.order_pages(number, back);
            self.forget(number, reach, attempts, back);
        }
        self.forget_host(reach, back);
        // Who is who among the processes is the same to everybody.
        if self.processes.len() > 1 {
            self.processes.sort_by_cached_key(digest);
        }
        self.order_alerts();
    }

    fn forget(&mut self, number: usize, reach: Reach, attempts: u32, back: i64) {
        // A decision may be made for a moment that is past.
        let late = |process: &Serving| match process.step {
            Step::Decide { at, .. } if process.alert == number => ticks(at),
            _ => 0,
        };
        let late = self.processes.iter().map(late).max().unwrap_or(0).max(0);
        let back = back + late;
        let alert = &mut self.alerts[number];
        let record = &mut alert.record;
        let within = |limit: i64| move |time: &Time| ticks(*time) < limit + back;
        let clamp =
            |time: &mut Time, limit: i64| time.0 = time.0.max(NOW.0 - (limit + back) * TICK);
        record.attempts.clear();
        record.alertname.clear();
        record.instance.clear();
        record.fingerprint.clear();
        record.held_since = None;
        record.ineffective = record.ineffective.min(attempts);
        record.failures.retain(within(reach.attempts));
        record.runs.retain(within(reach.runs));
        record.retry_from = record.retry_from.filter(within(reach.retry));
        for (time, limit) in [
            (&mut record.healed_at, reach.settle),
            (&mut record.deferring_since, reach.attempts),
            (&mut record.unknown_since, reach.attempts),
        ] {
            time.iter_mut().for_each(|time| clamp(time, limit));
        }
        if let Some(episode) = &mut record.episode {
            let closed = &mut episode.closed_at;
            closed.iter_mut().for_each(|time| clamp(time, reach.settle));
        }
        if let Some(breaker) = &mut record.breaker {
            clamp(&mut breaker.since, breaker.hold.as_millis() as i64 / TICK);
            let by_its_heal = breaker.half_open && reach.settle > 0;
            if breaker.reason == Reason::RunLimits || by_its_heal {
                breaker.since = NOW;
            }
        }
        let far = reach.runs.max(reach.attempts);
        let own = |process: &&mut Serving| process.alert == number;
        for run in self
            .processes
            .iter_mut()
            .filter(own)
            .filter_map(Serving::run_mut)
            .chain(&mut record.in_flight)
        {
            run.attempt = 1;
            run.probe = false;
            clamp(&mut run.started, far);
            run.deadline = run.started;
        }
        let late = most(late);
        alert.shut = alert.shut.filter(|(age, hold)| *age < *hold + late);
        alert.rests = alert.rests.filter(|age| *age < most(reach.settle) + late);
        let window = most(reach.runs) + late;
        alert
            .starts
            .retain(|start| start.age < window || start.open);
        for start in &mut alert.starts {
            start.age = start.age.min(window);
        }
        alert.starts.sort_unstable();
        alert.handlers.sort_unstable();
    }

    fn forget_host(&mut self, reach: Reach, back: i64) {
        let Some(storm) = reach.storm else {
            self.host = Host::default();
            self.host_runs.clear();
            return;
        };
        let host = &mut self.host;
        host.runs.retain(|time| ticks(*time) < storm + back);
        if host.storm_since.is_some() {
            host.storm_since = Some(NOW);
        }
        host.told_at = host.told_at.filter(|time| ticks(*time) < storm + back);
        if host.owed.is_empty() {
            host.paged_at = host
                .paged_at
                .filter(|time| *time >= before(back))
                .map(|time| if back == 0 { NOW } else { time });
        }
        self.host_runs.retain(|start| i64::from(start.age) < storm);
        self.host_runs.sort_unstable();
    }

    /// Of the senders' times nothing matters but the order of the starts, and between which of them the ends lie; the
    /// end of the last run, by our clock, is compared with them too. What is to come is no earlier than `earliest`.
    fn order_episodes(&mut self, number: usize, earliest: Time) {
        let alert = &mut self.alerts[number];
        let mut old: Vec<Time> = Vec::new();
        let mut see = |time: &mut Time| {
            if *time < earliest {
                old.push(*time);
            }
        };
        starts(alert, &mut see);
        let own = |process: &&mut Serving| process.alert == number && process.hears();
        let says = |process: &mut Serving, see: &mut dyn FnMut(&mut Time)| {
            see(&mut process.says.firing.starts);
        };
        let mut speaking: Vec<&mut Serving> = self.processes.iter_mut().filter(own).collect();
        for process in &mut speaking {
            says(process, &mut see);
        }
        old.sort_unstable();
        old.dedup();
        let place = |count: usize| {
            let from_the_end = (old.len() - count) as i64;
            Time(earliest.0 - (1 + from_the_end) * 10)
        };
        let mut end = |time: &mut Time| {
            if *time < earliest {
                let begun = old.partition_point(|start| start <= time);
                *time = if begun == 0 {
                    LONG_AGO
                } else {
                    place(begun - 1)
                };
            }
        };
        ends(alert, &mut end);
        for process in &mut speaking {
            process.says.firing.ends.iter_mut().for_each(&mut end);
        }
        let mut start = |time: &mut Time| {
            if let Ok(found) = old.binary_search(time) {
                *time = place(found);
            }
        };
        starts(alert, &mut start);
        for process in &mut speaking {
            says(process, &mut start);
        }
    }

    /// Pages are told apart by their times, and the next one's is later than the last one's, and not before now.
    fn order_pages(&mut self, number: usize, back: i64) {
        let alert = &mut self.alerts[number];
        let owed: Vec<Page> = alert.record.owed.clone();
        alert.spool.retain(|page| owed.contains(page));
        let own = |process: &&mut Serving| process.alert == number;
        let mut striking: Vec<&mut Serving> = self.processes.iter_mut().filter(own).collect();
        let known = |process: &&mut Serving| matches!(process.step, Step::Strike { .. });
        let record = &mut alert.record;
        if owed.is_empty() && !striking.iter().any(known) {
            let last = record.paged_at.filter(|time| *time >= before(back));
            record.paged_at = last.map(|time| if back == 0 { NOW } else { time });
            return;
        }
        let (mut old, mut new): (Vec<Time>, Vec<Time>) = Default::default();
        let mut see = |time: &mut Time| {
            if *time < before(back) {
                old.push(*time);
            } else if back == 0 {
                new.push(*time);
            }
        };
        pages(alert, &mut see);
        striking
            .iter_mut()
            .for_each(|process| told(process, &mut see));
        for times in [&mut old, &mut new] {
            times.sort_unstable();
            times.dedup();
        }
        let mut rank = |time: &mut Time| {
            if let Ok(place) = old.binary_search(time) {
                time.0 = before(back).0 - (old.len() - place) as i64 * 10;
            } else if let Ok(place) = new.binary_search(time) {
                time.0 = NOW.0 + place as i64;
            }
        };
        pages(alert, &mut rank);
        striking
            .iter_mut()
            .for_each(|process| told(process, &mut rank));
    }

    /// Which alert is which is the same to everybody.
    fn order_alerts(&mut self) {
        if self.alerts.len() < 2 {
            return;
        }
        let of = |number: usize| {
            let of_it = |process: &&Serving| process.alert == number;
            let own = self.processes.iter().filter(of_it).map(|process| {
                digest(&Serving {
                    alert: 0,
                    ..process.clone()
                })
            });
            let mut own: Vec<u64> = own.collect();
            own.sort_unstable();
            digest(&(&self.alerts[number], own))
        };
        let mut order: Vec<(u64, usize)> = (0..self.alerts.len())
            .map(|number| (of(number), number))
            .collect();
        order.sort_unstable();
        let alerts = order.iter().map(|(_, old)| self.alerts[*old].clone());
        self.alerts = alerts.collect();
        for process in &mut self.processes {
            let new = order.iter().position(|(_, old)| *old == process.alert);
            process.alert = new.unwrap();
        }
        self.processes.sort_by_cached_key(digest);
    }
}

fn digest(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

impl Serving {
    /// What its request says is still to be judged.
    fn hears(&self) -> bool {
        matches!(self.step, Step::Judge | Step::Lock | Step::Decide { .. })
    }

    fn forget(&mut self, reach: Reach, back: i64) {
        if !self.hears() {
            self.says.resolved = false;
            self.says.firing = Firing {
                starts: NOW,
                ends: None,
            };
            self.force = false;
        }
        if !matches!(self.step, Step::Decide { .. }) {
            match reach.storm {
                None => {
                    self.reserved = 0;
                    inside(self, &mut |time| *time = NOW);
                }
                Some(storm) => {
                    self.reserved = self.reserved.min(most(storm));
                    let oldest = before(storm + back);
                    inside(self, &mut |time| *time = (*time).max(oldest));
                }
            }
        }
    }

    fn run_mut(&mut self) -> Option<&mut Run> {
        match &mut self.step {
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

/// Starts, by the senders' clock.
fn starts(alert: &mut Watched, see: &mut dyn FnMut(&mut Time)) {
    see(&mut alert.latest.starts);
    alert
        .before
        .iter_mut()
        .for_each(|firing| see(&mut firing.starts));
    if let Some(episode) = &mut alert.record.episode {
        see(&mut episode.starts_at);
    }
}

/// What starts are compared with.
fn ends(alert: &mut Watched, see: &mut dyn FnMut(&mut Time)) {
    alert.latest.ends.iter_mut().for_each(&mut *see);
    if let Some(firing) = &mut alert.before {
        firing.ends.iter_mut().for_each(&mut *see);
    }
    alert.record.last_end.iter_mut().for_each(see);
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

/// For when a process reserved its run.
fn inside(process: &mut Serving, see: &mut dyn FnMut(&mut Time)) {
    match &mut process.step {
        Step::Decide { at, .. } | Step::Start { at, .. } | Step::Wait { at, .. } => see(at),
        Step::GiveBack { at, then } => {
            see(at);
            if let Then::Start { at, .. } = then {
                see(at);
            }
        }
        Step::Tell {
            then: Then::Start { at, .. },
        }
        | Step::Strike {
            then: Then::Start { at, .. },
            ..
        } => see(at),
        _ => {}
    }
}
