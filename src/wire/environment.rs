//! The environment of a handler. Nothing is inherited; names come from a fixed list or behind a fixed
//! prefix, so no label can be `PATH` or `LD_PRELOAD`.

use std::collections::BTreeMap;

use super::directives::Compat;
use super::notification::Notification;
use super::timestamp::rfc3339;
use crate::judge::{Alert, Run, Status, Time};

/// Where commands are looked for.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The longest value, in bytes. execve(2) takes 128 KiB a string, name included.
const LONGEST: usize = 64 * 1024;

/// All values together, in bytes: well below a quarter of an 8 MiB stack (execve(2), limits on size).
const TOTAL: usize = 1024 * 1024;

/// A variable that every handler has, for documentation.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub value: &'static str,
}

/// Those of [`build`] that are no label and no annotation, in its order.
pub const VARIABLES: [Variable; 16] = [
    Variable {
        name: "PATH",
        value: "the usual six folders, `/usr/local` first",
    },
    Variable {
        name: "HOME",
        value: "the healer's, from /etc/passwd",
    },
    Variable {
        name: "LANG",
        value: "`C.UTF-8`",
    },
    Variable {
        name: "HEAL_ALERTNAME",
        value: "the first label to look at",
    },
    Variable {
        name: "HEAL_INSTANCE",
        value: "as in the arguments",
    },
    Variable {
        name: "HEAL_FINGERPRINT",
        value: "as in the arguments",
    },
    Variable {
        name: "HEAL_ATTEMPT",
        value: "which attempt in a row, from 1",
    },
    Variable {
        name: "HEAL_MAX_ATTEMPTS",
        value: "how many there are",
    },
    Variable {
        name: "HEAL_STARTS_AT",
        value: "when the alert began, RFC 3339 in UTC; empty if the sender does not say",
    },
    Variable {
        name: "HEAL_DEADLINE",
        value: "when the handler is past its timeout, in seconds since 1970",
    },
    Variable {
        name: "HEAL_RECEIVER",
        value: "Alertmanager's receiver, regexp-quoted by Alertmanager",
    },
    Variable {
        name: "HEAL_GROUP_KEY",
        value: "the group's key; opaque",
    },
    Variable {
        name: "HEAL_EXTERNAL_URL",
        value: "Alertmanager's own address",
    },
    Variable {
        name: "HEAL_GENERATOR_URL",
        value: "the link to the rule",
    },
    Variable {
        name: "HEAL_BACKUP_DIR",
        value: "where copies may be kept",
    },
    Variable {
        name: "HEAL_RUN_ID",
        value: "unique on this host; the same in log and history",
    },
];

/// What the handler is told beside the alert.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// `HOME`.
    pub home: &'a str,
    /// `HEAL_BACKUP_DIR`.
    pub backup_dir: &'a str,
    /// `HEAL_MAX_ATTEMPTS`.
    pub max_attempts: u32,
    /// What the alert came in.
    pub notification: &'a Notification,
    /// Whose variables it gets beside its own.
    pub compat: Option<Compat>,
}

/// A handler's environment, and what had to be left out of it.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Names and values, free of NUL, names unique.
    pub variables: Vec<(String, String)>,
    /// Names of labels and annotations (of other programs' variables, the variables) that are not in it, and why. The
    /// handler's stdin has them all.
    pub left_out: Vec<(String, &'static str)>,
}

/// Builds the environment of one run.
pub fn build(alert: &Alert, run: &Run, context: &Context<'_>) -> Environment {
    let mut environment = Environment::default();
    let seconds = run.deadline.0.div_euclid(1000).to_string();
    let starts_at = alert.starts_at.map(rfc3339).unwrap_or_default();
    for (name, value) in [
        ("PATH", PATH),
        ("HOME", context.home),
        ("LANG", "C.UTF-8"),
        ("HEAL_ALERTNAME", alert.name()),
        ("HEAL_INSTANCE", alert.instance()),
        (
            "HEAL_FINGERPRINT",
            alert.fingerprint.as_deref().unwrap_or(""),
        ),
        ("HEAL_ATTEMPT", &run.attempt.to_string()),
        ("HEAL_MAX_ATTEMPTS", &context.max_attempts.to_string()),
        ("HEAL_STARTS_AT", &starts_at),
        ("HEAL_DEADLINE", &seconds),
        ("HEAL_RECEIVER", &context.notification.receiver),
        ("HEAL_GROUP_KEY", &context.notification.group_key),
        ("HEAL_EXTERNAL_URL", &context.notification.external_url),
        ("HEAL_GENERATOR_URL", &alert.generator_url),
        ("HEAL_BACKUP_DIR", context.backup_dir),
        ("HEAL_RUN_ID", &run.id),
    ] {
        environment.set(name, value);
    }
    let mut room = TOTAL;
    environment.add("HEAL_LABEL_", "", &alert.labels, &mut room);
    environment.add("HEAL_ANNOTATION_", "", &alert.annotations, &mut room);
    match context.compat {
        Some(Compat::Amx) => environment.add_amx(alert, context.notification, &mut room),
        None => {}
    }
    environment
}

impl Environment {
    /// prometheus-am-executor's variables (`amDataToEnv` in its server.go), as if the sender had posted this one alert
    /// by itself: one alert, and what is common to all alerts is what this one has.
    fn add_amx(&mut self, alert: &Alert, notification: &Notification, room: &mut usize) {
        let status = match alert.status {
            Status::Firing => "firing",
            Status::Resolved => "resolved",
        };
        // Its zero time, in which an alert fires that has no end, is 0.
        let seconds = |at: Option<Time>| at.map_or(0, |at| at.0.div_euclid(1000)).to_string();
        for (name, value) in [
            ("AMX_RECEIVER", notification.receiver.as_str()),
            ("AMX_STATUS", status),
            ("AMX_EXTERNAL_URL", &notification.external_url),
            ("AMX_ALERT_LEN", "1"),
            ("AMX_ALERT_1_STATUS", status),
            ("AMX_ALERT_1_START", &seconds(alert.starts_at)),
            ("AMX_ALERT_1_END", &seconds(alert.ends_at)),
            ("AMX_ALERT_1_URL", &alert.generator_url),
            (
                "AMX_ALERT_1_FINGERPRINT",
                alert.fingerprint.as_deref().unwrap_or(""),
            ),
        ] {
            self.set(name, value);
        }
        for (prefix, map) in [
            ("AMX_LABEL_", &alert.labels),
            ("AMX_GLABEL_", &notification.group_labels),
            ("AMX_ANNOTATION_", &alert.annotations),
            ("AMX_ALERT_1_LABEL_", &alert.labels),
            ("AMX_ALERT_1_ANNOTATION_", &alert.annotations),
        ] {
            self.add(prefix, prefix, map, room);
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        let value = if value.len() <= LONGEST {
            value.replace('\0', "")
        } else {
            self.left_out.push((name.to_owned(), "too long"));
            String::new()
        };
        self.variables.push((name.to_owned(), value));
    }

    /// What is left out is told by its name behind `told`.
    fn add(&mut self, prefix: &str, told: &str, map: &BTreeMap<String, String>, room: &mut usize) {
        let mut flattened: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for name in map.keys() {
            flattened.entry(flatten(name)).or_default().push(name);
        }
        for (flat, names) in flattened {
            let [name] = names.as_slice() else {
                let out = names
                    .into_iter()
                    .map(|name| (format!("{told}{name}"), "collides"));
                self.left_out.extend(out);
                continue;
            };
            let value = map.get(*name).map_or("", String::as_str);
            let size = prefix.len() + flat.len() + value.len();
            if value.len() > LONGEST || flat.len() > LONGEST || size > *room {
                self.left_out.push((format!("{told}{name}"), "too long"));
                continue;
            }
            *room -= size;
            self.variables
                .push((format!("{prefix}{flat}"), value.replace('\0', "")));
        }
    }
}

fn flatten(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::record::Process;
    use crate::wire::notification;

    fn environment(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Environment {
        environment_with(None, labels, annotations)
    }

    fn environment_with(
        compat: Option<Compat>,
        labels: &[(&str, &str)],
        annotations: &[(&str, &str)],
    ) -> Environment {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let alert = Alert {
            status: Status::Firing,
            labels: map(labels),
            annotations: map(annotations),
            starts_at: Some(Time(0)),
            ends_at: None,
            generator_url: "g\0g".into(),
            fingerprint: None,
        };
        let run = Run {
            id: "r".into(),
            attempt: 2,
            started: Time(0),
            deadline: Time(5_999),
            probe: false,
            supervisor: Process::default(),
        };
        let body = r#"{"alerts":[],"receiver":"x","groupKey":"{}","externalURL":"u","groupLabels":{"job":"web"}}"#;
        let context = Context {
            home: "/h",
            backup_dir: "/b",
            max_attempts: 3,
            notification: &notification::parse(body.as_bytes()).unwrap(),
            compat,
        };
        build(&alert, &run, &context)
    }

    fn value<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
        let mut found = environment.variables.iter().filter(|(n, _)| n == name);
        let value = found.next().map(|(_, v)| v.as_str());
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    #[test]
    fn hostile_names_and_values_stay_behind_the_prefix() {
        let long = "x".repeat(LONGEST + 1);
        let environment = environment(
            &[
                ("alertname", "A"),
                ("PATH", "/evil"),
                ("a=b", "1"),
                ("nul", "a\0b"),
                ("é", "2"),
            ],
            &[
                ("a.b", "1"),
                ("a_b", "2"),
                ("long", &long),
                ("text", "a\nb"),
            ],
        );
        assert_eq!(value(&environment, "PATH"), Some(PATH));
        assert_eq!(value(&environment, "HEAL_LABEL_PATH"), Some("/evil"));
        assert_eq!(value(&environment, "HEAL_LABEL_a_b"), Some("1"));
        assert_eq!(value(&environment, "HEAL_LABEL_nul"), Some("ab"));
        assert_eq!(value(&environment, "HEAL_LABEL__"), Some("2"));
        assert_eq!(value(&environment, "HEAL_GENERATOR_URL"), Some("gg"));
        assert_eq!(value(&environment, "HEAL_ANNOTATION_a_b"), None);
        assert_eq!(value(&environment, "HEAL_ANNOTATION_text"), Some("a\nb"));
        assert_eq!(value(&environment, "HEAL_DEADLINE"), Some("5"));
        let mut out = environment.left_out.clone();
        out.sort();
        let want = [
            ("a.b", "collides"),
            ("a_b", "collides"),
            ("long", "too long"),
        ];
        assert_eq!(out, want.map(|(n, w)| (n.to_owned(), w)));
        for (name, value) in &environment.variables {
            assert!(
                name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
                "{name}"
            );
            assert!(!value.contains('\0'));
        }
    }

    #[test]
    fn am_executors_variables_are_those_of_the_one_alert() {
        let labels = [("alertname", "A"), ("a.b", "1"), ("a_b", "2")];
        let notes = [("summary", "s")];
        let plain = environment(&labels, &notes);
        let plain_names: Vec<&String> = plain.variables.iter().map(|(name, _)| name).collect();
        assert!(!plain_names.iter().any(|name| name.starts_with("AMX_")));
        let amx = environment_with(Some(Compat::Amx), &labels, &notes);
        let (own, others) = amx.variables.split_at(plain.variables.len());
        assert_eq!(own, plain.variables);
        let pairs: Vec<(&str, &str)> = others.iter().map(|(n, v)| (&**n, &**v)).collect();
        let want = [
            ("AMX_RECEIVER", "x"),
            ("AMX_STATUS", "firing"),
            ("AMX_EXTERNAL_URL", "u"),
            ("AMX_ALERT_LEN", "1"),
            ("AMX_ALERT_1_STATUS", "firing"),
            ("AMX_ALERT_1_START", "0"),
            ("AMX_ALERT_1_END", "0"),
            ("AMX_ALERT_1_URL", "gg"),
            ("AMX_ALERT_1_FINGERPRINT", ""),
            ("AMX_LABEL_alertname", "A"),
            ("AMX_GLABEL_job", "web"),
            ("AMX_ANNOTATION_summary", "s"),
            ("AMX_ALERT_1_LABEL_alertname", "A"),
            ("AMX_ALERT_1_ANNOTATION_summary", "s"),
        ];
        assert_eq!(pairs, want);
        let out: Vec<&str> = amx.left_out.iter().map(|(name, _)| &**name).collect();
        let want = ["a.b", "a_b", "AMX_LABEL_a.b", "AMX_LABEL_a_b"];
        assert_eq!(out.get(..4).unwrap(), want);
    }
}
