//! One handler, from its environment to how it ended.

use super::{Case, Healer};
use crate::judge::{Ending, Run};
use crate::sys::files;
use crate::sys::handler::{self, Ended, Exit, Invocation};
use crate::sys::lock::Lock;
use crate::wire::environment::{self, Context};
use crate::wire::holder::Holder;

impl<'a> Healer<'a> {
    pub(super) fn supervise(
        &mut self,
        case: &Case<'_>,
        lock: &Lock,
        run: &Run,
    ) -> (Ending, Option<Ended>) {
        let context = Context {
            home: &self.home,
            backup_dir: &self.config.backup_dir.to_string_lossy(),
            max_attempts: case.limits.max_attempts,
            receiver: &self.notification.receiver,
            group_key: &self.notification.group_key,
            external_url: &self.notification.external_url,
        };
        let environment = environment::build(case.alert, run, &context);
        for (name, why) in &environment.left_out {
            let values = [("run_id", run.id.as_str()), ("name", name), ("why", why)];
            self.log.warn("environment_left_out", &values);
        }
        let path = self.config.log_dir.join(format!("{}.log", case.name));
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
        let fingerprint = case.alert.fingerprint.as_deref().unwrap_or("");
        let locks = lock.descriptors();
        let stdin = self.notification.handler_input(case.posted);
        let started = handler::start(&Invocation {
            program: &case.handler.path,
            interpreter: case.handler.interpreter,
            args: [case.alert.instance(), case.name.as_str(), fingerprint],
            env: &environment.variables,
            stdin: &stdin,
            log: log.as_ref(),
            locks: &locks,
            timeout: case.timeout,
            grace: self.config.kill_grace,
            run_id: &run.id,
        });
        let running = match started {
            Ok(running) => running,
            Err(error) => {
                let values = [("run_id", run.id.as_str()), ("error", &error.to_string())];
                self.log.error("run_not_started", &values);
                return (Ending::NotStarted, None);
            }
        };
        lock.name_holder(&Holder {
            run_id: run.id.clone(),
            key: case.key.clone(),
            fingerprint: fingerprint.to_owned(),
            supervisor: self.own,
            session: running.session().into(),
            deadline: run.deadline.plus(self.config.kill_grace),
        });
        match running.wait(self.signals) {
            Ok(ended) => {
                let ending = match ended.exit {
                    Exit::Code(code) => Ending::Exit(code),
                    Exit::Signal(number) => Ending::Signal(number),
                    Exit::TimedOut => Ending::TimedOut,
                };
                (ending, Some(ended))
            }
            Err(error) => {
                let values = [("run_id", run.id.as_str()), ("error", &error.to_string())];
                self.log.error("run_lost", &values);
                (Ending::Lost, None)
            }
        }
    }
}
