//! The account that this process runs as.

use nix::unistd::{geteuid, getuid};

use crate::sys::accounts::Accounts;

/// Whether it is root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Its home folder; `/` where none is known.
pub fn home() -> String {
    let home = Accounts::read().ok().and_then(|accounts| accounts.home());
    home.map_or_else(
        || "/".to_owned(),
        |path| path.to_string_lossy().into_owned(),
    )
}

/// This host's name; `localhost` where the kernel does not tell (proc(5), /proc/sys/kernel/hostname).
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// Who gave a command: whoever called sudo, else this account's name, else its number.
pub fn caller() -> String {
    let by_sudo = std::env::var("SUDO_USER").ok();
    by_sudo.filter(|_| is_root()).unwrap_or_else(|| {
        let uid = getuid().as_raw();
        let accounts = Accounts::read().ok();
        let name = accounts.as_ref().and_then(|accounts| accounts.name(uid));
        name.map_or_else(|| uid.to_string(), str::to_owned)
    })
}
