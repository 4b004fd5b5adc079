//! Where records live. One backend today: [`mod@file`]. Decides nothing: a change is a pure function
//! handed in, and what it yields is durable when the call returns.

use std::fmt;
use std::io;
use std::path::PathBuf;

pub mod file;
mod reserve;
mod twin;

/// Records cannot be read or made durable. Nothing may be run on the strength of them.
#[derive(Debug)]
pub struct StateError {
    /// Which file or folder.
    pub path: PathBuf,
    /// What was being done.
    pub doing: &'static str,
    /// What the machine said.
    pub source: io::Error,
}

impl StateError {
    fn new(path: impl Into<PathBuf>, doing: &'static str, source: io::Error) -> StateError {
        StateError {
            path: path.into(),
            doing,
            source,
        }
    }

    /// The same error, for the next one who asks.
    pub fn again(&self) -> StateError {
        let source = io::Error::new(self.source.kind(), self.source.to_string());
        StateError::new(&self.path, self.doing, source)
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}",
            self.doing,
            self.path.display(),
            self.source
        )
    }
}

impl std::error::Error for StateError {}
