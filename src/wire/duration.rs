//! Spans of time as people write them: `30s`, `4h`, `1h30m`, `500ms`, `30d`. It refuses a bare
//! number other than `0`, because a unit that has to be guessed is guessed wrong one day.

use std::time::Duration;

use super::quote::quote;

/// Units from the longest to the shortest, with their length in milliseconds. A day has 24 hours.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `0`, or whole numbers with the units `d`, `h`, `m`, `s`, `ms`, each at most once and the
/// longest first. The sum has to fit 64 bits of milliseconds.
///
/// # Errors
/// One sentence: the text, shortened, what is wrong and what is accepted.
pub fn parse(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    match sum(text) {
        Some(ms) => Ok(Duration::from_millis(ms)),
        None => Err(format!(
            "{} is not a duration: write whole numbers with d, h, m, s or ms, the longest first, such as 30s, 4h, 1h30m or 500ms",
            quote(text)
        )),
    }
}

/// The span in the same notation, without units that are zero; `0s` for none. What is finer than a
/// millisecond is cut off.
pub fn show(span: Duration) -> String {
    let mut rest = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, length) in UNITS {
        if rest >= length {
            out.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    out
}

/// About how long, for a person: the two longest units, `2d4h`, `3h12m`, `45s`; what is below a second is `0s`.
pub fn rough(span: Duration) -> String {
    let seconds = span.as_secs();
    let (long, short) = match seconds {
        0..60 => (1, 1),
        60..600 => (60, 1),
        600..3_600 => (60, 60),
        3_600..86_400 => (3_600, 60),
        _ => (86_400, 3_600),
    };
    let kept = if seconds < long * 10 || long == 3_600 {
        seconds / short * short
    } else {
        seconds / long * long
    };
    show(Duration::from_secs(kept))
}

fn sum(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut rest = text;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let (number, after) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit())?)?;
        let (unit, after) = after.split_at_checked(
            after
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(after.len()),
        )?;
        let (_, length) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*length)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn about_how_long() {
        for (seconds, shown) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m1s"),
            (599, "9m59s"),
            (601, "10m"),
            (3_599, "59m"),
            (3_661, "1h1m"),
            (86_399, "23h59m"),
            (90_061, "1d1h"),
            (950_400, "11d"),
        ] {
            assert_eq!(rough(Duration::from_secs(seconds)), shown, "{seconds}");
        }
    }

    #[test]
    fn what_people_write() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("30s", 30_000),
            ("6m", 360_000),
            ("4h", 14_400_000),
            ("30d", 2_592_000_000),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("90s", 90_000),
            ("007s", 7_000),
            ("18446744073709551615ms", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for bad in [
            "",
            "5",
            "00",
            "s",
            "-5s",
            "+5s",
            "1.5h",
            "5 s",
            " 5s",
            "5s ",
            "5S",
            "5sec",
            "5w",
            "5µs",
            "30m1h",
            "1h1h",
            "1h30",
            "h1",
            "18446744073709551616ms",
            "999999999999999999d",
            "18446744073709551615ms1s",
            "1s18446744073709551615ms",
            "٥s",
            "1e3s",
            "\0",
            "infinity",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains("1h30m"), "{error}");
        }
    }

    #[test]
    fn shown_without_empty_units() {
        for (ms, text) in [
            (0, "0s"),
            (1, "1ms"),
            (90_000, "1m30s"),
            (86_400_000, "1d"),
            (90_061_001, "1d1h1m1s1ms"),
        ] {
            assert_eq!(show(Duration::from_millis(ms)), text);
        }
        assert_eq!(show(Duration::from_nanos(1_999_999)), "1ms");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(ms in any::<u64>()) {
            let span = Duration::from_millis(ms);
            prop_assert_eq!(parse(&show(span)), Ok(span));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,30}|[0-9dhms]{0,30}") {
            let _ = parse(&text);
        }
    }
}
