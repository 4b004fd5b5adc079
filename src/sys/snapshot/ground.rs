//! The ground that a snapshot stands on: who may change the folders on the way to a path and within it, and
//! what is there. Everything after it works by path, which is safe because nobody but the side that acts can swap
//! a step of a path that was judged here. It refuses symbolic links on the way, and what crosses a file system.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use crate::wire::manifest::{Kind, Print};

/// Who acts, and so whom he has to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Root: folders are root's, and nobody else may write to them.
    Root,
    /// An account without privileges, by its number. Folders on the way are root's or its own, and everything of
    /// a snapshot is its own: it could not give back what belongs to another.
    Own(u32),
}

impl Side {
    fn owns_the_way(self, uid: u32) -> bool {
        uid == 0 || self == Side::Own(uid)
    }

    /// Root puts back whatever file was in a folder of root's, with its owner.
    fn may_put_back(self, meta: &Metadata) -> bool {
        match self {
            Side::Root => meta.uid() == 0 || !meta.is_dir(),
            Side::Own(uid) => meta.uid() == uid,
        }
    }
}

/// Judges the folders on the way to `path`, from the root folder down, so that what was judged cannot be swapped any
/// more when the next step is. Whether the folder of `path` exists: else the deepest one that does is judged as that.
///
/// A folder that others may write to is accepted when it is sticky and the next step, a folder, is safe: nobody
/// else can rename that (inode(7), S_ISVTX). The last one is not: others could make names in it.
pub(super) fn way(path: &Path, side: Side) -> Result<bool, String> {
    let mut steps: Vec<&Path> = path.ancestors().skip(1).collect();
    steps.reverse();
    let mut open = None;
    let mut whole = true;
    for step in steps {
        let at = |why: &str| format!("{}: {why}", step.display());
        let meta = match fs::symlink_metadata(step) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                whole = false;
                break;
            }
            other => other.map_err(|error| at(&error.to_string()))?,
        };
        if meta.is_symlink() {
            return Err(at("is a symbolic link: name the place it leads to"));
        }
        if !meta.is_dir() {
            return Err(at("is not a folder"));
        }
        if !side.owns_the_way(meta.uid()) {
            return Err(at(&format!("belongs to uid {}", meta.uid())));
        }
        open = (meta.mode() & 0o022 != 0).then(|| {
            let mode = meta.mode() & 0o7777;
            at(&format!("is writable by group or others (mode {mode:04o})"))
        });
        if meta.mode() & 0o1000 == 0
            && let Some(why) = open
        {
            return Err(why);
        }
    }
    open.map_or(Ok(whole), Err)
}

/// One thing in a tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its name below the top; empty for the top.
    pub(super) name: Vec<u8>,
    /// `None`: a device, a pipe, a socket.
    pub(super) kind: Option<Kind>,
    pub(super) print: Print,
    /// Type, mode, owner, group, and the time of the last change of the content.
    pub(super) attributes: (u32, u32, u32, (i64, i64)),
    /// A folder whose mode or owner the walk has changed.
    pub(super) closed: bool,
}

/// What a walk does with a folder that others could change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Refuses it, and what this side could not put back.
    Judge(Side),
    /// Takes it back first, before it looks inside: a failed handler may have opened it, and it has to be put back.
    Close(Side),
    /// Does not care: nobody else gets there.
    Look,
}

/// The most things a walk looks at; a snapshot has fewer.
const MOST: usize = 200_000;

/// Everything at and below `top`, a folder before what is in it, by name. Nothing if nothing is there.
pub(super) fn walk(top: &Path, manner: Manner) -> Result<Vec<Node>, String> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut open: Vec<Vec<u8>> = vec![Vec::new()];
    let mut dev = None;
    while let Some(name) = open.pop() {
        let path = join(top, &name);
        let at = |why: &str| format!("{}: {why}", path.display());
        let meta = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && name.is_empty() => break,
            other => other.map_err(|error| at(&error.to_string()))?,
        };
        if *dev.get_or_insert(meta.dev()) != meta.dev() {
            return Err(at("is on another file system than the rest"));
        }
        if nodes.len() >= MOST {
            return Err(at(&format!("more than {MOST} files with it")));
        }
        let mut closed = false;
        match manner {
            Manner::Judge(side) => judge(&meta, side).map_err(|why| at(&why))?,
            Manner::Close(side) if meta.is_dir() => {
                closed = close(&path, &meta, side).map_err(|why| at(&why))?;
            }
            Manner::Close(_) | Manner::Look => {}
        }
        if meta.is_dir() {
            let list = || -> io::Result<Vec<Vec<u8>>> {
                let entries = fs::read_dir(&path)?;
                entries
                    .map(|entry| Ok(below(&name, &entry?.file_name().into_vec())))
                    .collect()
            };
            let mut names = list().map_err(|error| at(&error.to_string()))?;
            names.sort_by(|one, other| other.cmp(one));
            open.append(&mut names);
        }
        nodes.push(Node {
            closed,
            ..node(name, &meta)
        });
    }
    Ok(nodes)
}

/// What the copy of a thing has to have in common with it.
pub(super) fn alike(one: &Node, other: &Node) -> bool {
    let size = one.kind == Some(Kind::Folder) || one.print.size == other.print.size;
    one.name == other.name && one.kind == other.kind && one.attributes == other.attributes && size
}

/// The path of a name in a tree.
pub(super) fn join(top: &Path, name: &[u8]) -> PathBuf {
    if name.is_empty() {
        return top.to_owned();
    }
    top.join(std::ffi::OsStr::from_bytes(name))
}

/// The folder that a name in a tree is in; none for the top.
pub(super) fn above(name: &[u8]) -> Option<&[u8]> {
    let slash = name.iter().rposition(|byte| *byte == b'/');
    match slash {
        Some(slash) => name.get(..slash),
        None => (!name.is_empty()).then_some(&[]),
    }
}

fn below(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        return name.to_vec();
    }
    [folder, b"/", name].concat()
}

fn node(name: Vec<u8>, meta: &Metadata) -> Node {
    let kind = if meta.is_dir() {
        Some(Kind::Folder)
    } else if meta.is_symlink() {
        Some(Kind::Link)
    } else {
        meta.is_file().then_some(Kind::File)
    };
    Node {
        name,
        kind,
        print: Print {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            ctime: (meta.ctime(), meta.ctime_nsec()),
        },
        attributes: (
            meta.mode(),
            meta.uid(),
            meta.gid(),
            (meta.mtime(), meta.mtime_nsec()),
        ),
        closed: false,
    }
}

fn judge(meta: &Metadata, side: Side) -> Result<(), String> {
    if !(meta.is_dir() || meta.is_file() || meta.is_symlink()) {
        return Err("is no regular file, folder or symbolic link".to_owned());
    }
    if !side.may_put_back(meta) {
        return Err(format!("belongs to uid {}", meta.uid()));
    }
    if meta.is_dir() && meta.mode() & 0o022 != 0 {
        let mode = meta.mode() & 0o7777;
        return Err(format!("is writable by group or others (mode {mode:04o})"));
    }
    Ok(())
}

/// Whether anything was changed. The folder's own folder is closed by now, so this one stays where it is. Its owner
/// could open it again, so he goes first.
fn close(path: &Path, meta: &Metadata, side: Side) -> Result<bool, String> {
    let failed = |error: io::Error| format!("cannot be taken back: {error}");
    // Root may work in any folder; another account needs its own mode for that.
    let (own, least) = match side {
        Side::Root => (0, 0),
        Side::Own(uid) => (uid, 0o700),
    };
    let wanted = meta.mode() & 0o7755 | least;
    if meta.uid() == own && meta.mode() & 0o7777 == wanted {
        return Ok(false);
    }
    if meta.uid() != own {
        lchown(path, Some(own), None).map_err(failed)?;
    }
    fs::set_permissions(path, Permissions::from_mode(wanted)).map_err(failed)?;
    Ok(true)
}
