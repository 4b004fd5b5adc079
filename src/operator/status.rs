//! `self-heal status`: how every alert on record stands, what is paused, what people are still to be told. It reads, and
//! neither takes a lock nor makes a file.

use std::collections::HashMap;

use super::{Refused, refused, to_read};
use crate::deliver;
use crate::judge::standing::{Standing, standing};
use crate::judge::storm::{self, Reservation};
use crate::judge::{AlertName, Limits, Record, Time};
use crate::paging::alive;
use crate::sys::process::ProcessId;
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::{catalog, clock, escalator, files, identity};
use crate::wire::config::Config;
use crate::wire::paint::Paint;
use crate::wire::status::{Line, Pages, Status, Storm};

/// How it is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    Text(Paint),
    /// As one JSON object on one line.
    Json,
}

/// How everything stands, as text.
///
/// # Errors
/// The configuration is wrong; what is on record cannot be read, or not by this account.
pub fn status(form: Form) -> Result<String, Refused> {
    let config = to_read()?;
    let status = gather(&config, clock::now()).map_err(|error| refused(&config, &error))?;
    match form {
        Form::Text(paint) => Ok(status.render(paint)),
        Form::Json => status
            .to_json()
            .map_err(|error| Refused::Failed(error.to_string())),
    }
}

fn gather(config: &Config, now: Time) -> Result<Status, StateError> {
    let store = Store::at(&config.state_dir);
    let mut limits = LimitsByName::new(config);
    let (mut alerts, mut damaged, mut owed) = (Vec::new(), Vec::new(), 0);
    let records = store.list_all()?;
    let known = records.len();
    for (key, record) in records {
        let Some(record) = record else {
            damaged.push(key);
            continue;
        };
        owed += record.owed.len();
        let standing = standing(&record, limits.of(&record), alive(&record), now);
        if standing != Standing::Quiet {
            alerts.push(line(key, record, standing));
        }
    }
    alerts
        .sort_by_cached_key(|line| (urgency(line), line.alertname.clone(), line.instance.clone()));
    damaged.sort();
    let host = store.host()?;
    let mut problems = Vec::new();
    if !files::is_there(&config.state_dir) {
        let folder = config.state_dir.display();
        problems.push(format!(
            "HEAL_STATE_DIR: {folder} is not there: no request has ever come, or the name is wrong"
        ));
    }
    let told = escalator::known(&config.escalate_dir, &config.state_dir);
    let told = told.is_ok_and(|found| !found.names().is_empty());
    if !told && alerts.iter().any(|line: &Line| line.paged.is_some()) {
        let folder = config.escalate_dir.display();
        problems.push(format!(
            "HEAL_ESCALATE_DIR: {folder} has no escalator: nobody is told of what is open"
        ));
        for line in &mut alerts {
            line.paged = None;
        }
    }
    let waiting = deliver::waiting(config).unwrap_or_else(|why| {
        problems.push(why);
        Default::default()
    });
    problems.extend(elsewhere(config));
    if host.is_none() {
        problems.push(
            "the host's record is damaged: no run until HEAL_STORM_LIMIT's window has passed"
                .to_owned(),
        );
    }
    let pauses = store.pauses().map_err(|error| error.to_string());
    let pauses = pauses.map(|pauses| pauses.current(now).cloned().collect());
    let host = host.unwrap_or_default();
    Ok(Status {
        at: now,
        host: identity::host(),
        known,
        damaged,
        alerts,
        pauses,
        storm: host.storm_since.and_then(|since| {
            // Whoever asks next would be told so, and this asks for nobody.
            match storm::reserve(&mut host.clone(), config.storm_limit, now) {
                Reservation::Storm { until, .. } => Some(Storm { since, until }),
                Reservation::Granted { .. } => None,
            }
        }),
        pages: Pages {
            owed: owed + host.owed.len(),
            pending: waiting.pending,
            failed: waiting.failed,
            damaged: waiting.damaged,
        },
        problems,
    })
}

fn line(key: String, record: Record, standing: Standing) -> Line {
    let run = record.in_flight.map(|run| {
        let alive = ProcessId::from(run.supervisor).alive();
        (run, alive)
    });
    Line {
        key,
        alertname: record.alertname,
        instance: record.instance,
        standing,
        run,
        failures: record.failures.len(),
        ineffective: record.ineffective,
        paged: record.page,
    }
}

/// Within a section, what has lasted longest or ends first stands first.
fn urgency(line: &Line) -> (bool, Time) {
    let time = match &line.standing {
        Standing::Open { since, .. } => Some(*since),
        Standing::Running => line.run.as_ref().map(|(run, _)| run.started),
        Standing::Unverified { healed, .. } => Some(*healed),
        Standing::Waiting { until, .. } => *until,
        Standing::Due | Standing::Quiet => None,
    };
    (time.is_none(), time.unwrap_or_default())
}

/// What stands in the way of a heal or of its traces, as far as looking tells.
fn elsewhere(config: &Config) -> Vec<String> {
    let folders = [
        ("HEAL_STATE_DIR", &config.state_dir),
        ("HEAL_LOG_DIR", &config.log_dir),
    ];
    let full = folders
        .into_iter()
        .filter(|(_, folder)| files::full(folder));
    full.map(|(key, folder)| {
        let folder = folder.display();
        format!("{key}: {folder} has no free block: heals go on, log and history do not")
    })
    .collect()
}

/// The limits of each alert, its handler's directives on top; every handler is read once.
struct LimitsByName<'a> {
    config: &'a Config,
    known: HashMap<String, Limits>,
}

impl<'a> LimitsByName<'a> {
    fn new(config: &'a Config) -> LimitsByName<'a> {
        LimitsByName {
            config,
            known: HashMap::new(),
        }
    }

    fn of(&mut self, record: &Record) -> &Limits {
        let config = self.config;
        self.known
            .entry(record.alertname.clone())
            .or_insert_with_key(|name| {
                let name = AlertName::new(name);
                let directives =
                    name.and_then(|name| catalog::directives(&config.handler_dir, &name));
                directives.map_or_else(
                    || config.limits.clone(),
                    |directives| directives.overlay(&config.limits),
                )
            })
    }
}
