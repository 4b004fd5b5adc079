//! How a run ended, and what became of what it had changed.

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The handler exited with this code.
    Exit(i32),
    /// A signal ended it.
    Signal(i32),
    /// It was ended past its timeout.
    TimedOut,
    /// It never started.
    NotStarted,
    /// It started, and how it ended cannot be known.
    Lost,
}

impl Ending {
    /// Exit 0, and only that.
    pub fn healed(self) -> bool {
        self == Ending::Exit(0)
    }

    /// Whether what the handler changed is put back: after any ending but healed and "not now".
    pub fn rolls_back(self) -> bool {
        !matches!(self, Ending::Exit(0 | 75) | Ending::NotStarted)
    }
}

/// What became of what a run had changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rollback {
    /// Nothing was to be put back.
    #[default]
    None,
    /// It was put back.
    Done,
    /// It could not be put back, or not in whole.
    Failed,
}
