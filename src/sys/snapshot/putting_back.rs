//! One path of a snapshot put back: what came is removed, what went comes back, what changed is replaced by
//! rename(2), so that a file is at every moment the old one or the new one, whole. Killed at any step, it is begun again and
//! ends the same; what was in its place by then is not copied again. What is as it was stays untouched, with its inode.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::copies;
use super::ground::{self, Manner, Node, Side};
use super::progress::Progress;
use crate::sys::files;
use crate::wire::manifest::{Captured, Entry, Kind, Print};

/// Where the copies of one path are.
pub(super) struct Copies<'a> {
    /// The path's number in the manifest.
    pub(super) number: usize,
    /// The copy of what was there.
    pub(super) copy: &'a Path,
    /// Its folders alone.
    pub(super) model: &'a Path,
}

/// Puts one path back; how many things of it were changed by that. `temporary` is a name that this run alone uses. What
/// cannot be put back does not keep the rest from it.
///
/// # Errors
/// The first that could not be put back, and how many more. A way or a tree that others could change is not touched.
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
    let mut problems: Vec<String> = Vec::new();
    // What a restore that was killed left beside the path; within a tree it is one of the things that came.
    problems.extend(copies::remove(&parent.join(temporary), side).err());
    let now = ground::walk(path, Manner::Close(side))?;
    let wanted: HashMap<&[u8], &Entry> = captured
        .entries
        .iter()
        .map(|entry| (entry.name.as_slice(), entry))
        .collect();

    let mut changed = 0;
    let mut there: HashMap<&[u8], &Node> = HashMap::new();
    // Where something else stands that cannot be removed: a link, perhaps, so nothing may be put below it.
    let mut barred: HashSet<&[u8]> = HashSet::new();
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
            Err(error) => {
                problems.push(format!("{}: {error}", gone.display()));
                barred.insert(&node.name);
            }
        }
    }
    let mut known = false;
    for (number, entry) in captured.entries.iter().enumerate() {
        // A folder comes before what is in it.
        if barred.contains(entry.name.as_slice())
            || ground::above(&entry.name).is_some_and(|above| barred.contains(above))
        {
            barred.insert(&entry.name);
            continue;
        }
        let there = there.get(entry.name.as_slice());
        if there.is_some_and(|node| same(node, entry)) {
            continue;
        }
        // A folder needs no note: it is there or not, and gets its attributes last.
        let number = (copies.number, number);
        if there.is_some_and(|node| progress.knows(number, &node.print)) {
            known = true;
            continue;
        }
        let place = ground::join(path, &entry.name);
        let began = Instant::now();
        let put = if entry.kind != Kind::Folder {
            let copy = ground::join(copies.copy, &entry.name);
            replace(&copy, &place, side, temporary).map(|left| {
                left.into_iter()
                    .for_each(|left| progress.note(number, left))
            })
        } else if there.is_none() {
            // Nobody else's until it has its attributes.
            files::make_folder(&place, 0o700)
                .map_err(|error| format!("{}: {error}", place.display()))
        } else {
            Ok(())
        };
        match put {
            Ok(()) => changed += 1,
            Err(why) => {
                problems.push(why);
                barred.insert(&entry.name);
                // The others would hang as well.
                if began.elapsed() >= copies::BOUND {
                    break;
                }
            }
        }
    }
    // What is known to be in its place need not be durable yet.
    if changed > 0 || known || now.iter().any(|node| node.closed) {
        let folders = captured
            .entries
            .iter()
            .filter(|entry| entry.kind == Kind::Folder && !barred.contains(entry.name.as_slice()));
        if folders.clone().next().is_some() {
            problems.extend(copies::dress(copies.model, path).err());
        }
        for folder in folders {
            problems.extend(copies::sync_one(&ground::join(path, &folder.name)).err());
        }
        problems.extend(copies::sync_one(parent).err());
    }
    match (
        problems.len().saturating_sub(1),
        problems.into_iter().next(),
    ) {
        (_, None) => Ok(changed),
        (0, Some(why)) => Err(why),
        (more, Some(why)) => Err(format!("{why} (and {more} more below {})", path.display())),
    }
}

/// Whether a thing is what it was.
fn same(node: &Node, entry: &Entry) -> bool {
    node.kind == Some(entry.kind) && node.print == entry.print
}

/// What was left in the place, if that can be told.
fn replace(
    copy: &Path,
    place: &Path,
    side: Side,
    temporary: &str,
) -> Result<Option<Print>, String> {
    let folder = place.parent().unwrap_or(Path::new("/"));
    let new = folder.join(temporary);
    // cp(1) would write to what a link there leads to.
    copies::remove(&new, side)?;
    let put = || -> Result<(), String> {
        copies::copy(copy, &new)?;
        let model = ground::walk(copy, Manner::Look)?;
        copies::faithful(&model, &new)?;
        copies::sync(&new, &model)?;
        fs::rename(&new, place).map_err(|error: io::Error| format!("{}: {error}", place.display()))
    };
    if let Err(why) = put() {
        // What cannot be removed is in the next one's way, and said there.
        let _ = copies::remove(&new, side);
        return Err(why);
    }
    let left = ground::walk(place, Manner::Look);
    Ok(left.ok().and_then(|nodes| Some(nodes.first()?.print)))
}
