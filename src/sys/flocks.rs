//! Who holds flock(2) on a file, as the kernel tells of it: looked at, never tried, so that nobody who wants the lock
//! ever finds it taken by whoever only asks.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::stat::{major, minor};

use crate::sys::files;

/// A lock that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flock {
    /// Who called flock(2), or has the file open that it was called on; 0 where the kernel does not say.
    pub pid: i32,
    /// Whether it is a shared lock.
    pub shared: bool,
}

/// The locks on the file at `path`; none, if there is no file.
///
/// # Errors
/// The file cannot be opened for reading, or /proc not be read.
pub fn of(path: &Path) -> io::Result<Vec<Flock>> {
    let file = match files::read_only().open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        let why = format!("{} is not a regular file", path.display());
        return Err(io::Error::other(why));
    }
    let mut found = listed(&file)?;
    if found.is_empty() {
        // Inside another pid namespace than the first, a lock whose caller is dead is not listed (locks_show,
        // fs/locks.c); whoever still has the file open tells of it in fdinfo.
        found.extend(keepers(&meta)?);
    }
    Ok(found.into_iter().collect())
}

/// Whether somebody holds a lock on the folder at `path` who has called flock(2) himself: nobody inherits those.
///
/// # Errors
/// The folder cannot be opened for reading, or /proc not be read.
pub fn any_on_folder(path: &Path) -> io::Result<bool> {
    let folder = files::read_only().open(path)?;
    Ok(!listed(&folder)?.is_empty())
}

fn listed(file: &File) -> io::Result<BTreeSet<Flock>> {
    let wanted = as_the_kernel_names(file)?;
    let text = fs::read_to_string("/proc/locks")?;
    let locks = text.lines().filter_map(|line| held(line, &wanted));
    Ok(locks.collect())
}

/// Device and inode as /proc/locks writes them: those of the file system itself, which stat(2) hides on btrfs and
/// overlayfs. proc(5): fdinfo has the mount and the inode (since Linux 5.14), mountinfo has the mount's device.
fn as_the_kernel_names(file: &File) -> io::Result<String> {
    let meta = file.metadata()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let device = field("mnt_id:").and_then(|mount| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let (id, device) = (words.next()?, words.nth(1)?);
            let (major, minor) = device.split_once(':').filter(|_| id == mount)?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        })
    });
    let (major, minor) = device.unwrap_or((major(meta.dev()), minor(meta.dev())));
    let inode = field("ino:").map_or(meta.ino().to_string(), str::to_owned);
    Ok(format!("{major:02x}:{minor:02x}:{inode}"))
}

/// `1: FLOCK  ADVISORY  WRITE 4711 fe:00:123 0 EOF`; whoever only waits stands behind `->` (proc(5), /proc/locks).
fn held(line: &str, wanted: &str) -> Option<Flock> {
    let mut words = line.split_ascii_whitespace().skip(1);
    if words.next()? != "FLOCK" {
        return None;
    }
    let kind = words.nth(1)?;
    let pid = words.next()?.parse().ok()?;
    (words.next()? == wanted).then_some(Flock {
        pid,
        shared: kind == "READ",
    })
}

/// Processes, as far as this account may look at them, that have this very file open with a lock on it.
fn keepers(file: &fs::Metadata) -> io::Result<Vec<Flock>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let open = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        for descriptor in open.flatten() {
            let same =
                fs::metadata(descriptor.path()).is_ok_and(|meta| files::same_file(&meta, file));
            if !same {
                continue;
            }
            let number = descriptor.file_name();
            let info = format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy());
            let text = fs::read_to_string(info).unwrap_or_default();
            let lock = text
                .lines()
                .find(|line| line.starts_with("lock:") && line.contains("FLOCK"));
            found.extend(lock.map(|lock| Flock {
                pid,
                shared: lock.contains(" READ "),
            }));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    #[test]
    fn who_holds_a_lock_is_seen_and_nothing_is_taken() {
        let path = std::env::temp_dir().join(format!("self-heal-flocks-{}", std::process::id()));
        assert_eq!(of(&path).unwrap(), []);
        let one = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        assert_eq!(of(&path).unwrap(), []);
        let us = i32::try_from(std::process::id()).unwrap();
        let flock = |shared| Flock { pid: us, shared };
        one.lock().unwrap();
        assert_eq!(of(&path).unwrap(), [flock(false)]);
        assert_eq!(keepers(&one.metadata().unwrap()).unwrap(), [flock(false)]);
        one.unlock().unwrap();
        one.lock_shared().unwrap();
        let other = File::open(&path).unwrap();
        other.lock_shared().unwrap();
        assert_eq!(of(&path).unwrap(), [flock(true)]);
        one.unlock().unwrap();
        other.unlock().unwrap();
        assert_eq!(of(&path).unwrap(), []);
        other.try_lock().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(of(&std::env::temp_dir()).is_err());
    }

    #[test]
    fn a_folder_is_looked_at_and_stays_free() {
        let path = std::env::temp_dir().join(format!("self-heal-flocks-{}.d", std::process::id()));
        fs::create_dir(&path).unwrap();
        assert!(!any_on_folder(&path).unwrap());
        let one = File::open(&path).unwrap();
        one.lock().unwrap();
        assert!(any_on_folder(&path).unwrap());
        one.unlock().unwrap();
        assert!(!any_on_folder(&path).unwrap());
        fs::remove_dir(&path).unwrap();
        assert!(any_on_folder(&path).is_err());
    }

    #[test]
    fn who_waits_for_a_lock_does_not_hold_it() {
        let wanted = "fe:00:123";
        let of = |line| held(line, wanted);
        let flock = |pid, shared| Some(Flock { pid, shared });
        assert_eq!(
            of("1: FLOCK  ADVISORY  WRITE 4711 fe:00:123 0 EOF"),
            flock(4711, false)
        );
        assert_eq!(
            of("12: FLOCK  ADVISORY  READ  7 fe:00:123 0 EOF"),
            flock(7, true)
        );
        for other in [
            "1: -> FLOCK  ADVISORY  WRITE 4711 fe:00:123 0 EOF",
            "1: POSIX  ADVISORY  WRITE 4711 fe:00:123 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
