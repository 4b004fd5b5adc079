//! `GET /-/ready`: whether a heal could work right now, and what stands in its way.

use std::time::Duration;

use crate::deliver;
use crate::judge::{AlertName, AllowList, Host, Time};
use crate::sys::catalog::{self, Lookup};
use crate::sys::escalator;
use crate::sys::history::History;
use crate::sys::log::Log;
use crate::sys::spool::{Spool, Waiting};
use crate::sys::state::file::Store;
use crate::sys::unfit::Unfit;
use crate::sys::{clock, counters, files, snapshot};
use crate::wire::config::Config;
use crate::wire::counters::Counters;

/// A run on record this far in the future means that the clock was set back, and by more than clocks are adjusted.
const CLOCK_STEP: Duration = Duration::from_secs(60);

/// The largest allow-list, in bytes.
const LARGEST_LIST: u64 = 16 * 1024 * 1024;

/// What [`is_ahead`] means, in a sentence.
pub const CLOCK_WENT_BACK: &str =
    "the clock went back: runs are on record that lie in the future, and count until then";

/// Everything that would keep a heal, or the telling of it, from working, one sentence each; empty when all is well.
pub fn problems(config: &Config, log: &mut Log) -> Vec<String> {
    let mut problems = Vec::new();
    let state = &config.state_dir;
    match Store::open(state) {
        Ok(mut store) => {
            problems.extend(host_record(&mut store, log));
            let pauses = store.pauses();
            problems.extend(pauses.err().map(|error| format!("HEAL_STATE_DIR: {error}")));
        }
        Err(error) => problems.push(format!("HEAL_STATE_DIR: {error}")),
    }
    if problems.is_empty() {
        problems.extend(
            files::writable_folder(state)
                .err()
                .map(|why| format!("HEAL_STATE_DIR: {why}")),
        );
    }
    let lock = files::writable_folder(&config.lock_dir);
    problems.extend(lock.err().map(|why| format!("HEAL_LOCK_DIR: {why}")));
    for (key, folder) in [("HEAL_STATE_DIR", state), ("HEAL_LOG_DIR", &config.log_dir)] {
        if files::full(folder) {
            let folder = folder.display();
            problems.push(format!(
                "{key}: {folder} has no free block: heals go on, log and history do not"
            ));
        }
    }
    problems.extend(
        History::new(state)
            .check()
            .err()
            .map(|error| format!("history: {error}")),
    );
    let counted = counters::add(state, None, &Counters::default());
    problems.extend(counted.err().map(|error| format!("metrics: {error}")));
    match allow_list(config) {
        Ok(list) => {
            if list.is_empty() {
                problems.push(format!(
                    "{} allows nothing",
                    config.allowed_instances.display()
                ));
            }
            problems.extend(unread_lines(config, &list));
        }
        Err(why) => problems.push(format!("HEAL_ALLOWED_INSTANCES: {why}")),
    }
    match catalog::names(&config.handler_dir) {
        Ok(names) => problems.extend(handlers(config, &names)),
        Err(error) => {
            problems.push(format!(
                "HEAL_HANDLER_DIR: {}: {error}",
                config.handler_dir.display()
            ));
        }
    }
    problems.extend(pages(config));
    problems.append(&mut log.failures);
    problems
}

/// What keeps a page from its person.
fn pages(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let spool = Spool::open(&config.state_dir).and_then(|spool| spool.lock().map(drop));
    problems.extend(spool.err().map(|error| format!("spool: {error}")));
    match deliver::waiting(config) {
        Ok(waiting) => {
            for (count, what) in stuck(&waiting) {
                problems.push(format!("pages {what}: {count}; self-heal drain --list"));
            }
        }
        Err(why) => problems.push(why),
    }
    match escalator::known(&config.escalate_dir, &config.state_dir) {
        Ok(found) => {
            for name in &found.gone {
                let folder = config.escalate_dir.display();
                problems.push(format!(
                    "escalator {name} is gone from {folder}, and pages wait for it: put it back, or self-heal drain --forget {name}"
                ));
            }
            let refused = found.refused.iter().map(|(_, why)| why);
            problems.extend(
                refused
                    .chain(&found.odd)
                    .map(|why| format!("escalator: {why}")),
            );
        }
        Err(why) => problems.push(format!("HEAL_ESCALATE_DIR: {why}")),
    }
    problems
}

/// A change that changes nothing still has to open, lock and read what a run reserves in.
fn host_record(store: &mut Store, log: &mut Log) -> Option<String> {
    let now = clock::now();
    let host = store.update_host(now, &mut Clone::clone);
    if let Some(path) = store.kept_aside.pop() {
        let kept = path.display().to_string();
        log.error("record_damaged", &[("kept", &kept)]);
        return Some(format!(
            "the host's record was damaged, and is {kept} now: no run until HEAL_STORM_LIMIT's window has passed"
        ));
    }
    match host {
        Ok(host) if is_ahead(&host, now) => Some(CLOCK_WENT_BACK.to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("HEAL_STATE_DIR: {error}")),
    }
}

/// Whether runs are on record that lie further in the future than a clock is adjusted.
pub fn is_ahead(host: &Host, now: Time) -> bool {
    host.runs.iter().any(|run| *run > now.plus(CLOCK_STEP))
}

/// Pages that only a person moves on: how many, and why.
pub fn stuck(waiting: &Waiting) -> impl Iterator<Item = (usize, &'static str)> {
    let counts = [
        (waiting.failed, "refused for good"),
        (waiting.damaged, "damaged in the spool"),
    ];
    counts.into_iter().filter(|(count, _)| *count > 0)
}

/// The lines of the allow-list that allow nothing because they cannot be read.
pub fn unread_lines(config: &Config, list: &AllowList) -> Vec<String> {
    let path = config.allowed_instances.display();
    list.problems()
        .iter()
        .map(|p| format!("{path}:{}: {}", p.line, p.reason))
        .collect()
}

/// The allow-list, unless it cannot be read or others could have written it.
///
/// # Errors
/// Why not, in a sentence.
pub fn allow_list(config: &Config) -> Result<AllowList, Unfit> {
    Ok(AllowList::read(allow_list_text(config)?))
}

/// The text of the allow-list, likewise.
///
/// # Errors
/// As [`allow_list`].
pub fn allow_list_text(config: &Config) -> Result<String, Unfit> {
    let path = &config.allowed_instances;
    files::relied_on(path)?;
    let bytes = files::read_bytes(path, LARGEST_LIST).map_err(|error| Unfit::met(path, &error))?;
    String::from_utf8(bytes).map_err(|error| Unfit::itself(format!("{}: {error}", path.display())))
}

/// The handlers that must not be run, and whether there is room for the snapshots of the others.
fn handlers(config: &Config, names: &[AlertName]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut guarded = false;
    for name in names {
        match catalog::find(&config.handler_dir, name) {
            Lookup::Unsafe(why) => problems.push(format!("unsafe handler: {why}")),
            Lookup::Unknown(why) => problems.push(why),
            Lookup::Ready(handler) => guarded |= !handler.directives.snapshot.is_empty(),
            Lookup::Missing => {}
        }
    }
    if guarded {
        problems.extend(snapshot::check(&config.backup_dir).err());
    }
    problems
}
