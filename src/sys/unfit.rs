//! Why a file is not used: for what it is, which a person has to mend, or because the machine would not say, which may
//! have passed by the next time. Nothing is run either way; whoever asked is told to ask again only in the second case.

use std::fmt;
use std::io;
use std::path::Path;

use nix::errno::Errno;

/// Why a file is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    why: String,
    /// Whether the machine failed, and the file may be as good as ever.
    pub passing: bool,
}

/// Errors that say nothing about a file: too many are open, no memory, a medium that failed, a server that is away.
const PASSING: [Errno; 10] = [
    Errno::EIO,
    Errno::ENOMEM,
    Errno::EMFILE,
    Errno::ENFILE,
    Errno::EINTR,
    Errno::EAGAIN,
    Errno::ENOLCK,
    Errno::ESTALE,
    Errno::ENOTCONN,
    Errno::ETIMEDOUT,
];

impl Unfit {
    /// For what it is.
    pub fn itself(why: impl Into<String>) -> Unfit {
        Unfit {
            why: why.into(),
            passing: false,
        }
    }

    /// For this error about the file at `path`.
    pub fn met(path: &Path, error: &io::Error) -> Unfit {
        Unfit::met_when(path, "", error)
    }

    /// Likewise, with what could not be done (`cannot be read: `).
    pub fn met_when(path: &Path, doing: &str, error: &io::Error) -> Unfit {
        let errno = error.raw_os_error().map(Errno::from_raw);
        Unfit {
            why: format!("{}: {doing}{error}", path.display()),
            passing: errno.is_some_and(|errno| PASSING.contains(&errno)),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Unfit {}

impl From<Unfit> for String {
    fn from(unfit: Unfit) -> String {
        unfit.why
    }
}
