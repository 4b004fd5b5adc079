//! Folders and files of which it matters who else may change them. Refuses what another account
//! could swap, and follows no symbolic link where a file is written.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access, geteuid};

use crate::sys::unfit::Unfit;
use crate::sys::{identity, viewpoint};

/// Opens for reading, following no link in the last place.
pub fn read_only() -> OpenOptions {
    let mut options = File::options();
    options
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    options
}

/// Opens for reading and writing with mode 0600 where it is made, following no link in the last place.
pub fn read_write() -> OpenOptions {
    let mut options = read_only();
    options.write(true).mode(0o600);
    options
}

/// Opens a log for reading and appending, made with mode 0640 where it is missing. Follows no link in the
/// last place and takes nothing but a regular file: a pipe could hold the writer up.
pub fn open_log(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// Makes the folder with this mode unless it exists. Parents are not made: their owner is the
/// administrator's choice (tmpfiles.d, StateDirectory=).
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// How many links are followed on the way to one file, as the kernel has it (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// Bytes that a real path has from the start, so that it rarely moves as it grows.
const ROOM: usize = 256;

/// Whether [`make_folder`] would find the folder or could make it, for whose [`viewpoint`] it is; nothing is made.
///
/// # Errors
/// As it would fail.
pub fn could_make_folder(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            if viewpoint::may(&std::fs::metadata(parent)?, 0o3) {
                Ok(())
            } else {
                Err(io::Error::from(io::ErrorKind::PermissionDenied))
            }
        }
        other => other.map(drop),
    }
}

/// Mode and owner of what is at this path, for a person; why not, where it cannot be asked.
pub fn described(path: &Path) -> String {
    match std::fs::metadata(path) {
        Ok(meta) => {
            let owner = identity::name_of(meta.uid());
            format!("mode {:04o}, owner {owner}", meta.mode() & 0o7777)
        }
        Err(error) => error.to_string(),
    }
}

/// Whether there is anything at this path; so it seems, where that cannot be asked.
pub fn is_there(path: &Path) -> bool {
    path.symlink_metadata()
        .map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
}

/// The real path of `path` if nobody but root and the current account can change it or any folder on
/// its way, else the reason. A folder that others may write to is accepted on the way when it is sticky and the
/// next step belongs to root or the current account: nobody else can swap that (inode(7), S_ISVTX). Every step is
/// looked at once, those behind each link too.
pub fn trusted(path: &Path) -> Result<PathBuf, String> {
    relied_on(path).map_err(String::from)
}

/// The same, where it matters whether the machine failed.
///
/// # Errors
/// Why it is not to be relied on.
pub fn relied_on(path: &Path) -> Result<PathBuf, Unfit> {
    let at = |error: io::Error| Unfit::met(path, &error);
    let us = viewpoint::uid();
    let mut ahead = std::path::absolute(path).map_err(at)?;
    let (mut real, mut links) = (PathBuf::with_capacity(ROOM), 0);
    loop {
        let mut steps = ahead.components();
        let link = loop {
            match steps.next() {
                None => return Ok(real),
                Some(Component::CurDir) => continue,
                Some(Component::ParentDir) => {
                    real.pop();
                    continue;
                }
                // That of an absolute path is `/`, which leads there from anywhere.
                Some(step) => real.push(step),
            }
            let meta = std::fs::symlink_metadata(&real).map_err(at)?;
            let last = steps.as_path().as_os_str().is_empty();
            step_is_trusted(&meta, us, last)
                .map_err(|why| Unfit::itself(format!("{} {why}", real.display())))?;
            if meta.is_symlink() {
                break std::fs::read_link(&real).map_err(at)?;
            }
        };
        links += 1;
        if links > MOST_LINKS {
            return Err(at(io::Error::from_raw_os_error(nix::libc::ELOOP)));
        }
        real.pop();
        ahead = link.join(steps.as_path());
    }
}

fn step_is_trusted(meta: &Metadata, us: u32, last: bool) -> Result<(), String> {
    owner_is(meta, us)?;
    if meta.is_symlink() {
        return Ok(());
    }
    let sticky = meta.is_dir() && meta.mode() & 0o1000 != 0 && !last;
    if meta.mode() & 0o022 != 0 && !sticky {
        return Err(format!(
            "is writable by group or others (mode {:04o}): chmod go-w",
            meta.mode() & 0o7777
        ));
    }
    Ok(())
}

/// Makes the folder if need be and sees that nobody else may change it and that this account may write in it.
///
/// # Errors
/// One sentence that names the folder.
pub fn writable_folder(path: &Path) -> Result<(), String> {
    make_folder(path, 0o700).map_err(|e| format!("{}: cannot be made: {e}", path.display()))?;
    trusted(path)?;
    access(path, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|e| format!("{}: not writable for this account: {e}", path.display()))
}

/// Whether the file system of this folder has no block left for this account. What cannot be asked is not full.
pub fn full(path: &Path) -> bool {
    statvfs(path).is_ok_and(|space| {
        let free = if geteuid().is_root() {
            space.blocks_free()
        } else {
            space.blocks_available()
        };
        space.blocks() > 0 && free == 0
    })
}

/// Root and the account whose [`viewpoint`] it is (the current one, as a rule) are trusted, nobody else.
pub fn owner_is_trusted(meta: &Metadata) -> Result<(), String> {
    owner_is(meta, viewpoint::uid())
}

fn owner_is(meta: &Metadata, us: u32) -> Result<(), String> {
    if meta.uid() == 0 || meta.uid() == us {
        return Ok(());
    }
    Err(format!(
        "belongs to uid {}, not to root or uid {us}",
        meta.uid()
    ))
}

/// Whether two descriptions are of one file.
pub fn same_file(one: &Metadata, other: &Metadata) -> bool {
    one.dev() == other.dev() && one.ino() == other.ino()
}

/// How long a file of ours may be locked by another process. Updates take milliseconds; whoever holds it
/// longer is stopped or wedged.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the file's exclusive lock (flock(2)), for an update. It ends with the file.
pub fn lock(file: &File) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other("locked by another process for too long"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether the path still leads to this open file: whoever locks a file asks afterwards, because it may have been
/// removed or replaced while he waited.
pub fn still_at(file: &File, path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok(same_file(&there, &file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The content of a regular file of at most `most` bytes.
pub fn read_bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut options = File::options();
    let mut file = options
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let too_large = || io::Error::other(format!("larger than {most} bytes"));
    if meta.len() > most {
        return Err(too_large());
    }
    // One more than it says: a file that grows meanwhile is seen to.
    let bytes = read_all(&mut file, meta.len() + 1, most)?;
    if bytes.len() as u64 > most {
        return Err(too_large());
    }
    Ok(bytes)
}

/// The content of a file of the kernel's (proc(5)), which has no size to ask for: read in one piece, as a rule.
pub fn read_of_kernel(path: &str) -> io::Result<Vec<u8>> {
    read_all(&mut File::open(path)?, 4096, u64::MAX)
}

/// What is in this file from here on, or its beginning if that is more than `most` bytes: in one piece and one look
/// for its end, if it is shorter than `size`. std asks for the size again, and reads in smaller steps.
fn read_all(file: &mut File, size: u64, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size.max(1)).unwrap_or(4096)];
    let mut filled = 0;
    while filled as u64 <= most {
        if filled == bytes.len() {
            bytes.resize(2 * filled, 0);
        }
        match file.read(bytes.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Empty, with room for so many bytes and the look behind them: else std reads in small steps.
pub fn room(size: u64) -> Vec<u8> {
    Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(64))
}

/// Puts a file that everybody may read (0644) in place in one step: whoever reads it sees the old one or the new one,
/// whole. A link in the last place is replaced and not followed. Not synced: it is made anew before long.
pub fn publish(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("names no file"))?;
    let mut aside = OsString::from(".");
    aside.push(name);
    aside.push(format!(".{}", std::process::id()));
    let aside = path.with_file_name(aside);
    // Left by a process of this id that died.
    let _ = std::fs::remove_file(&aside);
    let put = read_write()
        .create_new(true)
        .open(&aside)
        .and_then(|mut file| {
            file.write_all(content)?;
            // Whatever the umask.
            file.set_permissions(Permissions::from_mode(0o644))?;
            std::fs::rename(&aside, path)
        });
    if put.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    put
}

/// How long a file is now; 0 where that cannot be told.
pub fn length(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.len())
}

/// How long the file at this path is; 0 where that cannot be told.
pub fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// The last `most` bytes of a file, from `from` on, as text; empty where there is nothing to read.
pub fn tail(path: &Path, from: u64, most: usize) -> String {
    let read = || {
        let mut file = read_only().open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        // A log that was rotated meanwhile is shorter.
        let from = if from <= meta.len() { from } else { 0 };
        let start = from.max(meta.len().saturating_sub(most as u64));
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes: io::Result<Vec<u8>> = read();
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("self-heal-files-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_folder_on_the_way_that_others_may_write_to_is_named() {
        let top = folder("way");
        let inner = top.join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(trusted(&inner), Ok(fs::canonicalize(&inner).unwrap()));
        fs::set_permissions(&top, fs::Permissions::from_mode(0o775)).unwrap();
        let why = trusted(&inner).unwrap_err();
        assert!(
            why.contains("writable by group") && why.contains("0775"),
            "{why}"
        );
        fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn the_tail_of_a_log_begins_where_the_run_did() {
        let top = folder("tail");
        let log = top.join("log");
        assert_eq!(tail(&log, 0, 5), "");
        fs::write(&log, "before|run").unwrap();
        assert_eq!(tail(&log, 7, 100), "run");
        assert_eq!(tail(&log, 7, 2), "un");
        assert_eq!(tail(&log, 0, 5), "e|run");
        assert_eq!(tail(&log, 99, 3), "run", "rotated");
        assert_eq!(tail(&top, 0, 3), "");
        fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn what_is_published_takes_the_place_of_what_was_there_and_of_no_more() {
        let top = folder("publish");
        let path = top.join("self-heal.prom");
        publish(&path, b"one").unwrap();
        let before = fs::File::open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        publish(&path, b"two").unwrap();
        let mut old = String::new();
        (&before).read_to_string(&mut old).unwrap();
        assert_eq!(
            (old.as_str(), fs::read(&path).unwrap()),
            ("one", b"two".to_vec())
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);

        let secret = top.join("secret");
        fs::write(&secret, "kept").unwrap();
        let link = top.join("link.prom");
        symlink(&secret, &link).unwrap();
        publish(&link, b"three").unwrap();
        assert_eq!(fs::read(&secret).unwrap(), b"kept");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());

        fs::create_dir(top.join("folder.prom")).unwrap();
        assert!(publish(&top.join("folder.prom"), b"").is_err());
        assert!(publish(&top.join("none/a.prom"), b"").is_err());
        assert!(publish(Path::new("/"), b"").is_err());
        let left = fs::read_dir(&top).unwrap().count();
        assert_eq!(left, 4, "nothing is left beside them");
        fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn a_sticky_folder_is_accepted_on_the_way_only() {
        let top = folder("sticky");
        let inner = top.join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(&top, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(trusted(&inner).is_ok());
        assert!(trusted(&top).is_err());
        fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn a_link_that_others_could_swap_is_found_between_two_that_they_could_not() {
        let top = folder("links");
        let (open, real) = (top.join("open"), top.join("real"));
        for (folder, mode) in [(&open, 0o777), (&real, 0o755)] {
            fs::create_dir(folder).unwrap();
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("../real/.", open.join("second")).unwrap();
        symlink("open/./second", top.join("first")).unwrap();
        let why = trusted(&top.join("first")).unwrap_err();
        assert!(why.contains("open is writable"), "{why}");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let found = trusted(&top.join("first"));
        assert_eq!(found, Ok(fs::canonicalize(&real).unwrap()));
        symlink("loop", top.join("loop")).unwrap();
        let why = trusted(&top.join("loop")).unwrap_err();
        assert!(why.contains("symbolic links"), "{why}");
        fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn the_way_behind_a_link_is_judged_too() {
        let top = folder("link");
        let open = top.join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(open.join("file"), "").unwrap();
        fs::set_permissions(open.join("file"), fs::Permissions::from_mode(0o600)).unwrap();
        let link = top.join("link");
        symlink(open.join("file"), &link).unwrap();
        assert!(trusted(&link).unwrap_err().contains("open is writable"));
        fs::remove_dir_all(&top).unwrap();
    }
}
