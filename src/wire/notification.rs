//! A notification: the JSON body of Alertmanager's webhook (version "4"; also Mimir and Cortex) or
//! of Grafana's (version "1"), to [`Alert`]s. Whatever is read here is checked, and one wrong thing
//! refuses the request whole; whatever is not read is kept for the handler and never judged. It
//! trusts no status but an alert's own, because the top-level one is computed after truncation
//! (Alertmanager `notify/webhook/webhook.go`), and it decides nothing about a well-formed alert.

use std::collections::BTreeMap;

use super::json::{self, Member, RawValue};
use super::quote::quote;
use super::timestamp;
use crate::judge::{Alert, Status, Time};

/// Payload versions whose sender is known: Alertmanager's and Grafana's.
const KNOWN_VERSIONS: [&str; 2] = ["4", "1"];

/// What one request says.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The receiver's name, with Go's `regexp.QuoteMeta` applied by the sender; may be empty.
    pub receiver: String,
    /// The group's identity: opaque, any length; may be empty.
    pub group_key: String,
    /// The sender's own address; may be empty.
    pub external_url: String,
    /// What the alerts are grouped by, as far as it can be read: it is told, and never judged.
    pub group_labels: BTreeMap<String, String>,
    /// The payload's version; empty when the sender gives none.
    pub version: String,
    /// How many alerts the sender cut off and will not send (`max_alerts`); 0 when it does not say.
    pub truncated: u64,
    /// The alerts in payload order; may be empty.
    pub alerts: Vec<Posted>,
    /// What an operator should see in the log: one sentence each, printable.
    pub warnings: Vec<String>,
    /// The top-level members but `alerts`, as JSON text, each followed by a comma.
    group: String,
}

/// One alert of a notification, read and as sent.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The alert.
    pub alert: Alert,
    /// Its JSON text, every field as the sender spelled it.
    sent: String,
}

impl Notification {
    /// What a handler finds on its standard input: one JSON object and a newline. The object has all
    /// top-level members of the notification except `alerts`, and a last member `alert`: the alert as
    /// sent, unknown fields included. A top-level `alert` of the sender's own is left out.
    pub fn handler_input(&self, posted: &Posted) -> Vec<u8> {
        format!("{{{}\"alert\":{}}}\n", self.group, posted.sent).into_bytes()
    }
}

/// What an operator says of an alert, instead of a sender.
#[derive(Clone, Debug, Default)]
pub struct Told<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
    /// Whether it is over.
    pub resolved: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it began.
    pub starts_at: Time,
    /// When it ended; nothing is said of it while it fires.
    pub ends_at: Time,
    /// The fingerprint of its record; may be empty.
    pub fingerprint: &'a str,
}

/// The body that says this, as a sender would post it.
pub fn compose(told: &Told<'_>) -> String {
    let ends_at = if told.resolved {
        timestamp::to_the_millisecond(told.ends_at)
    } else {
        timestamp::rfc3339(timestamp::NONE)
    };
    let status = if told.resolved { "resolved" } else { "firing" };
    serde_json::json!({
        "version": "4",
        "receiver": told.receiver,
        "status": status,
        "alerts": [{
            "status": status,
            "labels": told.labels,
            "annotations": told.annotations,
            "startsAt": timestamp::to_the_millisecond(told.starts_at),
            "endsAt": ends_at,
            "fingerprint": told.fingerprint,
        }],
    })
    .to_string()
}

/// Reads a body.
///
/// # Errors
/// The one-line reason for a 400: where, what and what was expected, with nothing of the payload but
/// at most a short printable name.
pub fn parse(body: &[u8]) -> Result<Notification, String> {
    let value = json::check(body).map_err(|e| format!("the body is {e}"))?;
    let Some(members) = json::members(value) else {
        return Err(not_an_object(value));
    };
    let top = Fields {
        place: "the notification",
        members: &members,
    };
    let Some(alerts) = top.find("alerts") else {
        return Err(
            "the notification has no `alerts`: this is not an Alertmanager webhook body".to_owned(),
        );
    };
    let Some(alerts) = json::elements(alerts) else {
        return Err(format!("`alerts` is {}, not an array", json::kind(alerts)));
    };

    let mut notification = Notification {
        receiver: top.text("receiver")?.unwrap_or_default(),
        group_key: top.text("groupKey")?.unwrap_or_default(),
        external_url: top.text("externalURL")?.unwrap_or_default(),
        group_labels: top.find("groupLabels").map(told).unwrap_or_default(),
        version: top.text("version")?.unwrap_or_default(),
        truncated: top.unsigned("truncatedAlerts")?.unwrap_or(0),
        alerts: Vec::new(),
        warnings: Vec::new(),
        group: group(&members),
    };
    let mut nameless = 0_usize;
    for (index, value) in alerts.into_iter().enumerate() {
        let (posted, odd_fingerprint) = posted(&format!("alerts[{index}]"), value)?;
        notification.alerts.push(posted);
        nameless += usize::from(odd_fingerprint);
    }
    notification.warnings = warnings(&notification.version, nameless);
    Ok(notification)
}

/// The strings of an object; what is anything else is passed over.
fn told(value: &RawValue) -> BTreeMap<String, String> {
    let members = json::members(value).unwrap_or_default().into_iter();
    members
        .filter_map(|(name, value)| Some((name.into_owned(), json::text(value)?)))
        .collect()
}

fn not_an_object(value: &RawValue) -> String {
    let hint = if value.get().starts_with('[') {
        "; Prometheus, vmalert and rulers post arrays, and must post them to Alertmanager, not here"
    } else {
        ""
    };
    format!(
        "the body is {}, not an object with an `alerts` array{hint}",
        json::kind(value)
    )
}

fn warnings(version: &str, nameless: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    if version.is_empty() {
        warnings.push("the payload names no version; read as version 4".to_owned());
    } else if !KNOWN_VERSIONS.contains(&version) {
        warnings.push(format!(
            "unknown payload version {}; read as version 4",
            quote(version)
        ));
    }
    if nameless > 0 {
        warnings.push(format!(
            "{nameless} unusable fingerprints ignored; those alerts are known by their labels"
        ));
    }
    warnings
}

/// The members that describe the group, ready to stand in front of one more member.
fn group(members: &[Member<'_>]) -> String {
    let mut out = String::new();
    for (key, value) in members
        .iter()
        .filter(|(key, _)| !matches!(key.as_ref(), "alerts" | "alert"))
    {
        out.push_str(&serde_json::Value::from(key.as_ref()).to_string());
        out.push(':');
        out.push_str(value.get());
        out.push(',');
    }
    out
}

/// The alert, and whether it has a fingerprint that cannot be used.
fn posted(place: &str, value: &RawValue) -> Result<(Posted, bool), String> {
    let Some(members) = json::members(value) else {
        return Err(format!("{place} is {}, not an object", json::kind(value)));
    };
    let fields = Fields {
        place,
        members: &members,
    };
    let status = match fields.required("status")?.get() {
        r#""firing""# => Status::Firing,
        r#""resolved""# => Status::Resolved,
        _ => {
            return Err(format!(
                "`status` of {place} is neither \"firing\" nor \"resolved\""
            ));
        }
    };
    let fingerprint = fields.text("fingerprint")?.filter(|text| !text.is_empty());
    let odd = fingerprint.as_deref().is_some_and(|text| !usable(text));
    let alert = Alert {
        status,
        labels: fields.texts("labels", fields.required("labels")?)?,
        annotations: match fields.optional("annotations") {
            Some(value) => fields.texts("annotations", value)?,
            None => BTreeMap::new(),
        },
        starts_at: fields.instant("startsAt")?,
        ends_at: fields.instant("endsAt")?,
        generator_url: fields.text("generatorURL")?.unwrap_or_default(),
        fingerprint: fingerprint.filter(|_| !odd),
    };
    Ok((
        Posted {
            alert,
            sent: value.get().to_owned(),
        },
        odd,
    ))
}

/// `[A-Za-z0-9][A-Za-z0-9._:-]{0,127}`: Alertmanager sends 16 hex digits, others may do otherwise, and
/// it becomes an argument of the handler.
fn usable(fingerprint: &str) -> bool {
    fingerprint.len() <= 128
        && fingerprint.starts_with(|c: char| c.is_ascii_alphanumeric())
        && fingerprint
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

/// The members of one object, and its name for error texts. `null` counts as absent.
struct Fields<'a> {
    place: &'a str,
    members: &'a [Member<'a>],
}

impl<'a> Fields<'a> {
    fn find(&self, key: &str) -> Option<&'a RawValue> {
        self.members
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| *value)
    }

    fn optional(&self, key: &str) -> Option<&'a RawValue> {
        self.find(key).filter(|value| !json::is_null(value))
    }

    fn required(&self, key: &str) -> Result<&'a RawValue, String> {
        self.find(key)
            .ok_or_else(|| format!("{} has no `{key}`", self.place))
    }

    fn text(&self, key: &str) -> Result<Option<String>, String> {
        let read = |value| json::text(value).ok_or_else(|| self.wrong(key, value, "a string"));
        self.optional(key).map(read).transpose()
    }

    fn unsigned(&self, key: &str) -> Result<Option<u64>, String> {
        let read = |value| json::unsigned(value).ok_or_else(|| self.wrong(key, value, "a count"));
        self.optional(key).map(read).transpose()
    }

    fn instant(&self, key: &str) -> Result<Option<Time>, String> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match timestamp::parse(&text) {
            Some(timestamp::NONE) => Ok(None),
            Some(time) => Ok(Some(time)),
            None => Err(format!("`{key}` of {} is not an RFC 3339 time", self.place)),
        }
    }

    fn texts(&self, key: &str, value: &RawValue) -> Result<BTreeMap<String, String>, String> {
        let members =
            json::members(value).ok_or_else(|| self.wrong(key, value, "an object of strings"))?;
        let read = |(name, value): Member<'_>| match json::text(value) {
            Some(text) => Ok((name.into_owned(), text)),
            None => {
                let (found, name) = (json::kind(value), quote(&name));
                Err(format!(
                    "{name} in `{key}` of {} is {found}, not a string",
                    self.place
                ))
            }
        };
        members.into_iter().map(read).collect()
    }

    fn wrong(&self, key: &str, value: &RawValue, expected: &str) -> String {
        format!(
            "`{key}` of {} is {}, not {expected}",
            self.place,
            json::kind(value)
        )
    }
}

#[cfg(test)]
mod tests;
