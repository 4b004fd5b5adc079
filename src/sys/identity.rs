//! The account that this process runs as.

use nix::unistd::geteuid;

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
