//! `GET /-/ready`: whether a heal could work right now, and what stands in its way.

use crate::judge::{AlertName, AllowList};
use crate::sys::catalog::{self, Lookup};
use crate::sys::log::Log;
use crate::sys::state::file::Store;
use crate::sys::{clock, counters, files};
use crate::wire::config::Config;
use crate::wire::counters::Counters;

/// The largest allow-list, in bytes.
const LARGEST_LIST: u64 = 16 * 1024 * 1024;

/// Everything that would keep a heal from working, one sentence each; empty when it would work.
pub fn problems(config: &Config, log: &mut Log) -> Vec<String> {
    let mut problems = Vec::new();
    match Store::open(&config.state_dir) {
        Ok(mut store) => {
            // A change that changes nothing still has to open, lock and read what a run reserves in.
            if let Err(error) = store.update_host(clock::now(), &mut Clone::clone) {
                problems.push(error.to_string());
            }
        }
        Err(error) => problems.push(error.to_string()),
    }
    for folder in [&config.state_dir, &config.lock_dir] {
        if let Err(why) = files::writable_folder(folder) {
            problems.push(why);
        }
    }
    for folder in [&config.state_dir, &config.log_dir] {
        if files::full(folder) {
            problems.push(format!(
                "{}: its file system has no free block: heals go on, log and history do not",
                folder.display()
            ));
        }
    }
    if let Err(error) = counters::add(&config.state_dir, None, &Counters::default()) {
        problems.push(format!("metrics: {error}"));
    }
    match allow_list(config) {
        Ok(list) if list.is_empty() => {
            problems.push(format!(
                "{} allows nothing",
                config.allowed_instances.display()
            ));
        }
        Ok(_) => {}
        Err(why) => problems.push(why),
    }
    match catalog::names(&config.handler_dir) {
        Ok(names) => problems.extend(names.iter().filter_map(|name| unsafe_handler(config, name))),
        Err(error) => problems.push(format!("{}: {error}", config.handler_dir.display())),
    }
    problems.append(&mut log.failures);
    problems
}

/// The allow-list, unless it cannot be read or others could have written it.
pub fn allow_list(config: &Config) -> Result<AllowList, String> {
    let path = &config.allowed_instances;
    files::trusted(path)?;
    let text = files::read_text(path, LARGEST_LIST)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(AllowList::parse(&text))
}

fn unsafe_handler(config: &Config, name: &AlertName) -> Option<String> {
    match catalog::find(&config.handler_dir, name) {
        Lookup::Unsafe(why) => Some(format!("unsafe handler: {why}")),
        Lookup::Missing | Lookup::Ready(_) => None,
    }
}
