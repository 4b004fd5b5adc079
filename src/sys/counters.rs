//! Where counters live: `HEAL_STATE_DIR/metrics/<alertname>`, and `-` for what no handler's name can
//! label. Written in place without a sync: a machine that loses power may lose a count, never a heal.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::judge::AlertName;
use crate::sys::files;
use crate::wire::counters::Counters;

/// The file of what belongs to no handler; no alertname can be this.
pub const HOST: &str = "-";

/// More is none of ours: a few dozen words and numbers.
const LARGEST: u64 = 1024 * 1024;

fn folder(state: &Path) -> PathBuf {
    state.join("metrics")
}

/// Adds to the counters of one alertname, or of the host.
pub fn add(state: &Path, name: Option<&AlertName>, more: &Counters) -> io::Result<()> {
    let path = folder(state).join(name.map_or(HOST, AlertName::as_str));
    let open = || files::read_write().create(true).open(&path);
    let file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            files::make_folder(&folder(state), 0o700)?;
            open()?
        }
        other => other?,
    };
    files::lock(&file)?;
    let mut text = files::room(files::length(&file));
    (&file).read_to_end(&mut text)?;
    let mut counters = Counters::from_text(&text);
    counters.add(more);
    let line = counters.to_line()?;
    file.write_all_at(line.as_bytes(), 0)?;
    if line.len() < text.len() {
        file.set_len(line.len() as u64)?;
    }
    Ok(())
}

/// Every file's counters with its name, sorted by name. What has another name than [`add`] gives is none of them.
pub fn all(state: &Path) -> io::Result<Vec<(String, Counters)>> {
    let entries = match fs::read_dir(folder(state)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let ours = |name: &&str| *name == HOST || AlertName::new(name).is_some();
        if let Some(name) = name.to_str().filter(ours) {
            let mut text = Vec::new();
            let file = files::read_only().open(entry.path())?;
            if !file.metadata()?.is_file() {
                continue;
            }
            files::lock(&file)?;
            file.take(LARGEST).read_to_end(&mut text)?;
            all.push((name.to_owned(), Counters::from_text(&text)));
        }
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(all)
}
