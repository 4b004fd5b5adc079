//! What may happen next, and what comes of it: each step of a process is the product's own judgement and one durable
//! write, in the order of `heal.rs`; and after each an onlooker says what does not hold.

use std::collections::BTreeMap;
use std::time::Duration;

use self_heal::judge::record::{Host, PageKind, Reason, Record, Run};
use self_heal::judge::storm::{self, Reservation};
use self_heal::judge::{
    Alert, Decision, Ended, Ending, Force, Look, Note, Proposal, Rollback, Status, Time, Verdict,
    decision, pages, reset,
};

use super::world::{
    Firing, Handler, NOW, Over, SURVIVOR, Sent, Serving, Start, Step, TICK, Then, Watched, World,
};
use super::{BACK, Flaps, Machine, Rare, seen};

pub const TWO: &str = "two handlers of one alert at once";
pub const OFTEN: &str = "more runs than its limits allow";
pub const HOST: &str = "more runs than the host's limit allows";
pub const EARLY: &str = "a run before the breaker's hold is over";
pub const EAGER: &str = "a run before a heal or an end had its time";
pub const UNCOUNTED: &str = "a handler without a durable count";
pub const DAMAGED: &str = "a run while nothing is known";
pub const ORDER: &str = "a resolve before its trigger";
pub const PAGES: &str = "a page lost or doubled";
pub const SLOTS: &str = "more handlers than slots";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Tick,
    ClockBack(Rare),
    Begins {
        alert: usize,
        later: bool,
    },
    Ends(usize),
    Send {
        alert: usize,
        before: bool,
        resolved: bool,
    },
    Go(usize),
    /// It finds a dead run whose changes cannot be put back: a file of them, or only the hook behind them.
    GoSpoiled {
        process: usize,
        whole: bool,
    },
    HandlerEnds {
        process: usize,
        ending: Ending,
        survivor: bool,
        spoiled: bool,
    },
    NotStarted(usize),
    Crash(usize),
    OrphanEnds(usize),
    SurvivorDies(usize),
    Reset(usize),
    Force(usize),
    Pause,
    Resume,
    Damage(usize),
    LockRemoved(usize),
    SpoolFills,
    SpoolFrees,
    HostDamage,
    Sweep(usize),
}

/// The latest age, in ticks, at which a handler has a supervisor that would end it.
const TIMEOUT: u8 = 1;

impl Machine {
    pub fn acts(&self, world: &World, acts: &mut Vec<Act>) {
        if world.broken.is_some() {
            return;
        }
        self.acts_of_processes(world, acts);
        let rare = |rare: Rare| world.mischief > 0 && self.rare.contains(&rare);
        let waits = |process: &Serving| match &process.step {
            Step::Wait { run, .. } => self
                .handler(world, process.alert, run)
                .is_none_or(|handler| handler.age < TIMEOUT),
            _ => process.lag < self.late,
        };
        if world.processes.iter().all(waits) {
            acts.push(Act::Tick);
        }
        let busy = world.processes.len() >= self.senders;
        // Who has heard of nothing takes no notice: what happens out there comes before what is done within a tick.
        let rests = |process: &Serving| process.rested || matches!(process.step, Step::Wait { .. });
        let dawn = self.flaps != Flaps::Never && world.processes.iter().all(rests);
        for (number, alert) in world.alerts.iter().enumerate() {
            match alert.latest.ends {
                _ if !dawn => {}
                None => acts.push(Act::Ends(number)),
                Some(_) => {
                    // Two that begin in one tick begin one after the other.
                    let any_time = self.flaps == Flaps::AnyTime;
                    for later in [false, true].into_iter().take(1 + usize::from(any_time)) {
                        let taken = [begin(world, later), begin(world, true)];
                        if !taken.contains(&alert.latest.starts) {
                            acts.push(Act::Begins {
                                alert: number,
                                later,
                            });
                        }
                    }
                }
            }
            if !busy {
                for before in [false, true] {
                    let firing = if before {
                        alert.before
                    } else {
                        Some(alert.latest)
                    };
                    let Some(firing) = firing else { continue };
                    acts.push(Act::Send {
                        alert: number,
                        before,
                        resolved: false,
                    });
                    if firing.ends.is_some() {
                        acts.push(Act::Send {
                            alert: number,
                            before,
                            resolved: true,
                        });
                    }
                }
                if rare(Rare::Force) {
                    acts.push(Act::Force(number));
                }
            }
            if alert
                .handlers
                .iter()
                .any(|handler| is_orphan(world, number, handler))
            {
                acts.push(Act::OrphanEnds(number));
            }
            if alert.survivor {
                acts.push(Act::SurvivorDies(number));
            }
            if alert.record != Record::default() && !self.spool_locked(world) {
                acts.push(Act::Sweep(number));
            }
            for (one, act) in [
                (Rare::Reset, Act::Reset(number)),
                (Rare::Damage, Act::Damage(number)),
                (Rare::LockRemoved, Act::LockRemoved(number)),
            ] {
                if rare(one) && (one != Rare::LockRemoved || self.locked(world, number)) {
                    acts.push(act);
                }
            }
        }
        for clock in [Rare::ClockBack, Rare::OwnClockBack, Rare::SendersClockBack] {
            if rare(clock) && world.set_back > 0 {
                acts.push(Act::ClockBack(clock));
            }
        }
        if rare(Rare::HostDamage) {
            acts.push(Act::HostDamage);
        }
        if world.paused {
            acts.push(Act::Resume);
        } else if rare(Rare::Pause) {
            acts.push(Act::Pause);
        }
        if world.spool_full {
            acts.push(Act::SpoolFrees);
        } else if rare(Rare::SpoolFull) {
            acts.push(Act::SpoolFills);
        }
    }

    fn acts_of_processes(&self, world: &World, acts: &mut Vec<Act>) {
        let rare = |rare: Rare| world.mischief > 0 && self.rare.contains(&rare);
        for (number, process) in world.processes.iter().enumerate() {
            if number > 0 && world.processes[number - 1] == *process {
                continue;
            }
            let record = &world.alerts[process.alert].record;
            match &process.step {
                Step::Wait { run, .. } => {
                    let age = self
                        .handler(world, process.alert, run)
                        .map_or(0, |handler| handler.age);
                    let mut ends = |ending, survivor, spoiled| {
                        acts.push(Act::HandlerEnds {
                            process: number,
                            ending,
                            survivor,
                            spoiled,
                        });
                    };
                    for ending in &self.endings {
                        if *ending != Ending::TimedOut || age == TIMEOUT {
                            ends(*ending, false, false);
                        }
                    }
                    if age == TIMEOUT && rare(Rare::Survivor) {
                        ends(Ending::TimedOut, true, false);
                    }
                    if rare(Rare::Lost) {
                        ends(Ending::Lost, false, false);
                        ends(Ending::Lost, true, false);
                    }
                    if rare(Rare::Spoiled) {
                        ends(Ending::Exit(1), false, true);
                    }
                }
                Step::Tell { .. } if self.spool_locked(world) => {}
                _ => acts.push(Act::Go(number)),
            }
            match &process.step {
                Step::Start { .. } if rare(Rare::NotStarted) => acts.push(Act::NotStarted(number)),
                Step::Lock if rare(Rare::Spoiled) && record.in_flight.is_some() => {
                    for whole in [false, true] {
                        acts.push(Act::GoSpoiled {
                            process: number,
                            whole,
                        });
                    }
                }
                _ => {}
            }
            if rare(Rare::Crash) && !matches!(process.step, Step::Judge | Step::Lock) {
                acts.push(Act::Crash(number));
            }
        }
    }

    pub fn act(&self, world: &World, act: Act) -> Option<World> {
        let mut next = world.clone();
        self.happen(&mut next, act);
        self.look_on(&mut next);
        next.settle_down(self.reach(), self.limits.max_attempts);
        Some(next)
    }

    fn happen(&self, world: &mut World, act: Act) {
        match act {
            Act::Tick => {
                world.grow(1);
                world.pass(self.reach());
                for alert in &mut world.alerts {
                    // What an earlier episode's sender has to say comes within the tick, or waits to be served.
                    alert.before = None;
                }
            }
            Act::ClockBack(clock) => {
                world.mischief -= 1;
                world.set_back -= 1;
                if clock != Rare::SendersClockBack {
                    world.grow(-BACK);
                }
                let ahead = BACK as i8;
                world.ahead += match clock {
                    Rare::OwnClockBack => ahead,
                    Rare::SendersClockBack => -ahead,
                    _ => 0,
                };
            }
            Act::HostDamage => {
                world.mischief -= 1;
                // As many as fill any window.
                world.host = Host {
                    runs: vec![NOW; self.storm.map_or(0, |storm| storm.runs as usize)],
                    ..Host::default()
                };
                world.host_told = false;
            }
            Act::Begins { alert, later } => {
                let starts = begin(world, later);
                let alert = &mut world.alerts[alert];
                alert.before = Some(alert.latest);
                alert.latest = Firing { starts, ends: None };
            }
            Act::Ends(alert) => {
                let now = begin(
                    world,
                    world.alerts[alert].latest.starts == begin(world, true),
                );
                world.alerts[alert].latest.ends = Some(now);
            }
            Act::Send {
                alert,
                before,
                resolved,
            } => self.send(world, alert, before, resolved, false),
            Act::Force(alert) => {
                world.mischief -= 1;
                self.send(world, alert, false, false, true);
            }
            Act::Go(process) => self.go(world, process, None),
            Act::GoSpoiled { process, whole } => {
                world.mischief -= 1;
                self.go(world, process, Some(whole));
            }
            Act::HandlerEnds {
                process,
                ending,
                survivor,
                spoiled,
            } => {
                world.mischief -= u8::from(survivor || spoiled);
                self.handler_ends(world, process, ending, survivor, spoiled);
            }
            Act::NotStarted(process) => {
                world.mischief -= 1;
                if let Step::Start { run, at, .. } = world.processes[process].step.clone() {
                    let over = Over {
                        run,
                        ending: Ending::NotStarted,
                        survivor: false,
                        spoiled: false,
                    };
                    world.processes[process].step = Step::GiveBack {
                        at,
                        then: Then::Settle(over),
                    };
                }
            }
            Act::Crash(process) => {
                world.mischief -= 1;
                world.processes.remove(process);
            }
            Act::OrphanEnds(alert) => {
                let mut handlers = std::mem::take(&mut world.alerts[alert].handlers);
                handlers.retain(|handler| !is_orphan(world, alert, handler));
                world.alerts[alert].handlers = handlers;
            }
            Act::SurvivorDies(alert) => world.alerts[alert].survivor = false,
            Act::Reset(alert) => {
                world.mischief -= 1;
                let next = reset::reset(&world.alerts[alert].record, NOW);
                self.store(world, alert, next);
                let watched = &mut world.alerts[alert];
                watched.starts.retain(|start| start.open);
                watched.damaged = None;
                self.hand_over(world, alert);
            }
            Act::Pause | Act::Resume => {
                world.mischief -= u8::from(!world.paused);
                world.paused = !world.paused;
            }
            Act::SpoolFills | Act::SpoolFrees => {
                world.mischief -= u8::from(!world.spool_full);
                world.spool_full = !world.spool_full;
            }
            Act::Damage(alert) => {
                world.mischief -= 1;
                self.store(world, alert, decision::unknown(NOW));
                for process in &mut world.processes {
                    process.lost |= process.alert == alert && process.run().is_some();
                }
                let watched = &mut world.alerts[alert];
                watched.starts.clear();
                watched.rests = None;
                watched.spool.clear();
                watched.told = false;
                // What it said of processes that live on is lost with it.
                watched.survivor = false;
                watched.damaged = Some(0);
            }
            Act::LockRemoved(alert) => {
                world.mischief -= 1;
                let own = world
                    .processes
                    .iter_mut()
                    .filter(|process| process.alert == alert);
                own.for_each(|process| process.lock = false);
                world.alerts[alert]
                    .handlers
                    .iter_mut()
                    .for_each(|handler| handler.lock = false);
            }
            Act::Sweep(alert) => {
                let record = &world.alerts[alert].record;
                let next = decision::sweep(record, &self.limits, alive(world, alert), NOW).0;
                self.store(world, alert, next);
                self.hand_over(world, alert);
            }
        }
    }

    fn send(&self, world: &mut World, alert: usize, before: bool, resolved: bool, force: bool) {
        let watched = &world.alerts[alert];
        let firing = if before {
            watched.before
        } else {
            Some(watched.latest)
        };
        let mut firing = firing.expect("an episode");
        if !resolved {
            firing.ends = None;
        }
        world.processes.push(Serving {
            alert,
            says: Sent { resolved, firing },
            force,
            lock: false,
            slot: false,
            lag: 0,
            reserved: 0,
            rested: false,
            lost: false,
            step: Step::Judge,
        });
    }

    /// One step of a process.
    fn go(&self, world: &mut World, number: usize, spoiled: Option<bool>) {
        world.processes[number].rested = false;
        let process = world.processes[number].clone();
        let alert = process.alert;
        match process.step {
            Step::Judge => self.judge(world, number),
            Step::Lock => self.lock(world, number, spoiled),
            Step::Decide {
                examined,
                spoiled,
                at,
            } => self.decide(world, number, &examined, spoiled, at),
            Step::GiveBack { at, then } => {
                storm::give_back(&mut world.host, at);
                let place = world
                    .host_runs
                    .iter()
                    .position(|start| start.age == process.reserved);
                place.map(|place| world.host_runs.remove(place));
                self.then(world, number, then);
            }
            Step::Tell { then } => {
                if world.spool_full {
                    match then {
                        Then::Start { run, at } => {
                            self.give_back(world, number, at, Then::CallOff { run });
                        }
                        _ => self.answer(world, number, Verdict::Error),
                    }
                    return;
                }
                let owed = self.put(world, alert);
                world.processes[number].step = Step::Strike { pages: owed, then };
            }
            Step::Strike { pages, then } => {
                let next = pages::struck(&world.alerts[alert].record, &pages);
                self.store(world, alert, next);
                match then {
                    Then::Answer => self.answered(world, number),
                    then => self.then(world, number, then),
                }
            }
            Step::Start { run, at } => self.start(world, number, run, at),
            Step::Settle(over) => self.settle(world, number, &over),
            Step::CallOff { run } => {
                let over = Over {
                    run,
                    ending: Ending::NotStarted,
                    survivor: false,
                    spoiled: false,
                };
                self.settle_record(world, alert, &over);
                self.answer(world, number, Verdict::Error);
            }
            Step::Wait { .. } => {}
        }
    }

    /// Goes on with what was put off for a reservation or a page.
    fn then(&self, world: &mut World, number: usize, then: Then) {
        let alert = world.processes[number].alert;
        let owes = !world.alerts[alert].record.owed.is_empty();
        let step = match then {
            Then::Answer if owes => Step::Tell { then },
            Then::Answer => return self.answered(world, number),
            Then::Start { run, at } => Step::Start { run, at },
            Then::CallOff { run } => Step::CallOff { run },
            Then::Settle(over) => Step::Settle(over),
        };
        world.processes[number].step = step;
    }

    /// With this verdict, once what is owed is told.
    fn conclude(&self, world: &mut World, number: usize, verdict: Verdict) {
        self.seen(seen::verdict(verdict));
        self.then(world, number, Then::Answer);
    }

    fn answer(&self, world: &mut World, number: usize, verdict: Verdict) {
        self.seen(seen::verdict(verdict));
        self.answered(world, number);
    }

    fn answered(&self, world: &mut World, number: usize) {
        world.processes.remove(number);
    }

    /// A reservation goes back, and then on; where the host has no limit there is none.
    fn give_back(&self, world: &mut World, number: usize, at: Time, then: Then) {
        if self.storm.is_none() {
            return self.then(world, number, then);
        }
        world.processes[number].step = Step::GiveBack { at, then };
    }

    fn judge(&self, world: &mut World, number: usize) {
        let Serving {
            alert, says, force, ..
        } = world.processes[number].clone();
        let posted = posted(says);
        let record = &world.alerts[alert].record;
        if says.resolved {
            let verdict = if *record == Record::default() {
                Verdict::Resolved
            } else {
                let (next, answer) = decision::resolve(record, &posted, &self.limits, NOW);
                if answer.notes.contains(&Note::Verified) {
                    self.seen(seen::VERIFIED);
                }
                let was_open = record
                    .episode
                    .as_ref()
                    .is_some_and(|e| e.closed_at.is_none());
                let closed = next.episode.as_ref().is_some_and(|e| e.closed_at.is_some());
                self.store(world, alert, next);
                if was_open && closed {
                    world.alerts[alert].rests = Some(0);
                }
                answer.verdict
            };
            return self.conclude(world, number, verdict);
        }
        if world.paused {
            let next = decision::hold(record, &posted, NOW);
            self.store(world, alert, next);
            return self.answer(world, number, Verdict::Paused);
        }
        let survivor = alive(world, alert);
        match decision::look(record, &posted, &self.limits, survivor, wanted(force), NOW) {
            (next, Look::Answer(answer)) => {
                let known = record.episode.as_ref().map(|episode| episode.starts_at);
                let anew = known.is_some_and(|starts| says.firing.starts > starts);
                self.store(world, alert, next);
                if anew {
                    world.alerts[alert].rests = None;
                }
                self.conclude(world, number, answer.verdict);
            }
            (_, Look::NeedsLock) => world.processes[number].step = Step::Lock,
        }
    }

    fn lock(&self, world: &mut World, number: usize, spoiled: Option<bool>) {
        let Serving { alert, says, .. } = world.processes[number].clone();
        if self.locked(world, alert) {
            let late = |handler: &Handler| {
                handler.lock && handler.age > TIMEOUT && is_orphan(world, alert, handler)
            };
            let Some(place) = world.alerts[alert].handlers.iter().position(late) else {
                return self.answer(world, number, Verdict::Busy);
            };
            self.seen(seen::ORPHAN);
            world.alerts[alert].handlers.remove(place);
        }
        let slots = world
            .processes
            .iter()
            .filter(|process| process.slot)
            .count();
        if slots >= self.slots {
            self.seen(seen::SLOTS);
            return self.answer(world, number, Verdict::Busy);
        }
        world.processes[number].lock = true;
        world.processes[number].slot = true;
        let record = world.alerts[alert].record.clone();
        if let Some(run) = &record.in_flight {
            if supervised(world, alert, &run.id) {
                return self.answer(world, number, Verdict::Busy);
            }
            // Behind a lock file that was removed.
            if let Some(place) = world.alerts[alert]
                .handlers
                .iter()
                .position(|handler| handler.run == run.id)
            {
                if world.alerts[alert].handlers[place].age <= TIMEOUT {
                    return self.answer(world, number, Verdict::Busy);
                }
                world.alerts[alert].handlers.remove(place);
            }
            if world.alerts[alert].survivor {
                let next = pages::stuck(&record, SURVIVOR, NOW);
                self.store(world, alert, next);
                return self.conclude(world, number, Verdict::Busy);
            }
            let restored = decision::still_firing(&record, &posted(says), NOW);
            if spoiled == Some(false) && restored {
                let next = pages::not_rolled_back(&record, NOW);
                self.store(world, alert, next);
                return self.conclude(world, number, Verdict::Error);
            }
        }
        if let Some(verdict) = self.reserve(world) {
            return self.answer(world, number, verdict);
        }
        let restored = decision::still_firing(&record, &posted(says), NOW);
        world.processes[number].reserved = 0;
        world.processes[number].step = Step::Decide {
            examined: record.in_flight.map(|run| run.id),
            spoiled: spoiled.is_some() && restored,
            at: NOW,
        };
    }

    /// One run of the host's window; or the answer where there is none.
    fn reserve(&self, world: &mut World) -> Option<Verdict> {
        let limit = self.storm?;
        let got = storm::reserve(&mut world.host, limit, NOW);
        let owed = std::mem::take(&mut world.host.owed);
        if world.spool_full && !owed.is_empty() {
            world.host.owed = owed;
            if matches!(got, Reservation::Granted { .. }) {
                storm::give_back(&mut world.host, NOW);
            }
            return Some(Verdict::Error);
        }
        for page in owed {
            world.host_told = match page.what {
                PageKind::Trigger(_) => true,
                PageKind::Resolve(_) if !world.host_told => {
                    world.broken = Some(ORDER);
                    false
                }
                PageKind::Resolve(_) => false,
            };
        }
        match got {
            Reservation::Storm { .. } => Some(Verdict::Storm),
            Reservation::Granted { .. } => {
                if world.host_runs.len() >= limit.runs as usize {
                    world.broken = Some(HOST);
                }
                world.host_runs.push(Start {
                    age: 0,
                    open: false,
                });
                None
            }
        }
    }

    fn decide(
        &self,
        world: &mut World,
        number: usize,
        examined: &Option<String>,
        spoiled: bool,
        at: Time,
    ) {
        let Serving {
            alert,
            says,
            force,
            reserved,
            ..
        } = world.processes[number].clone();
        let record = world.alerts[alert].record.clone();
        if record.in_flight.as_ref().map(|run| &run.id) != examined.as_ref() {
            self.seen(seen::verdict(Verdict::Busy));
            return self.give_back(world, number, at, Then::Answer);
        }
        let id = self.unused(world, alert);
        let proposal = Proposal {
            id: &id,
            timeout: Duration::ZERO,
            supervisor: Default::default(),
            interrupted: if spoiled {
                Rollback::Failed
            } else {
                Rollback::None
            },
            force: wanted(force),
        };
        let survivor = alive(world, alert);
        let (next, did) = decision::decide(
            &record,
            &posted(says),
            &self.limits,
            survivor,
            &proposal,
            at,
        );
        let interrupted = record.in_flight.is_some();
        self.store(world, alert, next);
        let watched = &mut world.alerts[alert];
        let known = record.episode.as_ref().map(|episode| episode.starts_at);
        if interrupted || known.is_none_or(|starts| says.firing.starts > starts) {
            watched.rests = None;
        }
        if interrupted {
            self.seen(seen::INTERRUPTED);
            watched
                .starts
                .iter_mut()
                .for_each(|start| start.open = false);
        }
        match did {
            Decision::Answer(answer) => {
                self.seen(seen::verdict(answer.verdict));
                self.give_back(world, number, at, Then::Answer);
            }
            Decision::Run { run, past, .. } => {
                let forced = past.is_some();
                if forced {
                    self.seen(seen::FORCED);
                    world.alerts[alert].rests = None;
                }
                if run.probe {
                    self.seen(seen::PROBE);
                }
                if !forced {
                    self.allowed(world, alert, reserved);
                }
                let watched = &mut world.alerts[alert];
                if watched.damaged.is_some() {
                    world.broken = Some(DAMAGED);
                }
                watched.starts.push(Start {
                    age: reserved,
                    open: true,
                });
                let start = Then::Start { run, at };
                if watched.record.owed.is_empty() {
                    self.then(world, number, start);
                } else {
                    world.processes[number].step = Step::Tell { then: start };
                }
            }
        }
    }

    /// Whether an onlooker would have allowed this run, by his own counts, at the moment for which it was asked.
    fn allowed(&self, world: &mut World, alert: usize, reserved: u8) {
        let watched = &world.alerts[alert];
        for limit in &self.limits.run_limits {
            let window = (limit.window.as_millis() as i64) / TICK;
            let within = watched
                .starts
                .iter()
                .filter(|start| i64::from(start.age) - i64::from(reserved) < window);
            if within.count() >= limit.runs as usize {
                world.broken = Some(OFTEN);
            }
        }
        if watched
            .shut
            .is_some_and(|(age, hold)| age.saturating_sub(reserved) < hold)
        {
            world.broken = Some(EARLY);
        }
        let settle = (self.limits.settle.as_millis() as i64) / TICK;
        if watched
            .rests
            .is_some_and(|age| i64::from(age.saturating_sub(reserved)) < settle)
        {
            world.broken = Some(EAGER);
        }
    }

    fn start(&self, world: &mut World, number: usize, run: Run, at: Time) {
        let Serving {
            alert, lock, lost, ..
        } = world.processes[number].clone();
        let watched = &mut world.alerts[alert];
        let known = watched.record.in_flight.as_ref().map(|known| &known.id);
        if known != Some(&run.id) && !lost {
            world.broken = Some(UNCOUNTED);
        }
        if !watched.handlers.is_empty() || watched.survivor {
            world.broken = Some(TWO);
        }
        watched.handlers.push(Handler {
            run: run.id.clone(),
            age: 0,
            lock,
        });
        let running = world
            .processes
            .iter()
            .filter(|process| matches!(process.step, Step::Wait { .. }));
        if running.count() >= self.slots {
            world.broken = Some(SLOTS);
        }
        world.processes[number].step = Step::Wait { run, at };
    }

    fn handler_ends(
        &self,
        world: &mut World,
        number: usize,
        ending: Ending,
        survivor: bool,
        spoiled: bool,
    ) {
        let Serving { alert, step, .. } = world.processes[number].clone();
        let Step::Wait { run, at } = step else { return };
        let watched = &mut world.alerts[alert];
        watched.handlers.retain(|handler| handler.run != run.id);
        watched.survivor |= survivor;
        let over = Over {
            run,
            ending,
            survivor,
            spoiled,
        };
        let process = &mut world.processes[number];
        process.rested = false;
        if ending == Ending::Exit(75) {
            self.give_back(world, number, at, Then::Settle(over));
        } else {
            process.step = Step::Settle(over);
        }
    }

    fn settle(&self, world: &mut World, number: usize, over: &Over) {
        let alert = world.processes[number].alert;
        let verdict = self.settle_record(world, alert, over);
        self.conclude(world, number, verdict);
    }

    fn settle_record(&self, world: &mut World, alert: usize, over: &Over) -> Verdict {
        let ended = Ended {
            survivors: over.survivor.then_some(SURVIVOR).into_iter().collect(),
            rollback: if over.spoiled {
                Rollback::Failed
            } else {
                Rollback::None
            },
            ..Ended::cleanly(over.ending)
        };
        let record = &world.alerts[alert].record;
        let fires = record
            .episode
            .as_ref()
            .is_some_and(|e| e.closed_at.is_none());
        let known = record
            .in_flight
            .as_ref()
            .is_some_and(|run| run.id == over.run.id);
        let (next, answer) = decision::settle(record, &over.run, &ended, &self.limits, NOW);
        self.store(world, alert, next);
        let Watched { rests, starts, .. } = &mut world.alerts[alert];
        match over.ending {
            Ending::Exit(75) | Ending::NotStarted => starts.retain(|start| !start.open),
            Ending::Exit(0) if fires && known => *rests = Some(0),
            _ => *rests = None,
        }
        starts.iter_mut().for_each(|start| start.open = false);
        answer.verdict
    }

    /// Owed pages into the spool, those that are there already apart.
    fn put(&self, world: &mut World, alert: usize) -> Vec<self_heal::judge::record::Page> {
        let watched = &mut world.alerts[alert];
        let owed = watched.record.owed.clone();
        for page in &owed {
            if watched.spool.contains(page) {
                continue;
            }
            watched.spool.push(*page);
            match page.what {
                PageKind::Trigger(reason) => {
                    self.seen(seen::reason(reason));
                    watched.told = true;
                }
                PageKind::Resolve(_) if !watched.told => world.broken = Some(ORDER),
                PageKind::Resolve(_) => watched.told = false,
            }
        }
        owed
    }

    /// Pages into the spool and struck, where nobody else is at it.
    fn hand_over(&self, world: &mut World, alert: usize) {
        if world.spool_full || self.spool_locked(world) {
            return;
        }
        let owed = self.put(world, alert);
        let next = pages::struck(&world.alerts[alert].record, &owed);
        self.store(world, alert, next);
    }

    /// The durable write; an onlooker notes when a breaker opens or closes.
    fn store(&self, world: &mut World, alert: usize, next: Record) {
        let watched = &mut world.alerts[alert];
        match &next.breaker {
            Some(breaker) if breaker.reason != Reason::RunLimits => {
                if watched
                    .record
                    .breaker
                    .as_ref()
                    .is_none_or(|old| (old.since, old.hold) != (breaker.since, breaker.hold))
                {
                    let age = (NOW.0 - breaker.since.0).max(0) / TICK;
                    let hold = breaker.hold.as_millis() as i64 / TICK;
                    watched.shut = Some((age.min(hold) as u8, hold as u8));
                }
            }
            _ => watched.shut = None,
        }
        watched.record = next;
    }

    /// What has to hold between any two steps.
    fn look_on(&self, world: &mut World) {
        for alert in &world.alerts {
            let record = &alert.record;
            let needed = match record.owed.last() {
                Some(page) => matches!(page.what, PageKind::Trigger(_)),
                None => alert.told,
            };
            let open = record.breaker_open()
                && record
                    .episode
                    .as_ref()
                    .is_some_and(|e| e.closed_at.is_none());
            if world.host_told != world.host.page && world.host.owed.is_empty() {
                world.broken = world.broken.or(Some(PAGES));
            }
            if needed != record.page.is_some() || (open && record.page.is_none()) {
                world.broken = world.broken.or(Some(PAGES));
            }
        }
    }

    fn handler<'w>(&self, world: &'w World, alert: usize, run: &Run) -> Option<&'w Handler> {
        world.alerts[alert]
            .handlers
            .iter()
            .find(|handler| handler.run == run.id)
    }

    fn locked(&self, world: &World, alert: usize) -> bool {
        let mut processes = world
            .processes
            .iter()
            .filter(|process| process.alert == alert);
        processes.any(|process| process.lock)
            || world.alerts[alert]
                .handlers
                .iter()
                .any(|handler| handler.lock)
    }

    fn spool_locked(&self, world: &World) -> bool {
        world
            .processes
            .iter()
            .any(|process| matches!(process.step, Step::Strike { .. }))
    }

    /// A run id that nobody remembers.
    fn unused(&self, world: &World, alert: usize) -> String {
        let watched = &world.alerts[alert];
        let known = |id: &str| {
            let in_process = |process: &Serving| {
                let examined = matches!(&process.step, Step::Decide { examined: Some(known), .. } if known == id);
                process.alert == alert
                    && (examined || process.run().is_some_and(|run| run.id == id))
            };
            let in_flight = watched.record.in_flight.as_ref();
            in_flight.is_some_and(|run| run.id == id)
                || watched.handlers.iter().any(|handler| handler.run == id)
                || world.processes.iter().any(in_process)
        };
        let mut ids = (0..).map(|number: u32| number.to_string());
        ids.find(|id| !known(id)).expect("an id")
    }
}

/// Whether a process is at work on this run.
fn supervised(world: &World, alert: usize, id: &str) -> bool {
    let own =
        |process: &Serving| process.alert == alert && process.run().is_some_and(|run| run.id == id);
    world.processes.iter().any(own)
}

fn is_orphan(world: &World, alert: usize, handler: &Handler) -> bool {
    !supervised(world, alert, &handler.run)
}

/// Now by the senders' clock, or a moment later.
fn begin(world: &World, later: bool) -> Time {
    Time(NOW.0 + i64::from(world.ahead) * TICK + i64::from(later))
}

fn wanted(force: bool) -> Force {
    if force {
        Force::PastBreakerAndDelays
    } else {
        Force::No
    }
}

fn alive(world: &World, alert: usize) -> Option<self_heal::judge::record::Process> {
    let watched = &world.alerts[alert];
    let mut known = watched.record.survivors.iter().copied();
    known.find(|_| watched.survivor)
}

fn posted(says: Sent) -> Alert {
    Alert {
        status: if says.resolved {
            Status::Resolved
        } else {
            Status::Firing
        },
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        starts_at: Some(says.firing.starts),
        ends_at: says.firing.ends,
        generator_url: String::new(),
        fingerprint: None,
    }
}
