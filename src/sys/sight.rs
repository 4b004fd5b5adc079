//! Looking at files and folders without touching them, for somebody who wants to know what the [`viewpoint`]'s account
//! could do there. It opens what it has to read and nothing else, and says apart what is not there from what this
//! process may not see.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::sys::{files, viewpoint};

/// The most names of one folder that are looked at.
const MOST: usize = 100_000;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// This.
    There(Thing),
    /// Nothing.
    Missing,
    /// This process may not look.
    Hidden,
    /// It cannot be told, and why.
    Odd(String),
}

/// A file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thing {
    /// Whose it is.
    pub uid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Whether it is a folder.
    pub folder: bool,
    /// Whether it is a regular file.
    pub file: bool,
}

/// Looks at a path, through links.
pub fn at(path: &Path) -> Sight {
    sight(fs::metadata(path))
}

/// Looks at a path, a link itself if it is one.
pub fn itself(path: &Path) -> Sight {
    sight(fs::symlink_metadata(path))
}

fn sight(found: io::Result<Metadata>) -> Sight {
    match found {
        Ok(meta) => Sight::There(Thing {
            uid: meta.uid(),
            mode: meta.mode() & 0o7777,
            folder: meta.is_dir(),
            file: meta.is_file(),
        }),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Sight::Missing,
            io::ErrorKind::PermissionDenied => Sight::Hidden,
            _ => Sight::Odd(error.to_string()),
        },
    }
}

/// Whether the viewer may do this (bits of `rwx`) at a path.
///
/// # Errors
/// Why not, in words.
pub fn allowed(path: &Path, want: u32) -> Result<(), String> {
    let doing = [(0o4, "read"), (0o2, "write"), (0o1, "enter or execute")];
    for (bit, verb) in doing.into_iter().filter(|(bit, _)| want & bit != 0) {
        viewpoint::allows(path, bit).map_err(|errno| match errno {
            Errno::EROFS => "the file system is read-only".to_owned(),
            errno => format!("may not {verb} it: {}", errno.desc()),
        })?;
    }
    Ok(())
}

/// The first folder on the way to a path that the viewer may not pass.
pub fn barrier(path: &Path) -> Option<PathBuf> {
    let mut way: Vec<&Path> = path.ancestors().skip(1).collect();
    way.reverse();
    way.into_iter()
        .find(|folder| viewpoint::allows(folder, 0o1).is_err())
        .map(Path::to_owned)
}

/// The names in a folder, sorted.
///
/// # Errors
/// As the file system gives them.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)?.take(MOST) {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The content of a regular file of at most `most` bytes.
///
/// # Errors
/// As the file system gives them.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    files::read_bytes(path, most)
}

/// Where a path leads, every link resolved; the path itself where that cannot be told.
pub fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The files below a folder that the viewer may not write to, links among them, and how many were looked at. Only those
/// that `ours` knows by their path below the folder, and what is in folders that it knows.
///
/// # Errors
/// A folder cannot be read.
pub fn unwritable(
    folder: &Path,
    ours: &dyn Fn(&Path) -> bool,
) -> io::Result<(Vec<PathBuf>, usize)> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            let path = entry.path();
            let inside = path.strip_prefix(folder).unwrap_or(&path);
            if looked_at >= MOST || !ours(inside) {
                continue;
            }
            looked_at += 1;
            // What vanishes meanwhile is nobody's trouble.
            let Ok(meta) = entry.metadata() else { continue };
            let want = if meta.is_dir() { 0o7 } else { 0o6 };
            if meta.is_symlink() || !viewpoint::may(&meta, want) {
                found.push(path);
            } else if meta.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    Ok((found, looked_at))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_there_and_what_is_not() {
        let top = std::env::temp_dir().join(format!("self-heal-sight-{}", std::process::id()));
        fs::create_dir(&top).unwrap();
        fs::write(top.join("b"), "text").unwrap();
        symlink("nowhere", top.join("a")).unwrap();
        assert_eq!(names(&top).unwrap(), ["a", "b"]);
        assert!(matches!(at(&top.join("b")), Sight::There(thing) if thing.file && !thing.folder));
        assert_eq!(at(&top.join("a")), Sight::Missing);
        assert!(matches!(itself(&top.join("a")), Sight::There(_)));
        assert_eq!(at(&top.join("c")), Sight::Missing);
        assert!(matches!(at(&top.join("b/c")), Sight::Odd(_)));
        assert_eq!(barrier(&top.join("b/c")), Some(top.join("b")));
        assert_eq!(barrier(&top.join("b")), None);
        // A link in the place of a record is not followed.
        let (found, looked_at) = unwritable(&top, &|_| true).unwrap();
        assert_eq!((found, looked_at), (vec![top.join("a")], 2));
        assert_eq!(
            unwritable(&top, &|path| path == Path::new("b")).unwrap().1,
            1
        );
        fs::remove_dir_all(&top).unwrap();
    }
}
