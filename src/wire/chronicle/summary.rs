//! How healing went, per alertname: each line of the history counts once, where it stands.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Entry, Filter, span};
use crate::judge::Time;
use crate::wire::paint::{Paint, Tone};
use crate::wire::quote::{json, printable};
use crate::wire::timestamp::rfc3339;

/// Counts by alertname.
#[derive(Debug, Default)]
pub struct Summary {
    alerts: BTreeMap<String, Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    healed: u64,
    verified: u64,
    ineffective: u64,
    failed: u64,
    took: Mean,
    lasted: Mean,
    last_run: Option<Time>,
}

#[derive(Debug, Default)]
struct Mean {
    sum: u128,
    count: u64,
}

impl Mean {
    fn add(&mut self, ms: Option<u64>) {
        if let Some(ms) = ms {
            self.sum += u128::from(ms);
            self.count += 1;
        }
    }

    fn value(&self) -> Option<u64> {
        let mean = self.sum.checked_div(u128::from(self.count))?;
        u64::try_from(mean).ok()
    }
}

#[derive(Serialize)]
struct Row<'a> {
    alertname: &'a str,
    runs: u64,
    healed: u64,
    verified: u64,
    ineffective: u64,
    failed: u64,
    mean_duration_ms: Option<u64>,
    mean_time_to_resolve_ms: Option<u64>,
    last_run: Option<String>,
}

impl Summary {
    /// Takes a line in, if it is asked for.
    pub fn add(&mut self, entry: &Entry<'_>, filter: &Filter) {
        let counts = matches!(
            &*entry.event,
            "intent" | "result" | "verified" | "ineffective"
        );
        if !counts || !filter.takes(entry) {
            return;
        }
        if !self.alerts.contains_key(&*entry.alertname) {
            self.alerts
                .insert((*entry.alertname).to_owned(), Tally::default());
        }
        let Some(tally) = self.alerts.get_mut(&*entry.alertname) else {
            return;
        };
        match &*entry.event {
            "intent" => {
                tally.runs += 1;
                tally.last_run = tally.last_run.max(Some(entry.at));
            }
            "verified" => {
                tally.verified += 1;
                tally.lasted.add(entry.lasted_ms);
            }
            "ineffective" => tally.ineffective += 1,
            _ => {
                match entry.outcome.as_deref() {
                    Some("healed") => tally.healed += 1,
                    _ => tally.failed += 1,
                }
                tally.took.add(entry.duration_ms);
            }
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty()
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.alerts.iter().map(|(alertname, tally)| Row {
            alertname,
            runs: tally.runs,
            healed: tally.healed,
            verified: tally.verified,
            ineffective: tally.ineffective,
            failed: tally.failed,
            mean_duration_ms: tally.took.value(),
            mean_time_to_resolve_ms: tally.lasted.value(),
            last_run: tally.last_run.map(rfc3339),
        })
    }

    /// One JSON object an alertname, a line each.
    pub fn to_json(&self) -> String {
        let rows = self
            .rows()
            .filter_map(|row| serde_json::to_string(&row).ok());
        rows.map(|row| json(&row).into_owned() + "\n").collect()
    }

    /// As a table.
    pub fn to_text(&self, paint: Paint) -> String {
        let headings = [
            "ALERT",
            "RUNS",
            "HEALED",
            "VERIFIED",
            "INEFFECTIVE",
            "FAILED",
            "MEAN RUN",
            "MEAN TIME TO RESOLVE",
            "LAST RUN",
        ];
        let mut rows = vec![
            headings
                .map(|heading| (Tone::Strong, heading.to_owned()))
                .to_vec(),
        ];
        for row in self.rows() {
            let count = |tone, count: u64| {
                (
                    if count == 0 { Tone::Plain } else { tone },
                    count.to_string(),
                )
            };
            let mean = |ms: Option<u64>| (Tone::Plain, ms.map_or_else(|| "-".to_owned(), span));
            rows.push(vec![
                (Tone::Plain, printable(row.alertname)),
                count(Tone::Plain, row.runs),
                count(Tone::Good, row.healed),
                count(Tone::Good, row.verified),
                count(Tone::Warning, row.ineffective),
                count(Tone::Bad, row.failed),
                mean(row.mean_duration_ms),
                mean(row.mean_time_to_resolve_ms),
                (Tone::Plain, row.last_run.unwrap_or_else(|| "-".to_owned())),
            ]);
        }
        paint.columns("", &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_counts_where_it_stands() {
        let lines = [
            r#"{"at":"2026-03-04T05:06:07Z","event":"intent","alertname":"B"}"#,
            r#"{"at":"2026-03-04T05:06:08Z","event":"result","alertname":"B","outcome":"failed","duration_ms":100}"#,
            r#"{"at":"2026-03-04T05:06:07Z","event":"intent","alertname":"A"}"#,
            r#"{"at":"2026-03-04T05:06:09Z","event":"result","alertname":"A","outcome":"healed","duration_ms":20}"#,
            r#"{"at":"2026-03-04T05:06:10Z","event":"ineffective","alertname":"A","count":1}"#,
            r#"{"at":"2026-03-04T05:06:11Z","event":"intent","alertname":"A"}"#,
            r#"{"at":"2026-03-04T05:06:12Z","event":"result","alertname":"A","outcome":"healed","duration_ms":41}"#,
            r#"{"at":"2026-03-04T05:06:13Z","event":"verified","alertname":"A","lasted_ms":60000}"#,
            r#"{"at":"2026-03-04T05:06:14Z","event":"verified","alertname":"A"}"#,
            r#"{"at":"2026-03-04T05:06:15Z","event":"observed","alertname":"C"}"#,
            r#"{"at":"2026-03-04T05:06:16Z","event":"later","alertname":"C"}"#,
            r#"{"at":"2026-03-04T05:06:17Z","event":"result","alertname":"B","outcome":"interrupted"}"#,
        ];
        let mut summary = Summary::default();
        assert!(summary.is_empty());
        for line in lines {
            summary.add(&Entry::parse(line.as_bytes()).unwrap(), &Filter::default());
        }
        assert_eq!(
            summary.to_text(Paint::default()),
            "\
ALERT  RUNS  HEALED  VERIFIED  INEFFECTIVE  FAILED  MEAN RUN  MEAN TIME TO RESOLVE  LAST RUN
A      2     2       2         1            0       30ms      1m                    2026-03-04T05:06:11Z
B      1     0       0         0            2       100ms     -                     2026-03-04T05:06:07Z
"
        );
        assert_eq!(
            summary.to_json().lines().nth(1),
            Some(
                r#"{"alertname":"B","runs":1,"healed":0,"verified":0,"ineffective":0,"failed":2,"mean_duration_ms":100,"mean_time_to_resolve_ms":null,"last_run":"2026-03-04T05:06:07Z"}"#
            )
        );
    }
}
