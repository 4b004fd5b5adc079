//! Who may run: the alert's lock, the host's slots, and what became of a run whose supervisor died.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Case, Healer, Outcome};
use crate::judge::record::Process;
use crate::judge::{Record, Run, Verdict, Why, decision};
use crate::sys::lock::{self, Lock, Scope, Tried};
use crate::sys::process::ProcessId;
use crate::sys::slots::{self, Slot};
use crate::sys::{clock, files, leftovers};
use crate::wire::directives::LockScope;
use crate::wire::holder::Holder;
use crate::wire::{records, report};

/// How often a lock or a slot that is taken is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// How long past its deadline and grace a holder is left alone: its supervisor may be at work on it.
const ORPHAN_MARGIN: Duration = Duration::from_secs(5);

impl<'a> Healer<'a> {
    /// The alert's lock, within what is left of the request's patience. Its own run in flight is not waited for.
    pub(super) fn lock(&mut self, case: &Case<'_>, record: &Record) -> Result<Lock, Outcome> {
        let scope = match case.handler.directives.lock {
            Some(LockScope::Instance) => {
                let digest = records::hex_digest(case.alert.instance().as_bytes());
                Scope::Instance(digest.get(..16).unwrap_or(&digest).to_owned())
            }
            _ => Scope::Alert,
        };
        let folder = &self.config.lock_dir;
        files::make_folder(folder, 0o700)
            .and_then(|()| files::trusted(folder).map_err(std::io::Error::other))
            .map_err(|e| Outcome::error(format!("lock folder {}: {e}", folder.display())))?;
        let mut ended_orphan = false;
        loop {
            let tried = lock::attempt(&self.config.lock_dir, case.name, &scope)
                .map_err(|e| Outcome::error(format!("lock of {}: {e}", case.name)))?;
            let (holder, path) = match tried {
                Tried::Held(lock) => return Ok(lock),
                Tried::Taken(holder, path) => (holder, path),
            };
            let own = record.in_flight.as_ref();
            let holder = holder.or_else(|| own.map(|run| self.presumed(case, run)));
            if let Some(holder) = holder.filter(|holder| self.orphaned(holder) && !ended_orphan) {
                ended_orphan = true;
                self.end_orphan(&holder, &path)?;
                continue;
            }
            if own.is_some() {
                return Err(Outcome::new(Verdict::Busy, report::words(Why::InFlight)));
            }
            self.wait("another run or an operator holds the lock")?;
        }
    }

    /// A slot, within what is left of the request's patience.
    pub(super) fn slot(&mut self) -> Result<Slot, Outcome> {
        loop {
            let tried = slots::attempt(&self.config.lock_dir, self.config.max_concurrent)
                .map_err(|e| Outcome::error(format!("slots: {e}")))?;
            match tried {
                Some(slot) => return Ok(slot),
                None => self.wait("every slot is taken (HEAL_MAX_CONCURRENT)")?,
            }
        }
    }

    pub(super) fn wait(&mut self, why: &str) -> Result<(), Outcome> {
        if self.signals.terminated() {
            return Err(Outcome::new(Verdict::Busy, "the listener was told to end"));
        }
        if self.patience.is_zero() {
            return Err(Outcome::new(Verdict::Busy, why));
        }
        let began = Instant::now();
        self.signals.wait(TRY_AGAIN.min(self.patience));
        self.patience = self.patience.saturating_sub(began.elapsed());
        Ok(())
    }

    /// A holder for a run whose lock file does not name one.
    pub(super) fn presumed(&self, case: &Case<'_>, run: &Run) -> Holder {
        Holder {
            run_id: run.id.clone(),
            key: case.key.clone(),
            fingerprint: String::new(),
            supervisor: run.supervisor,
            session: leftovers::NO_SESSION,
            deadline: run.deadline.plus(self.config.kill_grace),
        }
    }

    pub(super) fn orphaned(&self, holder: &Holder) -> bool {
        let late = holder.deadline.plus(ORPHAN_MARGIN) < clock::now();
        late && !ProcessId::from(holder.supervisor).alive()
    }

    pub(super) fn end_orphan(&mut self, holder: &Holder, path: &Path) -> Result<(), Outcome> {
        self.log
            .error("orphan_ended", &[("run_id", &holder.run_id)]);
        let left = leftovers::end(holder, path, self.config.kill_grace, self.signals)
            .map_err(|e| Outcome::error(format!("orphan of run {}: {e}", holder.run_id)))?;
        self.stuck(&holder.key, left.first().copied())
    }

    /// Something of a dead run that may not be signalled keeps the alert busy while it lives.
    pub(super) fn stuck(&mut self, key: &str, survivor: Option<Process>) -> Result<(), Outcome> {
        let Some(survivor) = survivor else {
            return Ok(());
        };
        let now = clock::now();
        self.store()?.update(key, now, &mut |record| {
            decision::stuck(record, survivor, now)
        })?;
        Err(Outcome::new(
            Verdict::Busy,
            report::words(Why::Survivor(survivor)),
        ))
    }

    /// The lock is ours, yet a run is noted in flight: its supervisor died, or the lock file was removed under it.
    pub(super) fn examine_dead_run(
        &mut self,
        case: &Case<'_>,
        run: &Run,
        lock: &Lock,
    ) -> Result<(), Outcome> {
        if ProcessId::from(run.supervisor).alive() && run.supervisor != self.own {
            return Err(Outcome::new(Verdict::Busy, report::words(Why::InFlight)));
        }
        let Some(holder) = lock.left_by().filter(|holder| holder.run_id == run.id) else {
            return Ok(());
        };
        let left = leftovers::out_of_reach(&holder)
            .map_err(|e| Outcome::error(format!("what is left of run {}: {e}", run.id)))?;
        self.stuck(&case.key, left.first().copied())
    }
}
