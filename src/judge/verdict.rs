//! The verdicts: one list for log, answer, metrics, history and documentation.

/// What came of one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The sender says it is over; no handler runs.
    Resolved,
    /// The instance is not on the allow-list.
    NotAllowed,
    /// No handler of that name, or the name is not a safe one.
    NoHandler,
    /// The handler, or a folder on its way, could be changed by somebody else, or it is malformed.
    UnsafeHandler,
    /// An operator took over.
    Paused,
    /// Judged and recorded, deliberately not run.
    Observed,
    /// The handler exited 0; unverified until the alert resolves.
    Healed,
    /// Healed a moment ago, or resolved a moment ago: the effect has not had its time.
    Settling,
    /// The handler exited 2.
    GaveUp,
    /// The breaker is open.
    Tripped,
    /// The host's limit on runs is reached.
    Storm,
    /// The handler failed and attempts are left.
    Failed,
    /// Within the retry delay.
    Waiting,
    /// The handler exited 75.
    Deferred,
    /// The lock or every slot is taken.
    Busy,
    /// The machine failed; nothing (more) was run.
    Error,
}

impl Verdict {
    /// Every verdict, in the order of the documentation.
    pub const ALL: [Verdict; 16] = [
        Verdict::Resolved,
        Verdict::NotAllowed,
        Verdict::NoHandler,
        Verdict::UnsafeHandler,
        Verdict::Paused,
        Verdict::Observed,
        Verdict::Healed,
        Verdict::Settling,
        Verdict::GaveUp,
        Verdict::Tripped,
        Verdict::Storm,
        Verdict::Failed,
        Verdict::Waiting,
        Verdict::Deferred,
        Verdict::Busy,
        Verdict::Error,
    ];

    /// The word used everywhere outside the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Resolved => "resolved",
            Verdict::NotAllowed => "not-allowed",
            Verdict::NoHandler => "no-handler",
            Verdict::UnsafeHandler => "unsafe-handler",
            Verdict::Paused => "paused",
            Verdict::Observed => "observed",
            Verdict::Healed => "healed",
            Verdict::Settling => "settling",
            Verdict::GaveUp => "gave-up",
            Verdict::Tripped => "tripped",
            Verdict::Storm => "storm",
            Verdict::Failed => "failed",
            Verdict::Waiting => "waiting",
            Verdict::Deferred => "deferred",
            Verdict::Busy => "busy",
            Verdict::Error => "error",
        }
    }

    /// Whether the sender has nothing more to do. An unsettled alert makes the answer ask again.
    pub fn settled(self) -> bool {
        !matches!(
            self,
            Verdict::Storm
                | Verdict::Failed
                | Verdict::Waiting
                | Verdict::Deferred
                | Verdict::Busy
                | Verdict::Error
        )
    }
}
