//! What of a snapshot an interrupted restore has put back already, the file `done`: one line for each file or link,
//! appended when it is in its place. Written without waiting for the disk: a line that is lost, cut or spoilt, and all
//! behind it, only means that those are put back again. It takes no line that it would not write itself.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::sys::files;
use crate::wire::manifest::Print;

/// The most bytes that are read; a line has at most 140, a snapshot 10,000 entries.
const MOST: u64 = 16 * 1024 * 1024;

/// The paths and entries, by their numbers in the manifest, with what was left in their places.
#[derive(Debug, Default)]
pub(super) struct Progress {
    done: HashMap<(usize, usize), Print>,
    /// Nothing is noted any more once that has failed: what is behind half a line would not be read.
    file: Option<File>,
}

impl Progress {
    /// What is noted there. Without the file everything is put back again, and nothing is noted.
    pub(super) fn open(path: &Path) -> Progress {
        open(path).unwrap_or_default()
    }

    /// Whether this is what a restore has left in the place of an entry.
    pub(super) fn knows(&self, place: (usize, usize), print: &Print) -> bool {
        self.done.get(&place) == Some(print)
    }

    /// Notes what was left in the place of an entry.
    pub(super) fn note(&mut self, place: (usize, usize), print: Print) {
        if let Some(file) = &mut self.file
            && file.write_all(line(place, &print).as_bytes()).is_err()
        {
            self.file = None;
        }
    }
}

fn open(path: &Path) -> io::Result<Progress> {
    let mut file = files::read_write().create(true).open(path)?;
    let mut bytes = Vec::new();
    (&file).take(MOST).read_to_end(&mut bytes)?;
    let (done, good) = parse(&bytes);
    file.set_len(good)?;
    file.seek(SeekFrom::Start(good))?;
    Ok(Progress {
        done,
        file: Some(file),
    })
}

fn line((path, entry): (usize, usize), print: &Print) -> String {
    let Print {
        dev,
        ino,
        size,
        ctime: (seconds, nanos),
    } = print;
    format!("{path} {entry} {dev} {ino} {size} {seconds} {nanos}\n")
}

/// The good lines at the beginning, the last of each entry, and how many bytes all of them are.
fn parse(bytes: &[u8]) -> (HashMap<(usize, usize), Print>, u64) {
    let mut done = HashMap::new();
    let mut good = 0;
    for text in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some((place, print)) = parse_line(text) else {
            break;
        };
        done.insert(place, print);
        good += text.len() as u64;
    }
    (done, good)
}

fn parse_line(text: &[u8]) -> Option<((usize, usize), Print)> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.strip_suffix('\n')?.split(' ');
    let place = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let print = Print {
        dev: words.next()?.parse().ok()?,
        ino: words.next()?.parse().ok()?,
        size: words.next()?.parse().ok()?,
        ctime: (words.next()?.parse().ok()?, words.next()?.parse().ok()?),
    };
    (line(place, &print) == text).then_some((place, print))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(ino: u64) -> Print {
        Print {
            dev: u64::MAX,
            ino,
            size: 3,
            ctime: (-4, 999_999_999),
        }
    }

    #[test]
    fn whatever_is_cut_or_spoilt_ends_what_is_known() {
        let (one, two) = (line((0, 7), &print(1)), line((1, 9_999), &print(2)));
        let both = format!("{one}{two}");
        for cut in 0..=both.len() {
            let (done, good) = parse(&both.as_bytes()[..cut]);
            let whole = usize::from(cut >= one.len()) + usize::from(cut == both.len());
            assert_eq!(done.len(), whole, "{cut}");
            assert_eq!(good as usize, [0, one.len(), both.len()][whole], "{cut}");
        }
        for bad in [
            "\n".to_owned(),
            "\0\0\0\n".to_owned(),
            format!("+{one}"),
            format!("0{one}"),
            format!(" {one}"),
            one.replace('\n', " \n"),
            one.replace('\n', " 1\n"),
            one.replace('\n', "\r\n"),
            one.replace(" 3 ", "  3 "),
            one.replace(" 3 ", " -3 "),
            one.replace(" 3 ", " "),
        ] {
            let (done, good) = parse(format!("{two}{bad}{one}").as_bytes());
            assert_eq!((done.len(), good as usize), (1, two.len()), "{bad:?}");
        }
    }

    #[test]
    fn the_last_line_of_an_entry_counts() {
        let lines = line((0, 7), &print(1)) + &line((0, 7), &print(2));
        let progress = Progress {
            done: parse(lines.as_bytes()).0,
            file: None,
        };
        assert!(progress.knows((0, 7), &print(2)));
        assert!(!progress.knows((0, 7), &print(1)));
        assert!(!progress.knows((7, 0), &print(2)));
    }
}
