//! The metrics as text: format 0.0.4 (Prometheus docs, instrumenting/exposition_formats). One table says
//! which families there are; label values are handler names and words of our own, never free text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use super::counters::{BUCKETS, Counters};

/// The content type that goes with it. Prometheus 3 refuses a scrape without a known one.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A metric family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its help text.
    pub help: &'static str,
}

/// Every family, in the order of the output.
pub const FAMILIES: [Family; 14] = [
    Family {
        name: "self_heal_alerts_total",
        kind: "counter",
        help: "Alerts judged, by verdict; alertname is - where no handler has that name.",
    },
    Family {
        name: "self_heal_runs_total",
        kind: "counter",
        help: "Handler runs, by how they ended.",
    },
    Family {
        name: "self_heal_handler_duration_seconds",
        kind: "histogram",
        help: "How long handlers ran.",
    },
    Family {
        name: "self_heal_verified_total",
        kind: "counter",
        help: "Heals that a resolved alert confirmed.",
    },
    Family {
        name: "self_heal_ineffective_total",
        kind: "counter",
        help: "Heals after which the alert went on firing.",
    },
    Family {
        name: "self_heal_breakers_open",
        kind: "gauge",
        help: "Alerts whose breaker holds runs back.",
    },
    Family {
        name: "self_heal_in_flight",
        kind: "gauge",
        help: "Handler runs whose end is not recorded.",
    },
    Family {
        name: "self_heal_escalations_pending",
        kind: "gauge",
        help: "Pages that have not reached every escalator.",
    },
    Family {
        name: "self_heal_escalations_refused",
        kind: "gauge",
        help: "Of those, the ones refused for good or damaged, which nothing tries again by itself.",
    },
    Family {
        name: "self_heal_paused",
        kind: "gauge",
        help: "Pauses in effect.",
    },
    Family {
        name: "self_heal_requests_total",
        kind: "counter",
        help: "HTTP requests answered, by status code.",
    },
    Family {
        name: "self_heal_truncated_alerts_total",
        kind: "counter",
        help: "Alerts that the sender cut off (max_alerts) and never delivers.",
    },
    Family {
        name: "self_heal_channel_failures_total",
        kind: "counter",
        help: "Lines of log or history that could not be written.",
    },
    Family {
        name: "self_heal_build_info",
        kind: "gauge",
        help: "1, with the version as a label.",
    },
];

/// What is measured at the moment of the scrape.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Open breakers by alertname.
    pub breakers_open: BTreeMap<String, u64>,
    /// Runs in flight.
    pub in_flight: u64,
    /// Events in the spool that are not delivered to everybody, and pages that records owe.
    pub escalations_pending: u64,
    /// Of those, the events that were refused for good or cannot be read.
    pub escalations_refused: u64,
    /// Pauses in effect.
    pub paused: u64,
}

/// The text. `counters` are those of each alertname and of the host (`-`).
pub fn render(counters: &[(String, Counters)], gauges: &Gauges, version: &str) -> String {
    let mut text = String::new();
    for family in FAMILIES {
        let Family { name, kind, help } = family;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        match name {
            "self_heal_alerts_total" => {
                labelled(&mut text, name, "verdict", counters, |c| &c.verdicts)
            }
            "self_heal_runs_total" => {
                labelled(&mut text, name, "outcome", counters, |c| &c.outcomes)
            }
            "self_heal_handler_duration_seconds" => histogram(&mut text, name, counters),
            "self_heal_verified_total" => total(&mut text, name, counters, |c| c.verified),
            "self_heal_ineffective_total" => total(&mut text, name, counters, |c| c.ineffective),
            "self_heal_truncated_alerts_total" => total(&mut text, name, counters, |c| c.truncated),
            "self_heal_channel_failures_total" => {
                total(&mut text, name, counters, |c| c.channel_failures);
            }
            "self_heal_breakers_open" => {
                for (alertname, open) in &gauges.breakers_open {
                    let alertname = escaped(alertname);
                    let _ = writeln!(text, "{name}{{alertname=\"{alertname}\"}} {open}");
                }
            }
            "self_heal_in_flight" => {
                let _ = writeln!(text, "{name} {}", gauges.in_flight);
            }
            "self_heal_escalations_pending" => {
                let _ = writeln!(text, "{name} {}", gauges.escalations_pending);
            }
            "self_heal_escalations_refused" => {
                let _ = writeln!(text, "{name} {}", gauges.escalations_refused);
            }
            "self_heal_paused" => {
                let _ = writeln!(text, "{name} {}", gauges.paused);
            }
            "self_heal_requests_total" => {
                for (code, count) in counters.iter().flat_map(|(_, c)| &c.requests) {
                    let code = escaped(code);
                    let _ = writeln!(text, "{name}{{code=\"{code}\"}} {count}");
                }
            }
            _ => {
                let _ = writeln!(text, "{name}{{version=\"{version}\"}} 1");
            }
        }
    }
    text
}

fn labelled(
    text: &mut String,
    name: &str,
    label: &str,
    counters: &[(String, Counters)],
    of: fn(&Counters) -> &BTreeMap<String, u64>,
) {
    for (alertname, counters) in counters {
        let alertname = escaped(alertname);
        for (word, count) in of(counters) {
            let word = escaped(word);
            let _ = writeln!(
                text,
                "{name}{{alertname=\"{alertname}\",{label}=\"{word}\"}} {count}"
            );
        }
    }
}

fn total(text: &mut String, name: &str, counters: &[(String, Counters)], of: fn(&Counters) -> u64) {
    let sum = counters
        .iter()
        .fold(0u64, |sum, (_, c)| sum.saturating_add(of(c)));
    let _ = writeln!(text, "{name} {sum}");
}

fn histogram(text: &mut String, name: &str, counters: &[(String, Counters)]) {
    for (alertname, counters) in counters.iter().filter(|(_, c)| !c.durations.is_empty()) {
        let alertname = escaped(alertname);
        let mut below = 0u64;
        let bounds = BUCKETS
            .iter()
            .map(|ms| seconds(*ms))
            .chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&counters.durations) {
            below = below.saturating_add(*count);
            let _ = writeln!(
                text,
                "{name}_bucket{{alertname=\"{alertname}\",le=\"{bound}\"}} {below}"
            );
        }
        let sum = seconds(counters.duration_ms);
        let _ = writeln!(text, "{name}_sum{{alertname=\"{alertname}\"}} {sum}");
        let _ = writeln!(text, "{name}_count{{alertname=\"{alertname}\"}} {below}");
    }
}

/// A label's value as the format wants it. Names and words of ours need none of this; a file that somebody put among
/// the counters may.
fn escaped(value: &str) -> Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        let value = value.replace('\\', "\\\\");
        Cow::Owned(value.replace('"', "\\\"").replace('\n', "\\n"))
    } else {
        Cow::Borrowed(value)
    }
}

fn seconds(ms: u64) -> String {
    let (whole, part) = (ms / 1000, ms % 1000);
    if part == 0 {
        whole.to_string()
    } else {
        format!("{whole}.{part:03}")
            .trim_end_matches('0')
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_exposition() {
        let mut nginx = Counters {
            verified: 1,
            ..Counters::default()
        };
        nginx.ran("healed", 400);
        nginx.ran("timeout", 700_000);
        Counters::bump(&mut nginx.verdicts, "healed");
        let mut host = Counters {
            truncated: 3,
            ..Counters::default()
        };
        Counters::bump(&mut host.requests, "200");
        let gauges = Gauges {
            breakers_open: [("NginxDown".to_owned(), 2)].into(),
            in_flight: 1,
            escalations_pending: 3,
            escalations_refused: 2,
            paused: 4,
        };
        let all = [("-".to_owned(), host), ("NginxDown".to_owned(), nginx)];
        let text = render(&all, &gauges, "0.1.0");
        for line in [
            "self_heal_alerts_total{alertname=\"NginxDown\",verdict=\"healed\"} 1",
            "self_heal_runs_total{alertname=\"NginxDown\",outcome=\"timeout\"} 1",
            "self_heal_handler_duration_seconds_bucket{alertname=\"NginxDown\",le=\"0.1\"} 0",
            "self_heal_handler_duration_seconds_bucket{alertname=\"NginxDown\",le=\"0.5\"} 1",
            "self_heal_handler_duration_seconds_bucket{alertname=\"NginxDown\",le=\"600\"} 1",
            "self_heal_handler_duration_seconds_bucket{alertname=\"NginxDown\",le=\"+Inf\"} 2",
            "self_heal_handler_duration_seconds_sum{alertname=\"NginxDown\"} 700.4",
            "self_heal_handler_duration_seconds_count{alertname=\"NginxDown\"} 2",
            "self_heal_verified_total 1",
            "self_heal_breakers_open{alertname=\"NginxDown\"} 2",
            "self_heal_in_flight 1",
            "self_heal_escalations_pending 3",
            "self_heal_escalations_refused 2",
            "self_heal_paused 4",
            "self_heal_requests_total{code=\"200\"} 1",
            "self_heal_truncated_alerts_total 3",
            "self_heal_build_info{version=\"0.1.0\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nnot in\n{text}");
        }
        assert!(text.ends_with('\n'));
        assert_eq!(text.matches("# TYPE").count(), FAMILIES.len());
    }

    #[test]
    fn no_word_of_a_damaged_file_ends_a_label() {
        let mut odd = Counters::default();
        Counters::bump(&mut odd.verdicts, "a\"} 1\nb\\");
        let text = render(&[("-".to_owned(), odd)], &Gauges::default(), "0.1.0");
        let line = r#"self_heal_alerts_total{alertname="-",verdict="a\"} 1\nb\\"} 1"#;
        assert!(text.lines().any(|l| l == line), "{text}");
    }
}
