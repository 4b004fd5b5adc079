//! What an operator asks for: healing paused and resumed, an alert's record reset, here; in modules of their own a
//! handler run by hand, and what would come of an alert. Pausing, resuming and resetting wait for no handler's lock,
//! and need no free block on the disk. As root it is done by the account that owns `HEAL_STATE_DIR`.

pub mod metrics;

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::judge::alert::cut;
use crate::judge::pauses::{Pause, Pauses, Scope};
use crate::judge::reset::reset as without_counts;
use crate::judge::{AlertName, Record, Time};
use crate::paging::{self, About};
use crate::sys::history::History;
use crate::sys::log::Log;
use crate::sys::process::ProcessId;
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::{clock, files, identity, settings};
use crate::wire::chronicle::OPERATOR;
use crate::wire::config::Config;
use crate::wire::history::Event;
use crate::wire::quote::printable;
use crate::wire::timestamp::rfc3339;
use crate::wire::{duration, pauses};

pub mod explain;
pub mod history;
pub mod run;
pub mod snapshots;
pub mod status;
pub mod subject;

/// The shortest and the longest pause.
const SPANS: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 60 * 60);

/// How long a pause lasts if nobody says.
const DEFAULT_SPAN: &str = "1h";

/// The most other instances, or keys, that are named where an alert has no record.
const NAMED: usize = 10;

/// Why it was not done.
#[derive(Debug)]
pub enum Refused {
    /// Wrong usage or configuration, in a sentence.
    Misused(String),
    /// The machine failed, or this account may not; in a sentence.
    Failed(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Misused(why) | Refused::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Refused {}

/// What came of it.
#[derive(Debug, Default)]
pub struct Said {
    /// For standard output: whole lines, fit for a terminal.
    pub text: String,
    /// Whether there was something to do.
    pub done: bool,
    /// What went wrong beside it, one sentence each, for standard error.
    pub warnings: Vec<String>,
}

impl Said {
    fn line(&mut self, line: &str) {
        self.text.push_str(&printable(line));
        self.text.push('\n');
    }
}

/// The records that a reset is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Every record of this alert on this instance.
    Alert {
        /// Its alertname.
        alertname: String,
        /// Its instance, whole.
        instance: String,
    },
    /// The record of this key.
    Key(String),
}

/// Pauses healing: for everything, for an alert, for an instance, for both, until `span` (by default an hour) has
/// passed.
///
/// # Errors
/// No reason, a span that is none or not between a minute and 30 days, a scope that is none; no room; the pause
/// could not be made durable.
pub fn pause(
    span: Option<&str>,
    alertname: Option<&str>,
    instance: Option<&str>,
    reason: &str,
) -> Result<Said, Refused> {
    let span = span_of(span.unwrap_or(DEFAULT_SPAN))?;
    let scope = scope(alertname, instance)?;
    if reason.trim().is_empty() {
        let why = "--reason is empty: say why, for whoever finds it";
        return Err(Refused::Misused(why.to_owned()));
    }
    let mut desk = Desk::open()?;
    let now = clock::now();
    let asked = Pause::new(scope.clone(), now, span, &desk.who, reason);
    let mut full = false;
    let mut replaced = None;
    let stored = desk.update_pauses(now, &mut |pauses| {
        let same = pauses.current(now).find(|pause| pause.scope == asked.scope);
        replaced = same.cloned();
        let next = pauses.add(asked.clone(), now);
        full = next.is_err();
        next.unwrap_or_else(|_| pauses.clone())
    })?;
    if full {
        let why = format!(
            "there is no room for another pause beside these {}: pause more at once, or resume one",
            stored.current(now).count()
        );
        return Err(Refused::Failed(why));
    }
    let values = asked_for(&asked);
    desk.log.warn("paused", &named(&values));
    let mut said = Said {
        done: true,
        ..Said::default()
    };
    said.line(&format!("paused: {}", pauses::words(&asked)));
    if let Some(before) = replaced {
        said.line(&format!("instead of: {}", pauses::words(&before)));
    }
    match desk.store.list() {
        Ok(records) => {
            for (_, record) in records {
                let covered = scope.covers(&record.alertname, &record.instance);
                if let Some(run) = record.in_flight.as_ref().filter(|_| covered) {
                    let since = rfc3339(run.started);
                    said.line(&format!(
                        "not stopped: {}, running since {since}",
                        title(&record)
                    ));
                }
            }
        }
        Err(error) => said.warnings.push(error.to_string()),
    }
    Ok(desk.close(said))
}

/// Lifts pauses: every one, or those of an alert, of an instance, of both.
///
/// # Errors
/// A scope that is none; the pauses could not be read or changed.
pub fn resume(alertname: Option<&str>, instance: Option<&str>) -> Result<Said, Refused> {
    let scope = scope(alertname, instance)?;
    let mut desk = Desk::open()?;
    let now = clock::now();
    let mut lifted = Vec::new();
    let left = desk.update_pauses(now, &mut |pauses| {
        let (next, taken) = pauses.lift(&scope, now);
        lifted = taken;
        next
    })?;
    let mut said = Said {
        done: !lifted.is_empty(),
        ..Said::default()
    };
    for pause in &lifted {
        let mut values = asked_for(pause);
        values.push(("resumed_by", desk.who.clone()));
        desk.log.warn("resumed", &named(&values));
        said.line(&format!("resumed: {}", pauses::words(pause)));
    }
    if lifted.is_empty() {
        said.line(&format!("not paused: {scope}"));
    }
    for pause in left.current(now).filter(|pause| scope.meets(&pause.scope)) {
        said.line(&format!("still paused: {}", pauses::words(pause)));
    }
    desk.release(&scope, &left, now, &mut said);
    Ok(desk.close(said))
}

/// Forgets what counts against an alert: see [`without_counts`].
///
/// # Errors
/// A key that is none; records that cannot be read or changed.
pub fn reset(which: &Which) -> Result<Said, Refused> {
    if let Which::Key(key) = which
        && (key.len() != 64 || !key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    {
        let why = "a key is 64 hexadecimal digits, the name of a file in HEAL_STATE_DIR/records";
        return Err(Refused::Misused(why.to_owned()));
    }
    let mut desk = Desk::open()?;
    let now = clock::now();
    let all = desk
        .store
        .list_all()
        .map_err(|error| refused(&desk.config, &error))?;
    let mut said = Said::default();
    for (key, found) in &all {
        let meant = match which {
            Which::Key(wanted) => key == wanted,
            Which::Alert {
                alertname,
                instance,
            } => found.as_ref().is_some_and(|record| {
                record.alertname == *alertname && record.instance == cut(instance, Record::TEXT)
            }),
        };
        if meant {
            desk.reset(key, found.as_ref(), now, &mut said)?;
            said.done = true;
        }
    }
    if !said.done {
        not_found(which, &all, &mut said);
    }
    Ok(desk.close(said))
}

/// What every command needs: who asks, the configuration, the store and the log.
struct Desk {
    who: String,
    config: Config,
    store: Store,
    log: Log,
}

impl Desk {
    fn open() -> Result<Desk, Refused> {
        let who = identity::caller();
        let config =
            settings::load_for_operator().map_err(|found| Refused::Misused(found.join("; ")))?;
        identity::become_owner_of(&config.state_dir).map_err(|why| {
            Refused::Failed(format!(
                "HEAL_STATE_DIR {why}: the account that serves has to make it first (tmpfiles.d, StateDirectory=)"
            ))
        })?;
        let store = Store::open(&config.state_dir).map_err(|error| refused(&config, &error))?;
        let log = Log::open(&config.log_dir, false, config.syslog);
        Ok(Desk {
            who,
            config,
            store,
            log,
        })
    }

    fn update_pauses(
        &mut self,
        now: Time,
        change: &mut dyn FnMut(&Pauses) -> Pauses,
    ) -> Result<Pauses, Refused> {
        let changed = self.store.update_pauses(now, change);
        changed.map_err(|error| refused(&self.config, &error))
    }

    /// Tells what was held back in this scope and is not any more, and takes it off the records.
    fn release(&mut self, scope: &Scope, left: &Pauses, now: Time, said: &mut Said) {
        let free = |record: &Record| {
            let (name, instance) = (record.alertname.as_str(), record.instance.as_str());
            record.held_since.is_some()
                && scope.covers(name, instance)
                && left.in_effect(name, instance, now).is_none()
        };
        let mut held = match self.store.list() {
            Ok(records) => records,
            Err(error) => return said.warnings.push(error.to_string()),
        };
        held.retain(|(_, record)| free(record));
        held.sort_by_key(|(_, record)| record.held_since);
        if held.is_empty() {
            return;
        }
        said.line("held back, and not heard of as resolved since:");
        for (key, record) in &held {
            let since = rfc3339(record.held_since.unwrap_or(now));
            said.line(&format!("  {} since {since}", title(record)));
            let off = self.store.update(key, now, &mut |record| Record {
                held_since: None,
                ..record.clone()
            });
            if let Err(error) = off {
                said.warnings.push(error.to_string());
            }
        }
        said.line("The sender's next repeat (repeat_interval) brings them back.");
    }

    fn reset(
        &mut self,
        key: &str,
        before: Option<&Record>,
        now: Time,
        said: &mut Said,
    ) -> Result<(), Refused> {
        let unknown = before.is_none();
        let mut forgotten = Vec::new();
        let after = self.store.update(key, now, &mut |record| {
            let next = without_counts(record, now);
            forgotten = differences(record, &next);
            next
        });
        let after = after.map_err(|error| refused(&self.config, &error))?;
        if unknown {
            forgotten.push("what the damaged record held".to_owned());
        }
        if !after.owed.is_empty() {
            let (config, store, log) = (&self.config, &mut self.store, &mut self.log);
            // What cannot be spooled now is owed, and told by whoever comes next.
            let told = paging::hand_over(config, store, log, key, &About::default());
            said.warnings.extend(told.err());
        }
        let forgotten = match forgotten.as_slice() {
            [] => "nothing was held against it".to_owned(),
            all => all.join(", "),
        };
        let values = [
            ("who", self.who.as_str()),
            ("alertname", &after.alertname),
            ("instance", &after.instance),
            ("key", key),
            ("forgotten", &forgotten),
        ];
        self.log.warn("reset", &values);
        let line = Event::Reset {
            alertname: &after.alertname,
            instance: &after.instance,
            key,
            peer: &format!("{OPERATOR}{}", self.who),
            forgotten: &forgotten,
        };
        if let Err(error) = History::new(&self.config.state_dir).append(&line) {
            said.warnings
                .push(format!("the history has no line of it: {error}"));
        }
        said.line(&format!("reset: {}: {forgotten}", title_or(&after, key)));
        if let Some(run) = &after.in_flight {
            let since = rfc3339(run.started);
            said.line(&if ProcessId::from(run.supervisor).alive() {
                format!("  a run since {since} goes on, and will count")
            } else {
                format!("  a run since {since} lost its supervisor, and will count as interrupted")
            });
        }
        if !after.survivors.is_empty() {
            said.line("  processes of a run past its timeout may live on: busy while they do");
        }
        Ok(())
    }

    /// The last words: what was damaged, and what could not be logged.
    fn close(mut self, mut said: Said) -> Said {
        for path in std::mem::take(&mut self.store.kept_aside) {
            let kept = path.display().to_string();
            let values = [("kept", kept.as_str()), ("who", &self.who)];
            self.log.error("record_damaged", &values);
            said.warnings
                .push(format!("it was damaged, and is kept as {kept}"));
        }
        said.warnings.append(&mut self.log.failures);
        said
    }
}

/// The configuration, for a command that only reads: as root it reads as the account that owns `HEAL_STATE_DIR`, which may
/// have put links there.
fn to_read() -> Result<Config, Refused> {
    let config =
        settings::load_for_operator().map_err(|found| Refused::Misused(found.join("; ")))?;
    if files::is_there(&config.state_dir) {
        identity::become_owner_of(&config.state_dir).map_err(Refused::Failed)?;
    }
    Ok(config)
}

/// Why the store cannot be used, and who could use it.
fn refused(config: &Config, error: &StateError) -> Refused {
    let folder = &config.state_dir;
    let hint = match identity::other_owner_of(folder) {
        Some(owner) if !identity::is_root() => {
            format!(" (use sudo, or the account {owner}, whose folder it is)")
        }
        None if error.source.kind() == io::ErrorKind::PermissionDenied => {
            " (use sudo, or the account that serves)".to_owned()
        }
        _ => String::new(),
    };
    Refused::Failed(format!("{error}{hint}"))
}

fn span_of(text: &str) -> Result<Duration, Refused> {
    let span = duration::parse(text).map_err(|why| Refused::Misused(format!("--for: {why}")))?;
    if !SPANS.contains(&span) {
        let why = format!(
            "--for: {} is not between {} and {}: a pause always ends",
            duration::show(span),
            duration::show(*SPANS.start()),
            duration::show(*SPANS.end())
        );
        return Err(Refused::Misused(why));
    }
    Ok(span)
}

fn scope(alertname: Option<&str>, instance: Option<&str>) -> Result<Scope, Refused> {
    let alertname = match alertname {
        None => None,
        Some(name) => Some(AlertName::new(name).ok_or_else(|| {
            Refused::Misused(format!(
                "--alert: {name:?} is no alertname that a handler could have ([A-Za-z0-9_][A-Za-z0-9_.-]*, at most 128)"
            ))
        })?),
    };
    Scope::new(alertname, instance.map(str::to_owned)).map_err(|why| {
        let instance = instance.unwrap_or("");
        Refused::Misused(format!("--instance: {instance:?}: {why}"))
    })
}

/// A pause as values of a log line.
fn asked_for(pause: &Pause) -> Vec<(&'static str, String)> {
    let name = pause.scope.alertname.as_ref();
    vec![
        ("who", pause.who.clone()),
        ("why", pause.why.clone()),
        ("until", rfc3339(pause.until)),
        ("alertname", name.map_or("*", AlertName::as_str).to_owned()),
        (
            "instance",
            pause.scope.instance.as_deref().unwrap_or("*").to_owned(),
        ),
    ]
}

fn named<'a>(values: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    let pair = |(name, value): &'a (&'static str, String)| (*name, value.as_str());
    values.iter().map(pair).collect()
}

/// What a record is about.
fn title(record: &Record) -> String {
    format!("{} on {}", record.alertname, record.instance)
}

fn title_or(record: &Record, key: &str) -> String {
    if record.alertname.is_empty() {
        key.to_owned()
    } else {
        title(record)
    }
}

/// What a reset took away, in words.
fn differences(before: &Record, after: &Record) -> Vec<String> {
    let many = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    let breaker = before.breaker.as_ref().map(|b| b.reason.as_str());
    let page = before.page.filter(|_| after.page.is_none());
    [
        breaker.map(|reason| format!("breaker closed ({reason})")),
        many(before.failures.len(), "failure"),
        many(before.ineffective as usize, "ineffective heal"),
        many(
            before.runs.len().saturating_sub(after.runs.len()),
            "counted run",
        ),
        before
            .retry_from
            .or(before.deferring_since)
            .map(|_| "the retry delay".to_owned()),
        before
            .unknown_since
            .map(|_| "the wait for a damaged record".to_owned()),
        page.map(|reason| format!("page ends ({})", reason.as_str())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Says that no record is meant, and which ones are near.
fn not_found(which: &Which, all: &[(String, Option<Record>)], said: &mut Said) {
    let Which::Alert {
        alertname,
        instance,
    } = which
    else {
        return said.line("no record has this key");
    };
    said.line(&format!("no record of {alertname} on {instance}"));
    let mut near: Vec<String> = all
        .iter()
        .filter_map(|(key, record)| match record {
            Some(record) if record.alertname == *alertname => {
                Some(format!("there is one of {}", title(record)))
            }
            Some(record) if record.unknown_since.is_none() || !record.alertname.is_empty() => None,
            _ => Some(format!(
                "a damaged one may be meant: self-heal reset --key {key}"
            )),
        })
        .collect();
    near.sort();
    let more = near.len().saturating_sub(NAMED);
    near.truncate(NAMED);
    for line in near {
        said.line(&line);
    }
    if more > 0 {
        said.line(&format!("and {more} more"));
    }
}
