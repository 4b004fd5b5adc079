//! The history's files, for reading: the one that is written to and what rotations left of it, compressed or not, oldest
//! first. They are opened under the lock of `history.head`, so that no line is half there and none is between two files.
//! Nothing is made, and a file is bounded: a line at 1 MiB, what gzip(1) makes of a file at 1 GiB.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, PipeReader, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{History, TAIL};
use crate::judge::Time;
use crate::sys::apart::Apart;
use crate::sys::files;
use crate::wire::chronicle::Entry;
use crate::wire::chronicle::chain::{self, HEAD};
use crate::wire::chronicle::order::{self, Ends, LIVE, Rank};

/// The longest line that is read whole; the history's own are shorter than 64 KiB.
pub(super) const LONGEST: u64 = 1024 * 1024;

/// How many lines of a file may be damaged before its first instant is given up.
const FIRST_LINES: usize = 20;

/// The most bytes that a compressed file may become: years of a busy host.
const MOST: u64 = 1 << 30;

/// What reads a compressed file.
const GZIP: &str = "/usr/bin/gzip";

/// The most that is shown of what gzip complains.
const COMPLAINT: u64 = 512;

/// How often the files are looked for again when a rotation comes between.
const TRIES: u32 = 5;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// The history as it is on the disk.
#[derive(Debug)]
pub struct Chronicle {
    /// Its files, oldest first.
    pub files: Vec<Piece>,
    /// What `history.head` holds, if there is one.
    pub head: Option<Vec<u8>>,
    /// The files that begin like it and cannot be read, a sentence each.
    pub left_out: Vec<String>,
}

/// One of its files.
#[derive(Debug)]
pub struct Piece {
    /// Its name.
    pub name: String,
    /// What tells its place.
    pub ends: Ends,
    pub(super) file: File,
    gzipped: bool,
    /// How much of it is read: what was there when it was opened.
    pub(super) end: u64,
}

/// The lines of a file, one after the other.
#[derive(Debug)]
pub struct Lines {
    source: BufReader<Source>,
    line: Vec<u8>,
    inflated: u64,
}

#[derive(Debug)]
enum Source {
    Plain {
        file: File,
        at: u64,
        end: u64,
    },
    Gzip {
        program: Apart,
        out: PipeReader,
        complaint: File,
    },
}

impl History {
    /// Opens the files for reading; not those whose last change was before `since`. No folder: no history.
    ///
    /// # Errors
    /// The folder or a file in it may not be read by this account.
    pub fn chronicle(&self, since: Option<Time>) -> io::Result<Chronicle> {
        let head = match files::read_only().open(self.folder.join(HEAD)) {
            Ok(head) => Some(head),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(head) = &head {
            files::lock(head)?;
        }
        let mut found = self.opened(since)?;
        // A rotation does not take that lock.
        for _ in 1..TRIES {
            let again = self.opened(since)?;
            let same = identities(&found) == identities(&again);
            found = again;
            if same {
                break;
            }
        }
        let mut bytes = Vec::new();
        if let Some(head) = &head {
            head.take(LONGEST).read_to_end(&mut bytes)?;
        }
        // With the head's file, its lock ends here.
        found.head = head.map(|_| bytes);
        for piece in &mut found.files {
            piece.look_at_ends();
        }
        let ends: Vec<Ends> = found.files.iter().map(|piece| piece.ends.clone()).collect();
        let mut unplaced: Vec<Option<Piece>> = found.files.into_iter().map(Some).collect();
        let places = order::order(&ends);
        found.files = places
            .into_iter()
            .filter_map(|place| unplaced.get_mut(place)?.take())
            .collect();
        Ok(found)
    }

    fn opened(&self, since: Option<Time>) -> io::Result<Chronicle> {
        let mut found = Chronicle {
            files: Vec::new(),
            head: None,
            left_out: Vec::new(),
        };
        let names = match names(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            other => other?,
        };
        for name in &names {
            let Some((rank, gzipped)) = order::rank(name) else {
                found.left_out.push(format!("{name}: left out: that is no name that a rotation gives, or compressed by another program than gzip"));
                continue;
            };
            // While it is compressed there are two of it, and one that is whole.
            if gzipped
                && names
                    .iter()
                    .any(|other| Some(other.as_str()) == name.strip_suffix(".gz"))
            {
                continue;
            }
            let opened = match files::read_only().open(self.folder.join(name)) {
                // It was rotated on just now: the next look finds it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other,
            };
            let piece = opened.and_then(|file| Piece::of(name, rank, gzipped, file));
            match piece {
                Ok((piece, changed)) => {
                    let old = since.is_some_and(|since| changed < since);
                    if !old || piece.ends.rank == Rank::Live {
                        found.files.push(piece);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let why = format!("{name}: {error}");
                    return Err(io::Error::new(error.kind(), why));
                }
                Err(error) => found.left_out.push(format!("{name}: left out: {error}")),
            }
        }
        Ok(found)
    }
}

/// The names in the folder that begin like the history's, sorted.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(LIVE) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Which files they are, whatever their names.
fn identities(chronicle: &Chronicle) -> Vec<(String, Option<(u64, u64)>)> {
    let identity = |piece: &Piece| {
        let meta = piece.file.metadata().ok();
        (
            piece.name.clone(),
            meta.map(|meta| (meta.dev(), meta.ino())),
        )
    };
    chronicle.files.iter().map(identity).collect()
}

impl Piece {
    /// The file, and when it was last changed.
    fn of(name: &str, rank: Rank, gzipped: bool, file: File) -> io::Result<(Piece, Time)> {
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let ends = Ends {
            rank,
            first_prev: None,
            first_at: None,
            last: None,
        };
        let changed = Time(meta.mtime().saturating_mul(1000).saturating_add(999));
        let piece = Piece {
            name: name.to_owned(),
            ends,
            file,
            gzipped,
            end: meta.len(),
        };
        Ok((piece, changed))
    }

    /// What cannot be read here is told by whoever reads the lines.
    fn look_at_ends(&mut self) {
        if let Ok(mut lines) = self.lines() {
            for number in 0..FIRST_LINES {
                let Ok(Some(line)) = lines.read_on() else {
                    break;
                };
                if number == 0 {
                    self.ends.first_prev = chain::prev(line);
                }
                if let Some(entry) = Entry::parse(line) {
                    self.ends.first_at = Some(entry.at);
                    break;
                }
            }
        }
        self.ends.last = if self.gzipped {
            None
        } else {
            self.last_digest().ok().flatten()
        };
    }

    fn last_digest(&self) -> io::Result<Option<chain::Digest>> {
        let size = self.end.min(TAIL);
        let mut tail = vec![0; usize::try_from(size).unwrap_or(0)];
        self.file.read_exact_at(&mut tail, self.end - size)?;
        Ok(chain::last(&tail, size == self.end).map(|last| last.digest))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Its lines, from the first one.
    ///
    /// # Errors
    /// gzip(1) cannot be started.
    pub fn lines(&self) -> io::Result<Lines> {
        let mut file = self.file.try_clone()?;
        let source = if self.gzipped {
            file.rewind()?;
            Source::gzip(file)?
        } else {
            Source::Plain {
                file,
                at: 0,
                end: self.end,
            }
        };
        Ok(Lines {
            source: BufReader::with_capacity(CHUNK, source),
            line: Vec::new(),
            inflated: 0,
        })
    }
}

impl Lines {
    /// The next line, its end left away; of one that is longer than 1 MiB, the beginning.
    ///
    /// # Errors
    /// It cannot be read on: what follows is not known.
    pub fn read_on(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let read = (&mut self.source)
            .take(LONGEST)
            .read_until(b'\n', &mut self.line)?;
        if read == 0 {
            self.source.get_mut().ended()?;
            return Ok(None);
        }
        self.inflated += read as u64;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if read as u64 == LONGEST {
            self.inflated += self.source.skip_until(b'\n')? as u64;
        }
        if self.inflated > MOST && matches!(self.source.get_ref(), Source::Gzip { .. }) {
            return Err(io::Error::other(format!("becomes more than {MOST} bytes")));
        }
        Ok(Some(&self.line))
    }
}

impl Source {
    fn gzip(file: File) -> io::Result<Source> {
        let complaint = File::from(memfd_create(c"complaint", MFdFlags::MFD_CLOEXEC)?);
        let (out, into) = io::pipe()?;
        let streams = [file.as_fd(), into.as_fd(), complaint.as_fd()];
        let started = Apart::start(GZIP, &[OsStr::new("-dc")], None, streams);
        let program = started.map_err(|error| {
            let why = format!("{GZIP} cannot be run: {error}");
            io::Error::new(error.kind(), why)
        })?;
        Ok(Source::Gzip {
            program,
            out,
            complaint,
        })
    }

    /// A program that ended ill has not told everything.
    fn ended(&mut self) -> io::Result<()> {
        let Source::Gzip {
            program, complaint, ..
        } = self
        else {
            return Ok(());
        };
        let status = program.wait()?;
        if status.success() {
            return Ok(());
        }
        let mut text = String::new();
        complaint.rewind()?;
        let _ = complaint.take(COMPLAINT).read_to_string(&mut text);
        let words: Vec<&str> = text.split_whitespace().collect();
        Err(io::Error::other(format!(
            "gzip failed ({status}): {}",
            words.join(" ")
        )))
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Gzip { out, .. } => out.read(buffer),
            Source::Plain { file, at, end } => {
                let most = usize::try_from(*end - *at)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                let room = buffer.get_mut(..most).unwrap_or_default();
                let read = file.read_at(room, *at)?;
                *at += read as u64;
                Ok(read)
            }
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Source::Gzip { program, .. } = self {
            // It may be at work still, for a reader that has seen enough.
            program.kill();
            let _ = program.wait();
        }
    }
}
