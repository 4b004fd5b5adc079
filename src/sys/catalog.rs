//! Handlers as found in `HEAL_HANDLER_DIR`: looked up by a safe name, refused unless nobody but root and
//! the current account could have changed them. Decides nothing about the alert.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::judge::AlertName;
use crate::sys::unfit::Unfit;
use crate::sys::{files, handler, viewpoint};
use crate::wire::directives::{self, Directives};
use crate::wire::records::hex_digest;

/// A handler that may be run.
#[derive(Clone, Debug)]
pub struct Handler {
    /// Where it is.
    pub path: PathBuf,
    /// What runs it, when it names no interpreter itself.
    pub interpreter: Option<&'static Path>,
    /// What it asks for.
    pub directives: Directives,
    /// The sha256 of its bytes, in hex.
    pub sha256: String,
    /// What runs after its changes were put back: `<name>.restored`, if there is one.
    pub restored: Option<Hook>,
}

/// A program that runs behind a handler.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Where it is.
    pub path: PathBuf,
    /// What runs it, when it names no interpreter itself.
    pub interpreter: Option<&'static Path>,
}

/// What there is under a name.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Nothing.
    Missing,
    /// Something that must not be run, and why.
    Unsafe(String),
    /// It cannot be told: the machine failed, like this.
    Unknown(String),
    /// A handler.
    Ready(Handler),
}

/// The largest handler: it is read whole, for its directives and its sha256.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Endings that a program without `.sh` may not have: they name other files of the folder, and one file
/// must not answer to two names with two locks.
const TAKEN: [&str; 2] = [".sh", ".restored"];

/// Alertnames whose handler's log would be the listener's own or the escalators'.
const LOGS: [&str; 2] = ["listener", "escalate"];

/// Looks for `<name>.sh`, then for a program `<name>`.
pub fn find(folder: &Path, name: &AlertName) -> Lookup {
    match fs::metadata(folder) {
        Ok(meta) if meta.is_dir() => {}
        Err(error) if Unfit::met(folder, &error).passing => {
            return Unfit::met(folder, &error).into();
        }
        _ => {
            return Lookup::Unsafe(format!(
                "no handler folder {}: HEAL_HANDLER_DIR",
                folder.display()
            ));
        }
    }
    let script = folder.join(format!("{name}.sh"));
    let program = folder.join(name.as_str());
    let taken = TAKEN.iter().any(|ending| name.as_str().ends_with(ending));
    let candidates = if taken {
        vec![script]
    } else {
        vec![script, program]
    };
    for path in candidates {
        match fs::symlink_metadata(&path) {
            Ok(_) if LOGS.contains(&name.as_str()) => {
                return Lookup::Unsafe(format!(
                    "{}: its log would be {name}.log, which is another one's: rename the alert",
                    path.display()
                ));
            }
            Ok(_) => {
                return match inspect(folder, name, &path) {
                    Ok(handler) => Lookup::Ready(handler),
                    Err(unfit) => unfit.into(),
                };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Unfit::met(&path, &error).into(),
        }
    }
    Lookup::Missing
}

impl From<Unfit> for Lookup {
    fn from(unfit: Unfit) -> Lookup {
        if unfit.passing {
            Lookup::Unknown(unfit.into())
        } else {
            Lookup::Unsafe(unfit.into())
        }
    }
}

/// What the handler of this name asks for, safe or not; `None` where there is none, or nothing that can be read. For
/// showing what holds, not for running anything.
pub fn directives(folder: &Path, name: &AlertName) -> Option<Directives> {
    let script = folder.join(format!("{name}.sh"));
    let found = files::read_bytes(&script, LARGEST);
    let bytes = found.or_else(|_| files::read_bytes(&folder.join(name.as_str()), LARGEST));
    directives::parse(&bytes.ok()?).ok()
}

/// The names that have a handler, safe or not, sorted.
pub fn names(folder: &Path) -> io::Result<Vec<AlertName>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.file_name();
        let Some(file) = file.to_str() else { continue };
        let folder = entry.path().is_dir() && !file.ends_with(".sh");
        if folder || file.ends_with(".restored") {
            continue;
        }
        let name = match file.strip_suffix(".sh") {
            Some(name) => name,
            // A program is known by its mode; a README is none.
            None if viewpoint::may_run(&entry.path()) => file,
            None => continue,
        };
        names.extend(AlertName::new(name));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

fn inspect(folder: &Path, name: &AlertName, path: &Path) -> Result<Handler, Unfit> {
    let (real, bytes) = program(folder, path)?;
    let at = |why: String| Unfit::itself(format!("{}: {why}", path.display()));
    let directives = directives::parse(&bytes).map_err(at)?;
    Ok(Handler {
        interpreter: handler::interpreter(&bytes),
        sha256: hex_digest(&bytes),
        path: real,
        directives,
        restored: hook(folder, &folder.join(format!("{name}.restored")))?,
    })
}

/// A hook that must not be run makes its handler unsafe: what it changes could not be put right again.
fn hook(folder: &Path, path: &Path) -> Result<Option<Hook>, Unfit> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unfit::met(path, &error)),
        Ok(_) => {}
    }
    let (real, bytes) = program(folder, path)?;
    if directives::parse(&bytes) != Ok(Directives::default()) {
        return Err(Unfit::itself(format!(
            "{}: a hook has no directives: they belong into its handler",
            path.display()
        )));
    }
    Ok(Some(Hook {
        interpreter: handler::interpreter(&bytes),
        path: real,
    }))
}

/// The real path and the bytes of an executable that nobody else could have changed.
fn program(folder: &Path, path: &Path) -> Result<(PathBuf, Vec<u8>), Unfit> {
    let real = files::relied_on(path)?;
    let at = |why: &str| Unfit::itself(format!("{}: {why}", path.display()));
    // A folder that a real path begins with is its own real path.
    let inside = real.starts_with(folder)
        || real.starts_with(fs::canonicalize(folder).map_err(|error| Unfit::met(folder, &error))?);
    if !inside {
        return Err(at(&format!(
            "leads out of the handler folder, to {}",
            real.display()
        )));
    }
    let meta = fs::metadata(&real).map_err(|error| Unfit::met(path, &error))?;
    judge_file(&meta).map_err(|why| at(&why))?;
    viewpoint::allows(&real, 0o1).map_err(|errno| match Unfit::met(path, &errno.into()) {
        failed if failed.passing => failed,
        _ => at("is not executable: chmod 0755"),
    })?;
    let unread = |error: io::Error| Unfit::met_when(path, "cannot be read: ", &error);
    // For this process's own account the read below tells.
    if viewpoint::is_anothers() {
        viewpoint::allows(&real, 0o4).map_err(|errno| unread(errno.into()))?;
    }
    let bytes = files::read_bytes(&real, LARGEST).map_err(unread)?;
    Ok((real, bytes))
}

fn judge_file(meta: &Metadata) -> Result<(), String> {
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if meta.len() == 0 {
        return Err("is empty".to_owned());
    }
    if meta.len() > LARGEST {
        return Err(format!("is larger than {LARGEST} bytes"));
    }
    if meta.mode() & 0o6000 != 0 {
        return Err("has a set-id bit: handlers use sudo".to_owned());
    }
    Ok(())
}
