//! The rules themselves under a model checker: `judge`'s functions are called as `heal` calls them, by processes that are
//! killed at every step, for senders that repeat, lag and lie in wait, with operators at work and a clock that is set back.
//! There are finitely many states, for runs of any length, but more than anybody has looked at; docs/proof.md says how far.
//!
//! stateright's own `eventually` overlooks circles, so what must come in the end is looked for in `calm`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self_heal::judge::record::{Host, Record};
use self_heal::judge::{Ending, Limits, RunLimit};
use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::docs::page;
use crate::fuzzed::Chance;

mod alike;
mod calm;
mod configurations;
mod steps;
mod world;

use alike::Reach;
use steps::Act;
use world::{Firing, NOW, TICK, Watched, World};

/// How far a clock is set back, in ticks.
const BACK: i64 = 1;

/// What is out of the ordinary, and happens only so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rare {
    Crash,
    /// The one clock of host and senders.
    ClockBack,
    OwnClockBack,
    SendersClockBack,
    Reset,
    Force,
    Pause,
    Damage,
    HostDamage,
    LockRemoved,
    SpoolFull,
    Survivor,
    Lost,
    Spoiled,
    NotStarted,
}

/// Whether alerts end and begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaps {
    Never,
    /// With the tick, which is also when handlers end.
    OnTheTick,
    AnyTime,
}

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
    storm: Option<RunLimit>,
    slots: usize,
    alerts: usize,
    /// Requests at once.
    senders: usize,
    /// How many ticks may pass while a process is between two steps.
    late: u8,
    flaps: Flaps,
    /// How a handler ends if nothing is out of the ordinary.
    endings: Vec<Ending>,
    mischief: u8,
    rare: Vec<Rare>,
    seen: Arc<AtomicU64>,
    told: calm::Known,
    longest: Arc<AtomicUsize>,
    /// The first way round without a word to anybody, and whether it is whole.
    circle: Arc<Mutex<(Vec<String>, bool)>>,
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * TICK as u64)
}

impl Machine {
    /// One alert, one request at a time, nothing out of the ordinary.
    fn new() -> Machine {
        Machine {
            limits: Limits {
                max_attempts: 2,
                attempt_window: ticks(2),
                retry_delay: ticks(1),
                settle: ticks(1),
                run_limits: vec![RunLimit {
                    runs: 2,
                    window: ticks(3),
                }],
            },
            storm: None,
            slots: 2,
            alerts: 1,
            senders: 1,
            late: 1,
            flaps: Flaps::AnyTime,
            endings: vec![
                Ending::Exit(0),
                Ending::Exit(1),
                Ending::Exit(2),
                Ending::Exit(75),
                Ending::TimedOut,
            ],
            mischief: 0,
            rare: Vec::new(),
            seen: Arc::default(),
            told: Arc::default(),
            longest: Arc::default(),
            circle: Arc::default(),
        }
    }

    /// So often one of these.
    fn with(self, mischief: u8, rare: &[Rare]) -> Machine {
        Machine {
            mischief,
            rare: rare.to_vec(),
            ..self
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
            storm: self.storm.map(|storm| ticks(storm.window)),
        }
    }

    fn seen(&self, what: u32) {
        self.seen.fetch_or(1 << what, Ordering::Relaxed);
    }

    fn has_seen(&self, what: u32) -> bool {
        self.seen.load(Ordering::Relaxed) & (1 << what) != 0
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
            rests: None,
            told: false,
            spool: Vec::new(),
            damaged: None,
            marked: false,
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
            set_back: u8::from(self.rare.iter().any(|rare| rare.is_clock())),
            ahead: 0,
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
        never! { TWO OFTEN HOST EARLY EAGER UNCOUNTED DAMAGED ORDER PAGES SLOTS }
    }
}

/// Takes every step there is, to the end. What must never be is named with the way there; what has to happen on it has
/// to have happened.
fn check(name: &str, machine: Machine, happens: &[u32]) {
    let known = machine.clone();
    let checker = machine
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::Any)
        .spawn_bfs()
        .join();
    println!(
        "{name}: to the end, {} states, {} steps, depth {}, {} sorts of events, {} calm futures of at most {} ticks",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        known.seen.load(Ordering::Relaxed).count_ones(),
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
    assert!(checker.is_done(), "{name}: not to the end");
    let row = format!(
        "| {name} | {} | {} | {} | {} |",
        grouped(checker.unique_state_count()),
        grouped(checker.state_count()),
        grouped(known.told.lock().unwrap().len()),
        known.longest.load(Ordering::Relaxed),
    );
    assert!(
        page("proof.md").contains(&row),
        "docs/proof.md lacks: {row}"
    );
    for what in happens {
        assert!(known.has_seen(*what), "{name}: {what} never happens");
    }
}

/// With a comma at each thousand.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let tail = tail
        .as_bytes()
        .chunks(3)
        .map(|three| str::from_utf8(three).unwrap());
    let head = (first > 0).then_some(head);
    head.into_iter().chain(tail).collect::<Vec<_>>().join(",")
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
        for line in self.circle.lock().unwrap().0.iter().rev() {
            println!("a circle: {line}");
        }
    }
}
