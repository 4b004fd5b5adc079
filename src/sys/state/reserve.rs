//! Room kept back for the day the file system is full: a file of zeros, allocated ahead, where the
//! record of a new alert can be written in place. The first page names whose record stands in
//! which room; a record moves to a file of its own as soon as one can be made.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::twin::{self, ROOM};
use crate::sys::files;

/// How many alerts may have their first attempt while the file system is full.
const ROOMS: usize = 32;

/// The first page: a key of 64 bytes for each room, zeros where it is free.
const INDEX: usize = 4096;
const KEY: usize = 64;

/// The reserve, locked.
pub(super) struct Reserve {
    file: File,
}

impl Reserve {
    /// Makes the reserve ahead of need.
    pub(super) fn prepare(path: &Path) -> io::Result<()> {
        let temporary = path.with_extension(format!("new-{}", std::process::id()));
        let made = files::read_write()
            .create_new(true)
            .open(&temporary)
            .and_then(|mut file| {
                let zeros = vec![0; INDEX];
                for _ in 0..(1 + ROOMS * ROOM / INDEX) {
                    file.write_all(&zeros)?;
                }
                file.sync_all()?;
                // A link, not a rename: whoever was faster keeps his, with what is in it.
                std::fs::hard_link(&temporary, path)
            });
        let _ = std::fs::remove_file(&temporary);
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Opens and locks it; `None` when there is none.
    pub(super) fn open(path: &Path) -> io::Result<Option<Reserve>> {
        match files::read_write().open(path) {
            Ok(file) => {
                files::lock(&file)?;
                Ok(Some(Reserve { file }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file, and where this key's room begins, if it has one.
    pub(super) fn room(&self, key: &str) -> io::Result<Option<(&File, u64)>> {
        Ok(room_in(&self.file, key)?.map(|offset| (&self.file, offset)))
    }

    /// Gives this key a room, with this copy in it. Rooms of alerts that have a file of their own
    /// (`settled`) are taken when no other is free.
    pub(super) fn take(
        &self,
        key: &str,
        copy: &[u8],
        settled: impl Fn(&str) -> bool,
    ) -> io::Result<()> {
        let free = match self.place(&[0; KEY])? {
            Some(place) => Some(place),
            None => self.keys()?.iter().position(|key| settled(key)),
        };
        let place = free.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::StorageFull,
                "the file system and the reserve are full",
            )
        })?;
        twin::write_fresh(&self.file, offset(place), copy)?;
        self.file.sync_data()?;
        self.name(place, &entry(key))
    }

    /// Frees this key's room.
    pub(super) fn free(&self, key: &str) -> io::Result<()> {
        match self.place(&entry(key))? {
            Some(place) => self.name(place, &[0; KEY]),
            None => Ok(()),
        }
    }

    /// Whose records are here.
    pub(super) fn keys(&self) -> io::Result<Vec<String>> {
        Ok(index(&self.file)?
            .chunks_exact(KEY)
            .map(|key| {
                String::from_utf8_lossy(key)
                    .trim_end_matches('\0')
                    .to_owned()
            })
            .collect())
    }

    fn place(&self, key: &[u8; KEY]) -> io::Result<Option<usize>> {
        place_in(&self.file, key)
    }

    fn name(&self, place: usize, key: &[u8]) -> io::Result<()> {
        self.file.write_all_at(key, (place * KEY) as u64)?;
        self.file.sync_data()
    }
}

/// Where this key's room begins in the reserve's file, as far as can be told without the lock.
pub(super) fn room_in(file: &File, key: &str) -> io::Result<Option<u64>> {
    Ok(place_in(file, &entry(key))?.map(offset))
}

fn place_in(file: &File, key: &[u8; KEY]) -> io::Result<Option<usize>> {
    Ok(index(file)?
        .chunks_exact(KEY)
        .position(|entry| entry == key))
}

fn index(file: &File) -> io::Result<[u8; ROOMS * KEY]> {
    let mut index = [0; ROOMS * KEY];
    file.read_exact_at(&mut index, 0)?;
    Ok(index)
}

/// A key as the index has it.
fn entry(key: &str) -> [u8; KEY] {
    let mut entry = [0; KEY];
    for (place, byte) in entry.iter_mut().zip(key.bytes()) {
        *place = byte;
    }
    entry
}

fn offset(place: usize) -> u64 {
    (INDEX + place * ROOM) as u64
}
