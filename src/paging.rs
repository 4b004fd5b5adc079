//! From the decision that a person is told to the spool that keeps it: a record owes a page until the spool has
//! it, and whoever comes next puts there what a process that died left owing.
//!
//! The order that matters: the spool's lock, then the record as it is now, then the event, durable, and only then
//! the page is struck. Killed anywhere in between, the next one finds the page owed and its event there or not,
//! and neither loses nor doubles it.

use std::path::PathBuf;

use crate::judge::delivery::{Action, EventName};
use crate::judge::record::{Owes, Page, PageKind, Process};
use crate::judge::{Alert, AlertName, Host, Note, Record, decision, pages};
use crate::sys::log::Log;
use crate::sys::process::ProcessId;
use crate::sys::spool::{Locked, Spool};
use crate::sys::state::file::Store;
use crate::sys::{clock, files, identity};
use crate::wire::config::Config;
use crate::wire::event::{self, Subject};
use crate::wire::notification::Notification;
use crate::wire::records::hex_digest;
use crate::wire::report;

/// What is known of a page beside its record, where somebody knows.
#[derive(Clone, Debug, Default)]
pub struct About<'a> {
    /// The alert as it came.
    pub alert: Option<&'a Alert>,
    /// What it came in.
    pub notification: Option<&'a Notification>,
    /// Where the output of the run began in the handler's log, in bytes.
    pub output_from: u64,
    /// What is to be known beside the reason, in a sentence; may be empty.
    pub detail: String,
}

/// Puts the pages that the record of `key` owes into the spool, and strikes them.
///
/// # Errors
/// Why a page is still owed. Then nothing may be run for that alert.
pub fn hand_over(
    config: &Config,
    store: &mut Store,
    log: &mut Log,
    key: &str,
    about: &About<'_>,
) -> Result<(), String> {
    let spool = Spool::open(&config.state_dir).map_err(unspooled)?;
    let locked = spool.lock().map_err(unspooled)?;
    let record = store
        .read(key)
        .map_err(|error| error.to_string())?
        .unwrap_or_default();
    if record.owed.is_empty() {
        return Ok(());
    }
    let path = handler_log(config, &record);
    let output = path.as_ref().map_or_else(String::new, |path| {
        files::tail(path, about.output_from, event::OUTPUT)
    });
    let host = identity::host();
    let subject = Subject {
        host: &host,
        labels: about.alert.map(|alert| &alert.labels),
        annotations: about.alert.map(|alert| &alert.annotations),
        starts_at: about.alert.and_then(|alert| alert.starts_at),
        generator_url: about.alert.map_or("", |alert| &alert.generator_url),
        external_url: about.notification.map_or("", |n| &n.external_url),
        group_key: about.notification.map_or("", |n| &n.group_key),
        receiver: about.notification.map_or("", |n| &n.receiver),
        output: &output,
        detail: &about.detail,
        log: &path.map_or_else(String::new, |path| path.display().to_string()),
    };
    for page in &record.owed {
        put(&locked, log, &record, page, key, &subject)?;
    }
    let told = &record.owed;
    let strike = &mut |record: &Record| pages::struck(record, told);
    store
        .update(key, clock::now(), strike)
        .map_err(|error| error.to_string())?;
    Ok(())
}

/// Puts the pages that the host's record owes into the spool, and strikes them.
///
/// # Errors
/// Why a page is still owed. Then nothing may be run.
pub fn hand_over_host(config: &Config, store: &mut Store, log: &mut Log) -> Result<(), String> {
    let spool = Spool::open(&config.state_dir).map_err(unspooled)?;
    let locked = spool.lock().map_err(unspooled)?;
    let now = clock::now();
    let host = store
        .update_host(now, &mut Clone::clone)
        .map_err(|error| error.to_string())?;
    if host.owed.is_empty() {
        return Ok(());
    }
    let name = identity::host();
    let limit = config.storm_limit;
    let window = crate::wire::duration::show(limit.window);
    let subject = Subject {
        host: &name,
        detail: &format!("HEAL_STORM_LIMIT is {}/{window}.", limit.runs),
        ..Subject::default()
    };
    let nobody = Record::default();
    for page in &host.owed {
        put(&locked, log, &nobody, page, &storm_key(), &subject)?;
    }
    // Those that were put, and not what another process decides on meanwhile.
    let told = &host.owed;
    let strike = &mut |host: &Host| pages::struck(host, told);
    store
        .update_host(now, strike)
        .map_err(|error| error.to_string())?;
    Ok(())
}

/// Takes note of whether the sender cut alerts off this group. Who is told of it once hears when it is over.
///
/// # Errors
/// Why a page is still owed, or cannot be decided on.
pub fn group(
    config: &Config,
    store: &mut Store,
    log: &mut Log,
    notification: &Notification,
) -> Result<(), String> {
    let key = hex_digest(notification.group_key.as_bytes());
    let now = clock::now();
    let known = store.read(&key).map_err(|error| error.to_string())?;
    let cut_off = notification.truncated > 0;
    if !cut_off && notification.group_key.is_empty() {
        // Which group came whole is not known: a person who was told ends it himself (reset).
        return Ok(());
    }
    if !cut_off
        && known
            .as_ref()
            .is_some_and(|r| r.page.is_none() && r.owed.is_empty())
    {
        return Ok(());
    }
    let record = store
        .update(&key, now, &mut |record| {
            if cut_off {
                pages::truncated(record, &notification.group_key, now)
            } else {
                pages::whole(record, now)
            }
        })
        .map_err(|error| error.to_string())?;
    if record.owed.is_empty() {
        return Ok(());
    }
    let about = About {
        notification: Some(notification),
        detail: format!("{} alerts were cut off.", notification.truncated),
        ..About::default()
    };
    hand_over(config, store, log, &key, &about)
}

/// What time and crashes leave behind: pages that nobody put into the spool, breakers of the run limits whose
/// windows admit a run. Returns what could not be done, one sentence each.
pub fn sweep(config: &Config, store: &mut Store, log: &mut Log) -> Vec<String> {
    let mut problems = Vec::new();
    let records = match store.list() {
        Ok(records) => records,
        Err(error) => return vec![error.to_string()],
    };
    let (limits, now) = (&config.limits, clock::now());
    for (key, record) in records {
        let mut record = record;
        let sweep = |record: &Record| decision::sweep(record, limits, alive(record), now);
        if sweep(&record).0 != record {
            let mut notes = Vec::new();
            let change = &mut |record: &Record| {
                let (next, found) = sweep(record);
                notes = found;
                next
            };
            match store.update(&key, now, change) {
                Ok(swept) => {
                    for note in notes {
                        if let Note::Closed(reason) = note {
                            let values = [
                                ("alertname", swept.alertname.as_str()),
                                ("instance", &swept.instance),
                                ("what", reason.as_str()),
                            ];
                            log.info("breaker_closed", &values);
                        }
                    }
                    record = swept;
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        if !record.owed.is_empty() {
            let told = hand_over(config, store, log, &key, &About::default());
            problems.extend(told.err());
        }
    }
    problems.extend(hand_over_host(config, store, log).err());
    for path in std::mem::take(&mut store.kept_aside) {
        log.error("record_damaged", &[("kept", &path.to_string_lossy())]);
    }
    problems
}

/// One of the record's survivors that still lives.
pub fn alive(record: &Record) -> Option<Process> {
    let mut survivors = record.survivors.iter().copied();
    survivors.find(|process| ProcessId::from(*process).alive())
}

/// Strikes the page of an event that is about to leave the spool for good, should its record still owe it.
///
/// # Errors
/// Why it cannot be struck; then the event has to stay.
pub fn strike(store: &mut Store, name: &EventName, dedup_key: &str) -> Result<(), String> {
    let now = clock::now();
    if dedup_key == storm_key() {
        let change = &mut |host: &Host| without(host, &host.owed, name, dedup_key);
        store
            .update_host(now, change)
            .map_err(|error| error.to_string())?;
        return Ok(());
    }
    let change = &mut |record: &Record| without(record, &record.owed, name, dedup_key);
    store
        .update(dedup_key, now, change)
        .map_err(|error| error.to_string())?;
    Ok(())
}

fn without<T: Owes + Clone>(owner: &T, owed: &[Page], name: &EventName, dedup_key: &str) -> T {
    let same = |page: &&Page| event_name(page, dedup_key).as_ref() == Some(name);
    let told: Vec<Page> = owed.iter().filter(same).copied().collect();
    pages::struck(owner, &told)
}

/// The incident of every storm on this host.
fn storm_key() -> String {
    format!("storm:{}", identity::host())
}

fn event_name(page: &Page, dedup_key: &str) -> Option<EventName> {
    let action = match page.what {
        PageKind::Trigger(_) => Action::Trigger,
        PageKind::Resolve(_) => Action::Resolve,
    };
    EventName::new(page.at, action, &hex_digest(dedup_key.as_bytes()))
}

fn put(
    locked: &Locked<'_>,
    log: &mut Log,
    record: &Record,
    page: &Page,
    key: &str,
    subject: &Subject<'_>,
) -> Result<(), String> {
    let Some(name) = event_name(page, key) else {
        return Err("a page has no name".to_owned());
    };
    if locked.keeps(&name).map_err(unspooled)? {
        return Ok(());
    }
    let id = name.to_string();
    let text = event::of_record(record, page, &id, key, subject);
    let put = locked.put(&name, text.as_bytes());
    let (PageKind::Trigger(reason) | PageKind::Resolve(reason)) = page.what;
    let error = put.as_ref().err().map(ToString::to_string);
    let mut values = vec![
        ("alertname", record.alertname.as_str()),
        ("instance", &record.instance),
        ("reason", reason.as_str()),
        ("event", &id),
    ];
    match (&error, page.what) {
        (Some(error), _) => {
            values.push(("error", error));
            log.error("escalation_owed", &values);
        }
        (None, PageKind::Trigger(_)) => {
            values.push(("detail", report::opening(reason)));
            log.error("escalation", &values);
        }
        (None, PageKind::Resolve(_)) => log.info("escalation_over", &values),
    }
    put.map_err(unspooled)
}

fn handler_log(config: &Config, record: &Record) -> Option<PathBuf> {
    let name = AlertName::new(&record.alertname)?;
    Some(config.log_dir.join(format!("{name}.log")))
}

fn unspooled(error: std::io::Error) -> String {
    format!("a page is owed and cannot be put into the spool: {error}")
}
