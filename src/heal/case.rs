//! Everything about a candidate that does not change on its way, and what a run of it would be made of: command,
//! environment, input, log, locks, limits. One value for whoever runs it, whoever observes and whoever only asks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::judge::{Alert, AlertName, Limits, Run};
use crate::sys::catalog::{Handler, Hook};
use crate::sys::identity;
use crate::sys::lock::Scope;
use crate::wire::config::Config;
use crate::wire::directives::LockScope;
use crate::wire::environment::{self, Context, Environment};
use crate::wire::notification::{Notification, Posted};
use crate::wire::quote::shell;
use crate::wire::records;

/// A candidate.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What it came in.
    pub notification: &'a Notification,
    /// The alert as sent.
    pub posted: &'a Posted,
    /// The alert.
    pub alert: &'a Alert,
    /// Its name.
    pub name: &'a AlertName,
    /// Its handler.
    pub handler: &'a Handler,
    /// The key of its record.
    pub key: String,
    /// Its limits, the handler's directives in place.
    pub limits: Limits,
    /// How long its handler may run.
    pub timeout: Duration,
}

/// What is run for an alert: its handler, or the hook behind it.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The file; an absolute path.
    pub path: &'a Path,
    /// What runs it, when it names no interpreter itself.
    pub interpreter: Option<&'static Path>,
}

impl<'a> Program<'a> {
    /// A handler's hook.
    pub fn hook(hook: &'a Hook) -> Program<'a> {
        Program {
            path: &hook.path,
            interpreter: hook.interpreter,
        }
    }
}

impl<'a> Case<'a> {
    /// The alert with the handler that was found for it.
    pub fn new(
        config: &'a Config,
        notification: &'a Notification,
        posted: &'a Posted,
        name: &'a AlertName,
        handler: &'a Handler,
        key: String,
    ) -> Case<'a> {
        let directives = &handler.directives;
        Case {
            config,
            notification,
            posted,
            alert: &posted.alert,
            name,
            handler,
            key,
            limits: directives.overlay(&config.limits),
            timeout: directives.timeout.unwrap_or(config.handler_timeout),
        }
    }

    /// What is run.
    pub fn program(&self) -> Program<'a> {
        Program {
            path: &self.handler.path,
            interpreter: self.handler.interpreter,
        }
    }

    /// The sender's fingerprint; empty where it gave none.
    pub fn fingerprint(&self) -> &'a str {
        self.alert.fingerprint.as_deref().unwrap_or("")
    }

    /// The program's arguments.
    pub fn arguments(&self) -> [&'a str; 3] {
        [
            self.alert.instance(),
            self.name.as_str(),
            self.fingerprint(),
        ]
    }

    /// The words of the command line.
    pub fn words(&self) -> Vec<String> {
        let Program { path, interpreter } = self.program();
        let paths = interpreter.into_iter().chain([path]);
        paths
            .map(|path| path.to_string_lossy().into_owned())
            .chain(self.arguments().map(str::to_owned))
            .collect()
    }

    /// The command line, quoted for a shell.
    pub fn command(&self) -> String {
        let words: Vec<String> = self.words().iter().map(|word| shell(word)).collect();
        words.join(" ")
    }

    /// The program's environment in this run.
    pub fn environment(&self, run: &Run) -> Environment {
        let context = Context {
            home: &identity::home(),
            backup_dir: &self.config.backup_dir.to_string_lossy(),
            max_attempts: self.limits.max_attempts,
            notification: self.notification,
            compat: self.handler.directives.compat,
        };
        environment::build(self.alert, run, &context)
    }

    /// What the program can read on its standard input.
    pub fn input(&self) -> Vec<u8> {
        self.notification.handler_input(self.posted)
    }

    /// Where its output goes.
    pub fn log(&self) -> PathBuf {
        self.config.log_dir.join(format!("{}.log", self.name))
    }

    /// How wide its lock is.
    pub fn lock_scope(&self) -> Scope {
        let directives = &self.handler.directives;
        match directives.lock {
            // Side by side, one run would take what the other is changing for what was there before.
            Some(LockScope::Instance) if directives.snapshot.is_empty() => {
                let digest = records::hex_digest(self.alert.instance().as_bytes());
                Scope::Instance(digest.get(..16).unwrap_or(&digest).to_owned())
            }
            _ => Scope::Alert,
        }
    }
}
