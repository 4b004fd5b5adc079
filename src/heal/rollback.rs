//! What a handler may change is copied before it starts, and put back when it fails. A run that was
//! interrupted is put back by whoever finds it, under its lock, while the same episode fires.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use super::{Case, Healer, Outcome, Program};
use crate::judge::record::Process;
use crate::judge::{Ending, Record, Rollback, Run, decision, pages};
use crate::paging::About;
use crate::sys::lock::Lock;
use crate::sys::snapshot::{self, Guarded, Restored};
use crate::sys::{clock, state::file::Store};
use crate::wire::report;

/// What became of what a run had changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Undone {
    pub(super) rollback: Rollback,
    /// For the answer.
    pub(super) words: Option<String>,
    /// For the page; empty when nothing failed.
    pub(super) failure: String,
    /// What of the hook lives on and may not be signalled.
    pub(super) survivors: Vec<Process>,
    /// Whether the files are as they were, whatever came of the hook.
    whole: bool,
}

/// Files that are as they were.
pub(super) struct Back {
    /// Their snapshot's folder.
    pub(super) folder: String,
    /// How many files, links and folders were put back.
    pub(super) changed: usize,
}

impl Undone {
    fn failed(why: String) -> Undone {
        Undone {
            rollback: Rollback::Failed,
            words: Some(format!("what it changed could not be put back: {why}")),
            failure: why,
            ..Undone::default()
        }
    }
}

impl<'a> Healer<'a> {
    /// Copies what the handler may change; its folder, if there is anything to copy.
    pub(super) fn snapshot(
        &mut self,
        case: &Case<'_>,
        run: &Run,
    ) -> Result<Option<PathBuf>, Outcome> {
        if case.handler.directives.snapshot.is_empty() {
            return Ok(None);
        }
        let taken = {
            let store = self.store.as_ref().map_err(|error| error.again())?;
            let in_flight = OnceCell::new();
            let unsettled = |id: &str| {
                let known = in_flight.get_or_init(|| runs_in_flight(store));
                known
                    .as_ref()
                    .is_none_or(|runs| runs.iter().any(|run| run == id))
            };
            let keep = &self.config.backup_keep;
            snapshot::capture(
                &guarded(self.config.backup_dir.as_path(), case, run),
                keep,
                &unsettled,
            )
        };
        match taken {
            Ok(folder) => {
                if let Some(folder) = &folder {
                    let folder = folder.to_string_lossy();
                    let values = [("run_id", run.id.as_str()), ("folder", &folder)];
                    self.log.info("snapshot_taken", &values);
                }
                Ok(folder)
            }
            Err(why) => {
                let values = [("run_id", run.id.as_str()), ("error", &why)];
                self.log.error("snapshot_failed", &values);
                Err(Outcome::error(format!("snapshot: {why}")))
            }
        }
    }

    /// Puts back what this run changed, and runs the handler's hook.
    pub(super) fn roll_back(&mut self, case: &Case<'_>, lock: &Lock, run: &Run) -> Undone {
        let undone = self.put_back(case, lock, run);
        match undone.rollback {
            Rollback::None => Undone::failed("its snapshot is gone".to_owned()),
            _ => undone,
        }
    }

    /// Puts back what a dead run of this alert changed, if the same episode fires still. Files that could not be put
    /// back are tried again by the next judgement; a hook that failed is not: the run ends as one whose rollback
    /// failed, or the hook would run at every repeat of the sender's.
    pub(super) fn roll_back_dead_run(
        &mut self,
        case: &Case<'_>,
        record: &Record,
        run: &Run,
        lock: &Lock,
    ) -> Result<Undone, Outcome> {
        let now = clock::now();
        if !decision::still_firing(record, case.alert, now) {
            let backup_dir = self.config.backup_dir.as_path();
            if let Some(folder) = snapshot::find(&guarded(backup_dir, case, run)) {
                let folder = folder.to_string_lossy();
                let values = [
                    ("run_id", run.id.as_str()),
                    ("folder", &folder),
                    (
                        "detail",
                        "the episode is over: the handler may have cured what fired",
                    ),
                ];
                self.log.warn("snapshot_kept", &values);
            }
            return Ok(Undone::default());
        }
        let undone = self.put_back(case, lock, run);
        if undone.rollback == Rollback::Failed && !undone.whole {
            let not_rolled_back = &mut |record: &Record| pages::not_rolled_back(record, now);
            let record = self.store()?.update(&case.key, now, not_rolled_back)?;
            let about = About {
                detail: undone.failure.clone(),
                ..self.about(case.alert)
            };
            self.hand_over(&case.key, &record, &about)?;
            return Err(Outcome::error(format!(
                "what interrupted run {} changed could not be put back: {}",
                run.id, undone.failure
            )));
        }
        if let Some(survivor) = undone.survivors.first() {
            self.put_on_record(&case.key, *survivor)?;
        }
        Ok(undone)
    }

    fn put_back(&mut self, case: &Case<'_>, lock: &Lock, run: &Run) -> Undone {
        match self.put_files_back(case, run, None) {
            Ok(Some(back)) => self.put_right(case, lock, run, &back),
            Ok(None) => Undone::default(),
            Err(why) => Undone::failed(why),
        }
    }

    /// The files of this run, as they were; `None` if there is no snapshot. `who`, if an operator has it done.
    pub(super) fn put_files_back(
        &mut self,
        case: &Case<'_>,
        run: &Run,
        who: Option<&str>,
    ) -> Result<Option<Back>, String> {
        let id = run.id.as_str();
        let by = who.map(|who| ("who", who));
        match snapshot::restore(&guarded(self.config.backup_dir.as_path(), case, run)) {
            Ok(Restored::Nothing) => Ok(None),
            Ok(Restored::Done { folder, changed }) => {
                let folder = folder.to_string_lossy().into_owned();
                let count = changed.to_string();
                let values = [("run_id", id), ("folder", &folder), ("changed", &count)];
                let values: Vec<_> = values.into_iter().chain(by).collect();
                self.log.warn("rolled_back", &values);
                Ok(Some(Back { folder, changed }))
            }
            Err(failed) => {
                let folder = failed.folder.to_string_lossy();
                let values = [("run_id", id), ("folder", &folder), ("error", &failed.why)];
                let values: Vec<_> = values.into_iter().chain(by).collect();
                self.log.error("rollback_failed", &values);
                Err(format!("snapshot {folder}: {}", failed.why))
            }
        }
    }

    /// Runs the hook behind files that are as they were.
    pub(super) fn put_right(
        &mut self,
        case: &Case<'_>,
        lock: &Lock,
        run: &Run,
        back: &Back,
    ) -> Undone {
        let Back { folder, changed } = back;
        if let Some(hook) = &case.handler.restored {
            let run = Run {
                deadline: clock::now().plus(case.timeout),
                ..run.clone()
            };
            let ended = self.supervise(case, lock, &run, Program::hook(hook));
            if ended.ending != Ending::Exit(0) {
                let hook = hook.path.to_string_lossy();
                let how = report::ended(ended.ending);
                let values = [
                    ("run_id", run.id.as_str()),
                    ("hook", &hook),
                    ("ending", &how),
                ];
                self.log.error("restored_hook_failed", &values);
                return Undone {
                    survivors: ended.survivors,
                    whole: true,
                    ..Undone::failed(format!(
                        "the files are as they were ({folder}), but {hook} failed: {how}"
                    ))
                };
            }
        }
        Undone {
            rollback: Rollback::Done,
            words: Some(format!("what it changed was put back ({changed} changed)")),
            whole: true,
            ..Undone::default()
        }
    }
}

fn guarded<'b>(backup_dir: &'b Path, case: &'b Case<'_>, run: &'b Run) -> Guarded<'b> {
    Guarded {
        backup_dir,
        run_id: &run.id,
        paths: &case.handler.directives.snapshot,
    }
}

/// `None` where they cannot be told.
fn runs_in_flight(store: &Store) -> Option<Vec<String>> {
    let records = store.list().ok()?;
    let runs = records
        .into_iter()
        .filter_map(|(_, record)| record.in_flight);
    Some(runs.map(|run| run.id).collect())
}
