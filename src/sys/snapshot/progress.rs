//! How far a restore has come, beside the copies: what was put back has a new inode, and a restore that was killed, or
//! ended at its bound, would take it for changed and begin anew for ever. One line a thing; nothing depends on a
//! line that is lost or cut: that thing is put back again.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::sys::files;
use crate::wire::manifest::Print;
use crate::wire::records::hex;

/// The file, in the snapshot's folder.
pub(super) const DONE: &str = "done";

/// The largest file that is read: 10,000 lines of the longest names.
const LARGEST: u64 = 128 << 20;

/// What was put back of one snapshot.
pub(super) struct Progress {
    /// None where there is no room for it: then a restore that is cut short begins anew.
    file: Option<File>,
    known: HashMap<String, Print>,
}

impl Progress {
    pub(super) fn open(folder: &Path) -> Progress {
        let path = folder.join(DONE);
        let bytes = files::read_bytes(&path, LARGEST).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // A last line without its end was cut.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut file = files::read_write()
            .create(true)
            .append(true)
            .open(&path)
            .ok();
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            // What is appended must not be taken for its rest.
            file = file.and_then(|mut file| file.write_all(b"\n").ok().map(|()| file));
        }
        Progress {
            file,
            known: whole.lines().filter_map(read).collect(),
        }
    }

    /// Whether this thing is as this restore, begun earlier, left it.
    pub(super) fn has(&self, number: usize, name: &[u8], print: &Print) -> bool {
        self.known.get(&key(number, name)) == Some(print)
    }

    /// Notes that this thing was put back. What cannot be noted is done again.
    pub(super) fn note(&mut self, number: usize, name: &[u8], place: &Path) {
        let Ok(meta) = fs::symlink_metadata(place) else {
            return;
        };
        let line = format!(
            "{} {} {} {} {} {}\n",
            key(number, name),
            meta.dev(),
            meta.ino(),
            meta.size(),
            meta.ctime(),
            meta.ctime_nsec()
        );
        if let Some(file) = &mut self.file {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

fn key(number: usize, name: &[u8]) -> String {
    format!("{number}/{}", hex(name))
}

fn read(line: &str) -> Option<(String, Print)> {
    let mut words = line.split(' ');
    let key = words.next()?.to_owned();
    let print = Print {
        dev: words.next()?.parse().ok()?,
        ino: words.next()?.parse().ok()?,
        size: words.next()?.parse().ok()?,
        ctime: (words.next()?.parse().ok()?, words.next()?.parse().ok()?),
    };
    words.next().is_none().then_some((key, print))
}
