//! What must come in the end. Whatever happened before, nothing out of the ordinary happens from here on: the sender repeats
//! what it has to say once a tick, its request is served to the end, and only the handler does as it likes. Then whoever
//! is needed is told, and whoever was told hears that it is over. Every such future is looked at, in circles too: a
//! circle without a word to anybody is what must not be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use self_heal::judge::Ending;

use super::steps::Act;
use super::world::{Step, World};
use super::{Machine, Rare};

/// How many ticks it takes at most, by the state it begins with; `None` while it is looked at.
pub type Known = Arc<Mutex<HashMap<World, Option<u8>>>>;

/// Every ending that is none of its supervisor's making.
const ALL: [Ending; 5] = [
    Ending::Exit(0),
    Ending::Exit(1),
    Ending::Exit(2),
    Ending::Exit(75),
    Ending::TimedOut,
];

impl Machine {
    /// Nobody is at work.
    pub fn is_quiet(&self, world: &World) -> bool {
        world.broken.is_none()
            && world.processes.is_empty()
            && world.alerts.iter().all(|alert| alert.handlers.is_empty())
    }

    /// Whether a person is told in the end of an alert that goes on firing, whatever its handler does.
    pub fn is_told(&self, world: &World) -> bool {
        let fires = world.alerts.iter().all(|alert| alert.latest.ends.is_none());
        if !self.is_quiet(world) || world.alerts.len() > 1 || !fires || world.paused {
            return true;
        }
        let mut known = self.told.lock().unwrap();
        let longest = self.worst(&self.calm(world), &mut known);
        if let Some(longest) = longest {
            self.longest
                .fetch_max(usize::from(longest), std::sync::atomic::Ordering::Relaxed);
        }
        longest.is_some()
    }

    /// Whether whoever was told hears of the end of an alert that is over.
    pub fn is_told_of_the_end(&self, world: &World) -> bool {
        // With the senders' clock set back, an end that lies before the start that is known is taken for an old one until
        // that clock has come there again: whoever was told stays told.
        let known = world.set_back > 0 || !self.rare.contains(&Rare::ClockBack);
        let over = known && world.alerts.iter().all(|alert| alert.latest.ends.is_some());
        if !self.is_quiet(world) || world.alerts.len() > 1 || !over {
            return true;
        }
        let mut next = self.calm(world);
        for _ in 0..32 {
            next = self.serve(
                &next,
                Act::Send {
                    alert: 0,
                    before: false,
                    resolved: true,
                },
                None,
            );
            next = self.act(&next, Act::Sweep(0)).unwrap();
            if !next.alerts[0].told && !next.host_told {
                return true;
            }
            // A storm's page ends with the next run, whoever it is for.
            if !next.alerts[0].told {
                return true;
            }
            next = self.act(&next, Act::Tick).unwrap();
        }
        false
    }

    fn calm(&self, world: &World) -> World {
        let mut calm = world.clone();
        calm.mischief = 0;
        calm.set_back = 0;
        calm.spool_full = false;
        calm.paused = false;
        for alert in &mut calm.alerts {
            alert.before = None;
            alert.survivor = false;
            // What an onlooker counts has been looked at before.
            alert.starts.clear();
            alert.shut = None;
            alert.damaged = None;
        }
        calm.host_runs.clear();
        calm.settle_down(self.reach(), self.limits.max_attempts);
        calm
    }

    fn worst(&self, world: &World, known: &mut HashMap<World, Option<u8>>) -> Option<u8> {
        if let Some(known) = known.get(world) {
            return *known;
        }
        known.insert(world.clone(), None);
        let mut worst = Some(0);
        for ending in ALL
            .into_iter()
            .filter(|ending| self.endings.contains(ending))
        {
            let send = Act::Send {
                alert: 0,
                before: false,
                resolved: false,
            };
            let mut next = self.serve(world, send, Some(ending));
            next.alerts[0].starts.clear();
            next.alerts[0].shut = None;
            next.host_runs.clear();
            if next.alerts[0].told {
                continue;
            }
            let next = self.act(&next, Act::Tick).unwrap();
            match self.worst(&next, known) {
                Some(longest) => worst = worst.map(|worst| worst.max(longest.saturating_add(1))),
                None => {
                    if worst.is_some() {
                        self.told_why(&next, ending);
                    }
                    worst = None;
                    break;
                }
            }
        }
        known.insert(world.clone(), worst);
        worst
    }

    /// Keeps the beginning of a circle for whoever reads of it.
    fn told_why(&self, world: &World, ending: Ending) {
        let mut circle = self.circle.lock().unwrap();
        if circle.len() < 40 {
            circle.push(format!("{ending:?} -> {:?}", world.alerts[0].record));
        }
    }

    /// One request, to the end; its handler, should it run, ends so.
    fn serve(&self, world: &World, send: Act, ending: Option<Ending>) -> World {
        let mut next = self.act(world, send).unwrap();
        while let Some(process) = next.processes.first() {
            let act = match (&process.step, ending) {
                (Step::Wait { .. }, Some(ending)) => Act::HandlerEnds {
                    process: 0,
                    ending,
                    survivor: false,
                    spoiled: false,
                },
                _ => Act::Go(0),
            };
            next = self.act(&next, act).unwrap();
        }
        next
    }
}
