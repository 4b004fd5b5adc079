//! Alerts that are judged and only told: what would have run, or why nothing would have. Nothing is changed,
//! nothing is counted but the verdict.

use super::{Case, Healer, Outcome};
use crate::judge::alert::cut;
use crate::judge::{AlertName, Decision, Proposal, Rollback, Verdict, decision};
use crate::paging::alive;
use crate::sys::catalog::Handler;
use crate::sys::clock;
use crate::wire::history::Event;
use crate::wire::notification::Posted;
use crate::wire::quote::shell;
use crate::wire::report;

/// The longest command line in the history, in bytes.
const COMMAND: usize = 4096;

impl<'a> Healer<'a> {
    pub(super) fn observe(
        &mut self,
        posted: &Posted,
        name: &AlertName,
        handler: &Handler,
    ) -> Outcome {
        let case = Case::new(self.config, posted, name, handler);
        let record = match self.store().and_then(|store| store.read(&case.key)) {
            Ok(record) => record,
            Err(error) => return error.into(),
        };
        let alert = case.alert;
        let words = [
            case.handler.path.to_string_lossy(),
            alert.instance().into(),
            name.as_str().into(),
            alert.fingerprint.as_deref().unwrap_or("").into(),
        ];
        let command = words.each_ref().map(|word| shell(word)).join(" ");
        let mut attempt = 0;
        let would = match &record {
            None => "error: its record is damaged".to_owned(),
            Some(record) => {
                let proposal = Proposal {
                    id: "",
                    timeout: case.timeout,
                    supervisor: self.own,
                    interrupted: Rollback::None,
                };
                let now = clock::now();
                let survivor = alive(record);
                match decision::decide(record, alert, &case.limits, survivor, &proposal, now).1 {
                    Decision::Run { run, .. } => {
                        attempt = run.attempt;
                        "run".to_owned()
                    }
                    Decision::Answer(answer) => {
                        format!("{}: {}", answer.verdict.as_str(), report::words(answer.why))
                    }
                }
            }
        };
        let shown = attempt.to_string();
        let values = [
            ("alertname", name.as_str()),
            ("instance", alert.instance()),
            ("attempt", &shown),
            ("would", &would),
            ("command", &command),
        ];
        self.log.info("observed", &values);
        let handler = case.handler.path.to_string_lossy();
        let event = Event::Observed {
            run: self.run_line(alert, "", attempt),
            handler: &handler,
            handler_sha256: &case.handler.sha256,
            would: &would,
            command: cut(&command, COMMAND),
        };
        let told = self.history.append(&event);
        self.told(told);
        let detail = if would == "run" {
            format!("observing; would run attempt {attempt}: {command}")
        } else {
            format!("observing; would answer {would}")
        };
        Outcome::new(Verdict::Observed, detail)
    }
}
