//! `self-heal reset`.

use std::process::ExitCode;

use anyhow::Result;
use lexopt::Arg::{Long, Value};
use lexopt::{Parser, ValueExt};

use super::{Choice, Command, Misused, once, tell};
use crate::operator::{self, Which};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "reset",
    about: "forget what counts against an alert: its breaker closes, its page ends",
    usage: "ALERT INSTANCE | --key KEY",
    options: &[
        Choice {
            form: "ALERT INSTANCE",
            about: "every record of this alert on this instance, written as the alert has it",
        },
        Choice {
            form: "--key KEY",
            about: "one record, by the name of its file in HEAL_STATE_DIR/records",
        },
    ],
    example: "self-heal reset NginxDown web-1:9113",
    run,
};

fn run(mut args: Parser) -> Result<ExitCode> {
    let (mut words, mut key) = (Vec::new(), None);
    while let Some(arg) = args.next()? {
        match arg {
            Long("key") => once(&mut key, "--key", &mut args)?,
            Value(word) if words.len() < 2 => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let which = match (key, <[String; 2]>::try_from(words)) {
        (None, Ok([alertname, instance])) => Which::Alert {
            alertname,
            instance,
        },
        (Some(key), Err(words)) if words.is_empty() => Which::Key(key),
        _ => {
            let why = "say which: an alertname and an instance, or --key and a key";
            return Err(Misused(why.to_owned()).into());
        }
    };
    tell(operator::reset(&which))
}
