//! Whose rights are judged: by default this process's own. `explain` and `check` answer for the account that serves,
//! whoever asks, so they say once, before anything is looked at, whose view it is. It changes no right of this process.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access, geteuid};

use crate::sys::accounts::{Accounts, memberships};

static VIEWER: OnceLock<u32> = OnceLock::new();

/// From now on this account's view counts; the first call does, later ones change nothing.
pub fn take(uid: u32) {
    let _ = VIEWER.set(uid);
}

/// Takes the view of the account that owns this folder; of a folder that cannot be asked, nobody's.
pub fn take_owners_of(path: &Path) {
    if let Ok(meta) = std::fs::metadata(path) {
        take(meta.uid());
    }
}

/// Whose view it is: a user id. As long as nobody said so, this process's own, whoever it becomes.
pub fn uid() -> u32 {
    VIEWER.get().copied().unwrap_or_else(|| geteuid().as_raw())
}

/// Whether it is another account's view: what this process may not look at, that account perhaps may.
pub fn is_anothers() -> bool {
    uid() != geteuid().as_raw()
}

/// Whether the viewer may run this file. For this process's own account the kernel is asked (access(2)); for another
/// one the mode tells (inode(7)), and access control lists are not looked at.
pub fn may_run(path: &Path) -> bool {
    allows(path, 0o1).is_ok()
}

/// Whether the viewer may do this (bits of `rwx`) here. For this process's own account the kernel is asked (access(2));
/// for another one owner, group and mode tell, and whether the file system can be written to.
///
/// # Errors
/// Why not.
pub fn allows(path: &Path, want: u32) -> Result<(), Errno> {
    allows_to(uid(), path, want)
}

/// The same, for this account.
///
/// # Errors
/// Why not.
pub fn allows_to(who: u32, path: &Path, want: u32) -> Result<(), Errno> {
    if who == geteuid().as_raw() {
        let flags = [
            (0o4, AccessFlags::R_OK),
            (0o2, AccessFlags::W_OK),
            (0o1, AccessFlags::X_OK),
        ];
        let wanted = flags.into_iter().filter(|(bit, _)| want & bit != 0);
        return access(path, wanted.map(|(_, flag)| flag).collect());
    }
    let meta = std::fs::metadata(path)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    let read_only = || statvfs(path).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY));
    match may_be_done_by(who, &meta, want) {
        false => Err(Errno::EACCES),
        true if want & 0o2 != 0 && read_only() => Err(Errno::EROFS),
        true => Ok(()),
    }
}

/// Whether the viewer may do this (bits of `rwx`) by owner, group and mode alone.
pub fn may(meta: &Metadata, want: u32) -> bool {
    may_be_done_by(uid(), meta, want)
}

fn may_be_done_by(uid: u32, meta: &Metadata, want: u32) -> bool {
    let mode = meta.mode();
    if uid == 0 {
        return want & 0o1 == 0 || meta.is_dir() || mode & 0o111 != 0;
    }
    let shift = match (meta.uid() == uid, in_group(uid, meta.gid())) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    mode >> shift & want == want
}

fn in_group(uid: u32, gid: u32) -> bool {
    let Ok(accounts) = Accounts::read() else {
        return false;
    };
    accounts.gid(uid) == Some(gid)
        || accounts
            .name(uid)
            .and_then(|name| memberships(name).ok())
            .is_some_and(|groups| groups.contains(&gid))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_bits_of_the_right_class_count() {
        let path = std::env::temp_dir().join(format!("self-heal-view-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let us = geteuid().as_raw();
        for (mode, runs) in [(0o700, true), (0o600, false), (0o111, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(may_run(&path), runs, "{mode:o} as {us}");
            assert_eq!(may(&fs::metadata(&path).unwrap(), 0o1), runs, "{mode:o}");
        }
        fs::remove_file(&path).unwrap();
        assert!(!may_run(&path));
    }
}
