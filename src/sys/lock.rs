//! The lock of an alertname: flock(2) on `HEAL_LOCK_DIR/heal-<alertname>.lock`, the file and the call
//! that flock(1) uses, so an operator or a cron job who holds it blocks healing. The handler inherits the
//! open file, so the lock outlives a killed supervisor; whoever supervises releases it explicitly.

use std::cell::Cell;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::judge::AlertName;
use crate::sys::files;
use crate::sys::flocks::{self, Flock};
use crate::wire::holder::Holder;

/// How wide a lock is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One run for the alertname.
    Alert,
    /// One run for the alertname on one instance, told apart by 16 hex digits of its sha256.
    Instance(String),
}

/// A lock that is held. Dropping it closes our descriptors only; [`Lock::release`] frees it for
/// everybody, whoever has inherited them.
#[derive(Debug)]
pub struct Lock {
    /// The alertname's file: exclusive, or shared below an instance's.
    name: File,
    instance: Option<File>,
    /// The file that names the holder: the instance's, or the alertname's.
    path: PathBuf,
    left_by: Option<Holder>,
    /// How long the holder's line in the file is.
    noted: Cell<u64>,
}

/// What trying brought.
#[derive(Debug)]
pub enum Tried {
    /// Held.
    Held(Lock),
    /// Somebody else holds it; who, if the file says so.
    Taken(Option<Holder>, PathBuf),
}

/// What looking brought: who would be in the way.
#[derive(Debug)]
pub enum Looked {
    /// Nobody; what the file says of its last holder, who did not release it.
    Free(Option<Holder>),
    /// Somebody holds this file: who, if the file says so, and the processes that the kernel names.
    Taken(Option<Holder>, PathBuf, Vec<i32>),
}

/// The files of a lock: the alertname's, and the instance's if its scope is one.
pub fn paths(folder: &Path, name: &AlertName, scope: &Scope) -> (PathBuf, Option<PathBuf>) {
    let instance = match scope {
        Scope::Alert => None,
        Scope::Instance(digits) => Some(folder.join(format!("heal-{name}@{digits}.lock"))),
    };
    (folder.join(format!("heal-{name}.lock")), instance)
}

/// Looks what [`attempt`] would bring, and takes nothing.
pub fn look(folder: &Path, name: &AlertName, scope: &Scope) -> io::Result<Looked> {
    let (path, instance) = paths(folder, name, scope);
    let shared = instance.is_some();
    let mut left_by = None;
    for (path, shared) in [(path, shared)]
        .into_iter()
        .chain(instance.map(|p| (p, false)))
    {
        if !files::is_there(&path) {
            continue;
        }
        let holder = files::read_only()
            .open(&path)
            .map(|file| read_holder(&file))?;
        let in_the_way = flocks::of(&path)?;
        let in_the_way: Vec<i32> = in_the_way
            .into_iter()
            .filter(|flock| !(shared && flock.shared))
            .map(|Flock { pid, .. }| pid)
            .collect();
        if !in_the_way.is_empty() {
            return Ok(Looked::Taken(holder, path, in_the_way));
        }
        left_by = holder;
    }
    Ok(Looked::Free(left_by))
}

/// Tries once, without waiting.
pub fn attempt(folder: &Path, name: &AlertName, scope: &Scope) -> io::Result<Tried> {
    let (path, instance) = paths(folder, name, scope);
    let Some(own) = instance else {
        return Ok(match take(&path, File::try_lock)? {
            Ok(name) => Tried::Held(Lock::new(name, None, path)),
            Err(holder) => Tried::Taken(holder, path),
        });
    };
    let shared = match take(&path, File::try_lock_shared)? {
        Ok(shared) => shared,
        Err(holder) => return Ok(Tried::Taken(holder, path)),
    };
    Ok(match take(&own, File::try_lock)? {
        Ok(file) => Tried::Held(Lock::new(shared, Some(file), own)),
        Err(holder) => {
            shared.unlock()?;
            Tried::Taken(holder, own)
        }
    })
}

impl Lock {
    fn new(name: File, instance: Option<File>, path: PathBuf) -> Lock {
        let own = instance.as_ref().unwrap_or(&name);
        let (left_by, noted) = (read_holder(own), Cell::new(files::length(own)));
        Lock {
            name,
            instance,
            path,
            left_by,
            noted,
        }
    }

    /// The descriptors that the handler inherits.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        std::iter::once(self.name.as_fd())
            .chain(self.instance.as_ref().map(File::as_fd))
            .collect()
    }

    /// What the file said of its last holder, who did not release it.
    pub fn left_by(&self) -> Option<&Holder> {
        self.left_by.as_ref()
    }

    /// The file that names the holder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down who holds it; best effort.
    pub fn name_holder(&self, holder: &Holder) {
        if let Ok(line) = holder.to_line() {
            let length = line.len() as u64;
            if length < self.noted.replace(length) {
                let _ = self.own().set_len(0);
            }
            let _ = self.own().write_all_at(line.as_bytes(), 0);
        }
    }

    /// Frees the lock for everybody, also where a daemon has inherited the descriptor. An instance's file goes
    /// with it, still locked: there may be any number of instances, and whoever waits for this file looks again.
    /// With `keep_note` the file stays and goes on naming its last holder, whose run is not settled.
    pub fn release(self, keep_note: bool) -> io::Result<()> {
        if !keep_note {
            let _ = self.own().set_len(0);
        }
        if let Some(instance) = &self.instance {
            if !keep_note && files::still_at(instance, &self.path).unwrap_or(false) {
                let _ = std::fs::remove_file(&self.path);
            }
            instance.unlock()?;
        }
        self.name.unlock()
    }

    fn own(&self) -> &File {
        self.instance.as_ref().unwrap_or(&self.name)
    }
}

/// Locks the file at `path`, or says who does. The file is looked at again once it is locked: a
/// lock on a file that has been removed or replaced meanwhile keeps nobody out.
fn take(
    path: &Path,
    lock: fn(&File) -> Result<(), TryLockError>,
) -> io::Result<Result<File, Option<Holder>>> {
    loop {
        let file = open(path)?;
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(read_holder(&file))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if files::still_at(&file, path)? {
            return Ok(Ok(file));
        }
    }
}

/// A lock file that root made with flock(1) may be readable only; that is enough for flock(2).
fn open(path: &Path) -> io::Result<File> {
    let file = match files::read_write().create(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            files::read_only().open(path)?
        }
        other => other?,
    };
    if file.metadata()?.mode() & 0o170_000 != 0o100_000 {
        return Err(io::Error::other(format!(
            "{} is not a regular file",
            path.display()
        )));
    }
    Ok(file)
}

/// The holder's line, where nobody but root and the current account can have written it.
fn read_holder(file: &File) -> Option<Holder> {
    let meta = file.metadata().ok()?;
    if files::owner_is_trusted(&meta).is_err() || meta.mode() & 0o022 != 0 {
        return None;
    }
    let mut text = String::new();
    let mut reader = file;
    reader.seek(SeekFrom::Start(0)).ok()?;
    reader.take(4096).read_to_string(&mut text).ok()?;
    Holder::from_line(&text)
}
