//! The id of a run, `19ab3f00c2d-4711-1.NginxDown`: when it began, which process runs it, which of that
//! process's runs it is, and the alertname. Unique on one host: no process has the same number twice within a
//! millisecond. It stands in file names and on sudo's command line, so it is read as strictly as it is written:
//! what [`parse`] takes is what [`make`] gives, and nothing else.

use super::{AlertName, Time};

/// What a run id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunId {
    /// When the run began.
    pub started: Time,
    /// The alert it is for.
    pub alertname: AlertName,
}

/// The latest start: twelve hex digits, the year 10889. `deploy/sudoers.d/healer` knows this length.
const LATEST: i64 = 0xffff_ffff_ffff;

/// The id of the run that the process `pid` begins now, its `n`th.
pub fn make(now: Time, pid: i32, n: u32, alertname: &AlertName) -> String {
    let started = now.0.clamp(0, LATEST);
    format!("{started:x}-{}-{n}.{alertname}", pid.max(0))
}

/// What the id says, if it is one.
pub fn parse(text: &str) -> Option<RunId> {
    let (numbers, name) = text.split_once('.')?;
    let alertname = AlertName::new(name)?;
    let mut numbers = numbers.split('-');
    let (started, pid, n) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let started = Time(i64::from_str_radix(started, 16).ok()?);
    let again = make(started, pid.parse().ok()?, n.parse().ok()?, &alertname);
    (again == text).then_some(RunId { started, alertname })
}

/// The part before the alertname: unique on this host too, of hex digits and `-`, at most 34 characters.
pub fn stem(id: &str) -> &str {
    id.split_once('.').map_or(id, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> AlertName {
        AlertName::new(text).unwrap()
    }

    #[test]
    fn it_says_what_it_was_made_of() {
        let id = make(Time(0x19a_b3f0_0c2d), 4711, 1, &name("NginxDown"));
        assert_eq!(id, "19ab3f00c2d-4711-1.NginxDown");
        assert_eq!(stem(&id), "19ab3f00c2d-4711-1");
        let dotted = make(Time(5), i32::MAX, u32::MAX, &name("a.b-c.sh"));
        assert_eq!(
            parse(&dotted),
            Some(RunId {
                started: Time(5),
                alertname: name("a.b-c.sh")
            })
        );
    }

    #[test]
    fn a_clock_beyond_all_bounds_gives_an_id_all_the_same() {
        for now in [i64::MIN, -1, 0, LATEST, LATEST + 1, i64::MAX] {
            let id = make(Time(now), 1, 1, &name("A"));
            assert_eq!(parse(&id).unwrap().started.0, now.clamp(0, LATEST), "{id}");
        }
    }

    #[test]
    fn nothing_else_is_an_id() {
        for bad in [
            "",
            ".",
            "1-1-1",
            "1-1-1.",
            "1-1.A",
            "1-1-1-1.A",
            "1--1.A",
            "-1-1-1.A",
            "+1-1-1.A",
            "1-+1-1.A",
            "1-1-+1.A",
            "01-1-1.A",
            "1-01-1.A",
            "1-1-01.A",
            "1A-1-1.A",
            "0x1-1-1.A",
            "g-1-1.A",
            "1-f-1.A",
            "1-1-1.-A",
            "1-1-1..A",
            "1-1-1.A/B",
            "1-1-1.A~2",
            "1-1-1.A ",
            " 1-1-1.A",
            "1-1-1.A\n",
            "1-1-1.A\0",
            "1-1-1.\u{e9}",
            "\u{661}-1-1.A",
            "../1-1-1.A",
            "1-1-1/../x.A",
            "1000000000000-1-1.A",
            "1-2147483649-1.A",
            "1-1-4294967296.A",
            &format!("1-1-1.{}", "a".repeat(129)),
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        assert!(parse(&format!("1-1-1.{}", "a".repeat(128))).is_some());
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_is_written(text in "[0-9a-f]{0,13}-[0-9]{0,11}-[0-9]{0,11}[.~-][A-Za-z0-9_./-]{0,12}") {
            if let Some(id) = parse(&text) {
                prop_assert!(text.ends_with(id.alertname.as_str()));
                let started = format!("{:x}-", id.started.0);
                prop_assert!(text.starts_with(&started));
            }
        }

        #[test]
        fn every_id_is_read_again(now in any::<i64>(), pid in 1..i32::MAX, n in any::<u32>(), text in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}") {
            let id = make(Time(now), pid, n, &name(&text));
            prop_assert_eq!(parse(&id).unwrap().alertname, name(&text));
        }
    }
}
