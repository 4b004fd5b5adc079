//! Room kept back for the day the file system is full: files as large as an event's, written ahead, into which an
//! event is written in place. Blocks that are written already need no new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::sync;
use crate::sys::files;
use crate::wire::spool::FILE;

/// How many events may be written while the file system is full; removed events make room for more.
const SPARES: usize = 16;

/// What the names of spare files begin with that are not finished.
const UNFINISHED: &str = "new-";

/// The file that an event is written to when there is no spare one. Its writer holds the spool's lock.
const FRESH: &str = "fresh";

/// Makes the spare files that are missing, as far as there is room. One process at a time does it, nobody waits for it.
pub(super) fn replenish(folder: &Path) {
    let missing: Vec<PathBuf> = places(folder).filter(|path| !path.exists()).collect();
    if missing.is_empty() {
        return;
    }
    let Ok(lock) = File::open(folder) else { return };
    if lock.try_lock().is_err() {
        return;
    }
    for left in unfinished(folder) {
        let _ = fs::remove_file(left);
    }
    let temporary = folder.join(format!("{UNFINISHED}{}", std::process::id()));
    for path in missing {
        // A removed event may have become this spare file meanwhile: one too many is written over, no harm done.
        let made = zeros(&temporary).and_then(|()| fs::rename(&temporary, path));
        if made.is_err() {
            let _ = fs::remove_file(&temporary);
            return;
        }
    }
    let _ = sync(folder);
}

fn places(folder: &Path) -> impl Iterator<Item = PathBuf> {
    (0..SPARES).map(|number| folder.join(number.to_string()))
}

fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let left = |name: &str| name.starts_with(UNFINISHED);
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(left))
        .map(|entry| entry.path())
        .collect()
}

fn zeros(path: &Path) -> io::Result<()> {
    let mut file = files::read_write().create(true).truncate(true).open(path)?;
    file.write_all(&vec![0; FILE])?;
    file.sync_all()
}

/// Writes this into a spare file, durably; where it is now. `None` when no spare file can take it. Under the
/// spool's lock.
pub(super) fn write(folder: &Path, content: &[u8]) -> Option<PathBuf> {
    places(folder).find(|path| match write_over(path, content) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(_) => {
            let _ = fs::remove_file(path);
            false
        }
    })
}

fn write_over(path: &Path, content: &[u8]) -> io::Result<()> {
    let file = files::read_write().open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.nlink() != 1 || meta.len() != FILE as u64 {
        return Err(io::Error::other("no spare file"));
    }
    file.write_all_at(content, 0)?;
    file.sync_data()
}

/// Writes this into a file of its own, durably, as large as every event's. Under the spool's lock.
pub(super) fn fresh(folder: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let path = folder.join(FRESH);
    let made = zeros(&path).and_then(|()| write_over(&path, content));
    match made {
        Ok(()) => Ok(path),
        Err(error) => {
            let _ = fs::remove_file(&path);
            Err(error)
        }
    }
}

/// Takes a spare file away, to be another file of its own; `None` when there is none. Under the spool's lock.
pub(super) fn take(folder: &Path, target: &Path) -> io::Result<Option<()>> {
    for path in places(folder) {
        match fs::rename(&path, target) {
            Ok(()) => return Ok(Some(())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Makes a spare file of an event's, or removes it when there are enough. Under the spool's lock. Durable before the
/// file can be written over: else a power failure could bring the event's old name back with another's content.
pub(super) fn recycle(folder: &Path, event: &Path) -> io::Result<()> {
    let whole = fs::symlink_metadata(event)?;
    let fit = whole.is_file() && whole.nlink() == 1 && whole.len() == FILE as u64;
    match places(folder).find(|path| !path.exists()) {
        Some(free) if fit => {
            fs::rename(event, free)?;
            sync(folder)
        }
        _ => fs::remove_file(event),
    }
}
