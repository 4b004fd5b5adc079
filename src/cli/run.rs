//! `self-heal run`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use lexopt::Arg::{Long, Value};
use lexopt::{Parser, ValueExt};

use super::{Choice, Command, Misused, once, tell};
use crate::operator::run;
use crate::operator::subject::Subject;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "run",
    about: "run an alert's handler by hand, through the same gates, locks and counts as for a sender",
    usage: "ALERT INSTANCE [--label NAME=VALUE] [--annotation NAME=VALUE] [--key KEY] [--force]",
    options: &[
        Choice {
            form: "ALERT INSTANCE",
            about: "the alert and its instance, written as the alert has them",
        },
        Choice {
            form: "--label NAME=VALUE",
            about: "another label, for the handler; may be given again",
        },
        Choice {
            form: "--annotation NAME=VALUE",
            about: "an annotation; may be given again",
        },
        Choice {
            form: "--key KEY",
            about: "its record, where several are of this alert on this instance",
        },
        Choice {
            form: "--force",
            about: "get past an open breaker, the run limits, the retry delay and the settle time, and past nothing else",
        },
    ],
    example: "self-heal run NginxDown web-1:9113",
    run: run_by_hand,
};

fn run_by_hand(mut args: Parser) -> Result<ExitCode> {
    let mut subject = Subject::default();
    let (mut words, mut force) = (Vec::new(), false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("label") => subject.labels.push(args.value()?.string()?),
            Long("annotation") => subject.annotations.push(args.value()?.string()?),
            Long("key") => once(&mut subject.key, "--key", &mut args)?,
            Long("force") => force = true,
            Value(word) if words.len() < 2 => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let Ok([alertname, instance]) = <[String; 2]>::try_from(words) else {
        return Err(Misused("say what to run: an alertname and an instance".to_owned()).into());
    };
    subject.alertname = alertname;
    subject.instance = instance;
    let mut on_stderr = |line: &str| {
        // The run matters more.
        let _ = writeln!(std::io::stderr(), "self-heal: {line}");
    };
    match run::run(&subject, force, &mut on_stderr) {
        Ok(ran) => {
            let code = ran.code();
            let told = tell(Ok(ran.said))?;
            Ok(code.map_or(told, ExitCode::from))
        }
        Err(refused) => tell(Err(refused)),
    }
}
