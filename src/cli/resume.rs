//! `self-heal resume`.

use std::process::ExitCode;

use anyhow::Result;
use lexopt::Arg::Long;
use lexopt::Parser;

use super::{Choice, Command, once, tell};
use crate::operator;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "resume",
    about: "lift pauses, all of them or some, and show what they held back",
    usage: "[--alert NAME] [--instance INSTANCE]",
    options: &[
        Choice {
            form: "--alert NAME",
            about: "the pauses of this alert",
        },
        Choice {
            form: "--instance INSTANCE",
            about: "the pauses of this instance, written as it was given",
        },
    ],
    example: "self-heal resume --alert NginxDown",
    run,
};

fn run(mut args: Parser) -> Result<ExitCode> {
    let (mut alert, mut instance) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Long("alert") => once(&mut alert, "--alert", &mut args)?,
            Long("instance") => once(&mut instance, "--instance", &mut args)?,
            other => return Err(other.unexpected().into()),
        }
    }
    tell(operator::resume(alert.as_deref(), instance.as_deref()))
}
