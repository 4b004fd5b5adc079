//! `self-heal drain`: what is in the spool is delivered, shown, tried again or discarded. For a timer, and for an
//! operator with a page that is stuck.

use std::cell::RefCell;

use super::{Bound, Courier, Round, Strike, deliver, escalators, settle, waiting};
use crate::judge::Time;
use crate::judge::delivery::{self, Action, Event, EventName, Mark, Place, Stage, Standing};
use crate::paging;
use crate::sys::log::Log;
use crate::sys::signals::{self, Signals};
use crate::sys::spool::{Listing, Spool};
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::{clock, escalator, handler, identity, inherited, settings};
use crate::wire::config::Config;
use crate::wire::timestamp::rfc3339;
use crate::wire::{duration, logline, spool as bytes};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Everything that is due is delivered.
    Deliver,
    /// One line an event.
    List,
    /// An event is tried again, as soon as the spool is drained next.
    Retry(String),
    /// An event is not delivered to whoever does not have it.
    Discard(String),
    /// An escalator that is gone is not waited for any more.
    Forget(String),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// For standard output.
    pub text: String,
    /// Whether nothing waits any more; for a single event, whether there is one.
    pub yes: bool,
}

/// Why nothing came of it, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Wrong usage or configuration.
    Misused(String),
    /// The machine failed.
    Broken(String),
}

/// What ties delivery to the records that owe pages.
pub struct Owed<'a> {
    /// Puts the pages into the spool that records owe.
    pub sweep: &'a mut dyn FnMut(&Config, &mut Log) -> Result<(), String>,
    /// Strikes a page.
    pub struck: &'a mut Strike<'a>,
}

/// Carries out an order. To be called first thing in the process, which then ends.
///
/// # Errors
/// As [`Trouble`] has it.
pub fn command(order: &Order) -> Result<Done, Trouble> {
    let broken = |error: &dyn std::fmt::Display| Trouble::Broken(error.to_string());
    let child_ignored = signals::child_ignored().unwrap_or(false);
    if child_ignored && *order == Order::Deliver {
        // The endings of escalators would be lost (wait(2), ECHILD): the same program again, with SIGCHLD as it should be.
        signals::start_over().map_err(|error| broken(&error))?;
        return Ok(left(&config()?));
    }
    inherited::close_inherited().map_err(|error| broken(&error))?;
    let mut signals = Signals::block().map_err(|error| broken(&error))?;
    handler::setup_process().map_err(|error| broken(&error))?;
    let by = identity::caller();
    let config = config()?;
    let mut log = Log::open(&config.log_dir, true, config.syslog);
    let store = RefCell::new(Store::open(&config.state_dir));
    let unusable = |error: &StateError| error.to_string();
    let owed = &mut Owed {
        sweep: &mut |config, log| match &mut *store.borrow_mut() {
            Ok(store) => match paging::sweep(config, store, log).as_slice() {
                [] => Ok(()),
                problems => Err(problems.join("; ")),
            },
            Err(error) => Err(unusable(error)),
        },
        struck: &mut |name, key| match &mut *store.borrow_mut() {
            Ok(store) => paging::strike(store, name, key),
            Err(error) => Err(unusable(error)),
        },
    };
    match order {
        Order::Deliver => everything(&config, &mut log, &mut signals, &clock::now, owed)
            .map(|()| left(&config))
            .map_err(Trouble::Broken),
        Order::List => list(&config, clock::now()).map_err(Trouble::Broken),
        Order::Retry(event) => {
            let change = |desk: &mut Desk<'_>, name: &EventName| desk.retry(name);
            on_one(&config, &mut log, event, by, owed, change)
        }
        Order::Discard(event) => {
            let change = |desk: &mut Desk<'_>, name: &EventName| desk.discard(name);
            on_one(&config, &mut log, event, by, owed, change)
        }
        Order::Forget(escalator) => forget(&config, &mut log, escalator, &by, owed.struck),
    }
}

/// The configuration, once this process is the account that the spool belongs to: root would leave files in it that
/// the healer cannot write.
fn config() -> Result<Config, Trouble> {
    let config =
        settings::load_for_operator().map_err(|found| Trouble::Misused(found.join("; ")))?;
    identity::become_owner_of(&config.state_dir).map_err(|why| {
        Trouble::Broken(format!(
            "HEAL_STATE_DIR {why}: the account that serves has to make it first (tmpfiles.d, StateDirectory=)"
        ))
    })?;
    if identity::is_root() && !config.allow_root {
        let why = "refuses to deliver as root: HEAL_STATE_DIR is root's, which is nobody's to serve; or set HEAL_ALLOW_ROOT=yes";
        return Err(Trouble::Misused(why.to_owned()));
    }
    Ok(config)
}

/// Sweeps what is owed into the spool, and delivers until nothing more is due.
///
/// # Errors
/// One sentence, when something could not be swept or delivered for a reason of this machine's.
pub fn everything(
    config: &Config,
    log: &mut Log,
    signals: &mut Signals,
    clock: &dyn Fn() -> Time,
    owed: &mut Owed<'_>,
) -> Result<(), String> {
    let swept = (owed.sweep)(config, log);
    // Again for as long as it gets on: what came while it was at it waits for nobody else.
    loop {
        let round: Round = deliver(config, log, signals, clock, &Bound::DRAIN, owed.struck)?;
        if round.delivered == 0 || signals.terminated() {
            return swept;
        }
    }
}

/// Whether anything waits, and how much.
fn left(config: &Config) -> Done {
    match waiting(config) {
        Ok(waiting) => {
            let (pending, failed, damaged) = (waiting.pending, waiting.failed, waiting.damaged);
            let yes = pending + failed + damaged == 0;
            let text = match yes {
                true => String::new(),
                false => format!("{pending} pending, {failed} failed, {damaged} damaged\n"),
            };
            Done { text, yes }
        }
        Err(why) => Done {
            text: format!("{why}\n"),
            yes: false,
        },
    }
}

fn list(config: &Config, now: Time) -> Result<Done, String> {
    let fail = |error: std::io::Error| format!("spool: {error}");
    let names = escalator::known(&config.escalate_dir, &config.state_dir)?.names();
    let spool = Spool::open(&config.state_dir).map_err(fail)?;
    let listing = spool.everything().map_err(fail)?;
    let mut text = String::new();
    for (index, event) in listing.events.iter().enumerate() {
        let json = spool.json(&event.name, event.place).map_err(fail)?;
        let of = |name| json.as_ref().and_then(|json| bytes::member(json, name));
        let age = now.since(event.name.at()).as_secs();
        let mut pairs = vec![
            ("action".to_owned(), event.name.action().as_str().to_owned()),
            ("state".to_owned(), event.place.as_str().to_owned()),
            ("incident".to_owned(), of("dedup_key").unwrap_or_default()),
            (
                "age".to_owned(),
                duration::show(std::time::Duration::from_secs(age)),
            ),
        ];
        let mut known: Vec<&String> = names.iter().chain(event.marks.keys()).collect();
        known.sort();
        known.dedup();
        for escalator in known {
            let standing = delivery::standings(&listing.events, escalator)
                .get(index)
                .copied();
            let shown = shown(event.mark(escalator), standing.unwrap_or(Standing::Final));
            pairs.push((escalator.clone(), shown));
        }
        pairs.push(("summary".to_owned(), of("summary").unwrap_or_default()));
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (&**k, &**v)).collect();
        text.push_str(&format!("{} {}\n", event.name, logline::pairs(&pairs)));
    }
    for (place, file) in &listing.damaged {
        let pairs = [("state", "damaged"), ("in", place.as_str()), ("file", file)];
        text.push_str(&format!("- {}\n", logline::pairs(&pairs)));
    }
    let yes = left(config).yes;
    Ok(Done { text, yes })
}

fn shown(mark: Mark, standing: Standing) -> String {
    match (mark.stage, standing) {
        (Stage::Delivered, _) => "delivered".to_owned(),
        (Stage::Failed, _) => "failed".to_owned(),
        (Stage::Discarded, _) => "discarded".to_owned(),
        (Stage::Open { .. }, Standing::Final) => "not-sent".to_owned(),
        (Stage::Open { .. }, Standing::Behind) => "behind".to_owned(),
        (Stage::Open { .. }, Standing::Next(_)) if mark.attempts == 0 => "untried".to_owned(),
        (Stage::Open { next }, Standing::Next(_)) => {
            format!("retry:{}@{}", mark.attempts, rfc3339(next))
        }
    }
}

/// The spool while no escalator is sent anything, for an operator's word on one event.
struct Desk<'a> {
    courier: Courier<'a>,
    events: Vec<Event>,
    by: String,
}

fn on_one(
    config: &Config,
    log: &mut Log,
    event: &str,
    by: String,
    owed: &mut Owed<'_>,
    change: impl FnOnce(&mut Desk<'_>, &EventName) -> Result<Change, String>,
) -> Result<Done, Trouble> {
    let name = EventName::parse(event).ok_or_else(|| {
        let why = "is no event: self-heal drain --list names them";
        Trouble::Misused(format!("{event:?} {why}"))
    })?;
    let found = escalators(config, log).map_err(Trouble::Broken)?;
    let spool = Spool::open(&config.state_dir);
    let spool = spool.map_err(|error| Trouble::Broken(format!("spool: {error}")))?;
    let mut courier = Courier::new(config, spool, log, &clock::now, found.names());
    let mut journals = Vec::new();
    for escalator in found.names() {
        match courier.take(&escalator) {
            Some(journal) => journals.push((escalator, journal)),
            None => {
                let why =
                    format!("{escalator} is being sent something right now: try again in a minute");
                return Err(Trouble::Broken(why));
            }
        }
    }
    courier.load().map_err(Trouble::Broken)?;
    for (escalator, journal) in &journals {
        if !courier.catch_up(escalator, journal) {
            let why = "the spool cannot be written: the line spool_failed in listener.log says why";
            return Err(Trouble::Broken(why.to_owned()));
        }
    }
    // As it is now, with nobody left who could change it.
    let events = courier.listing().map_err(Trouble::Broken)?.events;
    let mut desk = Desk {
        courier,
        events,
        by,
    };
    let done = desk.carry_out(&name, change, owed.struck);
    for (escalator, journal) in journals {
        desk.courier.release(&escalator, journal);
    }
    done
}

/// Does not wait for an escalator that is gone any more; what waited for nobody else goes where it belongs.
fn forget(
    config: &Config,
    log: &mut Log,
    escalator: &str,
    by: &str,
    struck: &mut Strike<'_>,
) -> Result<Done, Trouble> {
    let found = escalators(config, log).map_err(Trouble::Broken)?;
    let folder = config.escalate_dir.display();
    if !found.gone.iter().any(|name| name == escalator) {
        let here = found.names().iter().any(|name| name == escalator);
        let why = if here {
            format!("{escalator} is in {folder}: remove it there first\n")
        } else {
            let waits = match found.gone.as_slice() {
                [] => "it waits for none that was removed".to_owned(),
                gone => format!("it waits for {}", gone.join(", ")),
            };
            format!("the spool knows no escalator {escalator:?}; {waits}\n")
        };
        return Ok(Done {
            text: why,
            yes: false,
        });
    }
    let spool = Spool::open(&config.state_dir);
    let spool = spool.map_err(|error| Trouble::Broken(format!("spool: {error}")))?;
    let names = found.names().into_iter().filter(|name| name != escalator);
    let mut courier = Courier::new(config, spool, log, &clock::now, names.collect());
    let Some(journal) = courier.take(escalator) else {
        let why = format!("{escalator} is being sent something right now: try again in a minute");
        return Err(Trouble::Broken(why));
    };
    courier.load().map_err(Trouble::Broken)?;
    courier.catch_up(escalator, &journal);
    journal
        .forget()
        .map_err(|error| Trouble::Broken(format!("spool: {error}")))?;
    let values = [("escalator", escalator), ("by", by)];
    courier.log.warn("escalator_forgotten", &values);
    courier.settle(struck).map_err(Trouble::Broken)?;
    Ok(Done {
        text: format!("{escalator} is forgotten\n"),
        yes: true,
    })
}

/// What an operator's word comes to.
enum Change {
    /// There is no such event, or nothing to change of it.
    Nothing(&'static str),
    /// These marks, and then the event goes there, or out of the world.
    Marks(Vec<(String, Mark)>, Option<Place>),
}

impl<'a> Courier<'a> {
    fn listing(&mut self) -> Result<Listing, String> {
        self.spool
            .everything()
            .map_err(|error| super::spool_failed(self.log, &error))
    }
}

impl Desk<'_> {
    fn event(&self, name: &EventName) -> Option<&Event> {
        self.events.iter().find(|event| event.name == *name)
    }

    fn retry(&mut self, name: &EventName) -> Result<Change, String> {
        let changes = delivery::retry(&self.events, name)?;
        Ok(match self.event(name) {
            None => Change::Nothing("there is no such event"),
            Some(_) if changes.is_empty() => Change::Nothing("nobody is left to send it to"),
            Some(_) => Change::Marks(changes, Some(Place::Pending)),
        })
    }

    fn discard(&mut self, name: &EventName) -> Result<Change, String> {
        let Some(event) = self.event(name) else {
            return Ok(Change::Nothing("there is no such event"));
        };
        let had = event.marks.values().any(|m| m.stage == Stage::Delivered);
        let place = match (name.action(), event.place) {
            // Whoever has the trigger is to get its resolve.
            (Action::Trigger, Place::Pending | Place::Failed) if had => Some(Place::Told),
            (Action::Trigger, _) => None,
            // It goes as every resolve does that is final for everybody.
            (Action::Resolve, _) => Some(Place::Pending),
        };
        let changes = delivery::discard(event, &self.courier.names);
        Ok(Change::Marks(changes, place))
    }

    fn carry_out(
        &mut self,
        name: &EventName,
        change: impl FnOnce(&mut Self, &EventName) -> Result<Change, String>,
        struck: &mut Strike<'_>,
    ) -> Result<Done, Trouble> {
        let (marks, place) = match change(self, name).map_err(Trouble::Misused)? {
            Change::Marks(marks, place) => (marks, place),
            Change::Nothing(why) => {
                return Ok(Done {
                    text: format!("{name}: {why}\n"),
                    yes: false,
                });
            }
        };
        let from = self.event(name).map_or(Place::Pending, |event| event.place);
        let discarded = marks.iter().any(|(_, m)| m.stage == Stage::Discarded) || place.is_none();
        let log = &mut *self.courier.log;
        let done = (|| {
            let lock = self.courier.spool.lock()?;
            lock.mark(name, &marks, &|_| true)?;
            match place {
                Some(place) if place != from => lock.put_into(name, from, place),
                Some(_) => Ok(()),
                None => {
                    let ended = [name.clone()];
                    let now = (self.courier.clock)();
                    let spool = &self.courier.spool;
                    super::remove(spool, log, &lock, &self.events, &ended, now, struck)
                }
            }
        })();
        done.map_err(|error: std::io::Error| Trouble::Broken(super::spool_failed(log, &error)))?;
        let values = [("event", &*name.to_string()), ("by", &self.by)];
        let said = if discarded {
            log.warn("escalation_discarded", &values);
            "is discarded"
        } else {
            log.info("escalation_tried_again", &values);
            "is due: self-heal drain sends it"
        };
        let now = (self.courier.clock)();
        let courier = &mut self.courier;
        if discarded {
            settle(&courier.spool, courier.log, &courier.names, now, struck)
                .map_err(Trouble::Broken)?;
        }
        Ok(Done {
            text: format!("{name} {said}\n"),
            yes: true,
        })
    }
}
