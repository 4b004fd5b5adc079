//! The account that this process runs as, and who asked for that.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{
    Gid, Uid, getegid, geteuid, getgroups, setfsgid, setfsuid, setgid, setgroups, setuid,
};

use crate::sys::accounts::{Accounts, memberships};
use crate::sys::viewpoint;

/// Whether it is root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Its number.
pub fn uid() -> u32 {
    geteuid().as_raw()
}

/// Its home folder, or that of whose [`viewpoint`] it is; `/` where none is known.
pub fn home() -> String {
    let accounts = Accounts::read().ok();
    let home = accounts.and_then(|accounts| accounts.home(viewpoint::uid()));
    home.map_or_else(
        || "/".to_owned(),
        |path| path.to_string_lossy().into_owned(),
    )
}

/// This host's name; `localhost` where the kernel does not tell (proc(5), /proc/sys/kernel/hostname).
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// The name of an account, or `uid N`.
pub fn name_of(uid: u32) -> String {
    let accounts = Accounts::read().ok();
    let name = accounts.as_ref().and_then(|accounts| accounts.name(uid));
    name.map_or_else(|| format!("uid {uid}"), str::to_owned)
}

/// Who asks: as root whom sudo(8) names (`SUDO_USER`), else this account. To be called before
/// [`become_owner_of`]. Anybody but root could put any name into the variable.
pub fn caller() -> String {
    let through_sudo = std::env::var("SUDO_USER")
        .ok()
        .filter(|name| is_root() && !name.is_empty());
    through_sudo.unwrap_or_else(|| name_of(geteuid().as_raw()))
}

/// Whose a file or folder is, if that can be asked and is not this account's.
pub fn other_owner_of(path: &Path) -> Option<String> {
    let owner = fs::metadata(path).ok()?.uid();
    (owner != geteuid().as_raw()).then(|| name_of(owner))
}

/// Started as root, this process becomes the account that owns `path`, with its groups, for good (credentials(7):
/// setuid(2) by root sets all three user ids). So it leaves no file of root's where that account has to write.
/// Any other account, and root's own path, change nothing.
///
/// # Errors
/// One sentence. There is no such path, or the kernel refuses: then nothing may be written.
pub fn become_owner_of(path: &Path) -> Result<(), String> {
    if !is_root() {
        return Ok(());
    }
    let fail = |doing: &str, error: io::Error| format!("{}: {doing}: {error}", path.display());
    let meta = fs::metadata(path).map_err(|error| fail("whose it is cannot be told", error))?;
    if meta.uid() == 0 {
        return Ok(());
    }
    let (gid, groups) = groups_of(&meta).map_err(|(what, error)| fail(what, error))?;
    // The groups first: afterwards nobody may change them.
    setgroups(&groups)
        .and_then(|()| setgid(gid))
        .and_then(|()| setuid(Uid::from_raw(meta.uid())))
        .map_err(|error| fail("its owner cannot be become", error.into()))
}

/// Does this with the rights over files of the account that owns `path`, and no more: for root, who reads where another
/// account may have put links, and then writes where that account may not. With the user id of file accesses the kernel
/// takes root's power over them away, and gives it back (setfsuid(2), capabilities(7)); the supplementary groups are that
/// account's for as long: root's would open files that it cannot. For any other account, and root's own path, nothing changes.
///
/// # Errors
/// One sentence. There is no such path, or the kernel refuses: then nothing was done, or no more may be.
pub fn as_owner_of<T>(path: &Path, task: impl FnOnce() -> T) -> Result<T, String> {
    let fail = |doing: &str, error: io::Error| format!("{}: {doing}: {error}", path.display());
    let meta = fs::metadata(path).map_err(|error| fail("whose it is cannot be told", error))?;
    if !is_root() || meta.uid() == 0 {
        return Ok(task());
    }
    let refused = || {
        fail(
            "its owner cannot be become",
            io::ErrorKind::PermissionDenied.into(),
        )
    };
    let (gid, groups) = groups_of(&meta).map_err(|(what, error)| fail(what, error))?;
    let own = getgroups().map_err(|errno| fail("whose groups these are", errno.into()))?;
    // The groups first: they take what the others take away.
    let became = setgroups(&groups).is_ok()
        && become_for_files_group(gid)
        && become_for_files(Uid::from_raw(meta.uid()));
    let done = became.then(task);
    let user = become_for_files(geteuid());
    let group = become_for_files_group(getegid());
    let again = user && group && setgroups(&own).is_ok();
    done.filter(|_| again).ok_or_else(refused)
}

/// The group of the account that owns this, and all the groups it is in.
fn groups_of(meta: &Metadata) -> Result<(Gid, Vec<Gid>), (&'static str, io::Error)> {
    let accounts = Accounts::read().map_err(|error| ("/etc/passwd", error))?;
    let gid = accounts.gid(meta.uid()).unwrap_or_else(|| meta.gid());
    let mut groups = vec![gid];
    if let Some(name) = accounts.name(meta.uid()) {
        groups.extend(memberships(name).map_err(|error| ("/etc/group", error))?);
    }
    Ok((
        Gid::from_raw(gid),
        groups.into_iter().map(Gid::from_raw).collect(),
    ))
}

/// Neither call says whether it worked; asked again, each tells what it was then.
fn become_for_files(uid: Uid) -> bool {
    setfsuid(uid);
    setfsuid(uid) == uid
}

fn become_for_files_group(gid: Gid) -> bool {
    setfsgid(gid);
    setfsgid(gid) == gid
}
