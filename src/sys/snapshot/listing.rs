//! What is on the shelf, for a person: read only. Root sees both sides' snapshots; the healer its own, and of root's what its
//! own manifest says. Nothing is locked for longer than a look.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::acting;
use super::shelf::Shelf;
use crate::judge::AlertName;
use crate::wire::shelved::{Listed, Side, State};

/// Every snapshot that this account may see, newest first, and what could not be read, a sentence each.
///
/// # Errors
/// The shelf cannot be used or may not be looked at.
pub fn list(
    backup_dir: &Path,
    alert: Option<&AlertName>,
) -> Result<(Vec<Listed>, Vec<String>), String> {
    if !backup_dir.exists() {
        return Ok((Vec::new(), Vec::new()));
    }
    let shelf = Shelf::open(backup_dir, acting())?;
    let mut problems = Vec::new();
    let mut found: Vec<Listed> = Vec::new();
    let mut by_run: BTreeMap<String, usize> = BTreeMap::new();
    for (folder, alertname, began) in shelf.every(alert)? {
        let without = |folder: PathBuf, state: State| Listed {
            run_id: None,
            alertname,
            captured: began,
            bytes: 0,
            own: Some(Side {
                folder,
                paths: Vec::new(),
                state: Some(state),
            }),
            roots: None,
        };
        let manifest = match shelf.read(&folder) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => {
                let state = shelf.blank_state(&folder);
                found.push(without(folder, state));
                continue;
            }
            Err(why) => {
                problems.push(why);
                found.push(without(folder, State::Damaged));
                continue;
            }
        };
        let state = shelf.state(&folder);
        let number = *by_run.entry(manifest.run_id.clone()).or_insert_with(|| {
            found.push(Listed {
                run_id: Some(manifest.run_id.clone()),
                alertname: manifest.alertname.clone(),
                captured: manifest.captured,
                bytes: 0,
                own: None,
                roots: None,
            });
            found.len() - 1
        });
        if let Some(listed) = found.get_mut(number) {
            listed.take(folder, &manifest, state);
        }
    }
    found.sort_by(|one, other| (other.captured, &other.run_id).cmp(&(one.captured, &one.run_id)));
    Ok((found, problems))
}
