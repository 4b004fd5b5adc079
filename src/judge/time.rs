//! Instants as values: nothing in `judge` reads a clock, `now` always comes in from outside.

use std::time::Duration;

/// Milliseconds since the Unix epoch, negative before it. Saturates at both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// How long ago `earlier` was; zero when it lies in the future, so that a clock set back
    /// never produces a negative wait.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The instant `span` later.
    pub fn plus(self, span: Duration) -> Time {
        Time(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}
