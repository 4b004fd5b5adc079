//! Where the configuration comes from: a file nobody else may change, and the environment.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{files, identity, viewpoint};
use crate::wire::config::{self, Config, Survey};

/// The file read when `HEAL_CONF` names no other.
pub const DEFAULT: &str = "/etc/self-heal/self-heal.conf";

/// The largest file, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Reads the configuration.
///
/// # Errors
/// Every problem, each one sentence with its place. The default file may be missing, one that
/// `HEAL_CONF` names may not.
pub fn load() -> Result<Config, Vec<String>> {
    let named = std::env::var_os("HEAL_CONF").filter(|name| !name.is_empty());
    let path = PathBuf::from(named.clone().unwrap_or_else(|| DEFAULT.into()));
    let bytes = match bytes(&path) {
        Ok(bytes) => Some(bytes),
        Err(Unread::Missing) if named.is_none() => None,
        Err(Unread::Missing) => {
            return Err(vec![format!("HEAL_CONF: {}: no such file", path.display())]);
        }
        Err(Unread::Refused(why)) => return Err(vec![why]),
    };
    let shown = path.to_string_lossy();
    let file = bytes
        .as_ref()
        .map(|bytes| (shown.as_ref(), bytes.as_slice()));
    config::load(file, |name| std::env::var_os(name))
}

/// As [`load`], for an operator: as root, this process first becomes the account that the file belongs to, for good. The
/// file may be the healer's, and what the healer may change decides nothing with root's rights.
///
/// # Errors
/// As [`load`]; or the kernel refuses.
pub fn load_for_operator() -> Result<Config, Vec<String>> {
    let path = file();
    if path.is_absolute() && path.exists() {
        identity::become_owner_of(&path).map_err(|why| vec![why])?;
    }
    load()
}

/// For who only asks, before [`load`]: what is found from now on is judged as the account would that owns `HEAL_STATE_DIR`,
/// and started as root this process becomes it, for good. Without that folder nothing changes. Nothing is made.
///
/// # Errors
/// The kernel refuses, in a sentence: then nothing may be looked at, because it would be with root's rights.
pub fn become_viewer() -> Result<(), String> {
    // Only whose view it is comes from this reading, whoever may have written the file.
    let path = file();
    let bytes = files::read_bytes(&path, LARGEST).ok();
    let shown = path.to_string_lossy();
    let given = bytes.as_ref().map(|b| (shown.as_ref(), b.as_slice()));
    let Ok(config) = config::load(given, |name| std::env::var_os(name)) else {
        return Ok(());
    };
    viewpoint::take_owners_of(&config.state_dir);
    if !files::is_there(&config.state_dir) {
        return Ok(());
    }
    identity::become_owner_of(&config.state_dir).map_err(|why| format!("HEAL_STATE_DIR: {why}"))
}

/// The file of the configuration, whether or not there is one.
pub fn file() -> PathBuf {
    let named = std::env::var_os("HEAL_CONF").filter(|name| !name.is_empty());
    PathBuf::from(named.unwrap_or_else(|| DEFAULT.into()))
}

/// Reads the configuration from [`DEFAULT`] alone: no variable of whoever started this process counts.
///
/// # Errors
/// As [`load`].
pub fn load_file() -> Result<Config, Vec<String>> {
    let bytes = match bytes(Path::new(DEFAULT)) {
        Ok(bytes) => Some(bytes),
        Err(Unread::Missing) => None,
        Err(Unread::Refused(why)) => return Err(vec![why]),
    };
    config::load(bytes.as_deref().map(|bytes| (DEFAULT, bytes)), |_| None)
}

/// The configuration as [`load`] would find it, looked at whatever is wrong with it, and before anybody's
/// [`viewpoint`] was taken: whether its file can be trusted is for later.
#[derive(Debug)]
pub struct Surveyed {
    /// The file.
    pub path: PathBuf,
    /// Whether `HEAL_CONF` names it.
    pub named: bool,
    /// Whether it is there; or why it could not be read.
    pub read: Result<bool, String>,
    /// What is in it and in the environment.
    pub survey: Survey,
    /// Variables of the environment that begin as a key does and are none.
    pub unknown: Vec<String>,
}

/// Looks at the configuration.
pub fn survey() -> Surveyed {
    let named = std::env::var_os("HEAL_CONF").filter(|name| !name.is_empty());
    let path = PathBuf::from(named.clone().unwrap_or_else(|| DEFAULT.into()));
    let found = if path.is_absolute() {
        files::read_bytes(&path, LARGEST)
    } else {
        Err(io::Error::other("HEAL_CONF has to be an absolute path"))
    };
    let (bytes, read) = match found {
        Ok(bytes) => (Some(bytes), Ok(true)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (None, Ok(false)),
        Err(error) => (None, Err(error.to_string())),
    };
    let shown = path.to_string_lossy();
    let file = bytes
        .as_ref()
        .map(|bytes| (shown.as_ref(), bytes.as_slice()));
    let survey = config::survey(file, |name| std::env::var_os(name));
    let is_key =
        |name: &str| name == "HEAL_CONF" || config::KEYS.iter().any(|key| key.name == name);
    let mut unknown: Vec<String> = std::env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with("HEAL_") && !is_key(name))
        .collect();
    unknown.sort();
    Surveyed {
        named: named.is_some(),
        read,
        survey,
        unknown,
        path,
    }
}

enum Unread {
    Missing,
    Refused(String),
}

fn bytes(path: &Path) -> Result<Vec<u8>, Unread> {
    let refused = |why: String| Unread::Refused(format!("{}: {why}", path.display()));
    if !path.is_absolute() {
        return Err(refused("HEAL_CONF has to be an absolute path".to_owned()));
    }
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unread::Missing),
        Err(error) => return Err(refused(error.to_string())),
        Ok(_) => {}
    }
    files::trusted(path).map_err(Unread::Refused)?;
    files::read_bytes(path, LARGEST).map_err(|error| refused(error.to_string()))
}

/// The folder of the configuration file in effect, whether or not there is one: where secrets of escalators lie.
pub fn folder() -> PathBuf {
    file()
        .parent()
        .map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}
