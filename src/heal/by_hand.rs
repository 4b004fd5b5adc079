//! What an operator has put back: the same lock, the same restore and the same hook as behind a failed run, without a judgement.
//! It counts nothing and settles nothing: whoever judges the alert next does that, and finds the files as they were.

use super::{Case, Healer, Outcome};
use crate::judge::{AlertName, Rollback, Run, Time, Verdict};
use crate::sys::catalog::Handler;
use crate::sys::clock;
use crate::sys::lock::Lock;
use crate::wire::notification::Posted;

/// Whose files are to be put back.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The run's id.
    pub run_id: &'a str,
    /// When it began.
    pub started: Time,
    /// Which attempt it was; 0 where that is not known any more.
    pub attempt: u32,
    /// The key of the alert's record, where one tells of this run.
    pub key: Option<&'a str>,
    /// Who has it done.
    pub who: &'a str,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// Everything is as it was, and the hook has run, if there is one.
    Back {
        /// The snapshot's folder.
        folder: String,
        /// How many files, links and folders were put back.
        changed: usize,
    },
    /// There is no whole snapshot of this run.
    Nothing,
    /// Somebody is at work on this alert, in a sentence.
    Busy(String),
    /// Something is not as it was, or the hook failed, in a sentence.
    Failed(String),
}

impl Healer<'_> {
    /// Puts back what this run had changed, under its alert's lock, and runs the hook of the handler that is there now.
    pub fn restore_by_hand(
        &mut self,
        posted: &Posted,
        name: &AlertName,
        handler: &Handler,
        wanted: &Wanted<'_>,
    ) -> Came {
        let case = self.case(posted, name, handler);
        let came = self.restore_locked(&case, wanted);
        came.unwrap_or_else(|outcome| match outcome.verdict {
            Verdict::Busy => Came::Busy(outcome.detail),
            _ => Came::Failed(outcome.detail),
        })
    }

    fn restore_locked(&mut self, case: &Case<'_>, wanted: &Wanted<'_>) -> Result<Came, Outcome> {
        let record = self.read(&case.key)?;
        let lock = self.lock(case, &record)?;
        // What a run that died left in the file is needed until that run is settled, which is not done here.
        let needed = lock.left_by().is_some_and(|holder| holder.key == case.key);
        let came = self.restore_under(case, &lock, wanted);
        if let Err(error) = lock.release(needed) {
            self.log
                .error("unlock_failed", &[("error", &error.to_string())]);
        }
        came
    }

    fn restore_under(
        &mut self,
        case: &Case<'_>,
        lock: &Lock,
        wanted: &Wanted<'_>,
    ) -> Result<Came, Outcome> {
        match lock.left_by().cloned() {
            Some(holder) if holder.key == case.key => {}
            other => {
                other.map_or(Ok(()), |holder| self.take_over(&holder))?;
                self.claim(case, lock);
            }
        }
        let record = self.read(&case.key)?;
        if let Some(run) = &record.in_flight {
            self.examine_dead_run(case, run, lock)?;
        }
        let run = Run {
            id: wanted.run_id.to_owned(),
            attempt: wanted.attempt,
            started: wanted.started,
            deadline: clock::now().plus(case.timeout),
            probe: false,
            supervisor: self.own,
        };
        let back = match self.put_files_back(case, &run, Some(wanted.who)) {
            Ok(Some(back)) => back,
            Ok(None) => return Ok(Came::Nothing),
            Err(why) => return Ok(Came::Failed(why)),
        };
        let undone = self.put_right(case, lock, &run, &back);
        if let (Some(survivor), Some(key)) = (undone.survivors.first(), wanted.key) {
            self.put_on_record(key, *survivor)?;
        }
        Ok(match undone.rollback {
            Rollback::Failed => Came::Failed(undone.failure),
            _ => Came::Back {
                folder: back.folder,
                changed: back.changed,
            },
        })
    }
}
