//! What systemd knows of its units, where it runs: asked of systemctl(1), which changes nothing by it.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use crate::sys::tool;

/// There while systemd is this machine's first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// There once systemd-timesyncd has set the clock (systemd-timesyncd(8)).
const TIMESYNC: &str = "/run/systemd/timesync/synchronized";

/// How long systemd may take to answer.
const BOUND: Duration = Duration::from_secs(10);

/// Whether systemd runs this machine.
pub fn booted() -> bool {
    Path::new(BOOTED).is_dir()
}

/// Properties of units as `KEY=VALUE` lines, an empty line between two units.
///
/// # Errors
/// It cannot be asked, in a sentence.
pub fn show(units: &[&str], properties: &[&str]) -> Result<String, String> {
    let wanted = format!("--property={}", properties.join(","));
    let mut args = vec![
        OsStr::new("show"),
        OsStr::new("--no-pager"),
        OsStr::new(&wanted),
    ];
    args.extend(units.iter().map(OsStr::new));
    text("/usr/bin/systemctl", &args)
}

/// Whether the clock is kept right by the network's; `None` where nobody here knows.
pub fn clock_synchronised() -> Option<bool> {
    if Path::new(TIMESYNC).exists() {
        return Some(true);
    }
    if !booted() {
        return None;
    }
    let args = ["show", "--property=NTPSynchronized", "--value"].map(OsStr::new);
    match text("/usr/bin/timedatectl", &args).ok()?.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn text(program: &str, args: &[&OsStr]) -> Result<String, String> {
    let bytes = tool::run(program, args, BOUND)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
