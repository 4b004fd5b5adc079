//! The history file: `HEAL_STATE_DIR/history.jsonl`, appended under the lock of `history.head`, which
//! holds the digest of the last line so that the chain goes on over a rotation.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::sys::{clock, files};
use crate::wire::chronicle::chain::HEAD;
use crate::wire::chronicle::order::LIVE;
use crate::wire::history::{self, Event};

pub mod following;
pub mod reading;

/// How much of the end is read at first: most lines are far shorter.
const SHORT: usize = 2048;

/// How much of the end is read to find the last line. Lines are shorter: every text in them is bounded.
const TAIL: u64 = 64 * 1024;

/// The history of one host.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
}

impl History {
    /// The history in this state folder. Nothing is opened yet.
    pub fn new(state: &Path) -> History {
        History {
            folder: state.to_owned(),
        }
    }

    /// Whether a line could be appended.
    pub fn check(&self) -> io::Result<()> {
        files::read_write()
            .create(true)
            .open(self.folder.join(HEAD))?;
        files::open_log(&self.folder.join(LIVE))?;
        Ok(())
    }

    /// Appends one line, bound to the last one. Nothing depends on it: an error is for the log.
    pub fn append(&self, event: &Event<'_>) -> io::Result<()> {
        let head = files::read_write()
            .create(true)
            .open(self.folder.join(HEAD))?;
        files::lock(&head)?;
        let file = files::open_log(&self.folder.join(LIVE))?;
        let length = file.metadata()?.len();
        let (glue, prev) = if length == 0 {
            ("", last_before_rotation(&head))
        } else {
            after_the_end(&file, length)?
        };
        let line = history::line(clock::now(), event, &prev)?;
        let written = (&file).write(format!("{glue}{line}").as_bytes())?;
        if written != glue.len() + line.len() {
            file.set_len(length)?;
            return Err(io::Error::new(io::ErrorKind::StorageFull, "a line was cut"));
        }
        let named = head.write_all_at(history::digest(line.as_bytes()).as_bytes(), 0);
        if named.is_err() {
            // A line behind the one that the head names would be taken for a forged one.
            file.set_len(length)?;
        }
        named
    }
}

/// What the next line begins with and names, by the last line of a file of this length.
fn after_the_end(file: &File, length: u64) -> io::Result<(&'static str, String)> {
    let mut short = [0; SHORT];
    let most = length.min(SHORT as u64);
    let end = short.get_mut(..usize::try_from(most).unwrap_or(0));
    let end = end.unwrap_or_default();
    file.read_exact_at(end, length - most)?;
    if let Some(found) = history::after(end, most == length) {
        return Ok(found);
    }
    let most = length.min(TAIL);
    let mut long = vec![0; usize::try_from(most).unwrap_or(0)];
    file.read_exact_at(&mut long, length - most)?;
    // More that is no line than this was written by nobody here: it is named as it is.
    history::after(&long, true).ok_or_else(|| io::Error::other("has no last line"))
}

fn last_before_rotation(head: &File) -> String {
    let mut digest = [0; history::GENESIS.len()];
    let known =
        head.read_exact_at(&mut digest, 0).is_ok() && digest.iter().all(|b| b.is_ascii_hexdigit());
    if known {
        String::from_utf8_lossy(&digest).into_owned()
    } else {
        history::GENESIS.to_owned()
    }
}
