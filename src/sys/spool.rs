//! Events on disk, in `HEAL_STATE_DIR/spool`, one file each, and where each escalator is with them. An event exists
//! from the rename(2) into `pending/` on, and until its file is removed; nothing in between loses it. It decides
//! nothing, and throws nothing away that it cannot read. `docs/spool.md` has the states as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::judge::Time;
use crate::judge::delivery::{Event, EventName, Mark, Place};
use crate::sys::files;
use crate::wire::spool::{self, HEADER, Header, MOST_JSON, Room};

mod journal;
mod spares;

pub use journal::Journal;

/// The folder below the state folder.
const FOLDER: &str = "spool";

/// The folders in it.
const FOLDERS: [&str; 6] = [
    "spare",
    "pending",
    "told",
    "failed",
    "damaged",
    "escalators",
];

/// What open(2) says of a folder, a link, a socket, and of a disk that cannot read the file's own inode.
const FAULTS: [Errno; 4] = [Errno::EISDIR, Errno::ELOOP, Errno::ENXIO, Errno::EIO];

/// The spool of one host.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
}

/// What waits, by its number of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Events that somebody is still to get.
    pub pending: usize,
    /// Events that somebody refused for good.
    pub failed: usize,
    /// Files that could not be read, kept aside.
    pub damaged: usize,
}

impl Waiting {
    /// All of it together.
    pub fn all(&self) -> usize {
        self.pending + self.failed + self.damaged
    }
}

/// What the spool holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// The events that can be read, sorted by name.
    pub events: Vec<Event>,
    /// Names of files that are no events, and where they are.
    pub damaged: Vec<(Place, String)>,
}

impl Spool {
    /// Opens the spool of this state folder and makes what is missing of it: folders, and spare files as far as there
    /// is room.
    ///
    /// # Errors
    /// The folders cannot be made, or somebody else may change them. Spare files that cannot be made are no error.
    pub fn open(state_dir: &Path) -> io::Result<Spool> {
        let folder = state_dir.join(FOLDER);
        let spool = Spool { folder };
        // Each one is looked for: somebody may have restored the spool without its empty folders.
        if !FOLDERS.iter().all(|name| spool.folder.join(name).is_dir()) {
            for folder in [state_dir, &spool.folder] {
                files::make_folder(folder, 0o700)?;
            }
            for name in FOLDERS {
                files::make_folder(&spool.folder.join(name), 0o700)?;
            }
            sync(&spool.folder)?;
            sync(state_dir)?;
        }
        files::trusted(&spool.folder).map_err(io::Error::other)?;
        spares::replenish(&spool.folder.join("spare"));
        Ok(spool)
    }

    /// Whether there is a spool.
    pub fn made(state_dir: &Path) -> bool {
        state_dir.join(FOLDER).is_dir()
    }

    /// Whether nothing is to be delivered, as far as one look into one folder can tell. A folder that cannot be
    /// read is not idle: [`Spool::open`] will say why.
    pub fn idle(state_dir: &Path) -> bool {
        match fs::read_dir(state_dir.join(FOLDER).join(Place::Pending.as_str())) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Takes the spool's lock, for what must not happen twice at once. To be held for moments: whoever waits for it
    /// gives up after five seconds.
    ///
    /// # Errors
    /// It cannot be opened, or somebody holds it for too long.
    pub fn lock(&self) -> io::Result<Locked<'_>> {
        let path = self.folder.join("lock");
        loop {
            let file = files::read_write().create(true).open(&path)?;
            files::lock(&file)?;
            if files::still_at(&file, &path)? {
                return Ok(Locked { spool: self, file });
            }
        }
    }

    /// How much waits; nothing where there is no spool yet. Makes nothing.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn waiting(state_dir: &Path) -> io::Result<Waiting> {
        let count = |name: &str| match fs::read_dir(state_dir.join(FOLDER).join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
            Ok(mut entries) => entries.try_fold(0, |count, entry| entry.map(|_| count + 1)),
        };
        Ok(Waiting {
            pending: count("pending")?,
            failed: count("failed")?,
            damaged: count("damaged")?,
        })
    }

    /// The names of the events that are there, sorted; none where there is no spool yet. Makes nothing.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn names(state_dir: &Path) -> io::Result<Vec<EventName>> {
        let mut names = BTreeSet::new();
        for place in Place::ALL {
            let folder = state_dir.join(FOLDER).join(place.as_str());
            let entries = match fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            for entry in entries {
                names.extend(EventName::parse(&entry?.file_name().to_string_lossy()));
            }
        }
        Ok(names.into_iter().collect())
    }

    /// The pending events, and of the others those of the same incidents: all that a decision about them needs. Takes
    /// no lock; what is moved meanwhile is in the listing once or not at all.
    ///
    /// # Errors
    /// A folder or a file cannot be read.
    pub fn unfinished(&self) -> io::Result<Listing> {
        self.list(true)
    }

    /// Every event.
    ///
    /// # Errors
    /// A folder or a file cannot be read.
    pub fn everything(&self) -> io::Result<Listing> {
        self.list(false)
    }

    fn list(&self, unfinished: bool) -> io::Result<Listing> {
        let mut names: BTreeMap<EventName, Place> = BTreeMap::new();
        let mut incidents = BTreeSet::new();
        let mut damaged = Vec::new();
        for place in Place::ALL {
            for entry in fs::read_dir(self.folder(place))? {
                let file = entry?.file_name();
                let file = file.to_string_lossy();
                let Some(name) = EventName::parse(&file) else {
                    damaged.push((place, file.into_owned()));
                    continue;
                };
                if place == Place::Pending {
                    incidents.insert(name.incident().to_owned());
                }
                if !unfinished || incidents.contains(name.incident()) {
                    names.insert(name, place);
                }
            }
        }
        let mut events = Vec::new();
        for (name, place) in names {
            match self.header(&name, place)? {
                Found::Gone => {}
                Found::Damaged => damaged.push((place, name.to_string())),
                Found::Whole(_, header) => {
                    let marks = header.rooms.into_iter().filter_map(|room| match room {
                        Room::Mark(escalator, mark) => Some((escalator, mark)),
                        Room::Free | Room::Damaged => None,
                    });
                    events.push(Event {
                        name,
                        place,
                        marks: marks.collect(),
                    });
                }
            }
        }
        Ok(Listing { events, damaged })
    }

    /// The JSON of an event; `None` when it is damaged or gone.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn json(&self, name: &EventName, place: Place) -> io::Result<Option<Vec<u8>>> {
        let Found::Whole(file, header) = self.header(name, place)? else {
            return Ok(None);
        };
        let mut bytes = vec![0; header.length.min(MOST_JSON)];
        match file.read_exact_at(&mut bytes, HEADER as u64) {
            Ok(()) => Ok(header.is_of(&bytes).then_some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the journal of this escalator, and with it the right to send it anything; `None` while somebody else has
    /// it, which includes an escalator that outlived whoever started it.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn journal(&self, escalator: &str) -> io::Result<Option<Journal>> {
        Journal::take(self, &self.folder.join("escalators").join(escalator))
    }

    /// The escalators that have ever been sent anything, and were not forgotten since.
    ///
    /// # Errors
    /// The folder cannot be read; one that is missing is empty.
    pub fn escalators(state_dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(state_dir.join(FOLDER).join("escalators")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn header(&self, name: &EventName, place: Place) -> io::Result<Found> {
        let path = self.folder(place).join(name.to_string());
        // Asked twice: a page is put aside for what stays wrong, not for what passes.
        let opened = files::read_write()
            .open(&path)
            .or_else(|error| match is_its_own(&error) {
                true => files::read_write().open(&path),
                false => Err(error),
            });
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Gone),
            // A descriptor too many is no reason to put a page aside.
            Err(error) if is_its_own(&error) => return Ok(Found::Damaged),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Ok(Found::Damaged);
        }
        let mut page = Vec::with_capacity(HEADER);
        (&file).take(HEADER as u64).read_to_end(&mut page)?;
        Ok(match spool::header(&page, name) {
            Some(header) => Found::Whole(file, header),
            None => Found::Damaged,
        })
    }

    fn folder(&self, place: Place) -> PathBuf {
        self.folder.join(place.as_str())
    }
}

/// Whether an error is the file's own fault, not the machine's.
fn is_its_own(error: &io::Error) -> bool {
    let fault = |fault: &Errno| error.raw_os_error() == Some(*fault as i32);
    error.kind() == io::ErrorKind::PermissionDenied || FAULTS.iter().any(fault)
}

enum Found {
    Gone,
    Damaged,
    Whole(File, Header),
}

/// The spool with its lock held. It ends with this value.
#[derive(Debug)]
pub struct Locked<'a> {
    spool: &'a Spool,
    file: File,
}

impl Drop for Locked<'_> {
    /// For everybody: a process that is being started at this moment has a copy of every descriptor.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Locked<'_> {
    /// Whether the spool has this event.
    ///
    /// # Errors
    /// A folder cannot be looked into.
    pub fn contains(&self, name: &EventName) -> io::Result<bool> {
        Ok(self.find(name)?.is_some())
    }

    /// Whether the spool has this event; if so it is durable when this returns, also where whoever put it was killed
    /// before he could make it so.
    ///
    /// # Errors
    /// A folder cannot be looked into or synced.
    pub fn keeps(&self, name: &EventName) -> io::Result<bool> {
        match self.find(name)? {
            Some(place) => sync(&self.spool.folder(place)).map(|()| true),
            None => Ok(false),
        }
    }

    fn find(&self, name: &EventName) -> io::Result<Option<Place>> {
        for place in Place::ALL {
            match fs::symlink_metadata(self.spool.folder(place).join(name.to_string())) {
                Ok(_) => return Ok(Some(place)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Puts an event into the spool; durable when it returns. An event that is there already stays as it is.
    ///
    /// # Errors
    /// The event is not as `docs/spool.md` has it (`InvalidInput`); or it could not be written, and is not there.
    pub fn put(&self, name: &EventName, json: &[u8]) -> io::Result<()> {
        let refused = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
        let content = spool::encode(name, json).map_err(refused)?;
        let pending = self.spool.folder(Place::Pending);
        if self.keeps(name)? {
            return Ok(());
        }
        let spare = self.spool.folder.join("spare");
        let written = match spares::write(&spare, &content) {
            Some(path) => path,
            None => spares::fresh(&spare, &content)?,
        };
        fs::rename(written, pending.join(name.to_string()))?;
        sync(&pending)
    }

    /// Sets marks of an event; durable when it returns. Rooms of escalators that `wanted` does not name may be taken.
    /// False when the event is gone or damaged, and there is nothing to set them in.
    ///
    /// # Errors
    /// They could not be written, or the event has no room left.
    pub fn mark(
        &self,
        name: &EventName,
        marks: &[(String, Mark)],
        wanted: &dyn Fn(&str) -> bool,
    ) -> io::Result<bool> {
        let Some(place) = self.find(name)? else {
            return Ok(false);
        };
        for (escalator, mark) in marks {
            let Found::Whole(file, header) = self.spool.header(name, place)? else {
                return Ok(false);
            };
            let room = header
                .room_for(escalator, wanted)
                .ok_or_else(|| io::Error::other(format!("{name} has no room for {escalator}")))?;
            let bytes = spool::mark(name, escalator, *mark);
            file.write_all_at(&bytes, spool::place_of(room))?;
            file.sync_data()?;
        }
        Ok(true)
    }

    /// Moves an event. One that is not there is moved already.
    ///
    /// # Errors
    /// The move failed.
    pub fn put_into(&self, name: &EventName, from: Place, to: Place) -> io::Result<()> {
        let file = name.to_string();
        let target = self.spool.folder(to);
        match fs::rename(self.spool.folder(from).join(&file), target.join(&file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.and_then(|()| sync(&target)),
        }
    }

    /// Removes an event; its file becomes a spare one if one is missing. One that is not there is removed already.
    ///
    /// # Errors
    /// The removal failed.
    pub fn remove(&self, name: &EventName) -> io::Result<()> {
        match self.find(name)? {
            Some(place) => {
                let path = self.spool.folder(place).join(name.to_string());
                spares::recycle(&self.spool.folder.join("spare"), &path)
            }
            None => Ok(()),
        }
    }

    /// Keeps a file aside that is no event, or not any more; returns where.
    ///
    /// # Errors
    /// The move failed.
    pub fn keep_aside(&self, place: Place, file: &str, now: Time) -> io::Result<PathBuf> {
        let aside = self.spool.folder.join("damaged");
        let path = aside.join(format!("{file}-{}", now.0));
        fs::rename(self.spool.folder(place).join(file), &path)?;
        sync(&aside)?;
        Ok(path)
    }
}

/// Makes what was renamed into or within a folder durable.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
