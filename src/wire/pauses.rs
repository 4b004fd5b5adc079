//! The pauses as JSON, kept in a file like a record: an array of
//! `[from, until, alertname or null, instance or null, who, why]`, times in milliseconds.

use super::records::Kept;
use super::timestamp::rfc3339;
use crate::judge::pauses::{Pause, Pauses, Scope};
use crate::judge::{AlertName, Time};

/// A pause in words: for whom, until when, by whom and why. Not made printable.
pub fn words(pause: &Pause) -> String {
    let Pause {
        scope, who, why, ..
    } = pause;
    let until = rfc3339(pause.until);
    format!("{scope} until {until}, by {who}: {why}")
}

type Shape = (i64, i64, Option<String>, Option<String>, String, String);

impl Kept for Pauses {
    fn unknown(now: Time) -> Pauses {
        Pauses::unknown(now)
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        let shapes = self.list().iter().map(|pause| {
            (
                pause.from.0,
                pause.until.0,
                pause.scope.alertname.as_ref().map(AlertName::as_str),
                pause.scope.instance.as_deref(),
                pause.who.as_str(),
                pause.why.as_str(),
            )
        });
        serde_json::to_string(&shapes.collect::<Vec<_>>())
    }

    fn from_json(text: &str) -> Result<Pauses, serde_json::Error> {
        let shapes: Vec<Shape> = serde_json::from_str(text)?;
        let pauses = shapes
            .into_iter()
            .map(|(from, until, alertname, instance, who, why)| {
                let named = alertname.is_some();
                let alertname = alertname.as_deref().and_then(AlertName::new);
                if named && alertname.is_none() {
                    return Err("an unsafe alertname");
                }
                Ok(Pause {
                    scope: Scope::new(alertname, instance)?,
                    from: Time(from),
                    until: Time(until),
                    who,
                    why,
                })
            });
        let pauses: Result<Vec<Pause>, &str> = pauses.collect();
        pauses
            .map(Pauses::from_list)
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::records::{SLOT, encode};

    const DAY: Duration = Duration::from_secs(86_400);

    fn pause(alertname: &str, instance: &str, who: &str, why: &str) -> Option<Pause> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let scope = Scope::new(AlertName::new(alertname), text(instance)).ok()?;
        Some(Pause::new(scope, Time(1_999_999_999_999), DAY, who, why))
    }

    #[test]
    fn pauses_survive_the_journey() {
        let mut pauses = Pauses::default();
        assert_eq!(Pauses::from_json("[]").unwrap(), pauses);
        for (alertname, instance) in [
            ("", ""),
            ("Down", ""),
            ("", "[fd00::8]:9100"),
            ("Down", "web-1"),
        ] {
            let next = pause(alertname, instance, "anna", "\"why\" \\ é").unwrap();
            pauses = pauses.add(next, Time(0)).unwrap();
            let json = pauses.to_json().unwrap();
            assert_eq!(Pauses::from_json(&json).unwrap(), pauses, "{json}");
        }
    }

    #[test]
    fn what_nobody_can_have_written_is_damage() {
        for text in [
            "",
            "{}",
            "[[1,2,null,null,\"who\"]]",
            "[[1,2,\"../x\",null,\"who\",\"why\"]]",
            "[[1,2,null,\"a b\",\"who\",\"why\"]]",
            "[[1,2,null,\"#\",\"who\",\"why\"]]",
            "[[\"1\",2,null,null,\"who\",\"why\"]]",
        ] {
            assert!(Pauses::from_json(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_damaged_file_pauses_everything_for_an_hour() {
        let now = Time(1_000);
        let pauses = <Pauses as Kept>::unknown(now);
        assert!(pauses.in_effect("Any", "anywhere", now).is_some());
        let end = now.plus(Duration::from_secs(3600));
        assert!(pauses.in_effect("Any", "anywhere", end).is_none());
    }

    #[test]
    fn a_pause_in_words() {
        let pause = pause("Down", "web-1", "anna", "disk swap").unwrap();
        assert_eq!(
            words(&pause),
            "Down on web-1 until 2033-05-19T03:33:19Z, by anna: disk swap"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn whatever_is_let_in_fits_the_slot(
            texts in proptest::collection::vec(("[A-Za-z]{0,128}", "\\PC{0,300}", any::<String>(), any::<String>()), 1..48)
        ) {
            let mut pauses = Pauses::default();
            for (alertname, instance, who, why) in texts {
                if let Some(pause) = pause(&alertname, &instance, &who, &why)
                    && let Ok(next) = pauses.add(pause, Time(i64::MIN))
                {
                    pauses = next;
                }
            }
            let json = pauses.to_json().unwrap();
            prop_assert_eq!(&Pauses::from_json(&json).unwrap(), &pauses);
            prop_assert!(encode(&pauses, "pauses", u64::MAX).unwrap().len() <= SLOT);
        }
    }
}
