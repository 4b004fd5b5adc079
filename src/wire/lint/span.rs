//! Spans of time as Alertmanager and Prometheus write them. What they would refuse is nothing here: their own
//! checks say so.

use std::time::Duration;

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;

/// prometheus/common `model.ParseDuration`: whole numbers, each unit once, the longest first; or `0`.
pub(super) fn prometheus(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * DAY),
        ("w", 7 * DAY),
        ("d", DAY),
        ("h", 3_600 * SECOND),
        ("m", 60 * SECOND),
        ("s", SECOND),
        ("ms", 1),
    ];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = 0_u64;
    let mut units = UNITS.iter();
    for (number, unit) in parts(text)? {
        let (_, length) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*length)?)?;
    }
    Some(Duration::from_millis(total))
}

/// Go's `time.ParseDuration`, for `timeout:` of a webhook: fractions, any order, no unit above the hour.
pub(super) fn go(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    for (number, unit) in parts(text)? {
        let seconds = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let span = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(span)?;
    }
    Some(total)
}

/// Pairs of a number and the unit behind it, at least one.
fn parts(text: &str) -> Option<Vec<(&str, &str)>> {
    let numeric = |c: char| c.is_ascii_digit() || c == '.';
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = rest.split_at_checked(rest.find(|c| !numeric(c))?)?;
        let end = after.find(numeric).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        if number.is_empty() {
            return None;
        }
        found.push((number, unit));
        rest = after;
    }
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_reads() {
        for (text, ms) in [
            ("0", 0),
            ("1h30m", 5_400_000),
            ("1w", 604_800_000),
            ("5y", 157_680_000_000),
            ("90s", 90_000),
            ("1m500ms", 60_500),
        ] {
            assert_eq!(prometheus(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "", "5", "1.5h", "30m1h", "1h1h", "m", "-1s", "5 s", "1µs", "∞",
        ] {
            assert_eq!(prometheus(bad), None, "{bad}");
        }
        assert_eq!(prometheus("99999999999999999999y"), None);
        assert_eq!(prometheus("999999999999y"), None);
    }

    #[test]
    fn what_go_reads() {
        for (text, ms) in [
            ("30s", 30_000),
            ("1.5h", 5_400_000),
            ("1m30s500ms", 90_500),
            ("0", 0),
        ] {
            assert_eq!(go(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "30", "1d", "s", "1..5s", "1e400s", "-1s"] {
            assert_eq!(go(bad), None, "{bad}");
        }
    }
}
