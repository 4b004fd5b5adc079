//! The counters behind the metrics, as they stand on disk between connections.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Upper bounds of the histogram of handler durations, in milliseconds; a last bucket has none.
pub const BUCKETS: [u64; 11] = [
    100, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000,
];

/// What is counted. One alertname's counters leave the host's at zero, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Alerts by verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// Handler runs by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Handler runs by duration, each bucket on its own; the last one is beyond every bound.
    pub durations: Vec<u64>,
    /// The sum of the durations, in milliseconds.
    pub duration_ms: u64,
    /// Heals that `resolved` confirmed.
    pub verified: u64,
    /// Heals after which the alert went on firing.
    pub ineffective: u64,
    /// Requests by status code.
    pub requests: BTreeMap<String, u64>,
    /// Alerts that the sender cut off and never delivers.
    pub truncated: u64,
    /// Log, history and metrics writes that failed.
    pub channel_failures: u64,
}

impl Counters {
    /// Counts one more of `key`.
    pub fn bump(map: &mut BTreeMap<String, u64>, key: &str) {
        let count = map.entry(key.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// Counts one handler run.
    pub fn ran(&mut self, outcome: &str, duration_ms: u64) {
        Counters::bump(&mut self.outcomes, outcome);
        self.durations.resize(BUCKETS.len() + 1, 0);
        let bucket = BUCKETS.iter().position(|bound| duration_ms <= *bound);
        if let Some(count) = self.durations.get_mut(bucket.unwrap_or(BUCKETS.len())) {
            *count = count.saturating_add(1);
        }
        self.duration_ms = self.duration_ms.saturating_add(duration_ms);
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Counters) {
        for (mine, theirs) in [
            (&mut self.verdicts, &other.verdicts),
            (&mut self.outcomes, &other.outcomes),
            (&mut self.requests, &other.requests),
        ] {
            for (key, count) in theirs {
                let sum = mine.entry(key.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        let buckets = self.durations.len().max(other.durations.len());
        self.durations.resize(buckets, 0);
        for (mine, theirs) in self.durations.iter_mut().zip(&other.durations) {
            *mine = mine.saturating_add(*theirs);
        }
        for (mine, theirs) in [
            (&mut self.duration_ms, other.duration_ms),
            (&mut self.verified, other.verified),
            (&mut self.ineffective, other.ineffective),
            (&mut self.truncated, other.truncated),
            (&mut self.channel_failures, other.channel_failures),
        ] {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// As one line.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        let mut line = serde_json::to_string(self)?;
        line.push('\n');
        Ok(line)
    }

    /// From the line; what cannot be read starts from zero, as a counter may (a reset to whoever scrapes).
    pub fn from_text(text: &[u8]) -> Counters {
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        serde_json::from_slice(line).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_survive_the_journey_and_add_up() {
        let mut one = Counters::default();
        one.ran("healed", 100);
        one.ran("failed", 600_001);
        Counters::bump(&mut one.verdicts, "healed");
        one.verified = 1;
        let back = Counters::from_text(one.to_line().unwrap().as_bytes());
        assert_eq!(back, one);
        let mut sum = Counters::default();
        sum.add(&one);
        sum.add(&back);
        assert_eq!(sum.durations, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(
            (sum.verdicts["healed"], sum.duration_ms, sum.verified),
            (2, 1_200_202, 2)
        );
        assert_eq!(
            Counters::from_text(b"{\"verdicts\":{\"hea"),
            Counters::default()
        );
        assert_eq!(Counters::from_text(b""), Counters::default());
    }
}
