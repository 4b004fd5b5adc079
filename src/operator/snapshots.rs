//! The shelf of snapshots: shown, and one run's put back by hand. To show it makes nothing; to put back takes the alert's lock
//! as a run does, and refuses while that run is under way.

use std::collections::BTreeMap;

use super::{Desk, Refused, Said};
use crate::heal::by_hand::{Came, Wanted};
use crate::heal::{Asked, Healer};
use crate::judge::run_id::{self, RunId};
use crate::judge::{AlertName, AllowList, Record};
use crate::serve::NOT_AS_ROOT;
use crate::sys::catalog::{self, Handler, Lookup};
use crate::sys::history::History;
use crate::sys::process::ProcessId;
use crate::sys::signals::{self, Signals};
use crate::sys::snapshot::listing;
use crate::sys::{handler, identity, inherited, settings, terminal};
use crate::wire::chronicle::Entry;
use crate::wire::config::Config;
use crate::wire::directives::Directives;
use crate::wire::notification::{self, Told};
use crate::wire::shelved::{self, State};
use crate::wire::timestamp::rfc3339;

/// Shows what is on the shelf, newest first.
///
/// # Errors
/// A name that is none; the configuration; the shelf may not be looked at.
pub fn list(alert: Option<&str>, json: bool) -> Result<Said, Refused> {
    let alert = match alert {
        None => None,
        Some(name) => Some(AlertName::new(name).ok_or_else(|| {
            Refused::Misused(format!(
                "--alert: {name:?} is no alertname that a handler could have"
            ))
        })?),
    };
    let config =
        settings::load_for_operator().map_err(|found| Refused::Misused(found.join("; ")))?;
    // Where there is no side of root's, the shelf is the healer's alone.
    if identity::other_owner_of(&config.backup_dir).is_some() {
        identity::become_owner_of(&config.backup_dir).map_err(Refused::Failed)?;
    }
    let (found, problems) = listing::list(&config.backup_dir, alert.as_ref()).map_err(|why| {
        let hint = if identity::is_root() {
            ""
        } else {
            " (use sudo, or the account that serves)"
        };
        Refused::Failed(format!("HEAL_BACKUP_DIR: {why}{hint}"))
    })?;
    let paint = terminal::paint();
    let text = match (found.is_empty(), json) {
        (_, true) => shelved::to_json(&found),
        (true, false) => "no snapshots\n".to_owned(),
        (false, false) => shelved::to_text(&found, paint),
    };
    Ok(Said {
        text,
        done: !found.is_empty(),
        warnings: problems,
    })
}

/// Puts one run's snapshot back, runs its handler's hook, and says what came of it.
///
/// # Errors
/// No run id; the machine, or this account, cannot do it; something is not as it was.
pub fn restore(run: &str) -> Result<Said, Refused> {
    let id = run_id::parse(run).ok_or_else(|| {
        Refused::Misused(format!(
            "{run:?} is no run id: self-heal snapshots list shows them"
        ))
    })?;
    let mut signals = prepare().map_err(Refused::Failed)?;
    let desk = Desk::open()?;
    if identity::is_root() && !desk.config.allow_root {
        return Err(Refused::Misused(NOT_AS_ROOT.to_owned()));
    }
    let mut said = Said::default();
    if let Some(no) = unfit(&desk.config, run, &id)? {
        said.line(&no);
        return Ok(desk.close(said));
    }
    let found = run_on_record(&desk, run);
    if let Some((_, record)) = &found
        && let Some(flying) = record.in_flight.as_ref().filter(|flying| flying.id == run)
        && ProcessId::from(flying.supervisor).alive()
    {
        let (since, pid) = (rfc3339(flying.started), flying.supervisor.pid);
        said.line(&format!(
            "not restored: {run} is under way since {since}, by process {pid}"
        ));
        return Ok(desk.close(said));
    }
    let known = known(&desk.config, run, found.as_ref().map(|(_, record)| record));
    let (handler, without) = handler_for(&desk.config, &id.alertname, known.as_ref());
    let known = known.unwrap_or_default();
    let labels = [
        ("alertname", id.alertname.as_str()),
        ("instance", &known.instance),
    ];
    let told = notification::compose(&Told {
        receiver: "self-heal snapshots",
        resolved: false,
        labels: labels
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        annotations: BTreeMap::new(),
        starts_at: id.started,
        ends_at: id.started,
        fingerprint: &known.fingerprint,
    });
    let notification = notification::parse(told.as_bytes()).map_err(Refused::Failed)?;
    let posted = notification
        .alerts
        .first()
        .ok_or_else(|| Refused::Failed("no alert".to_owned()))?;
    let wanted = Wanted {
        run_id: run,
        started: id.started,
        attempt: known.attempt,
        key: found.as_ref().map(|(key, _)| key.as_str()),
        who: &desk.who,
    };
    let Desk {
        config,
        store,
        mut log,
        ..
    } = desk;
    let asked = Asked {
        peer: format!("operator:{}", desk.who),
        key: found.as_ref().map(|(key, _)| key.clone()),
        ..Asked::default()
    };
    let allowed = Ok(AllowList::parse(""));
    let healer = Healer::new(
        &config,
        allowed,
        &notification,
        Ok(store),
        &mut log,
        &mut signals,
        asked,
    );
    let mut healer =
        healer.map_err(|error| Refused::Failed(format!("cannot read /proc: {error}")))?;
    let came = healer.restore_by_hand(posted, &id.alertname, &handler, &wanted);
    drop(healer);
    said.warnings.append(&mut log.failures);
    match came {
        Came::Back { folder, changed } => {
            said.done = true;
            said.line(&format!(
                "restored: {run}: {changed} changed, from {folder}"
            ));
            match (&handler.restored, without) {
                (_, Some(why)) => said.line(&format!("no hook was run: {why}")),
                (Some(hook), None) => {
                    said.line(&format!("its hook has run: {}", hook.path.display()))
                }
                (None, None) => {}
            }
            Ok(said)
        }
        Came::Nothing => {
            said.line(&format!(
                "nothing to restore: there is no whole snapshot of {run}"
            ));
            Ok(said)
        }
        Came::Busy(why) => {
            said.line(&format!("busy: {why}"));
            Ok(said)
        }
        Came::Failed(why) => Err(Refused::Failed(why)),
    }
}

/// As the server does before it starts programs: nothing inherited reaches them, and their endings are known.
fn prepare() -> Result<Signals, String> {
    inherited::close_inherited().map_err(|error| format!("/proc: {error}"))?;
    if signals::child_ignored().unwrap_or(false) {
        return Err("SIGCHLD is ignored here, so that no program's ending could be known: start it from a shell".to_owned());
    }
    let signals = Signals::block().map_err(|errno| format!("signals: {errno}"))?;
    handler::setup_process().map_err(|error| format!("/: {error}"))?;
    Ok(signals)
}

/// Why there is nothing to do.
fn unfit(config: &Config, run: &str, id: &RunId) -> Result<Option<String>, Refused> {
    let (found, _) = listing::list(&config.backup_dir, Some(&id.alertname))
        .map_err(|why| Refused::Failed(format!("HEAL_BACKUP_DIR: {why}")))?;
    let mut of_run = found
        .iter()
        .filter(|listed| listed.run_id.as_deref() == Some(run));
    let Some(own) = of_run.find_map(|listed| listed.own.as_ref()) else {
        return Ok(Some(format!(
            "nothing to restore: there is no whole snapshot of {run}"
        )));
    };
    Ok((own.state == Some(State::Restored)).then(|| {
        format!(
            "already restored: {run}, from {}: what is there now is somebody's work",
            own.folder.display()
        )
    }))
}

/// The record that tells of this run, with its key.
fn run_on_record(desk: &Desk, run: &str) -> Option<(String, Record)> {
    let records = desk.store.list().unwrap_or_default();
    let tells = |record: &Record| {
        let flying = record
            .in_flight
            .as_ref()
            .is_some_and(|flying| flying.id == run);
        flying || record.attempts.iter().any(|attempt| attempt.run_id == run)
    };
    records.into_iter().find(|(_, record)| tells(record))
}

/// What a hook is told of its alert.
#[derive(Debug, Default)]
struct Known {
    instance: String,
    fingerprint: String,
    attempt: u32,
}

/// By the history, which has every run; else by its record.
fn known(config: &Config, run: &str, record: Option<&Record>) -> Option<Known> {
    let by_record = || {
        let record = record?;
        let flying = record.in_flight.as_ref().filter(|flying| flying.id == run);
        let ended = record.attempts.iter().find(|attempt| attempt.run_id == run);
        Some(Known {
            instance: record.instance.clone(),
            fingerprint: record.fingerprint.clone(),
            attempt: flying
                .map(|run| run.attempt)
                .or(ended.map(|run| run.attempt))?,
        })
    };
    in_history(config, run).or_else(by_record)
}

fn in_history(config: &Config, run: &str) -> Option<Known> {
    let started = run_id::parse(run)?.started;
    let chronicle = History::new(&config.state_dir)
        .chronicle(Some(started))
        .ok()?;
    for piece in chronicle.files.iter().rev() {
        let Ok(mut lines) = piece.lines() else {
            continue;
        };
        while let Ok(Some(line)) = lines.read_on() {
            let entry = Entry::parse(line).filter(|entry| *entry.run_id == *run);
            if let Some(entry) = entry {
                return Some(Known {
                    instance: (*entry.instance).to_owned(),
                    fingerprint: (*entry.fingerprint).to_owned(),
                    attempt: entry.attempt,
                });
            }
        }
    }
    None
}

/// The handler that is there now, for its hook and its timeout; one that does nothing where it must not be run. And why its
/// hook is not run, if there is a reason.
fn handler_for(
    config: &Config,
    name: &AlertName,
    known: Option<&Known>,
) -> (Handler, Option<String>) {
    let nothing = Handler {
        path: config.handler_dir.clone(),
        interpreter: None,
        directives: Directives::default(),
        sha256: String::new(),
        restored: None,
    };
    match catalog::find(&config.handler_dir, name) {
        Lookup::Ready(mut handler) => {
            // What a snapshot was taken for ran under the alertname's own lock, whatever the handler says today.
            handler.directives.lock = None;
            let without = match (&handler.restored, known) {
                (Some(hook), None) => Some(format!(
                    "for which instance is not known any more; as the account that serves: {} INSTANCE {name} FINGERPRINT",
                    hook.path.display()
                )),
                _ => None,
            };
            if without.is_some() {
                handler.restored = None;
            }
            (handler, without)
        }
        Lookup::Unsafe(why) | Lookup::Unknown(why) => (nothing, Some(why)),
        Lookup::Missing => (
            nothing,
            Some(format!("there is no handler for {name} any more")),
        ),
    }
}
