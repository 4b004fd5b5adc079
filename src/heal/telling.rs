//! What the outside is told: log, history, counts and pages. Nothing here stands in the way of a heal.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{Case, Healer, Outcome};
use crate::judge::{Alert, AlertName, Ended, Ending, Note, Record, Run, Verdict, alert::cut};
use crate::paging::{self, About};
use crate::sys::log::Log;
use crate::sys::{clock, counters};
use crate::wire::config::Config;
use crate::wire::counters::Counters;
use crate::wire::history::{self, Event, RunLine};
use crate::wire::report::{self, Report};

/// The longest group key, and the longest instance, in the history, in bytes.
const LONG: usize = 1024;

impl<'a> Healer<'a> {
    pub(super) fn report(
        &mut self,
        alert: &Alert,
        label: Option<AlertName>,
        outcome: Outcome,
    ) -> Report {
        let verdict = outcome.verdict;
        let values = [
            ("verdict", verdict.as_str()),
            ("alertname", alert.name()),
            ("instance", alert.instance()),
            ("fingerprint", alert.fingerprint.as_deref().unwrap_or("")),
            ("attempt", &outcome.attempt.to_string()),
            ("detail", &outcome.detail),
        ];
        match verdict {
            Verdict::UnsafeHandler | Verdict::Error | Verdict::Tripped | Verdict::GaveUp => {
                self.log.error("alert", &values);
            }
            Verdict::NotAllowed | Verdict::NoHandler | Verdict::Failed | Verdict::Storm => {
                self.log.warn("alert", &values);
            }
            _ => self.log.info("alert", &values),
        }
        Counters::bump(
            &mut self.counters.entry(label).or_default().verdicts,
            verdict.as_str(),
        );
        Report {
            alertname: alert.name().to_owned(),
            instance: alert.instance().to_owned(),
            fingerprint: alert.fingerprint.clone().unwrap_or_default(),
            verdict,
            attempt: outcome.attempt,
            detail: outcome.detail,
        }
    }

    pub(super) fn tell_intent(
        &mut self,
        case: &Case<'_>,
        run: &Run,
        forced: bool,
        snapshot: Option<&Path>,
    ) {
        let attempt = run.attempt.to_string();
        let handler = case.handler.path.display().to_string();
        let mut values = vec![
            ("run_id", run.id.as_str()),
            ("alertname", case.name.as_str()),
            ("instance", case.alert.instance()),
            ("attempt", &attempt),
            ("handler", &handler),
        ];
        if forced {
            values.extend([("peer", self.asked.peer.as_str()), ("forced", "true")]);
        }
        self.log.info("run_start", &values);
        let line = RunLine {
            forced,
            ..self.run_line(case.alert, &run.id, run.attempt)
        };
        let snapshot = snapshot.map(Path::to_string_lossy);
        let timeout_ms = u64::try_from(case.timeout.as_millis()).unwrap_or(u64::MAX);
        let sha256 = &case.handler.sha256;
        let event = Event::Intent {
            run: line,
            handler: &handler,
            handler_sha256: sha256,
            timeout_ms,
            snapshot: snapshot.as_deref(),
        };
        let told = self.history.append(&event);
        self.told(told);
    }

    pub(super) fn tell_result(
        &mut self,
        case: &Case<'_>,
        run: &Run,
        ended: &Ended,
        elapsed: Option<Duration>,
        verdict: Verdict,
        forced: bool,
    ) {
        let ending = ended.ending;
        let outcome = report::outcome(ending);
        let duration_ms = elapsed.map(|e| u64::try_from(e.as_millis()).unwrap_or(u64::MAX));
        let counters = self.counters.entry(Some(case.name.clone())).or_default();
        match duration_ms {
            Some(duration_ms) => counters.ran(outcome, duration_ms),
            None => Counters::bump(&mut counters.outcomes, outcome),
        }
        let shown = duration_ms.map(|ms| ms.to_string()).unwrap_or_default();
        let values = [
            ("run_id", run.id.as_str()),
            ("alertname", case.name.as_str()),
            ("instance", case.alert.instance()),
            ("outcome", outcome),
            ("duration_ms", &shown),
            ("verdict", verdict.as_str()),
        ];
        if ending.healed() {
            self.log.info("run_end", &values);
        } else {
            self.log.warn("run_end", &values);
        }
        let exit = match ending {
            Ending::Exit(code) => Some(code),
            _ => None,
        };
        let run = RunLine {
            forced,
            ..self.run_line(case.alert, &run.id, run.attempt)
        };
        let verdict = Some(verdict.as_str());
        let event = Event::Result {
            run,
            handler_sha256: Some(&case.handler.sha256),
            exit,
            outcome,
            duration_ms,
            verdict,
            rollback: report::rollback(ended.rollback),
        };
        let told = self.history.append(&event);
        self.told(told);
    }

    pub(super) fn run_line<'b>(
        &'b self,
        alert: &'b Alert,
        run_id: &'b str,
        attempt: u32,
    ) -> RunLine<'b> {
        RunLine {
            run_id,
            alertname: alert.name(),
            instance: cut(alert.instance(), LONG),
            fingerprint: alert.fingerprint.as_deref().unwrap_or(""),
            group_key: cut(&self.notification.group_key, LONG),
            peer: &self.asked.peer,
            attempt,
            forced: false,
        }
    }

    pub(super) fn told(&mut self, told: std::io::Result<()>) {
        if let Err(error) = told {
            let file = self
                .config
                .state_dir
                .join("history.jsonl")
                .display()
                .to_string();
            let values = [("file", file), ("error", error.to_string())];
            self.channel_failed("history_failed", &values);
        }
    }

    pub(super) fn channel_failed(&mut self, event: &str, values: &[(&str, String)]) {
        let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
        self.log.error(event, &values);
        self.counters.entry(None).or_default().channel_failures += 1;
    }

    /// What came to light beside the verdict goes to the log, the history and the counts. The record is the alert's, as it
    /// is now.
    pub(super) fn note(
        &mut self,
        name: Option<&AlertName>,
        alert: &Alert,
        record: &Record,
        notes: &[Note],
    ) {
        for note in notes {
            let (event, word, grave) = match note {
                Note::Interrupted(run) => ("run_interrupted", run.id.clone(), true),
                Note::Ineffective(count) => ("heal_ineffective", count.to_string(), true),
                Note::Verified => ("heal_verified", String::new(), false),
                Note::Opened(reason) => ("breaker_opened", reason.as_str().to_owned(), true),
                Note::Closed(reason) => ("breaker_closed", reason.as_str().to_owned(), false),
                Note::Survivor(process) => ("survivor", process.pid.to_string(), true),
            };
            let values = [
                ("alertname", alert.name()),
                ("instance", alert.instance()),
                ("what", word.as_str()),
            ];
            if grave {
                self.log.warn(event, &values);
            } else {
                self.log.info(event, &values);
            }
            let counters = self.counters.entry(name.cloned()).or_default();
            match note {
                Note::Verified => counters.verified += 1,
                Note::Ineffective(_) => counters.ineffective += 1,
                Note::Interrupted(_) => Counters::bump(&mut counters.outcomes, "interrupted"),
                _ => {}
            }
            self.note_in_history(alert, record, note);
        }
    }

    fn note_in_history(&mut self, alert: &Alert, record: &Record, note: &Note) {
        let (healed, attempt) = last_heal(record);
        let event = match note {
            Note::Verified => Event::Verified {
                run: self.run_line(alert, healed, attempt),
                lasted_ms: history::lasted(alert, clock::now()),
            },
            Note::Ineffective(count) => Event::Ineffective {
                run: self.run_line(alert, healed, attempt),
                count: *count,
            },
            Note::Interrupted(run) => Event::Result {
                run: self.run_line(alert, &run.id, run.attempt),
                handler_sha256: None,
                exit: None,
                outcome: "interrupted",
                duration_ms: None,
                verdict: None,
                rollback: None,
            },
            _ => return,
        };
        let told = self.history.append(&event);
        self.told(told);
    }

    /// Puts the pages that the record owes into the spool.
    pub(super) fn hand_over(
        &mut self,
        key: &str,
        record: &Record,
        about: &About<'_>,
    ) -> Result<(), Outcome> {
        if record.owed.is_empty() {
            return Ok(());
        }
        let store = self.store.as_mut().map_err(|error| error.again())?;
        paging::hand_over(self.config, store, self.log, key, about).map_err(Outcome::error)
    }
}

/// The id and the attempt of the last run that exited 0; none is remembered of a record that was damaged since.
fn last_heal(record: &Record) -> (&str, u32) {
    let mut latest = record.attempts.iter().rev();
    let healed = latest.find(|attempt| attempt.ending.is_some_and(Ending::healed));
    healed.map_or(("", 0), |attempt| (&attempt.run_id, attempt.attempt))
}

/// Writes what was counted. A count that cannot be written is said in the log.
pub fn save_counters(
    config: &Config,
    log: &mut Log,
    counted: BTreeMap<Option<AlertName>, Counters>,
) {
    for (name, more) in counted {
        if let Err(error) = counters::add(&config.state_dir, name.as_ref(), &more) {
            let folder = config.state_dir.join("metrics").display().to_string();
            log.error(
                "metrics_failed",
                &[("folder", &folder), ("error", &error.to_string())],
            );
        }
    }
}
