//! What a scrape shows, without a listener: printed, or as a file for node_exporter's textfile collector. It changes
//! nothing that self-heal keeps, and makes nothing there. As root it reads with the rights of the account that owns
//! `HEAL_STATE_DIR`, and writes the file with its own.

use std::path::Path;

use super::{Refused, Said};
use crate::scrape;
use crate::sys::state::file::Store;
use crate::sys::{files, identity, settings};

/// The metrics of this version of the program: as text, or in this file.
///
/// # Errors
/// A file of a name that node_exporter does not read; the configuration; the state folder is not there or cannot be
/// read; the file cannot be written.
pub fn metrics(textfile: Option<&str>, version: &str) -> Result<Said, Refused> {
    let file = textfile.map(Path::new);
    if let Some(path) = file.filter(|path| path.extension().is_none_or(|end| end != "prom")) {
        return Err(Refused::Misused(format!(
            "--textfile {}: the name has to end in .prom: node_exporter reads no other file",
            path.display()
        )));
    }
    let config =
        settings::load_for_operator().map_err(|found| Refused::Misused(found.join("; ")))?;
    let state = &config.state_dir;
    let read = || scrape::exposition(&config, &Store::at(state), version);
    let text = identity::as_owner_of(state, read)
        .and_then(|text| text)
        .map_err(|why| {
            Refused::Failed(format!(
                "HEAL_STATE_DIR: {why} (it is made by the account that serves, and read by that account and root)"
            ))
        })?;
    let mut said = Said {
        done: true,
        ..Said::default()
    };
    match file {
        None => said.text = text,
        Some(path) => files::publish(path, text.as_bytes()).map_err(|error| {
            Refused::Failed(format!(
                "--textfile {}: {error} (its folder has to be there, and whoever runs this has to be able to write there)",
                path.display()
            ))
        })?,
    }
    Ok(said)
}
