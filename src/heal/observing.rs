//! Alerts that are judged and only told: what would have run, or why nothing would have. Nothing is changed,
//! nothing is counted but the verdict.

use super::{Healer, Outcome, foresight};
use crate::judge::alert::cut;
use crate::judge::{AlertName, Verdict};
use crate::sys::catalog::Handler;
use crate::sys::clock;
use crate::wire::history::Event;
use crate::wire::notification::Posted;

/// The longest command line in the history, in bytes.
const COMMAND: usize = 4096;

impl<'a> Healer<'a> {
    pub(super) fn observe(
        &mut self,
        posted: &Posted,
        name: &AlertName,
        handler: &Handler,
    ) -> Outcome {
        let case = self.case(posted, name, handler);
        let record = match self.store().and_then(|store| store.read(&case.key)) {
            Ok(record) => record,
            Err(error) => return error.into(),
        };
        let alert = case.alert;
        let command = case.command();
        let foresight::Observed {
            would,
            attempt,
            detail,
        } = foresight::observed(&case, record.as_ref(), self.own, clock::now());
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
        Outcome::new(Verdict::Observed, detail)
    }
}
