//! What is on record: records and pauses that cannot be read, what was kept aside, and what could not be written.

use super::{Desk, count, kinds};
use crate::ready;
use crate::sys::sight::{self, Sight};
use crate::sys::state::file::Store;
use crate::sys::{clock, counters};

/// Looks at it.
pub(super) fn look(desk: &mut Desk) {
    let folder = desk.config().state_dir.clone();
    if !matches!(sight::at(&folder), Sight::There(thing) if thing.folder) {
        return;
    }
    // This account's own rights: what another one sees there is not known.
    if sight::names(&folder).is_err() {
        return desk.looked("records", "not seen");
    }
    let store = Store::at(&folder);
    let records = match store.list_all() {
        Ok(records) => records,
        Err(error) => {
            desk.unseen(
                folder.join("records").display().to_string(),
                error.to_string(),
            );
            Vec::new()
        }
    };
    let damaged = records.iter().filter(|(_, record)| record.is_none());
    let mut damaged: Vec<&String> = damaged.map(|(key, _)| key).collect();
    damaged.sort();
    if let Some(first) = damaged.first() {
        let records = match damaged.len() {
            1 => "the record is damaged".to_owned(),
            more => format!("this record and {} are damaged", count(more - 1, "other")),
        };
        let what = format!(
            "{records}: at the next alert it is kept aside, and nothing runs for that alert until HEAL_ATTEMPT_WINDOW has passed"
        );
        let mend = format!("self-heal reset --key {first}; and look at the disk");
        desk.at(
            &kinds::STATE_DAMAGED,
            &folder.join("records").join(first),
            what,
            mend,
        );
    }
    match store.host() {
        Ok(Some(host)) if ready::is_ahead(&host, clock::now()) => {
            let what = ready::CLOCK_WENT_BACK;
            desk.at(&kinds::CLOCK_WRONG, &folder.join("host"), what, "see that the clock is right, and stays so");
        }
        Ok(Some(_)) => {}
        Ok(None) => desk.at(
            &kinds::STATE_DAMAGED,
            &folder.join("host"),
            "the host's record is damaged: at the next alert it is kept aside, and nothing runs until HEAL_STORM_LIMIT's window has passed",
            "look at the disk; it mends itself then",
        ),
        Err(error) => desk.unseen(folder.join("host").display().to_string(), error.to_string()),
    }
    if let Err(error) = store.pauses() {
        let what = format!("{error}: nothing runs");
        desk.at(
            &kinds::STATE_DAMAGED,
            &folder.join("pauses"),
            what,
            "self-heal resume; it then counts as everything paused for an hour",
        );
    }
    let aside = folder.join("damaged");
    let kept = sight::names(&aside).unwrap_or_default();
    if let Some(first) = kept.first() {
        let what = format!(
            "{} that could not be read, kept aside; the first is {first}",
            count(kept.len(), "file")
        );
        desk.at(
            &kinds::KEPT_ASIDE,
            &aside,
            what,
            "find out what the disk did then, and remove them",
        );
    }
    let lost: u64 = counters::all(&folder)
        .unwrap_or_default()
        .iter()
        .map(|(_, counters)| counters.channel_failures)
        .sum();
    if lost > 0 {
        let what =
            format!("lines of log, history or metrics that could not be written, so far: {lost}");
        desk.at(
            &kinds::LOST_LINES,
            &folder.join("metrics"),
            what,
            "a full or read-only disk, as a rule: listener.log says log_failed or history_failed",
        );
    }
    desk.looked("records", records.len().to_string());
}
