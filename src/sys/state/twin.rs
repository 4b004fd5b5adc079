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

/// In the program's file, where it costs no memory to fill.
static ZEROS: [u8; 4096] = [0; 4096];

/// How much of a copy is read at first: as much as most records have.
const SHORT: usize = 1536;

/// A record as found.
pub(super) enum Found<T> {
    /// The newer whole copy, and where the next one goes.
    Whole { value: T, sequence: u64, next: u64 },
    /// No whole copy.
    Damaged,
}

/// Reads both copies at `offset`: the newer one, by what it says of itself, and the older one where that is not whole. A
/// copy that names another key does not count.
pub(super) fn read<T: Kept>(file: &File, offset: u64, key: &str) -> io::Result<Found<T>> {
    let places = [offset, offset + SLOT as u64];
    let [mut first, mut second] = [[0; SHORT]; 2];
    fill(file, places[0], &mut first)?;
    fill(file, places[1], &mut second)?;
    let mut copies = [
        (places[1], places[0], &second),
        (places[0], places[1], &first),
    ];
    if records::sequence(&first) > records::sequence(&second) {
        copies.reverse();
    }
    for (place, next, beginning) in copies {
        if let Copy::Whole {
            key: whose,
            sequence,
            value,
        } = copy::<T>(file, place, beginning)?
            && whose == key
        {
            return Ok(Found::Whole {
                value,
                sequence,
                next,
            });
        }
    }
    Ok(Found::Damaged)
}

/// The copy at `place`, which begins so.
fn copy<T: Kept>(file: &File, place: u64, beginning: &[u8; SHORT]) -> io::Result<Copy<T>> {
    match records::length(beginning) {
        Some(length) if length > SHORT => {
            let mut whole = vec![0; length.min(SLOT)];
            fill(file, place, &mut whole)?;
            Ok(records::decode(&whole))
        }
        _ => Ok(records::decode(beginning)),
    }
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
    file.write_all_at(&fitting(value, key, sequence)?, place)?;
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

/// The one copy that a fresh file begins with; the rest of its [`ROOM`] is zeros.
pub(super) fn fresh<T: Kept>(key: &str, value: &T) -> io::Result<Vec<u8>> {
    fitting(value, key, 1)
}

/// A copy that its slot has room for.
fn fitting<T: Kept>(value: &T, key: &str, sequence: u64) -> io::Result<Vec<u8>> {
    let bytes = records::encode(value, key, sequence)?;
    if bytes.len() > SLOT {
        return Err(io::Error::other(format!(
            "a record of {} bytes: no room",
            bytes.len()
        )));
    }
    Ok(bytes)
}

/// Writes such a copy, and the zeros behind it, from `offset` on.
pub(super) fn write_fresh(file: &File, offset: u64, copy: &[u8]) -> io::Result<()> {
    file.write_all_at(copy, offset)?;
    let mut filled = copy.len();
    while filled < ROOM {
        let zeros = ZEROS.get(..ROOM - filled).unwrap_or(&ZEROS);
        file.write_all_at(zeros, offset + filled as u64)?;
        filled += zeros.len();
    }
    Ok(())
}
