//! The names that only this machine knows: of handlers, of what has a record, of what waits in the spool. Whoever may
//! not read them is offered none; nothing is written.

use super::suggest::line;
use crate::cli::values::Value;
use crate::sys::spool::Spool;
use crate::sys::state::file::Store;
use crate::sys::{catalog, escalator, identity, settings};
use crate::wire::config::Config;

/// The values of a kind as lines, sorted; instances and keys those of this alert, if there is one.
pub(super) fn known(value: Value, alert: Option<&str>) -> Vec<String> {
    // For root, nothing of the healer's is to be opened as root.
    let Ok(config) = settings::load_for_operator() else {
        return Vec::new();
    };
    let mut lines: Vec<String> = match value {
        Value::Alert => {
            let names = catalog::names(&config.handler_dir).unwrap_or_default();
            names.iter().map(ToString::to_string).collect()
        }
        Value::Command | Value::Outcome | Value::File | Value::Folder | Value::Free => Vec::new(),
        _ if identity::become_owner_of(&config.state_dir).is_err() => Vec::new(),
        Value::Instance | Value::Key => records(&config, value, alert),
        Value::Event => {
            let names = Spool::names(&config.state_dir).unwrap_or_default();
            names.iter().map(ToString::to_string).collect()
        }
        Value::Escalator => {
            let found = escalator::known(&config.escalate_dir, &config.state_dir);
            found.map(|found| found.names()).unwrap_or_default()
        }
    };
    lines.retain(|line| is_plain(line.split('\t').next().unwrap_or("")));
    lines.sort();
    lines.dedup();
    lines
}

fn records(config: &Config, value: Value, alert: Option<&str>) -> Vec<String> {
    let records = Store::at(&config.state_dir).list().unwrap_or_default();
    let meant = records.into_iter().filter_map(|(key, record)| {
        let (name, instance) = (record.alertname, record.instance);
        let odd = !is_plain(&name) || !is_plain(&instance);
        if odd || alert.is_some_and(|alert| alert != name) {
            None
        } else if value == Value::Key {
            Some(line(&key, &format!("{name} on {instance}")))
        } else {
            Some(instance)
        }
    });
    meant.collect()
}

/// Whether a shell takes the word as it is: what it puts into a line is one key away from being run.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:,@%+=-[]".contains(c);
    !word.is_empty() && !word.starts_with('-') && word.chars().all(plain)
}
