//! Instants on the wire: RFC 3339 in, as Go writes it (zero to nine fraction digits, `Z` or an
//! offset), and RFC 3339 in UTC out. It knows no time zone but the offset in front of it, and
//! refuses the looser forms of ISO 8601.

use crate::judge::Time;

const MS_PER_SECOND: i64 = 1_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// The instant of `0001-01-01T00:00:00Z`: Go's zero time, on the wire for "none".
pub const NONE: Time = Time(-62_135_596_800_000);

/// The instant that an RFC 3339 date-time names (section 5.6), rounded down to a millisecond. Years
/// 0000 to 9999; a leap second `:60` counts as the second after it.
///
/// `None` when it is anything else: a date alone, a space for the `T`, no offset, more than nine
/// fraction digits, a day that its month does not have.
pub fn parse(text: &str) -> Option<Time> {
    if let Some(numbers) = plain(text.as_bytes()) {
        return instant(numbers, 0, 0);
    }
    let (date, rest) = text.split_at_checked(10)?;
    let (clock, rest) = rest.strip_prefix(['T', 't'])?.split_at_checked(8)?;
    let (year, month, day) = triple(date, '-', 4)?;
    let (hour, minute, second) = triple(clock, ':', 2)?;
    let (ms, offset) = fraction(rest)?;
    let numbers = [year, month, day, hour, minute, second];
    instant(numbers, ms, offset_seconds(offset)?)
}

/// Year, month, day, hour, minute and second of the form that is read most, `2026-11-22T12:00:00Z`; `None` for any other.
fn plain(text: &[u8]) -> Option<[i64; 6]> {
    let [
        a,
        b,
        c,
        d,
        b'-',
        m,
        n,
        b'-',
        o,
        p,
        b'T',
        h,
        i,
        b':',
        j,
        k,
        b':',
        s,
        t,
        b'Z',
    ] = text
    else {
        return None;
    };
    let number = |digits: &[&u8]| {
        digits.iter().try_fold(0, |number, digit| {
            let digit = digit.is_ascii_digit().then(|| i64::from(**digit - b'0'))?;
            Some(number * 10 + digit)
        })
    };
    Some([
        number(&[a, b, c, d])?,
        number(&[m, n])?,
        number(&[o, p])?,
        number(&[h, i])?,
        number(&[j, k])?,
        number(&[s, t])?,
    ])
}

fn instant(numbers: [i64; 6], ms: i64, offset: i64) -> Option<Time> {
    let [year, month, day, hour, minute, second] = numbers;
    let ranges = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !ranges || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds =
        days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second
            - offset;
    Some(Time(seconds * MS_PER_SECOND + ms))
}

/// The instant in UTC to the second, `2026-11-22T12:00:00Z`, rounded down. What lies outside the
/// years 0000 to 9999, where RFC 3339 has no form, is shown as the first or last second inside.
pub fn rfc3339(time: Time) -> String {
    let mut text = String::with_capacity("2026-11-22T12:00:00Z".len());
    write(time, &mut text);
    text
}

/// Likewise, behind what is in `text`.
pub(in crate::wire) fn write(time: Time, text: &mut String) {
    let first = days_from_civil(0, 1, 1) * SECONDS_PER_DAY;
    let last = days_from_civil(10_000, 1, 1) * SECONDS_PER_DAY - 1;
    let seconds = time.0.div_euclid(MS_PER_SECOND).clamp(first, last);
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let clock = seconds.rem_euclid(SECONDS_PER_DAY);
    // Digit by digit: through `format!` it would be most of what a line of a long table costs.
    let numbers = [
        (None, year / 100),
        (None, year % 100),
        (Some('-'), month),
        (Some('-'), day),
        (Some('T'), clock / 3600),
        (Some(':'), clock / 60 % 60),
        (Some(':'), clock % 60),
    ];
    for (before, number) in numbers {
        let digit = |n: i64| u32::try_from(n).ok().and_then(|n| char::from_digit(n, 10));
        text.extend(before);
        text.extend(digit(number / 10));
        text.extend(digit(number % 10));
    }
    text.push('Z');
}

/// Likewise to the millisecond, `2026-11-22T12:00:00.123Z`: read again it is the same instant.
pub fn to_the_millisecond(time: Time) -> String {
    let whole = rfc3339(time);
    let seconds = whole.strip_suffix('Z').unwrap_or(&whole);
    format!("{seconds}.{:03}Z", time.0.rem_euclid(MS_PER_SECOND))
}

/// Three numbers of fixed width: the first `width` digits long, the others two.
fn triple(text: &str, separator: char, width: usize) -> Option<(i64, i64, i64)> {
    let (first, rest) = text.split_once(separator)?;
    let (second, third) = rest.split_once(separator)?;
    Some((digits(first, width)?, digits(second, 2)?, digits(third, 2)?))
}

fn digits(text: &str, width: usize) -> Option<i64> {
    let plain = text.len() == width && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Milliseconds of an optional fraction, rounded down, and what follows it.
fn fraction(rest: &str) -> Option<(i64, &str)> {
    let Some(rest) = rest.strip_prefix('.') else {
        return Some((0, rest));
    };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let (digits, offset) = rest.split_at_checked(end)?;
    if !(1..=9).contains(&digits.len()) {
        return None;
    }
    let ms = format!("{digits:0<3}").get(..3)?.parse().ok()?;
    Some((ms, offset))
}

/// Seconds east of UTC.
fn offset_seconds(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, clock) = match text.strip_prefix('+') {
        Some(clock) => (1, clock),
        None => (-1, text.strip_prefix('-')?),
    };
    let (hours, minutes) = clock.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar: `days_from_civil` of Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", howardhinnant.github.io/date_algorithms.html.
/// Years begin in March there, so that the leap day is the last of its year; an era is 400 years.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse, `civil_from_days` of the same page: year, month, day.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_millisecond_is_not_lost() {
        for ms in [0, 1, 999, 1_000, 1_795_348_800_123, -1] {
            assert_eq!(parse(&to_the_millisecond(Time(ms))), Some(Time(ms)));
        }
    }
    use proptest::prelude::*;

    #[test]
    fn known_instants() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00z", 0),
            ("1969-12-31T23:59:59.999999999Z", -1),
            ("1969-12-31T23:59:59.0001Z", -1000),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2026-03-04T05:06:07.123456789Z", 1_772_600_767_123),
            ("2026-03-04T07:06:07+02:00", 1_772_600_767_000),
            ("2026-03-03T23:36:07.5-05:30", 1_772_600_767_500),
            ("2026-03-04T05:06:07.05Z", 1_772_600_767_050),
            ("2026-03-04T05:06:07-00:00", 1_772_600_767_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("0001-01-01T00:00:00Z", NONE.0),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("0000-01-01T00:00:00+23:59", -62_167_305_540_000),
        ] {
            assert_eq!(parse(text), Some(Time(ms)), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in [
            "",
            "2026",
            "2026-03-04",
            "2026-03-04T05:06:07",
            "2026-03-04 05:06:07Z",
            "2026-03-04T05:06Z",
            "2026-03-04T05:06:07.Z",
            "2026-03-04T05:06:07.1234567890Z",
            "2026-03-04T05:06:07,5Z",
            "2026-13-04T05:06:07Z",
            "2026-00-04T05:06:07Z",
            "2026-02-29T05:06:07Z",
            "1900-02-29T05:06:07Z",
            "2026-04-31T05:06:07Z",
            "2026-03-00T05:06:07Z",
            "2026-03-04T24:00:00Z",
            "2026-03-04T05:60:07Z",
            "2026-03-04T05:06:61Z",
            "2026-03-04T05:06:07+24:00",
            "2026-03-04T05:06:07+02:60",
            "2026-03-04T05:06:07+0200",
            "2026-03-04T05:06:07+2:00",
            "2026-03-04T05:06:07Zx",
            " 2026-03-04T05:06:07Z",
            "2026-03-04T05:06:07Z\n",
            "+026-03-04T05:06:07Z",
            "2026-3-004T05:06:07Z",
            "2026-03-04T05:06:07.5",
            "2026-03-04T05:06:07\u{2212}02:00",
            "２026-03-04T05:06:07Z",
            "1772600767",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn shown_to_the_second_and_never_outside_four_digit_years() {
        assert_eq!(rfc3339(Time(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(Time(-1)), "1969-12-31T23:59:59Z");
        assert_eq!(rfc3339(Time(1_772_600_767_999)), "2026-03-04T05:06:07Z");
        assert_eq!(rfc3339(Time(i64::MAX)), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339(Time(i64::MIN)), "0000-01-01T00:00:00Z");
    }

    #[test]
    fn every_day_of_an_era_follows_the_one_before() {
        let mut expected = days_from_civil(1600, 1, 1);
        for year in 1600..2400 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    assert_eq!(days_from_civil(year, month, day), expected);
                    assert_eq!(civil_from_days(expected), (year, month, day));
                    expected += 1;
                }
            }
        }
        assert_eq!(days_from_civil(1970, 1, 1), 0);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(seconds in -62_167_219_200_i64..253_402_300_800) {
            let time = Time(seconds * 1000);
            prop_assert_eq!(parse(&rfc3339(time)), Some(time));
        }

        #[test]
        fn an_offset_moves_the_instant_and_nothing_else(seconds in 0_i64..4_102_444_800, minutes in -1439_i64..=1439) {
            let local = rfc3339(Time((seconds + minutes * 60) * 1000));
            let sign = if minutes < 0 { '-' } else { '+' };
            let (h, m) = (minutes.abs() / 60, minutes.abs() % 60);
            let text = format!("{}{sign}{h:02}:{m:02}", local.trim_end_matches('Z'));
            prop_assert_eq!(parse(&text), Some(Time(seconds * 1000)));
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,40}|[0-9T:Z.+-]{0,36}") {
            let _ = parse(&text);
        }
    }
}
