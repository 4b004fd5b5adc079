//! The history's lines as they come: read on where a [`Chronicle`] ends, and over rotations. A rotation is a rename: the old file
//! is read to its end under the lock of `history.head`, when nobody appends, then what came between, then the new file.
//! It waits for nothing; whoever follows looks again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::History;
use super::reading::{Chronicle, LONGEST, Piece};
use crate::sys::files;
use crate::wire::chronicle::order::{LIVE, Rank};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// What becomes of a line.
type Take<'a, E> = &'a mut dyn FnMut(&[u8]) -> Result<(), E>;

/// Where somebody has got to who follows the history.
#[derive(Debug)]
pub struct Follower {
    history: History,
    reading: Option<Reading>,
}

/// The file that is written to, or the last one that was, and how far it was read.
#[derive(Debug)]
struct Reading {
    file: File,
    at: u64,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
}

impl History {
    /// Goes on where this chronicle, opened of this history, ends.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn follow(self, chronicle: &Chronicle) -> io::Result<Follower> {
        let reading = chronicle.files.last().map(Reading::behind).transpose()?;
        Ok(Follower {
            history: self,
            reading,
        })
    }
}

impl Follower {
    /// Hands the lines on that have come since the last look; of one that is longer than 1 MiB, the beginning.
    ///
    /// # Errors
    /// A file cannot be read; or what whoever takes the lines has come to: then some of them are lost.
    pub fn more<E: From<io::Error>>(&mut self, take: Take<'_, E>) -> Result<(), E> {
        let path = self.history.folder.join(LIVE);
        let Some(reading) = &mut self.reading else {
            return self.enter(None, take);
        };
        reading.on(take)?;
        if !files::still_at(&reading.file, &path)? && path.exists() {
            let left = self.reading.take();
            self.enter(left, take)?;
        }
        Ok(())
    }

    /// Ends the file that was read, takes whole files that came after it, and goes on in the one that is written to.
    fn enter<E: From<io::Error>>(
        &mut self,
        left: Option<Reading>,
        take: Take<'_, E>,
    ) -> Result<(), E> {
        let chronicle = self.history.chronicle(None)?;
        let mut files = chronicle.files.as_slice();
        if let Some(mut left) = left {
            // Whoever had it open when it was renamed has written by now: he held the lock that the chronicle waited for.
            left.on(take)?;
            left.end(take)?;
            let meta = left.file.metadata()?;
            let place = files.iter().position(|piece| {
                let other = piece.file.metadata();
                other.is_ok_and(|other| files::same_file(&meta, &other))
            });
            // Compressed already, it is another file: then none came between.
            let last = files.len().saturating_sub(1);
            self.reading = Some(left);
            files = files
                .get(place.map_or(last, |place| place + 1)..)
                .unwrap_or_default();
        }
        for piece in files {
            let mut reading = Reading::behind(piece)?;
            if piece.ends.rank == Rank::Live {
                reading.at = 0;
                reading.on(take)?;
            } else {
                let mut source = piece.lines()?;
                while let Some(line) = source.read_on()? {
                    take(line)?;
                }
            }
            self.reading = Some(reading);
        }
        Ok(())
    }
}

impl Reading {
    fn behind(piece: &Piece) -> io::Result<Reading> {
        Ok(Reading {
            file: piece.file.try_clone()?,
            at: piece.end,
            begun: Vec::new(),
        })
    }

    /// Reads to the end.
    fn on<E: From<io::Error>>(&mut self, take: Take<'_, E>) -> Result<(), E> {
        if files::length(&self.file) < self.at {
            // Cut to nothing by copytruncate.
            self.at = 0;
            self.begun.clear();
        }
        let mut chunk = vec![0; CHUNK];
        let longest = usize::try_from(LONGEST).unwrap_or(usize::MAX);
        loop {
            let read = self.file.read_at(&mut chunk, self.at)?;
            if read == 0 {
                return Ok(());
            }
            self.at += read as u64;
            for piece in chunk
                .get(..read)
                .unwrap_or_default()
                .split_inclusive(|byte| *byte == b'\n')
            {
                let (text, ends) = match piece.strip_suffix(b"\n") {
                    Some(text) => (text, true),
                    None => (piece, false),
                };
                let room = longest.saturating_sub(self.begun.len()).min(text.len());
                self.begun
                    .extend_from_slice(text.get(..room).unwrap_or_default());
                if ends {
                    self.end(take)?;
                }
            }
        }
    }

    /// What was begun is a line. An empty one only ends a line that a crash had cut.
    fn end<E>(&mut self, take: Take<'_, E>) -> Result<(), E> {
        let line = std::mem::take(&mut self.begun);
        if line.is_empty() { Ok(()) } else { take(&line) }
    }
}
