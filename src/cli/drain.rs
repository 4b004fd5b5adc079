//! `self-heal drain`: the spool of pages, for a timer and for an operator.

use std::process::ExitCode;

use anyhow::anyhow;
use lexopt::{Arg, Parser, ValueExt};

use super::{Choice, Command, Misused, NO, say};
use crate::deliver::drain::{self, Done, Order, Trouble};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "drain",
    about: "deliver the pages that wait in the spool",
    usage: "[--list | --retry EVENT | --discard EVENT | --forget ESCALATOR]",
    options: &[
        Choice {
            form: "--list",
            about: "show every event instead, one a line, and where each escalator is with it",
        },
        Choice {
            form: "--retry EVENT",
            about: "have an event tried again that was refused for good, or that waits for its next attempt",
        },
        Choice {
            form: "--discard EVENT",
            about: "do not deliver an event to whoever does not have it yet",
        },
        Choice {
            form: "--forget ESCALATOR",
            about: "do not wait any more for an escalator that was removed",
        },
    ],
    example: "self-heal drain --list",
    run,
};

fn run(mut args: Parser) -> anyhow::Result<ExitCode> {
    let mut order = Order::Deliver;
    while let Some(arg) = args.next()? {
        let next = match arg {
            Arg::Long("list") => Order::List,
            Arg::Long("retry") => Order::Retry(args.value()?.string()?),
            Arg::Long("discard") => Order::Discard(args.value()?.string()?),
            Arg::Long("forget") => Order::Forget(args.value()?.string()?),
            other => return Err(other.unexpected().into()),
        };
        if order != Order::Deliver {
            return Err(Misused(
                "one of --list, --retry, --discard and --forget at a time".to_owned(),
            )
            .into());
        }
        order = next;
    }
    match drain::command(&order) {
        Ok(Done { text, yes }) => {
            say(&text)?;
            Ok(if yes {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(NO)
            })
        }
        Err(Trouble::Misused(why)) => Err(Misused(why).into()),
        Err(Trouble::Broken(why)) => Err(anyhow!(why)),
    }
}
