//! Records as files, one an alert, in `HEAL_STATE_DIR/records`; the host's in `HEAL_STATE_DIR/host`; the
//! operators' pauses in `HEAL_STATE_DIR/pauses`.
//! A record comes into the world whole (written aside, synced, linked into place) and is changed in
//! place from then on. What cannot be read is kept aside in `damaged/`, never thrown away, and counts as unknown.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::StateError;
use super::reserve::{self, Reserve};
use super::twin;
use crate::judge::pauses::Pauses;
use crate::judge::{Host, Record, Time};
use crate::sys::files;
use crate::wire::records::Kept;

/// The key of the host's own record.
const HOST: &str = "host";

/// The key of the pauses.
const PAUSES: &str = "pauses";

/// The records of one host.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// The reserve, open for reading once it was needed: it is made once, and never replaced.
    reserve: OnceCell<File>,
    /// Damaged records kept aside by this process, for the log.
    pub kept_aside: Vec<PathBuf>,
}

impl Store {
    /// Opens the store, makes its folders, its reserve and the file of the pauses where they are missing. An error
    /// means that nothing may run; a reserve or a file of the pauses that cannot be made is no error.
    pub fn open(folder: &Path) -> Result<Store, StateError> {
        let fail = |doing| move |error| StateError::new(folder, doing, error);
        let mut trusted = files::trusted(folder);
        if trusted.is_err() && !folder.exists() {
            files::make_folder(folder, 0o700).map_err(fail("make the state folder"))?;
            trusted = files::trusted(folder);
        }
        trusted
            .map_err(io::Error::other)
            .map_err(fail("trust the state folder"))?;
        let store = Store::at(folder);
        if !store.records().exists() {
            files::make_folder(&store.records(), 0o700).map_err(fail("make a folder in"))?;
        }
        if !store.reserve().exists() {
            let _ = Reserve::prepare(&store.reserve());
        }
        // Made ahead, so that a pause needs no block on a full disk.
        let pauses = store.place(PAUSES);
        if !pauses.exists() {
            let _ = twin::fresh(PAUSES, &Pauses::default()).and_then(|bytes| make(&pauses, &bytes));
        }
        Ok(store)
    }

    /// The store in this folder for reading alone, and nothing is made, if [`Store::open`] would open it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn peek(folder: &Path) -> Result<Store, StateError> {
        let fail = |doing| move |error| StateError::new(folder, doing, error);
        files::could_make_folder(folder).map_err(fail("make the state folder"))?;
        if files::is_there(folder) {
            files::trusted(folder)
                .map_err(io::Error::other)
                .map_err(fail("trust the state folder"))?;
        }
        Ok(Store::at(folder))
    }

    /// The store in this folder for reading alone: nothing is made, and nothing looked at yet.
    pub fn at(folder: &Path) -> Store {
        Store {
            folder: folder.to_owned(),
            reserve: OnceCell::new(),
            kept_aside: Vec::new(),
        }
    }

    /// The record of `key`, the default if there is none. Takes no lock and writes nothing; `None` when
    /// it is damaged, which the next [`Store::update`] deals with.
    pub fn read(&self, key: &str) -> Result<Option<Record>, StateError> {
        self.read_at(key)
            .map_err(|error| StateError::new(self.place(key), "read the record", error))
    }

    /// The host's own record, likewise.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn host(&self) -> Result<Option<Host>, StateError> {
        self.read_at(HOST)
            .map_err(|error| StateError::new(self.place(HOST), "read the host's record", error))
    }

    /// What operators paused; nothing, if there is no such file. Takes no lock and writes nothing.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged, which the next [`Store::update_pauses`] deals with: nothing may run.
    pub fn pauses(&self) -> Result<Pauses, StateError> {
        let damaged = || io::Error::other("damaged: self-heal resume keeps it aside");
        self.read_at(PAUSES)
            .and_then(|found| found.ok_or_else(damaged))
            .map_err(|error| StateError::new(self.place(PAUSES), "read the pauses", error))
    }

    fn read_at<T: Kept>(&self, key: &str) -> io::Result<Option<T>> {
        let path = self.place(key);
        match files::read_only().open(&path) {
            Ok(file) => found(twin::read(&file, 0, key)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some((file, offset)) = self.peek_reserve(key)? {
                    return found(twin::read(file, offset, key));
                }
                // It may have left the reserve meanwhile.
                match files::read_only().open(&path) {
                    Ok(file) => found(twin::read(&file, 0, key)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(T::default())),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Changes the record of `key` in one atomic step and returns it, durable. `change` is pure: it
    /// may be called more than once. A record that stays as it was is not written, nor made.
    pub fn update(
        &mut self,
        key: &str,
        now: Time,
        change: &mut dyn FnMut(&Record) -> Record,
    ) -> Result<Record, StateError> {
        let path = self.place(key);
        self.update_at(&path, key, now, change)
            .map_err(|error| StateError::new(&path, "update the record", error))
    }

    /// Changes the host's own record likewise.
    pub fn update_host(
        &mut self,
        now: Time,
        change: &mut dyn FnMut(&Host) -> Host,
    ) -> Result<Host, StateError> {
        let path = self.place(HOST);
        self.update_at(&path, HOST, now, change)
            .map_err(|error| StateError::new(&path, "update the host's record", error))
    }

    /// Changes the pauses likewise. Damaged ones are kept aside, and count as everything paused for an hour.
    pub fn update_pauses(
        &mut self,
        now: Time,
        change: &mut dyn FnMut(&Pauses) -> Pauses,
    ) -> Result<Pauses, StateError> {
        let path = self.place(PAUSES);
        self.update_at(&path, PAUSES, now, change)
            .map_err(|error| StateError::new(&path, "change the pauses", error))
    }

    /// Every record that can be read, with its key, in no order. Takes no lock.
    pub fn list(&self) -> Result<Vec<(String, Record)>, StateError> {
        Ok(self
            .list_all()?
            .into_iter()
            .filter_map(|(key, record)| Some((key, record?)))
            .collect())
    }

    /// Every record with its key, in no order; `None` for one that is damaged. Takes no lock. Where nothing was ever
    /// kept, there is none.
    pub fn list_all(&self) -> Result<Vec<(String, Option<Record>)>, StateError> {
        let folder = self.records();
        let fail = |error| StateError::new(&folder, "list", error);
        let mut records = Vec::new();
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.map_err(fail)?),
        };
        for entry in entries.into_iter().flatten() {
            let name = entry.map_err(fail)?.file_name();
            let Some(key) = name.to_str().filter(|name| !name.starts_with('.')) else {
                continue;
            };
            if let Ok(record) = self.read(key) {
                records.push((key.to_owned(), record));
            }
        }
        if let Ok(Some(reserve)) = Reserve::open(&self.reserve()) {
            for key in reserve.keys().unwrap_or_default() {
                let Ok(Some((file, offset))) = reserve.room(&key) else {
                    continue;
                };
                let known = records.iter().any(|(other, _)| *other == key);
                if let (false, Ok(Some(record))) = (known, found(twin::read(file, offset, &key))) {
                    records.push((key, Some(record)));
                }
            }
        }
        Ok(records)
    }

    fn update_at<T: Kept>(
        &mut self,
        path: &Path,
        key: &str,
        now: Time,
        change: &mut dyn FnMut(&T) -> T,
    ) -> io::Result<T> {
        loop {
            match files::read_write().open(path) {
                Ok(file) => {
                    files::lock(&file)?;
                    if !files::still_at(&file, path)? {
                        continue;
                    }
                    let aside = self.folder.join("damaged");
                    let kept_aside = &mut self.kept_aside;
                    return twin::change(
                        &file,
                        0,
                        key,
                        now,
                        |file| {
                            kept_aside.push(keep_aside(&aside, file, key, now)?);
                            file.set_len(twin::ROOM as u64)
                        },
                        change,
                    );
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(value) = self.first(path, key, now, change)? {
                        return Ok(value);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes a record of its own, or one in the reserve when the file system is full. `None`: somebody
    /// was faster.
    fn first<T: Kept>(
        &mut self,
        path: &Path,
        key: &str,
        now: Time,
        change: &mut dyn FnMut(&T) -> T,
    ) -> io::Result<Option<T>> {
        // The lock of the reserve is only for those who have a room there or need one: making a file waits for
        // the disk, and a crowd of new alerts should not wait for one another as well.
        if self.peek_reserve(key)?.is_some() {
            return self.move_out(path, key, now, change);
        }
        let before = T::default();
        let value = change(&before);
        if value == before {
            // A record that left the reserve meanwhile has a file of its own by now.
            return Ok((!path.exists()).then_some(value));
        }
        let copy = twin::fresh(key, &value)?;
        match make(path, &copy) {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) if full(&error) => {
                let Some(reserve) = Reserve::open(&self.reserve())? else {
                    return Err(error);
                };
                if path.exists() || reserve.room(key)?.is_some() {
                    return Ok(None);
                }
                reserve.take(key, &copy, |key| self.place(key).exists())?;
                Ok(Some(value))
            }
            Err(error) => Err(error),
        }
    }

    /// Changes a record in the reserve and, if one can be made by now, gives it a file of its own. `None`: it has
    /// one already.
    fn move_out<T: Kept>(
        &mut self,
        path: &Path,
        key: &str,
        now: Time,
        change: &mut dyn FnMut(&T) -> T,
    ) -> io::Result<Option<T>> {
        let Some(reserve) = Reserve::open(&self.reserve())? else {
            return Ok(None);
        };
        let Some((file, offset)) = reserve.room(key)?.filter(|_| !path.exists()) else {
            reserve.free(key)?;
            return Ok(None);
        };
        let aside = self.folder.join("damaged");
        let kept_aside = &mut self.kept_aside;
        let damaged = |file: &File| {
            kept_aside.push(keep_aside(&aside, file, key, now)?);
            Ok(())
        };
        let value = twin::change(file, offset, key, now, damaged, change)?;
        // The record in the reserve counts until the file of its own is durable.
        if make(path, &twin::fresh(key, &value)?).is_ok() {
            reserve.free(key)?;
        }
        Ok(Some(value))
    }

    /// The reserve's file, and where this key's room begins, as far as can be told without the lock. Nobody waits for
    /// anybody: however many read, none is told that the reserve is locked for too long.
    fn peek_reserve(&self, key: &str) -> io::Result<Option<(&File, u64)>> {
        let file = match self.reserve.get() {
            Some(file) => file,
            None => match files::read_only().open(self.reserve()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                other => {
                    let file = other?;
                    self.reserve.get_or_init(|| file)
                }
            },
        };
        let room = reserve::room_in(file, key)?;
        Ok(room.map(|offset| (file, offset)))
    }

    /// The file of a record's own.
    fn place(&self, key: &str) -> PathBuf {
        if key == HOST || key == PAUSES {
            self.folder.join(key)
        } else {
            self.records().join(key)
        }
    }

    fn records(&self) -> PathBuf {
        self.folder.join("records")
    }

    fn reserve(&self) -> PathBuf {
        self.folder.join("reserve")
    }
}

fn found<T>(found: io::Result<twin::Found<T>>) -> io::Result<Option<T>> {
    Ok(match found? {
        twin::Found::Whole { value, .. } => Some(value),
        twin::Found::Damaged => None,
    })
}

fn full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Brings a file with this first copy into the world whole: written aside, synced, linked into place, the folder synced.
fn make(path: &Path, copy: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let temporary = folder.join(format!(".new-{}", std::process::id()));
    let open = || files::read_write().create_new(true).open(&temporary);
    let opened = match open() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left by a process of this number that died.
            let _ = fs::remove_file(&temporary);
            open()
        }
        other => other,
    };
    let made = opened
        .map_err(|error| match error.kind() {
            // Not to be taken for the file itself, which somebody else may have made meanwhile.
            io::ErrorKind::AlreadyExists => io::Error::other(format!(
                "{} was left there and cannot be removed",
                temporary.display()
            )),
            _ => error,
        })
        .and_then(|file| {
            twin::write_fresh(&file, 0, copy)?;
            file.sync_all()?;
            fs::hard_link(&temporary, path)?;
            File::open(folder)?.sync_all()
        });
    let _ = fs::remove_file(&temporary);
    made
}

fn keep_aside(folder: &Path, file: &File, key: &str, now: Time) -> io::Result<PathBuf> {
    files::make_folder(folder, 0o700)?;
    let path = folder.join(format!("{key}-{}", now.0));
    let mut copy = files::read_write()
        .create(true)
        .truncate(true)
        .open(&path)?;
    let mut damaged = file;
    io::Seek::seek(&mut damaged, io::SeekFrom::Start(0))?;
    io::copy(&mut damaged, &mut copy)?;
    copy.sync_all()?;
    Ok(path)
}
