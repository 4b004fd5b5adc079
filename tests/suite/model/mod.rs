//! The rules themselves under a model checker: `judge`'s functions are called as `heal` calls them, by processes that are
//! killed at every step, for senders that repeat, lag and lie in wait, with operators at work and a clock that is set back.
//! There are finitely many states, for runs of any length, but more than anybody has looked at; docs/proof.md says how far.
//!
//! stateright's own `eventually` overlooks circles, so what must come in the end is looked for in `calm`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self_heal::judge::record::{Host, Record};
use self_heal::judge::{Ending, Limits, RunLimit};
use stateright::{Checker, Model, Property};

use crate::fuzzed::Chance;

mod calm;
mod steps;
mod world;

use steps::Act;
use world::{Firing, NOW, Reach, TICK, Watched, World};

/// How far the clock is set back, in ticks.
const BACK: i64 = 2;

/// What is out of the ordinary, and happens only so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rare {
    Crash,
    ClockBack,
    Reset,
    Force,
    Pause,
    Damage,
    LockRemoved,
    SpoolFull,
    Survivor,
    Spoiled,
    NotStarted,
}

const EVERYTHING: [Rare; 11] = [
    Rare::Crash,
    Rare::ClockBack,
    Rare::Reset,
    Rare::Force,
    Rare::Pause,
    Rare::Damage,
    Rare::LockRemoved,
    Rare::SpoolFull,
    Rare::Survivor,
    Rare::Spoiled,
    Rare::NotStarted,
];

/// What was seen on the way: a model in which nothing happens proves nothing.
mod seen {
    use self_heal::judge::Verdict;
    use self_heal::judge::record::Reason;

    pub const VERIFIED: u32 = 32;
    pub const ORPHAN: u32 = 33;
    pub const INTERRUPTED: u32 = 34;
    pub const FORCED: u32 = 35;
    pub const PROBE: u32 = 36;
    pub const SLOTS: u32 = 37;

    pub fn verdict(verdict: Verdict) -> u32 {
        Verdict::ALL
            .iter()
            .position(|known| *known == verdict)
            .unwrap() as u32
    }

    pub fn reason(reason: Reason) -> u32 {
        40 + Reason::ALL
            .iter()
            .position(|known| *known == reason)
            .unwrap() as u32
    }
}

/// One configuration of the model.
#[derive(Clone)]
struct Machine {
    limits: Limits,
    storm: RunLimit,
    slots: usize,
    alerts: usize,
    /// Requests at once.
    senders: usize,
    mischief: u8,
    rare: Vec<Rare>,
    /// What a handler may do in a calm future.
    endings: Vec<Ending>,
    seen: Arc<AtomicU64>,
    told: calm::Known,
    longest: Arc<AtomicUsize>,
    circle: Arc<Mutex<Vec<String>>>,
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * TICK as u64)
}

impl Machine {
    fn new(senders: usize, mischief: u8, rare: &[Rare]) -> Machine {
        Machine {
            limits: Limits {
                max_attempts: 2,
                attempt_window: ticks(4),
                retry_delay: ticks(1),
                settle: ticks(2),
                run_limits: vec![RunLimit {
                    runs: 3,
                    window: ticks(6),
                }],
            },
            storm: RunLimit {
                runs: 9,
                window: ticks(1),
            },
            slots: 2,
            alerts: 1,
            senders,
            mischief,
            rare: rare.to_vec(),
            endings: vec![
                Ending::Exit(0),
                Ending::Exit(1),
                Ending::Exit(2),
                Ending::TimedOut,
            ],
            seen: Arc::default(),
            told: Arc::new(Mutex::new(HashMap::new())),
            longest: Arc::default(),
            circle: Arc::default(),
        }
    }

    fn reach(&self) -> Reach {
        let ticks = |span: Duration| (span.as_millis() as i64 + TICK - 1) / TICK;
        let windows = self
            .limits
            .run_limits
            .iter()
            .map(|limit| ticks(limit.window));
        Reach {
            attempts: ticks(self.limits.attempt_window),
            retry: ticks(self.limits.retry_delay),
            settle: ticks(self.limits.settle),
            runs: windows.max().unwrap_or(0),
            storm: ticks(self.storm.window),
            hold: 8,
        }
    }

    fn seen(&self, what: u32) {
        self.seen.fetch_or(1 << what, Ordering::Relaxed);
    }
}

impl Model for Machine {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let watched = Watched {
            record: Record::default(),
            latest: Firing {
                starts: NOW,
                ends: None,
            },
            before: None,
            handlers: Vec::new(),
            survivor: false,
            starts: Vec::new(),
            shut: None,
            told: false,
            spool: Vec::new(),
            damaged: None,
        };
        vec![World {
            alerts: vec![watched; self.alerts],
            host: Host::default(),
            host_runs: Vec::new(),
            host_told: false,
            processes: Vec::new(),
            paused: false,
            spool_full: false,
            mischief: self.mischief,
            set_back: u8::from(self.rare.contains(&Rare::ClockBack)),
            broken: None,
        }]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        self.acts(world, acts);
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        self.act(world, act)
    }

    fn properties(&self) -> Vec<Property<Machine>> {
        macro_rules! never {
            ($($what:ident)+) => {
                vec![
                    $(Property::always(steps::$what, |_, world: &World| world.broken != Some(steps::$what)),)+
                    Property::always("an alert that nobody is told of", Machine::is_told),
                    Property::always("an end that nobody is told of", Machine::is_told_of_the_end),
                ]
            };
        }
        never! { TWO OFTEN HOST EARLY UNCOUNTED DAMAGED ORDER PAGES SLOTS }
    }
}

/// Takes so many steps from the beginning on, the nearest states first. What must never be is named with the way there.
fn check(name: &str, machine: Machine, most: usize) {
    let known = machine.clone();
    let builder = machine.checker().threads(2).target_state_count(most);
    let checker = builder.spawn_bfs().join();
    println!(
        "{name}: {} states, {} steps, depth {}, {} calm futures of at most {} ticks",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        known.told.lock().unwrap().len(),
        known.longest.load(Ordering::Relaxed),
    );
    for (what, path) in checker.discoveries() {
        let last = format!("{:#?}", path.last_state());
        println!("{what}: {:#?}\n{last}", path.into_actions());
    }
    known.show_circle();
    let found: Vec<&str> = checker.discoveries().into_keys().collect();
    assert!(found.is_empty(), "{name}: {found:?}");
}

/// So many walks of so many steps, the same ones every time: they come further than the nearest states.
fn walk(name: &str, machine: Machine, walks: u64, steps: usize) {
    let properties = machine.properties();
    let mut acts = Vec::new();
    for seed in 0..walks {
        let mut chance = Chance::new(seed);
        let mut world = machine.init_states().remove(0);
        let mut way = Vec::new();
        for _ in 0..steps {
            machine.actions(&world, &mut acts);
            let act = acts[chance.below(acts.len())];
            acts.clear();
            let next = machine.act(&world, act).unwrap();
            // Else it would all be over before anything runs.
            if next.mischief < world.mischief && chance.below(20) > 0 {
                continue;
            }
            way.push(act);
            world = next;
            for property in &properties {
                let held = (property.condition)(&machine, &world);
                if !held {
                    machine.show_circle();
                }
                assert!(held, "{name}, {}: {way:#?}\n{world:#?}", property.name);
            }
        }
    }
    println!(
        "{name}: {walks} walks of {steps} steps, {} sorts of events, {} calm futures of at most {} ticks",
        machine.seen.load(Ordering::Relaxed).count_ones(),
        machine.told.lock().unwrap().len(),
        machine.longest.load(Ordering::Relaxed),
    );
}

impl Machine {
    fn show_circle(&self) {
        for line in self.circle.lock().unwrap().iter().rev() {
            println!("a circle: {line}");
        }
    }
}

/// One alert, two requests at once, and everything out of the ordinary that there is.
fn one_alert(mischief: u8) -> Machine {
    Machine::new(2, mischief, &EVERYTHING)
}

/// Two alerts for one slot, and a limit of the host's that they reach.
fn two_alerts(mischief: u8) -> Machine {
    Machine {
        alerts: 2,
        slots: 1,
        storm: RunLimit {
            runs: 2,
            window: ticks(2),
        },
        limits: Limits {
            run_limits: vec![RunLimit {
                runs: 2,
                window: ticks(2),
            }],
            attempt_window: ticks(2),
            settle: ticks(1),
            ..Machine::new(2, 0, &[]).limits
        },
        ..Machine::new(
            2,
            mischief,
            &[Rare::Crash, Rare::SpoolFull, Rare::NotStarted],
        )
    }
}

/// What one request at a time meets.
fn one_sender(mischief: u8) -> Machine {
    Machine::new(1, mischief, &EVERYTHING)
}

#[test]
fn no_rule_is_broken_in_the_states_next_to_the_beginning() {
    check("one alert", one_alert(2), 40_000);
    check("two alerts", two_alerts(1), 20_000);
    check("one sender", one_sender(2), 40_000);
}

#[test]
fn no_rule_is_broken_on_long_walks() {
    walk("one alert", one_alert(3), 400, 200);
}

/// How many steps the long runs take.
const MANY: usize = 5_000_000;

#[test]
#[ignore = "minutes, and gigabytes"]
fn one_sender_far_out() {
    check("one sender", one_sender(1), MANY);
}

#[test]
#[ignore = "minutes, and gigabytes"]
fn one_alert_far_out() {
    check("one alert", one_alert(1), MANY);
}

#[test]
#[ignore = "minutes, and gigabytes"]
fn two_alerts_far_out() {
    check("two alerts", two_alerts(1), MANY);
}
