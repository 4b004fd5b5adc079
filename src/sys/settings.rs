//! Where the configuration comes from: a file nobody else may change, and the environment.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::files;
use crate::wire::config::{self, Config};

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
    let named = std::env::var_os("HEAL_CONF");
    let path = PathBuf::from(named.clone().unwrap_or_else(|| DEFAULT.into()));
    let text = match text(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => None,
        Err(error) => return Err(vec![format!("{}: {error}", path.display())]),
    };
    let shown = path.to_string_lossy();
    let file = text.as_ref().map(|text| (shown.as_ref(), text.as_bytes()));
    config::load(file, |name| std::env::var_os(name))
}

fn text(path: &Path) -> io::Result<String> {
    if !path.is_absolute() {
        return Err(io::Error::other("HEAL_CONF has to be an absolute path"));
    }
    std::fs::metadata(path)?;
    files::trusted(path).map_err(io::Error::other)?;
    files::read_text(path, LARGEST)
}
