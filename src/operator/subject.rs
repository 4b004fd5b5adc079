//! An alert that an operator names instead of a sender: by its name and instance, and by the record that is meant, so
//! that what the sender's alert did and what an operator does count together.

use std::collections::BTreeMap;

use super::{Refused, title};
use crate::judge::alert::cut;
use crate::judge::{Record, Time};
use crate::wire::notification::{self, Notification, Told};
use crate::wire::timestamp;

/// What an operator says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The alertname.
    pub alertname: String,
    /// The instance, whole.
    pub instance: String,
    /// More labels, each `name=value`.
    pub labels: Vec<String>,
    /// Annotations, likewise.
    pub annotations: Vec<String>,
    /// When it began, RFC 3339; else its record says, or it began now.
    pub starts_at: Option<String>,
    /// Whether it is over.
    pub resolved: bool,
    /// The key of the record that is meant.
    pub key: Option<String>,
}

/// The alert, ready to be judged.
#[derive(Clone, Debug)]
pub struct Named {
    /// As a sender would have posted it.
    pub notification: Notification,
    /// The record that it belongs to, where there is one already.
    pub key: Option<String>,
}

impl Subject {
    /// The alert, given every record there is.
    ///
    /// # Errors
    /// Something that is no label, no time or no key; several records, of which none was named.
    pub fn named(
        &self,
        records: &[(String, Option<Record>)],
        receiver: &str,
        now: Time,
    ) -> Result<Named, Refused> {
        let mut labels = pairs("--label", &self.labels)?;
        for (name, value) in [("alertname", &self.alertname), ("instance", &self.instance)] {
            if labels.insert(name.to_owned(), value.clone()).is_some() {
                let why = format!("--label: {name} is said already, without --label");
                return Err(Refused::Misused(why));
            }
        }
        let starts_at = match &self.starts_at {
            None => None,
            Some(text) => Some(timestamp::parse(text).ok_or_else(|| {
                let why = format!(
                    "--starts-at: {text:?} is no time as RFC 3339 has it, such as 2026-11-22T12:00:00Z"
                );
                Refused::Misused(why)
            })?),
        };
        let (key, record) = match self.record(records)? {
            Some((key, record)) => (Some(key), record),
            None => (None, Record::default()),
        };
        let open = record.episode.filter(|episode| episode.closed_at.is_none());
        let starts_at = starts_at.or(open.map(|episode| episode.starts_at));
        let body = notification::compose(&Told {
            receiver,
            resolved: self.resolved,
            labels,
            annotations: pairs("--annotation", &self.annotations)?,
            starts_at: starts_at.unwrap_or(now),
            ends_at: now,
            fingerprint: &record.fingerprint,
        });
        let notification = notification::parse(body.as_bytes()).map_err(Refused::Misused)?;
        Ok(Named { notification, key })
    }

    /// The one record that is meant, with its key; what is damaged is an empty one.
    fn record(
        &self,
        records: &[(String, Option<Record>)],
    ) -> Result<Option<(String, Record)>, Refused> {
        let ours = |record: &Record| {
            record.alertname == self.alertname
                && record.instance == cut(&self.instance, Record::TEXT)
        };
        if let Some(key) = &self.key {
            let found = records.iter().find(|(other, _)| other == key);
            return match found {
                None => Err(Refused::Misused(format!(
                    "--key: no record has the key {key:?} (the name of a file in HEAL_STATE_DIR/records)"
                ))),
                Some((_, Some(record))) if !record.alertname.is_empty() && !ours(record) => Err(
                    Refused::Misused(format!("--key: it is the record of {}", title(record))),
                ),
                Some((key, record)) => Ok(Some((key.clone(), record.clone().unwrap_or_default()))),
            };
        }
        let mut known: Vec<(&String, &Record)> = records
            .iter()
            .filter_map(|(key, record)| Some((key, record.as_ref()?)))
            .filter(|(_, record)| ours(record))
            .collect();
        known.sort_by_key(|(key, _)| *key);
        match known.as_slice() {
            [] => Ok(None),
            [(key, record)] => Ok(Some(((*key).clone(), (*record).clone()))),
            several => {
                let keys: Vec<&str> = several.iter().map(|(key, _)| key.as_str()).collect();
                Err(Refused::Misused(format!(
                    "{} records are of {} on {}: say which by --key {}",
                    keys.len(),
                    self.alertname,
                    self.instance,
                    keys.join(" or --key ")
                )))
            }
        }
    }
}

/// `name=value` each, names unique.
fn pairs(option: &str, words: &[String]) -> Result<BTreeMap<String, String>, Refused> {
    let mut pairs = BTreeMap::new();
    for word in words {
        let misused = |why: &str| Refused::Misused(format!("{option}: {word:?} {why}"));
        let (name, value) = word
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| misused("is not name=value"))?;
        if pairs.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(misused("names what was given already"));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::record::Episode;
    use crate::wire::records;

    fn subject() -> Subject {
        Subject {
            alertname: "A".into(),
            instance: "i".into(),
            ..Subject::default()
        }
    }

    fn record(fingerprint: &str, closed_at: Option<Time>) -> Record {
        Record {
            alertname: "A".into(),
            instance: "i".into(),
            fingerprint: fingerprint.into(),
            episode: Some(Episode {
                starts_at: Time(1_234),
                closed_at,
            }),
            ..Record::default()
        }
    }

    fn named(subject: &Subject, records: &[(String, Option<Record>)]) -> Result<Named, String> {
        let named = subject.named(records, "by hand", Time(9_999));
        named.map_err(|refused| refused.to_string())
    }

    #[test]
    fn the_one_record_gives_its_fingerprint_and_its_open_episodes_start() {
        let none = named(&subject(), &[]).unwrap();
        let alert = &none.notification.alerts[0].alert;
        assert_eq!(
            (alert.starts_at, &alert.fingerprint),
            (Some(Time(9_999)), &None)
        );
        assert_eq!(none.key, None);
        for (closed_at, starts_at) in [(None, 1_234), (Some(Time(5_000)), 9_999)] {
            let records = [
                ("k".to_owned(), Some(record("f", closed_at))),
                ("d".to_owned(), None),
            ];
            let one = named(&subject(), &records).unwrap();
            let alert = &one.notification.alerts[0].alert;
            assert_eq!(alert.starts_at, Some(Time(starts_at)));
            assert_eq!(records::key(alert), records::hex_digest(b"f"));
            assert_eq!(one.key.as_deref(), Some("k"));
        }
    }

    #[test]
    fn several_records_are_told_apart_by_their_keys() {
        let records = [
            ("k2".to_owned(), Some(record("g", None))),
            ("k1".to_owned(), Some(record("f", None))),
            (
                "k3".to_owned(),
                Some(Record {
                    instance: "j".into(),
                    ..record("h", None)
                }),
            ),
            ("k4".to_owned(), None),
        ];
        let why = named(&subject(), &records).unwrap_err();
        assert_eq!(
            why,
            "2 records are of A on i: say which by --key k1 or --key k2"
        );
        let keyed = |key: &str| Subject {
            key: Some(key.into()),
            ..subject()
        };
        let one = named(&keyed("k2"), &records).unwrap();
        assert_eq!(
            one.notification.alerts[0].alert.fingerprint.as_deref(),
            Some("g")
        );
        assert_eq!(
            named(&keyed("k4"), &records).unwrap().key.as_deref(),
            Some("k4")
        );
        let why = named(&keyed("k3"), &records).unwrap_err();
        assert_eq!(why, "--key: it is the record of A on j");
        assert!(named(&keyed("k5"), &records).is_err());
    }

    #[test]
    fn what_is_no_label_and_no_time_is_refused() {
        let with = |labels: &[&str], starts_at: Option<&str>| Subject {
            labels: labels.iter().map(|l| (*l).to_owned()).collect(),
            starts_at: starts_at.map(str::to_owned),
            ..subject()
        };
        for bad in [
            &["x"][..],
            &["=x"],
            &["a=1", "a=2"],
            &["instance=j"],
            &["alertname=A"],
        ] {
            assert!(
                named(&with(bad, None), &[])
                    .unwrap_err()
                    .starts_with("--label: "),
                "{bad:?}"
            );
        }
        assert!(named(&with(&[], Some("noon")), &[]).is_err());
        let good = named(&with(&["a=", "b=c=d"], Some("1970-01-01T00:00:01Z")), &[]).unwrap();
        let alert = &good.notification.alerts[0].alert;
        assert_eq!(alert.labels["b"], "c=d");
        assert_eq!(alert.starts_at, Some(Time(1_000)));
    }
}
