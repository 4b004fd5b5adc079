//! `self-heal pause`.

use std::process::ExitCode;

use anyhow::Result;
use lexopt::Arg::Long;
use lexopt::Parser;

use super::{Choice, Command, Misused, once, tell};
use crate::operator;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "pause",
    about: "keep handlers from running for a while; a run under way goes on",
    usage: "[--for TIME] [--alert NAME] [--instance INSTANCE] --reason TEXT",
    options: &[
        Choice {
            form: "--for TIME",
            about: "for how long, 1m to 30d; 1h if left out",
        },
        Choice {
            form: "--alert NAME",
            about: "this alert alone",
        },
        Choice {
            form: "--instance INSTANCE",
            about: "this instance alone, as in the allow-list: with its port, or its host without, * within a label",
        },
        Choice {
            form: "--reason TEXT",
            about: "why, for whoever finds it",
        },
    ],
    example: "self-heal pause --for 2h --alert NginxDown --reason 'new certificates'",
    run,
};

fn run(mut args: Parser) -> Result<ExitCode> {
    let (mut span, mut alert, mut instance, mut reason) = (None, None, None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Long("for") => once(&mut span, "--for", &mut args)?,
            Long("alert") => once(&mut alert, "--alert", &mut args)?,
            Long("instance") => once(&mut instance, "--instance", &mut args)?,
            Long("reason") => once(&mut reason, "--reason", &mut args)?,
            other => return Err(other.unexpected().into()),
        }
    }
    let reason = reason
        .ok_or_else(|| Misused("--reason is missing: say why, for whoever finds it".to_owned()))?;
    tell(operator::pause(
        span.as_deref(),
        alert.as_deref(),
        instance.as_deref(),
        &reason,
    ))
}
