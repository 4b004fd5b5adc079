//! Copies with everything that belongs to a file: content, mode, owner, times, extended attributes and access
//! lists, links as links. cp(1) makes them; what it made is looked at, because it forgives an owner that it may not
//! give (cp(1), --archive without privileges).

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::ground::{self, Manner, Node, Side};
use crate::sys::{files, tool};
use crate::wire::manifest::Kind;

/// On every Debian, merged /usr or not.
const CP: &str = "/bin/cp";

/// How long one copy may take: less than root's side has, so that it can say so.
pub(super) const BOUND: Duration = Duration::from_secs(50);

/// Copies `from`, whatever it is, to `to`, which is not there yet. What is in a folder comes along.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), String> {
    cp(&[], from, to)
}

/// Gives the folders at and below `to` everything that those at and below `from` have, and makes those that are missing.
/// There are nothing but folders in `from`.
pub(super) fn dress(from: &Path, to: &Path) -> Result<(), String> {
    cp(&[], from, to)
}

/// The folders of a copied tree alone, as a model for [`dress`].
pub(super) fn model(copied: &Path, tree: &[Node], to: &Path) -> Result<(), String> {
    // Links need no room, and are gone again.
    cp(&["--link"], copied, to)?;
    let failed = |error: io::Error| format!("{}: {error}", to.display());
    let unprivileged = !crate::sys::identity::is_root();
    for node in tree.iter().rev() {
        let path = ground::join(to, &node.name);
        if node.kind == Some(Kind::Folder) {
            let (mode, _, _, (seconds, nanos)) = node.attributes;
            if unprivileged && mode & 0o300 != 0o300 {
                set_mode(&path, mode).map_err(failed)?;
            }
            let mtime = TimeSpec::new(seconds, nanos);
            utimensat(
                AT_FDCWD,
                &path,
                &TimeSpec::UTIME_OMIT,
                &mtime,
                UtimensatFlags::NoFollowSymlink,
            )
            .map_err(|errno| failed(errno.into()))?;
        } else {
            let folder = path.parent().unwrap_or(to);
            let removed = fs::remove_file(&path).or_else(|error| {
                // A folder that its own owner may not write to.
                if unprivileged && error.kind() == io::ErrorKind::PermissionDenied {
                    set_mode(folder, 0o700)?;
                    return fs::remove_file(&path);
                }
                Err(error)
            });
            removed.map_err(failed)?;
        }
    }
    Ok(())
}

/// Sees that the copy at `to` is what `tree` was.
pub(super) fn faithful(tree: &[Node], to: &Path) -> Result<(), String> {
    let made = ground::walk(to, Manner::Look)?;
    let differs = tree.len() != made.len();
    let odd = tree
        .iter()
        .zip(&made)
        .find(|(one, other)| !ground::alike(one, other));
    if let Some((node, _)) = odd {
        return Err(format!(
            "{}: the copy has not the type, size, mode, owner, group or time of the original",
            ground::join(to, &node.name).display()
        ));
    }
    if differs {
        return Err(format!("{}: the copy is not complete", to.display()));
    }
    Ok(())
}

/// Makes files and folders of a tree durable.
pub(super) fn sync(top: &Path, tree: &[Node]) -> Result<(), String> {
    let lasting = |node: &&Node| matches!(node.kind, Some(Kind::File | Kind::Folder));
    for node in tree.iter().filter(lasting) {
        let path = ground::join(top, &node.name);
        sync_one(&path)?;
    }
    Ok(())
}

/// Makes one file or folder durable.
pub(super) fn sync_one(path: &Path) -> Result<(), String> {
    files::read_only()
        .open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| format!("{}: cannot be made durable: {error}", path.display()))
}

/// Removes whatever is there, also folders that their owner may not write to.
pub(super) fn remove(top: &Path, side: Side) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: cannot be removed: {error}", top.display());
    for node in ground::walk(top, Manner::Close(side))?.iter().rev() {
        let path = ground::join(top, &node.name);
        if node.kind == Some(Kind::Folder) {
            fs::remove_dir(&path).map_err(failed)?;
        } else {
            fs::remove_file(&path).map_err(failed)?;
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))
}

/// --archive: recursive, links as links. The list behind it turns into errors what --archive alone forgives.
fn cp(more: &[&str], from: &Path, to: &Path) -> Result<(), String> {
    let mut args = vec![
        "--archive",
        "--no-dereference",
        "--preserve=mode,ownership,timestamps,xattr",
        "--no-target-directory",
    ];
    args.extend(more);
    args.push("--");
    let mut args: Vec<&OsStr> = args.into_iter().map(OsStr::new).collect();
    args.extend([from.as_os_str(), to.as_os_str()]);
    tool::run(CP, &args, BOUND).map(drop)
}
