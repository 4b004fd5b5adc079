//! Programs, ports, and the end of everything that was started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid, getpgrp};

/// Kills the process groups of those whose arguments hold this text; whether there were any.
pub fn end_groups_with(text: &str) -> bool {
    let mut any = false;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let Ok(group) = getpgid(Some(Pid::from_raw(pid))) else {
            continue;
        };
        if group != getpgrp() && String::from_utf8_lossy(&arguments).contains(text) {
            any |= killpg(group, Signal::SIGKILL).is_ok();
        }
    }
    any
}

/// A flag of Prometheus and its kin.
pub fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

/// A command that does not outlive the tests, even if they are killed.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Where a program is; a test without it is a failure.
pub fn program(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = folders
        .map(|folder| Path::new(folder).join(name))
        .into_iter()
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: tests/run.sh packages installs it"))
}

/// A port nobody listens on, of those that no connection gets by chance (ip_local_port_range begins at 32768).
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id().wrapping_mul(61) as u16;
    loop {
        let next = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + next % 12_000;
        let address = ("127.0.0.1", port);
        if std::net::TcpListener::bind(address).is_ok()
            && std::net::UdpSocket::bind(address).is_ok()
        {
            return port;
        }
    }
}
