//! One handler, from its environment to how it ended.

use std::time::Duration;

use super::{Case, Healer, Program};
use crate::judge::record::Process;
use crate::judge::{Ending, Run};
use crate::sys::files;
use crate::sys::handler::{self, Exit, Invocation, NotStarted};
use crate::sys::lock::Lock;
use crate::wire::holder::Holder;

/// How many labels and annotations that did not fit into the environment are named in the log.
const LEFT_OUT_SHOWN: usize = 10;

/// How a run went.
pub(super) struct Supervised {
    pub(super) ending: Ending,
    /// `None` where nobody measured.
    pub(super) elapsed: Option<Duration>,
    /// What lives on and may not be signalled, or has been lost sight of.
    pub(super) survivors: Vec<Process>,
    /// What the machine said when it failed.
    pub(super) failure: Option<String>,
    /// Where its output begins in the handler's log.
    pub(super) output_from: u64,
}

impl Supervised {
    fn failed(
        ending: Ending,
        survivors: Vec<Process>,
        failure: String,
        output_from: u64,
    ) -> Supervised {
        Supervised {
            ending,
            elapsed: None,
            survivors,
            failure: Some(failure),
            output_from,
        }
    }
}

impl<'a> Healer<'a> {
    pub(super) fn supervise(
        &mut self,
        case: &Case<'_>,
        lock: &Lock,
        run: &Run,
        program: Program<'_>,
    ) -> Supervised {
        let environment = case.environment(run);
        let count = environment.left_out.len().to_string();
        for (name, why) in environment.left_out.iter().take(LEFT_OUT_SHOWN) {
            let id = run.id.as_str();
            let values = [("run_id", id), ("name", name), ("why", why), ("of", &count)];
            self.log.warn("environment_left_out", &values);
        }
        let path = case.log();
        let log = match files::open_log(&path) {
            Ok(log) => Some(log),
            Err(error) => {
                let values = [
                    ("file", path.to_string_lossy().into_owned()),
                    ("error", error.to_string()),
                ];
                self.channel_failed("handler_log_failed", &values);
                None
            }
        };
        let output_from = log.as_ref().map_or(0, files::length);
        let locks = lock.descriptors();
        let started = handler::start(&Invocation {
            program: program.path,
            interpreter: program.interpreter,
            args: &case.arguments(),
            env: &environment.variables,
            stdin: &case.input(),
            log: log.as_ref(),
            locks: &locks,
            timeout: case.timeout,
            grace: self.config.kill_grace,
            run_id: &run.id,
        });
        let running = match started {
            Ok(running) => running,
            Err(NotStarted { error, ran }) => {
                let error = error.to_string();
                let values = [("run_id", run.id.as_str()), ("error", &error)];
                // One that ran for a moment stays counted.
                let ending = if ran {
                    self.log.error("run_lost", &values);
                    Ending::Lost
                } else {
                    self.log.error("run_not_started", &values);
                    Ending::NotStarted
                };
                return Supervised::failed(ending, Vec::new(), error, output_from);
            }
        };
        let session = Process::from(running.session());
        lock.name_holder(&Holder {
            run_id: run.id.clone(),
            key: case.key.clone(),
            fingerprint: case.fingerprint().to_owned(),
            supervisor: self.own,
            session,
            deadline: run.deadline.plus(self.config.kill_grace),
        });
        match running.wait(self.signals) {
            Ok(ended) => {
                let ending = match ended.exit {
                    Exit::Code(code) => Ending::Exit(code),
                    Exit::Signal(number) => Ending::Signal(number),
                    Exit::TimedOut => Ending::TimedOut,
                };
                Supervised {
                    ending,
                    elapsed: Some(ended.elapsed),
                    survivors: ended.survivors.into_iter().map(Process::from).collect(),
                    failure: None,
                    output_from,
                }
            }
            Err(error) => {
                let values = [("run_id", run.id.as_str()), ("error", &error.to_string())];
                self.log.error("run_lost", &values);
                // It may be alive: the alert stays busy for as long as it is.
                Supervised::failed(Ending::Lost, vec![session], error.to_string(), output_from)
            }
        }
    }
}
