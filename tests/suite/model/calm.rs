//! What must come in the end. Whatever happened before, nothing out of the ordinary happens from here on: the senders
//! repeat what they have to say once a tick, their requests are served to the end, and only the handlers do as they
//! like. Then whoever is needed is told, and whoever was told hears that it is over. Every such future is looked at, in
//! circles too: a circle without a word to anybody is what must not be.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use self_heal::judge::Ending;
use self_heal::judge::record::Reason;

use super::steps::Act;
use super::world::{Step, World};
use super::{Machine, Rare};

/// How many ticks it takes at most, by the state it begins with; `None` while it is looked at.
pub type Known = Arc<Mutex<HashMap<World, Option<u8>>>>;

impl Machine {
    /// Nobody is at work; a handler that lost its supervisor may be.
    fn is_quiet(&self, world: &World) -> bool {
        world.broken.is_none() && world.processes.is_empty()
    }

    /// Whether a person is told in the end of every alert that goes on firing, whatever the handlers do. One that lost its
    /// supervisor, and what may not be signalled, may live on.
    pub fn is_told(&self, world: &World) -> bool {
        if !self.is_quiet(world) || world.paused {
            return true;
        }
        let fires = |number: &usize| world.alerts[*number].latest.ends.is_none();
        let mut firing = (0..world.alerts.len()).filter(fires);
        firing.all(|number| {
            if told(world, number) {
                return true;
            }
            let calm = self.calm(world, number);
            let mut known = self.told.lock().unwrap();
            let longest = self.worst(&calm, &mut known);
            let longest = longest.map(usize::from);
            self.longest
                .fetch_max(longest.unwrap_or(0), Ordering::Relaxed);
            self.circle.lock().unwrap().1 |= longest.is_none();
            longest.is_some()
        })
    }

    /// Whether whoever was told of an alert that is over hears of its end.
    pub fn is_told_of_the_end(&self, world: &World) -> bool {
        if !self.is_quiet(world) {
            return true;
        }
        (0..world.alerts.len()).all(|number| {
            let alert = &world.alerts[number];
            alert.latest.ends.is_none()
                || !alert.told
                || self.looks_old(world, number)
                || self.hears_of_the_end(self.calm(world, number))
        })
    }

    fn hears_of_the_end(&self, calm: World) -> bool {
        let mut next = calm;
        for _ in 0..32 {
            next = self.serve(&next, send(marked(&next), true), None).0;
            next = self.act(&next, Act::Sweep(marked(&next))).unwrap();
            if !next.alerts[marked(&next)].told {
                return true;
            }
            next = self.act(&next, Act::Tick).unwrap();
        }
        false
    }

    /// Nothing tells its end from that of an earlier episode.
    fn looks_old(&self, world: &World, number: usize) -> bool {
        let alert = &world.alerts[number];
        let Some(episode) = &alert.record.episode else {
            return false;
        };
        let set_back = self.rare.iter().any(|rare| rare.is_clock());
        let earlier = alert.latest.starts < episode.starts_at
            && alert.latest.ends.is_some_and(|end| end < episode.starts_at);
        // What could not be put back after the end is somebody's work, until he resets it or the alert fires anew.
        let after_the_end =
            alert.record.page == Some(Reason::Rollback) && episode.closed_at.is_some();
        (set_back && earlier) || after_the_end
    }

    /// Nothing out of the ordinary any more; and what happens to this alert is what counts.
    fn calm(&self, world: &World, number: usize) -> World {
        let mut calm = world.clone();
        calm.mischief = 0;
        calm.set_back = 0;
        calm.spool_full = false;
        calm.paused = false;
        calm.alerts[number].marked = true;
        self.look_away(&mut calm);
        calm.settle_down(self.reach(), self.limits.max_attempts);
        calm
    }

    /// What an onlooker counts is looked at elsewhere.
    fn look_away(&self, world: &mut World) {
        for alert in &mut world.alerts {
            alert.before = None;
            alert.starts.clear();
            alert.shut = None;
            alert.rests = None;
            alert.damaged = None;
        }
        world.host_runs.clear();
    }

    fn worst(&self, world: &World, known: &mut HashMap<World, Option<u8>>) -> Option<u8> {
        if let Some(known) = known.get(world) {
            return *known;
        }
        known.insert(world.clone(), None);
        let mut worst = Some(0);
        for (how, next) in self.repeats(world) {
            let mut next = self.act(&next, Act::Tick).unwrap();
            self.look_away(&mut next);
            match self.worst(&next, known) {
                Some(longest) => worst = worst.map(|worst| worst.max(longest.saturating_add(1))),
                None => {
                    if worst.is_some() {
                        self.told_why(&next, &how);
                    }
                    worst = None;
                    break;
                }
            }
        }
        known.insert(world.clone(), worst);
        worst
    }

    /// All that can come of it that every alert that fires is repeated once, in either order; not what has come to a
    /// person's ears.
    fn repeats(&self, world: &World) -> Vec<(Vec<Ending>, World)> {
        let mut all = Vec::new();
        for first in [true, false] {
            if !first && world.alerts.len() == 1 {
                break;
            }
            let mut now = vec![(Vec::new(), world.clone())];
            for marked in [first, !first] {
                now = now
                    .into_iter()
                    .flat_map(|(how, world)| self.repeat(&how, world, marked))
                    .collect();
            }
            all.extend(now);
        }
        all
    }

    fn repeat(
        &self,
        how: &[Ending],
        world: World,
        of_the_marked: bool,
    ) -> Vec<(Vec<Ending>, World)> {
        let fires = |alert: &super::world::Watched| {
            alert.marked == of_the_marked && alert.latest.ends.is_none()
        };
        let Some(number) = world.alerts.iter().position(fires) else {
            return vec![(how.to_vec(), world)];
        };
        let mut all = Vec::new();
        for ending in &self.endings {
            let (mut next, ran) = self.serve(&world, send(number, false), Some(*ending));
            self.look_away(&mut next);
            if !told(&next, marked(&next)) {
                let mut how = how.to_vec();
                how.extend(ran.then_some(*ending));
                all.push((how, next));
            }
            if !ran {
                break;
            }
        }
        all
    }

    /// Keeps the beginning of a circle for whoever reads of it.
    fn told_why(&self, world: &World, how: &[Ending]) {
        let mut circle = self.circle.lock().unwrap();
        if !circle.1 {
            let record = &world.alerts[marked(world)].record;
            circle.0.push(format!("{how:?} -> {record:?}"));
        }
    }

    /// One request, to the end; its handler, should it run, ends so. And whether it ran.
    fn serve(&self, world: &World, send: Act, ending: Option<Ending>) -> (World, bool) {
        let mut next = self.act(world, send).unwrap();
        let mut ran = false;
        while let Some(process) = next.processes.first() {
            let act = match (&process.step, ending) {
                (Step::Wait { .. }, Some(ending)) => {
                    ran = true;
                    Act::HandlerEnds {
                        process: 0,
                        ending,
                        survivor: false,
                        spoiled: false,
                    }
                }
                _ => Act::Go(0),
            };
            next = self.act(&next, act).unwrap();
        }
        (next, ran)
    }
}

/// Whether a person has been told last that he is needed: for this alert, or because nothing runs on this host.
fn told(world: &World, number: usize) -> bool {
    world.alerts[number].told || world.host_told
}

fn marked(world: &World) -> usize {
    let marked = world.alerts.iter().position(|alert| alert.marked);
    marked.expect("the one that is looked at")
}

fn send(alert: usize, resolved: bool) -> Act {
    Act::Send {
        alert,
        before: false,
        resolved,
    }
}

impl Rare {
    pub fn is_clock(self) -> bool {
        matches!(
            self,
            Rare::ClockBack | Rare::OwnClockBack | Rare::SendersClockBack
        )
    }
}
