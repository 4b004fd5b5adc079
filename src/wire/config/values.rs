//! Values of the configuration, one function a sort. Each takes exactly one spelling of a thing and
//! says in a few words why it refuses the rest; what a key accepts in all is the table's to say.

use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::Keep;
use crate::judge::RunLimit;
use crate::wire::duration;
use crate::wire::quote::quote;

/// A whole number in digits alone.
pub(super) fn number<N: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<N, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|n| digits && range.contains(n));
    number.and_then(|n| N::try_from(n).ok()).ok_or_else(|| {
        format!(
            "{} is not a whole number from {} to {}",
            quote(text),
            range.start(),
            range.end()
        )
    })
}

/// A duration within a range.
pub(super) fn span(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let span = duration::parse(text)?;
    if range.contains(&span) {
        return Ok(span);
    }
    let (least, most) = (duration::show(*range.start()), duration::show(*range.end()));
    Err(format!("{} is outside {least} to {most}", quote(text)))
}

/// Bytes: a bare number, or one with `KiB` or `MiB`.
pub(super) fn size(text: &str, range: RangeInclusive<u64>) -> Result<usize, String> {
    let (digits, unit) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
        (Some(digits), _) => (digits, 1 << 10),
        (_, Some(digits)) => (digits, 1 << 20),
        _ => (text, 1),
    };
    let Ok(number) = number::<u64>(digits, 0..=u64::MAX) else {
        return Err(format!("{} is not a size", quote(text)));
    };
    let bytes = number
        .checked_mul(unit)
        .filter(|bytes| range.contains(bytes));
    bytes
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| {
            format!(
                "{} is outside {} to {} bytes",
                quote(text),
                range.start(),
                range.end()
            )
        })
}

/// An absolute path that never goes up, so that what it names can be told by reading it.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(format!("{} is not an absolute path", quote(text)));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{} goes up with ..", quote(text)));
    }
    if text.contains(char::is_control) {
        return Err("a control character in the path".to_owned());
    }
    Ok(path.to_owned())
}

/// `RUNS/DURATION`.
pub(super) fn limit(
    text: &str,
    most: u32,
    windows: RangeInclusive<Duration>,
) -> Result<RunLimit, String> {
    let Some((runs, window)) = text.split_once('/') else {
        return Err(format!("{} is not RUNS/DURATION", quote(text)));
    };
    Ok(RunLimit {
        runs: number(runs, 1..=u64::from(most))?,
        window: span(window, windows)?,
    })
}

/// `COUNT,DURATION`.
pub(super) fn keep(text: &str) -> Result<Keep, String> {
    let Some((most, age)) = text.split_once(',') else {
        return Err(format!("{} is not COUNT,DURATION", quote(text)));
    };
    let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
    Ok(Keep {
        most: number(most, 1..=1000)?,
        age: span(age, minute..=3650 * day)?,
    })
}

/// `no` or `yes`.
pub(super) fn yes(text: &str) -> Result<bool, String> {
    choice(text, [("no", false), ("yes", true)])
}

/// A comma list without blanks; at least one item.
pub(super) fn items<T>(
    text: &str,
    item: impl FnMut(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    text.split(',').map(item).collect()
}

/// Nothing at all, or a value.
pub(super) fn optional<T: Default>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, String> {
    if text.is_empty() {
        Ok(T::default())
    } else {
        read(text)
    }
}

/// One of a few words.
pub(super) fn choice<T, const N: usize>(text: &str, known: [(&str, T); N]) -> Result<T, String> {
    let found = known.into_iter().find(|(word, _)| *word == text);
    found
        .map(|(_, value)| value)
        .ok_or_else(|| format!("{} is none of its words", quote(text)))
}

/// A user's name as useradd(8) allows it, capital letters and dots too, or a numeric id.
pub(super) fn user(text: &str) -> Result<String, String> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        // 4294967295 is (uid_t) -1, "no user" to chown(2) and its kin.
        return number::<u32>(text, 0..=u64::from(u32::MAX) - 1).map(|id| id.to_string());
    }
    let name = text.strip_suffix('$').unwrap_or(text);
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if name.is_empty()
        || name.len() > 256
        || name.starts_with(['-', '.'])
        || !name.bytes().all(safe)
    {
        return Err(format!("{} is not a user name", quote(text)));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number::<u16>("65535", 1..=65_535), Ok(65_535));
        for bad in [
            "",
            "0",
            "65536",
            "-1",
            "+1",
            "1.0",
            " 1",
            "1 ",
            "0x10",
            "٣",
            "99999999999999999999",
        ] {
            assert!(
                number::<u16>(bad, 1..=65_535)
                    .unwrap_err()
                    .contains("from 1 to 65535"),
                "{bad}"
            );
        }
    }

    #[test]
    fn sizes() {
        let read = |text| size(text, 1024..=64 << 20);
        for (text, bytes) in [
            ("4MiB", 4 << 20),
            ("512KiB", 512 << 10),
            ("1048576", 1 << 20),
            ("1KiB", 1024),
            ("1024", 1024),
            ("64MiB", 64 << 20),
        ] {
            assert_eq!(read(text), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            "MiB",
            "4MB",
            "4M",
            "4mib",
            "4 MiB",
            "1023",
            "0",
            "65MiB",
            "67108865",
            "-1KiB",
            "1.5MiB",
            "18446744073709551615MiB",
            "1GiB",
            "4MiBKiB",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths() {
        for good in ["/", "/a", "/a/b.c/", "/a b/é", "/..a/b..", "/a/./b"] {
            assert_eq!(path(good), Ok(PathBuf::from(good)));
        }
        for bad in [
            "", "a", "./a", "../a", "~/a", "/a/../b", "/..", "/a\0b", "/a\nb",
        ] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits() {
        let second = Duration::from_secs(1);
        let read = |text| limit(text, 100, second..=60 * second);
        assert_eq!(
            read("6/30s"),
            Ok(RunLimit {
                runs: 6,
                window: 30 * second
            })
        );
        assert!(read("100/1m").is_ok());
        for bad in [
            "", "6", "6/", "/30s", "0/30s", "101/30s", "6/0", "6/61s", "6/30", "6/30s/1", "6 /30s",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keeps() {
        let day = Duration::from_secs(86_400);
        let age = 30 * day;
        assert_eq!(keep("20,30d"), Ok(Keep { most: 20, age }));
        for bad in [
            "", "20", "20,", ",30d", "0,30d", "1001,30d", "20,0", "20,3651d", "20,30", "20/30d",
        ] {
            assert!(keep(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users() {
        for good in [
            "prometheus",
            "_apt",
            "host$",
            "0",
            "65534",
            "4294967294",
            "a.b-c",
            "Debian-exim",
        ] {
            assert_eq!(user(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "-x",
            ".x",
            "a b",
            "a:b",
            "a/b",
            "4294967295",
            "12x",
            "$",
            "é",
            "a$b",
        ] {
            assert!(user(bad).is_err(), "{bad}");
        }
        assert_eq!(user("007"), Ok("7".to_owned()));
    }
}
