//! `self-heal drain`: the spool of pages, for a timer and for an operator.

use std::process::ExitCode;

use anyhow::anyhow;
use lexopt::{Arg, Parser, ValueExt};

use super::{Misused, NO, say};
use crate::deliver::drain::{self, Done, Order, Trouble};

pub(super) fn run(mut args: Parser) -> anyhow::Result<ExitCode> {
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
