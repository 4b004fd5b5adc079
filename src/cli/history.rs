//! `self-heal history`.

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::Result;
use lexopt::Arg::Long;
use lexopt::Parser;

use super::{Choice, Command, Misused, NO, once};
use crate::operator::Refused;
use crate::operator::history::{self, Asked, Came, Form};
use crate::serve::BROKEN;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "history",
    about: "show what was run, why and how it ended; whether healing helps; whether anybody changed the history",
    usage: "[--since TIME] [--until TIME] [--alert NAME] [--instance INSTANCE] [--outcome OUTCOME] [--run RUN] \
            [--summary | --follow] [--json] | --verify",
    options: &[
        Choice {
            form: "--since TIME",
            about: "from then on: 2026-11-22T12:00:00Z, a date (UTC), or how long ago, such as 2h",
        },
        Choice {
            form: "--until TIME",
            about: "before then",
        },
        Choice {
            form: "--alert NAME",
            about: "this alert alone",
        },
        Choice {
            form: "--instance INSTANCE",
            about: "this instance alone, written as the alert has it",
        },
        Choice {
            form: "--outcome OUTCOME",
            about: "what ended so (healed, failed, timeout, gave-up…), or observed, verified, ineffective, running",
        },
        Choice {
            form: "--run RUN",
            about: "this run alone",
        },
        Choice {
            form: "--summary",
            about: "a line for each alert: runs, heals, how many helped, mean times",
        },
        Choice {
            form: "--follow",
            about: "go on with what comes, until it is interrupted",
        },
        Choice {
            form: "--json",
            about: "the stored lines; with --summary, an object a line",
        },
        Choice {
            form: "--verify",
            about: "walk the chain over every rotated file: exit 1 at the first record that somebody changed or removed",
        },
    ],
    example: "self-heal history --since 2h --alert NginxDown",
    run,
};

fn run(mut args: Parser) -> Result<ExitCode> {
    let mut asked = Asked::default();
    while let Some(arg) = args.next()? {
        let form = match arg {
            Long("since") => once(&mut asked.since, "--since", &mut args).map(|()| None)?,
            Long("until") => once(&mut asked.until, "--until", &mut args).map(|()| None)?,
            Long("alert") => once(&mut asked.alert, "--alert", &mut args).map(|()| None)?,
            Long("instance") => {
                once(&mut asked.instance, "--instance", &mut args).map(|()| None)?
            }
            Long("outcome") => once(&mut asked.outcome, "--outcome", &mut args).map(|()| None)?,
            Long("run") => once(&mut asked.run, "--run", &mut args).map(|()| None)?,
            Long("json") => {
                asked.json = true;
                None
            }
            Long("summary") => Some(Form::Summary),
            Long("follow") => Some(Form::Follow),
            Long("verify") => Some(Form::Verify),
            other => return Err(other.unexpected().into()),
        };
        if let Some(form) = form {
            if asked.form != Form::Runs {
                let why = "one of --summary, --follow and --verify at a time";
                return Err(Misused(why.to_owned()).into());
            }
            asked.form = form;
        }
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut warn = |warning: &str| {
        // The answer matters more.
        let _ = writeln!(std::io::stderr(), "self-heal: {warning}");
    };
    match history::show(&asked, &mut out, &mut warn) {
        Ok(Came::Yes) => Ok(ExitCode::SUCCESS),
        Ok(Came::No) => Ok(ExitCode::from(NO)),
        Ok(Came::Incomplete) => Ok(ExitCode::from(BROKEN)),
        Err(Refused::Misused(why)) => Err(Misused(why).into()),
        Err(failed) => Err(failed.into()),
    }
}
