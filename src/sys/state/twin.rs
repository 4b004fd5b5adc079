//! One record in two copies that are written in turn, in place, in room that was written with zeros
//! before: a write needs no new block, a half-written copy leaves the other one, and one
//! fdatasync(2) makes it durable.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::judge::Time;
use crate::wire::records::{self, Copy, Kept, SLOT};

/// The room for both copies, in bytes.
pub(super) const ROOM: usize = 2 * SLOT;

/// How much of the second copy is read with the first: as much as most records have, so that one read without any
/// allocation is all that most of them need.
const SHORT: usize = 1536;

/// A record as found.
pub(super) enum Found<T> {
    /// The newer whole copy, and where the next one goes.
    Whole { value: T, sequence: u64, next: u64 },
    /// No whole copy.
    Damaged,
}

/// Reads both copies at `offset`. A copy that names another key does not count.
pub(super) fn read<T: Kept>(file: &File, offset: u64, key: &str) -> io::Result<Found<T>> {
    let mut short = [0; SLOT + SHORT];
    fill(file, offset, &mut short)?;
    let long;
    let (first, second) = match short.split_at(SLOT) {
        (first, second) if records::length(second).is_none_or(|length| length <= SHORT) => {
            (first, second)
        }
        _ => {
            let mut room = vec![0; ROOM];
            fill(file, offset, &mut room)?;
            long = room;
            long.split_at(SLOT)
        }
    };
    let mine = |copy: &[u8]| match records::decode::<T>(copy) {
        Copy::Whole {
            key: whose,
            sequence,
            value,
        } if whose == key => Some((sequence, value)),
        _ => None,
    };
    let second_place = offset + SLOT as u64;
    Ok(match (mine(first), mine(second)) {
        (Some((a, value)), Some((b, _))) if a > b => Found::Whole {
            value,
            sequence: a,
            next: second_place,
        },
        (_, Some((sequence, value))) => Found::Whole {
            value,
            sequence,
            next: offset,
        },
        (Some((sequence, value)), None) => Found::Whole {
            value,
            sequence,
            next: second_place,
        },
        (None, None) => Found::Damaged,
    })
}

/// Reads as much as there is.
fn fill(file: &File, offset: u64, room: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes one copy, and makes it durable where it has to be.
pub(super) fn write<T: Kept>(
    file: &File,
    place: u64,
    key: &str,
    sequence: u64,
    value: &T,
    durable: bool,
) -> io::Result<()> {
    let bytes = records::encode(value, key, sequence)?;
    if bytes.len() > SLOT {
        return Err(io::Error::other(format!(
            "a record of {} bytes: no room",
            bytes.len()
        )));
    }
    file.write_all_at(&bytes, place)?;
    if durable { file.sync_data() } else { Ok(()) }
}

/// Applies a change under the file's own lock. An unchanged value is not written. With `damaged`
/// there is no whole copy to start from: the value that stands for the unknown is.
pub(super) fn change<T: Kept>(
    file: &File,
    offset: u64,
    key: &str,
    now: Time,
    damaged: impl FnOnce(&File) -> io::Result<()>,
    change: &mut dyn FnMut(&T) -> T,
) -> io::Result<T> {
    let (value, sequence, place, written) = match read::<T>(file, offset, key)? {
        Found::Whole {
            value,
            sequence,
            next,
        } => (value, sequence, next, true),
        Found::Damaged => {
            damaged(file)?;
            (T::unknown(now), 0, offset, false)
        }
    };
    let next = change(&value);
    if next != value || !written {
        let durable = !written || next.durable(&value);
        write(file, place, key, sequence.saturating_add(1), &next, durable)?;
    }
    Ok(next)
}

/// A fresh file's content: one copy, the rest zeros.
pub(super) fn fresh<T: Kept>(key: &str, value: &T) -> io::Result<Vec<u8>> {
    let mut bytes = records::encode(value, key, 1)?;
    if bytes.len() > SLOT {
        return Err(io::Error::other(format!(
            "a record of {} bytes: no room",
            bytes.len()
        )));
    }
    bytes.resize(ROOM, 0);
    Ok(bytes)
}
