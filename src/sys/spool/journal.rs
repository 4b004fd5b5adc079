//! An escalator's lock and journal, one file. The lock (flock(2)) is inherited by what is started under it, so it
//! outlives a killed deliverer; the journal says how far the last attempt came, written by whoever got that far.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Spool, spares};
use crate::judge::delivery::EventName;
use crate::sys::files;
use crate::wire::spool::{self, Entry, JOURNAL};

/// An escalator's journal, its lock held.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    pub(super) fn take(spool: &Spool, path: &Path) -> io::Result<Option<Journal>> {
        loop {
            let file = files::read_write().create(true).open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if !files::still_at(&file, path)? {
                continue;
            }
            if file.metadata()?.len() < JOURNAL as u64 {
                match file
                    .write_all_at(&spool::blank(), 0)
                    .and_then(|()| file.sync_all())
                {
                    Ok(()) => {}
                    Err(error) if full(&error) && from_spare(spool, path)? => continue,
                    Err(error) => return Err(error),
                }
            }
            return Ok(Some(Journal {
                file,
                path: path.to_owned(),
            }));
        }
    }

    /// Forgets the escalator: nothing waits for it any more. Its lock goes with it.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What holds the lock, to be inherited.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// How far the last attempt came that nobody has taken note of.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn entry(&self) -> io::Result<Option<Entry>> {
        let mut bytes = [0; JOURNAL];
        let read = self.file.read_at(&mut bytes, 0)?;
        Ok(bytes.get(..read).and_then(spool::entry))
    }

    /// Notes that this attempt is about to start. Not synced: a machine that starts anew may send an event once more.
    ///
    /// # Errors
    /// It cannot be written; then nothing may be started.
    pub fn begin(&self, event: &EventName, attempt: u32) -> io::Result<()> {
        self.file.write_all_at(&spool::trying(event, attempt), 0)
    }

    /// Notes that nothing is on its way.
    ///
    /// # Errors
    /// It cannot be written. What it says is old then, and says nothing about a later attempt.
    pub fn clear(&self) -> io::Result<()> {
        self.file.write_all_at(&spool::blank(), 0)
    }

    /// Frees the lock for everybody, also where a daemon has inherited it.
    ///
    /// # Errors
    /// The kernel has no memory for it.
    pub fn release(self) -> io::Result<()> {
        self.file.unlock()
    }
}

fn full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Puts a spare file in the place of a journal that has no block. Whoever has the old file open sees that it is gone.
fn from_spare(spool: &Spool, path: &Path) -> io::Result<bool> {
    let _lock = spool.lock()?;
    let spare = spool.folder.join("spare");
    if spares::take(&spare, path)?.is_none() {
        return Ok(false);
    }
    // Whatever it held is no entry from now on.
    let file = files::read_write().open(path)?;
    file.write_all_at(&spool::blank(), 0)?;
    file.sync_data()?;
    fs::File::open(&spare)?.sync_all()?;
    Ok(true)
}
