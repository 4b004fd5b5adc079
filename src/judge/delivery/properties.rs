//! What holds for every sequence of events, answers, clock steps and killed deliverers.

use proptest::prelude::*;

use super::tests::event;
use super::*;

const ESCALATORS: [&str; 2] = ["mail", "pager"];

#[derive(Clone, Debug)]
enum Step {
    /// The incident opens or closes, whichever is next.
    Page(u8),
    /// The clock moves by so many seconds, back too.
    Clock(i64),
    /// One attempt of this escalator, answered so.
    Attempt(usize, Option<i32>),
    /// What is done with is put where it belongs.
    Dispose,
}

fn step() -> impl Strategy<Value = Step> {
    let code = prop_oneof![
        4 => Just(Some(0)),
        3 => Just(Some(1)),
        1 => Just(Some(100)),
        1 => Just(None),
    ];
    prop_oneof![
        3 => (0u8..3).prop_map(Step::Page),
        2 => prop_oneof![1i64..40, 600i64..8000, -9000i64..0].prop_map(Step::Clock),
        6 => (0usize..2, code).prop_map(|(who, code)| Step::Attempt(who, code)),
        2 => Just(Step::Dispose),
    ]
}

/// The spool, and what was seen of it from outside.
#[derive(Default)]
struct World {
    events: Vec<Event>,
    now: Time,
    /// Events come later one by one, whatever the clock does: whoever writes them sees to that.
    last: i64,
    triggered: BTreeSet<u8>,
    /// What each escalator has taken, in this order.
    taken: BTreeMap<usize, Vec<EventName>>,
}

impl World {
    fn escalators(&self) -> Vec<String> {
        ESCALATORS.map(str::to_owned).to_vec()
    }

    fn page(&mut self, incident: u8) {
        let letter = if self.triggered.remove(&incident) {
            'r'
        } else {
            self.triggered.insert(incident);
            't'
        };
        self.last += 1;
        self.events.push(event(self.last, letter, incident));
    }

    fn attempt(&mut self, who: usize, code: Option<i32>) {
        let escalator = ESCALATORS[who];
        let planned = next(&self.events, escalator, self.now);
        self.nothing_is_held_up(escalator, &planned);
        let Next::Send(name) = planned else { return };
        let event = self
            .events
            .iter_mut()
            .find(|event| event.name == name)
            .unwrap();
        let mark = event.mark(escalator);
        assert!(!mark.is_final(), "{name} again");
        let wait = backoff(mark.attempts + 1, 7);
        let mark = mark.after(mark.attempts + 1, code, self.now, wait);
        event.marks.insert(escalator.to_owned(), mark);
        if code == Some(0) {
            self.taken.entry(who).or_default().push(name);
        }
    }

    /// Who is not sent anything has nothing that is due and first of its incident.
    fn nothing_is_held_up(&self, escalator: &str, planned: &Next) {
        let mut waiting = BTreeSet::new();
        for (event, standing) in self.events.iter().zip(standings(&self.events, escalator)) {
            let incident = event.name.incident();
            match standing {
                Standing::Next(next) => {
                    assert!(waiting.insert(incident), "two of one incident");
                    let due = is_due(next, self.now);
                    assert!(!due || matches!(planned, Next::Send(name) if *name <= event.name));
                }
                Standing::Behind => assert!(waiting.contains(incident), "behind nobody"),
                Standing::Final => {
                    assert!(!waiting.contains(incident), "overtaken");
                    let trigger = event.name.action() == Action::Trigger;
                    let pending = event.place == Place::Pending;
                    assert!(!trigger || !pending || event.mark(escalator).is_final());
                }
            }
        }
    }

    fn dispose(&mut self) {
        for disposal in dispose(&self.events, &self.escalators()) {
            let move_to = |events: &mut Vec<Event>, name: &EventName, place| {
                let event = events.iter_mut().find(|event| event.name == *name).unwrap();
                assert_eq!(event.place, Place::Pending);
                for escalator in ESCALATORS {
                    let final_without = name.action() == Action::Resolve;
                    assert!(event.mark(escalator).is_final() || final_without);
                }
                event.place = place;
            };
            match disposal {
                Disposal::Told { name, .. } => {
                    assert_eq!(name.action(), Action::Trigger);
                    move_to(&mut self.events, &name, Place::Told);
                }
                Disposal::Failed(name) => move_to(&mut self.events, &name, Place::Failed),
                Disposal::Removed(names) => {
                    for name in names {
                        let place = self.events.iter().position(|event| event.name == name);
                        let event = self.events.remove(place.unwrap());
                        assert_ne!(event.place, Place::Failed);
                    }
                }
            }
        }
    }

    /// Each escalator, incident by incident: a trigger before each resolve, in order, nothing twice.
    fn check(&self) {
        for taken in self.taken.values() {
            let mut last: BTreeMap<&str, &EventName> = BTreeMap::new();
            for name in taken {
                let before = last.insert(name.incident(), name);
                assert!(
                    before.is_none_or(|before| before < name),
                    "{before:?} {name}"
                );
                if name.action() == Action::Resolve {
                    let before = before.map(EventName::action);
                    assert_eq!(before, Some(Action::Trigger), "{name}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn every_event_arrives_in_order_and_once(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::default();
        for step in steps {
            match step {
                Step::Page(incident) => world.page(incident),
                Step::Clock(seconds) => world.now = Time(world.now.0 + seconds * 1000),
                Step::Attempt(who, code) => world.attempt(who, code),
                Step::Dispose => world.dispose(),
            }
            world.check();
        }
        // Everybody takes everything from now on: nothing is left over but what was refused, and what it keeps.
        for _ in 0..200 {
            world.now = world.now.plus(FARTHEST);
            world.attempt(0, Some(0));
            world.attempt(1, Some(0));
        }
        world.dispose();
        world.check();
        for event in &world.events {
            let kept = world.events.iter().any(|other| {
                other.place == Place::Failed && other.name.incident() == event.name.incident()
                    && other.name < event.name
            });
            let rests = event.place != Place::Pending;
            prop_assert!(rests || kept, "{:?}", event);
        }
    }

    #[test]
    fn a_wait_is_bounded(attempt in any::<u32>(), chance in any::<u16>()) {
        let wait = backoff(attempt, chance);
        prop_assert!(wait >= Duration::from_secs(12) && wait <= FARTHEST);
        let now = Time(0);
        prop_assert!(!is_due(now.plus(wait), now));
        prop_assert!(is_due(now.plus(wait), now.plus(wait)));
    }
}
