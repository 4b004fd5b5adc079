//! `self-heal explain`.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use anyhow::{Context, Result};
use lexopt::Arg::Long;
use lexopt::{Parser, ValueExt};

use super::{Choice, Command, Misused, NO, once, say};
use crate::operator::Refused;
use crate::operator::explain::{self, Question};
use crate::operator::subject::Subject;
use crate::serve::MISUSED;
use crate::sys::terminal;

/// The most of a payload that is read: above the largest `HEAL_MAX_BODY`, with room for a head.
const LONGEST: u64 = 65 << 20;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "explain",
    about: "what would come of a payload on standard input, or of an alert: every gate, and the run; nothing is done",
    usage: "[--json] [--alert NAME --instance INSTANCE [--label NAME=VALUE] [--annotation NAME=VALUE] [--starts-at TIME] [--key KEY] [--resolved]]",
    options: &[
        Choice {
            form: "--json",
            about: "as one JSON object on one line",
        },
        Choice {
            form: "--alert NAME",
            about: "this alert, instead of a payload (a raw HTTP request, or its JSON body)",
        },
        Choice {
            form: "--instance INSTANCE",
            about: "its instance, written as the alert has it",
        },
        Choice {
            form: "--label NAME=VALUE",
            about: "another label of it; may be given again",
        },
        Choice {
            form: "--annotation NAME=VALUE",
            about: "an annotation of it; may be given again",
        },
        Choice {
            form: "--starts-at TIME",
            about: "when it began, RFC 3339; else as its record says, or now",
        },
        Choice {
            form: "--key KEY",
            about: "its record, where several are of this alert on this instance",
        },
        Choice {
            form: "--resolved",
            about: "it is over",
        },
    ],
    example: "self-heal explain --alert NginxDown --instance web-1:9113",
    run,
};

fn run(mut args: Parser) -> Result<ExitCode> {
    let mut subject = Subject::default();
    let (mut alert, mut instance, mut json) = (None, None, false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("json") => json = true,
            Long("alert") => once(&mut alert, "--alert", &mut args)?,
            Long("instance") => once(&mut instance, "--instance", &mut args)?,
            Long("label") => subject.labels.push(args.value()?.string()?),
            Long("annotation") => subject.annotations.push(args.value()?.string()?),
            Long("starts-at") => once(&mut subject.starts_at, "--starts-at", &mut args)?,
            Long("key") => once(&mut subject.key, "--key", &mut args)?,
            Long("resolved") => subject.resolved = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let question = match (alert, instance) {
        (Some(alertname), Some(instance)) => Question::Alert(Subject {
            alertname,
            instance,
            ..subject
        }),
        (None, None) if subject == Subject::default() => Question::Payload(payload()?),
        _ => {
            let why = "an alert is named by --alert and --instance, and the rest goes with them";
            return Err(Misused(why.to_owned()).into());
        }
    };
    let explanation = match explain::explain(&question) {
        Ok(explanation) => explanation,
        Err(Refused::Misused(why)) => return Err(Misused(why).into()),
        Err(failed) => return Err(failed.into()),
    };
    say(&if json {
        explanation.to_json()
    } else {
        explanation.render(terminal::paint())
    })?;
    Ok(ExitCode::from(match explanation.refused {
        Some(_) => MISUSED,
        None if explanation.well() => 0,
        None => NO,
    }))
}

fn payload() -> Result<Vec<u8>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let why = "there is no payload on standard input, and no --alert";
        return Err(Misused(why.to_owned()).into());
    }
    let mut bytes = Vec::new();
    let read = stdin.lock().take(LONGEST).read_to_end(&mut bytes);
    read.context("cannot read standard input")?;
    Ok(bytes)
}
