//! What standard output is, for commands that show more to a person than to a pipe.

use std::env;
use std::io::IsTerminal;

use crate::wire::paint::Paint;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Whether standard output is a terminal.
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether colours are wanted: a terminal that has them (`TERM`, not `dumb`), unless `NO_COLOR` is set to anything
/// (no-color.org).
pub fn wants_colours() -> bool {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb")
}

/// Whether nobody reads standard output any more: the other end of a pipe is closed (poll(2), POLLERR).
pub fn reader_is_gone() -> bool {
    let stdout = std::io::stdout();
    let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let _ = poll(&mut watched, PollTimeout::ZERO);
    let [stdout] = watched;
    stdout
        .revents()
        .is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// Colours, if they are wanted.
pub fn paint() -> Paint {
    Paint {
        colours: wants_colours(),
    }
}
