//! The numbers a judgement is made with: the configuration's, overlaid by a handler's directives.

use std::time::Duration;

/// At most `runs` runs within any `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimit {
    /// How many; 1 to [`RunLimit::MOST`].
    pub runs: u32,
    /// Within what time.
    pub window: Duration,
}

impl RunLimit {
    /// The largest count a limit may name: a record keeps one start time for each, and has to fit its slot.
    pub const MOST: u32 = 100;

    /// The largest count the host's own limit may name, for the same reason.
    pub const MOST_HOST: u32 = 400;
}

/// The limits of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Failures in a row, and heals in a row without effect, that open the breaker; at least 1.
    pub max_attempts: u32,
    /// How long a failure counts, and how long an open breaker stays shut at first.
    pub attempt_window: Duration,
    /// From a failure or a deferral to the next run.
    pub retry_delay: Duration,
    /// From a heal to the moment when the same episode still firing means it changed nothing; zero turns that off.
    pub settle: Duration,
    /// Runs within windows, whatever came of them.
    pub run_limits: Vec<RunLimit>,
}
