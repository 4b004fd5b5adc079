//! The host-wide slots: at most `HEAL_MAX_CONCURRENT` handlers at once, whatever their alerts. A slot is
//! flock(2) on `HEAL_LOCK_DIR/slot-<n>.lock`, held by the supervisor alone.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use crate::sys::{files, flocks};

/// A slot that is held; it ends with this value.
#[derive(Debug)]
pub struct Slot {
    _file: File,
}

/// Tries every slot once, without waiting; `None` when all are taken.
pub fn attempt(folder: &Path, slots: u32) -> io::Result<Option<Slot>> {
    for number in 0..slots {
        let path = folder.join(format!("slot-{number}.lock"));
        let file = files::read_write().create(true).open(path)?;
        match file.try_lock() {
            Ok(()) => return Ok(Some(Slot { _file: file })),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// How many of the slots are taken, looked at and not tried.
pub fn taken(folder: &Path, slots: u32) -> io::Result<u32> {
    let mut taken = 0;
    for number in 0..slots {
        let path = folder.join(format!("slot-{number}.lock"));
        taken += u32::from(!flocks::of(&path)?.is_empty());
    }
    Ok(taken)
}
