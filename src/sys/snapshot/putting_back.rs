//! One path of a snapshot put back: what came is removed, what went comes back, what changed is replaced by
//! rename(2), so that a file is at every moment the old one or the new one, whole. Killed at any step, it is begun again and
//! ends the same. What is as it was stays untouched, with its inode.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use super::copies;
use super::ground::{self, Manner, Node, Side};
use super::progress::Progress;
use crate::sys::files;
use crate::wire::manifest::{Captured, Entry, Kind};

/// Where the copies of one path are.
pub(super) struct Copies<'a> {
    /// The copy of what was there.
    pub(super) copy: &'a Path,
    /// Its folders alone.
    pub(super) model: &'a Path,
    /// Which path of the snapshot it is.
    pub(super) number: usize,
}

/// Puts one path back; how many things of it were changed by that. `temporary` is a name that this run alone uses.
pub(super) fn put_back(
    captured: &Captured,
    copies: &Copies<'_>,
    side: Side,
    temporary: &str,
    progress: &mut Progress,
) -> Result<usize, String> {
    let path = captured.path.as_path();
    let parent = path.parent().unwrap_or(Path::new("/"));
    if !ground::way(path, side)? {
        if captured.entries.is_empty() {
            return Ok(0);
        }
        return Err(format!("{}: its folder is gone", path.display()));
    }
    // What a restore that was killed left beside the path; within a tree it is one of the things that came.
    copies::remove(&parent.join(temporary), side)?;
    let now = ground::walk(path, Manner::Close(side))?;
    let wanted: HashMap<&[u8], &Entry> = captured
        .entries
        .iter()
        .map(|entry| (entry.name.as_slice(), entry))
        .collect();

    let mut changed = 0;
    // One thing that cannot be put back keeps no other from it.
    let mut problems = Vec::new();
    let mut there: HashMap<&[u8], &Node> = HashMap::new();
    // From the inside out. First, because it frees room.
    for node in now.iter().rev() {
        let folder = node.kind == Some(Kind::Folder);
        let stays = wanted
            .get(node.name.as_slice())
            .is_some_and(|entry| (entry.kind == Kind::Folder) == folder);
        if stays {
            there.insert(&node.name, node);
            continue;
        }
        let gone = ground::join(path, &node.name);
        let removed = if folder {
            fs::remove_dir(&gone)
        } else {
            fs::remove_file(&gone)
        };
        match removed {
            Ok(()) => changed += 1,
            Err(error) => problems.push(format!("{}: {error}", gone.display())),
        }
    }
    for entry in &captured.entries {
        let there = there.get(entry.name.as_slice());
        let same = |node: &&&Node| {
            node.kind == Some(entry.kind)
                && (node.print == entry.print
                    || progress.has(copies.number, &entry.name, &node.print))
        };
        if there.as_ref().is_some_and(same) {
            continue;
        }
        let place = ground::join(path, &entry.name);
        let done = if entry.kind != Kind::Folder {
            let copy = ground::join(copies.copy, &entry.name);
            replace(&copy, &place, temporary)
                .inspect(|()| progress.note(copies.number, &entry.name, &place))
        } else if there.is_none() {
            // Nobody else's until it has its attributes.
            files::make_folder(&place, 0o700)
                .map_err(|error| format!("{}: {error}", place.display()))
        } else {
            Ok(())
        };
        match done {
            Ok(()) => changed += 1,
            Err(why) => problems.push(why),
        }
    }
    if let Some(first) = problems.first() {
        let more = match problems.len() - 1 {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        return Err(format!("{first}{more}"));
    }
    if changed == 0 && !now.iter().any(|node| node.closed) {
        return Ok(0);
    }
    let folders = captured
        .entries
        .iter()
        .filter(|entry| entry.kind == Kind::Folder);
    if folders.clone().next().is_some() {
        copies::dress(copies.model, path)?;
    }
    for folder in folders {
        copies::sync_one(&ground::join(path, &folder.name))?;
    }
    copies::sync_one(parent)?;
    Ok(changed)
}

fn replace(copy: &Path, place: &Path, temporary: &str) -> Result<(), String> {
    let folder = place.parent().unwrap_or(Path::new("/"));
    let new = folder.join(temporary);
    copies::copy(copy, &new)?;
    let model = ground::walk(copy, Manner::Look)?;
    copies::faithful(&model, &new)?;
    copies::sync(&new, &model)?;
    fs::rename(&new, place).map_err(|error: io::Error| format!("{}: {error}", place.display()))
}
