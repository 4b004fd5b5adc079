//! Who may run: the alert's lock, the host's slots, and what became of a run whose supervisor died.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Case, Healer, Outcome, TOLD_TO_END};
use crate::judge::record::Process;
use crate::judge::{Record, Run, Verdict, Why, pages};
use crate::paging::About;
use crate::sys::lock::{self, Lock, Tried};
use crate::sys::process::{self, ProcessId};
use crate::sys::slots::{self, Slot};
use crate::sys::{clock, files, leftovers};
use crate::wire::holder::Holder;
use crate::wire::report;

/// How often a lock or a slot that is taken is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// How long past its deadline and grace a holder is left alone: its supervisor may be at work on it.
const ORPHAN_MARGIN: Duration = Duration::from_secs(5);

/// Why nothing runs while every slot is taken.
pub(super) const SLOTS_TAKEN: &str = "every slot is taken (HEAL_MAX_CONCURRENT)";

/// A holder for a run whose lock file does not name one.
pub(super) fn presumed(case: &Case<'_>, run: &Run) -> Holder {
    Holder {
        run_id: run.id.clone(),
        key: case.key.clone(),
        fingerprint: String::new(),
        supervisor: run.supervisor,
        session: leftovers::NO_SESSION,
        deadline: run.deadline.plus(case.config.kill_grace),
    }
}

/// Whether a holder is past all time it has, without anybody who would end it.
pub(super) fn orphaned(holder: &Holder) -> bool {
    let late = holder.deadline.plus(ORPHAN_MARGIN) < clock::now();
    late && !ProcessId::from(holder.supervisor).alive()
}

/// Whether the lock is held on behalf of this very alert.
pub(super) fn own_run_has_it(case: &Case<'_>, own: Option<&Run>, holder: Option<&Holder>) -> bool {
    own.is_some() || holder.is_some_and(|holder| holder.key == case.key)
}

/// Why nothing runs while somebody else has the lock.
pub(super) fn taken(path: &Path, holder: Option<&Holder>) -> String {
    let who = holder.map_or(String::new(), |h| {
        format!(" (process {})", h.supervisor.pid)
    });
    format!(
        "{} is held by another run or an operator{who}",
        path.display()
    )
}

/// Whether a run that is noted in flight is at work, although its lock is free.
pub(super) fn at_work(run: &Run, own: Process) -> bool {
    ProcessId::from(run.supervisor).alive() && run.supervisor != own
}

impl<'a> Healer<'a> {
    /// The alert's lock, within what is left of the request's patience. Its own run in flight is not waited for.
    pub(super) fn lock(&mut self, case: &Case<'_>, record: &Record) -> Result<Lock, Outcome> {
        let scope = case.lock_scope();
        let folder = &self.config.lock_dir;
        // The real path: that is how /proc names the files that a handler has open.
        let folder = files::make_folder(folder, 0o700)
            .map_err(|e| format!("{}: {e}", folder.display()))
            .and_then(|()| files::trusted(folder))
            .map_err(|why| Outcome::error(format!("HEAL_LOCK_DIR: {why}")))?;
        let mut ended_orphan = false;
        loop {
            let tried = lock::attempt(&folder, case.name, &scope)
                .map_err(|e| Outcome::error(format!("lock of {}: {e}", case.name)))?;
            let (holder, path) = match tried {
                Tried::Held(lock) => return Ok(lock),
                Tried::Taken(holder, path) => (holder, path),
            };
            let own = record.in_flight.as_ref();
            let holder = holder.or_else(|| own.map(|run| presumed(case, run)));
            if let Some(holder) = &holder
                && !ended_orphan
                && orphaned(holder)
            {
                ended_orphan = true;
                if self.end_orphan(case, holder, &path)? {
                    continue;
                }
            }
            if own_run_has_it(case, own, holder.as_ref()) {
                return Err(Outcome::new(Verdict::Busy, report::words(Why::InFlight)));
            }
            self.wait(&taken(&path, holder.as_ref()))?;
        }
    }

    /// The file names a run of another alert that died: what is out of reach of it keeps that alert busy, and has to
    /// be on its record before the note is written over.
    pub(super) fn take_over(&mut self, holder: &Holder) -> Result<(), Outcome> {
        let left = leftovers::out_of_reach(holder)
            .map_err(|e| Outcome::error(format!("what is left of run {}: {e}", holder.run_id)))?;
        match left.first() {
            Some(survivor) => self.put_on_record(&holder.key, *survivor),
            None => Ok(()),
        }
    }

    /// Says in the lock file that the lock is ours, before there is a run, so that a copy of this alert need not
    /// wait.
    pub(super) fn claim(&self, case: &Case<'_>, lock: &Lock) {
        let grace = self.config.kill_grace;
        lock.name_holder(&Holder {
            run_id: String::new(),
            key: case.key.clone(),
            fingerprint: case.alert.fingerprint.clone().unwrap_or_default(),
            supervisor: self.own,
            session: leftovers::NO_SESSION,
            deadline: clock::now().plus(self.patience + case.timeout + grace),
        });
    }

    /// A slot, within what is left of the request's patience.
    pub(super) fn slot(&mut self) -> Result<Slot, Outcome> {
        loop {
            let tried = slots::attempt(&self.config.lock_dir, self.config.max_concurrent)
                .map_err(|e| Outcome::error(format!("slots: {e}")))?;
            match tried {
                Some(slot) => return Ok(slot),
                None => self.wait(SLOTS_TAKEN)?,
            }
        }
    }

    pub(super) fn wait(&mut self, why: &str) -> Result<(), Outcome> {
        if self.signals.terminated() {
            return Err(Outcome::new(Verdict::Busy, TOLD_TO_END));
        }
        if self.patience.is_zero() {
            return Err(Outcome::new(Verdict::Busy, why));
        }
        let began = Instant::now();
        self.signals.wait(TRY_AGAIN.min(self.patience));
        self.patience = self.patience.saturating_sub(began.elapsed());
        Ok(())
    }

    /// Whether anything was ended: the lock may be held by somebody who has nothing to do with that run.
    pub(super) fn end_orphan(
        &mut self,
        case: &Case<'_>,
        holder: &Holder,
        path: &Path,
    ) -> Result<bool, Outcome> {
        let ended = leftovers::end(holder, path, self.config.kill_grace, self.signals)
            .map_err(|e| Outcome::error(format!("orphan of run {}: {e}", holder.run_id)))?;
        let Some(left) = ended else { return Ok(false) };
        let values = [
            ("alertname", case.name.as_str()),
            ("run_id", &holder.run_id),
            ("session", &holder.session.pid.to_string()),
            ("lock", &path.display().to_string()),
        ];
        self.log.error("orphan_ended", &values);
        self.stuck(&holder.key, left.first().copied())?;
        Ok(true)
    }

    /// Something of a dead run that may not be signalled keeps the alert busy while it lives.
    pub(super) fn stuck(&mut self, key: &str, survivor: Option<Process>) -> Result<(), Outcome> {
        let Some(survivor) = survivor else {
            return Ok(());
        };
        self.put_on_record(key, survivor)?;
        Err(Outcome::new(
            Verdict::Busy,
            report::words(Why::Survivor(survivor)),
        ))
    }

    pub(super) fn put_on_record(&mut self, key: &str, survivor: Process) -> Result<(), Outcome> {
        let now = clock::now();
        let stuck = &mut |record: &Record| pages::stuck(record, survivor, now);
        let record = self.store()?.update(key, now, stuck)?;
        let about = About {
            detail: format!("Process {}.", survivor.pid),
            ..About::default()
        };
        self.hand_over(key, &record, &about)
    }

    /// The lock is ours, yet a run is noted in flight: its supervisor died, or the lock file was removed under it.
    pub(super) fn examine_dead_run(
        &mut self,
        case: &Case<'_>,
        run: &Run,
        lock: &Lock,
    ) -> Result<(), Outcome> {
        if at_work(run, self.own) {
            return Err(Outcome::new(Verdict::Busy, report::words(Why::InFlight)));
        }
        let left_by = lock.left_by().filter(|holder| holder.run_id == run.id);
        let Some(holder) = left_by else {
            return self.examine_removed_lock(run, lock);
        };
        let left = leftovers::out_of_reach(holder)
            .map_err(|e| Outcome::error(format!("what is left of run {}: {e}", run.id)))?;
        self.stuck(&case.key, left.first().copied())
    }

    /// The file does not name the run: it was removed, and its handler may be at work behind a lock that keeps nobody out.
    fn examine_removed_lock(&mut self, run: &Run, lock: &Lock) -> Result<(), Outcome> {
        let fail = |e| Outcome::error(format!("what is left of run {}: {e}", run.id));
        let targets = || leftovers::at_work_behind(&run.id, lock.path());
        if targets().map_err(fail)?.is_empty() {
            return Ok(());
        }
        let grace = self.config.kill_grace;
        if run.deadline.plus(grace).plus(ORPHAN_MARGIN) < clock::now() {
            let left = process::end(targets, grace, self.signals).map_err(fail)?;
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(Outcome::new(Verdict::Busy, report::words(Why::InFlight)))
    }
}
