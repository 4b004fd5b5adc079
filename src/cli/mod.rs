//! The command line: one table of commands, which help, completions and the manual are made of, and what an ending
//! means as an exit code. Without a command it serves, unless fd 0 is a terminal: nobody types HTTP.

mod check;
mod complain;
pub mod completions;
mod drain;
mod explain;
mod groups;
mod guard;
mod help;
mod history;
pub mod man;
mod metrics;
mod pause;
mod reset;
mod resume;
mod run;
mod snapshots;
mod status;
mod values;

use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use lexopt::{Arg, Parser, ValueExt};

use crate::operator::{Refused, Said};
use crate::serve::{self, BROKEN, MISUSED, VERSION};
use crate::wire::nearest;

/// The exit code of a command that went well and whose answer is no: nothing matched, nothing was to do.
pub const NO: u8 = 1;

/// Every exit code, and when it is given.
pub const EXIT_CODES: [(u8, &str); 4] = [
    (
        0,
        "the connection was served, whatever the answer; or nobody asked anything; a command did what it was asked",
    ),
    (
        NO,
        "a command's answer is no: nothing matched, nothing was to do; `explain`: not every alert would run or is over; `run`: not healed; `check`: an error was found",
    ),
    (
        MISUSED,
        "wrong usage or configuration (the request was answered 503); `explain`: the payload would be refused whole",
    ),
    (
        BROKEN,
        "the machine failed: the connection could not be taken over, a command could not do its work",
    ),
];

/// A command: all that its help says, and what runs it.
#[derive(Clone, Copy)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What stands behind its name, as a usage line shows it; empty if nothing may.
    pub usage: &'static str,
    /// Its options.
    pub options: &'static [Choice],
    /// A command line that does something sensible.
    pub example: &'static str,
    run: fn(Parser) -> anyhow::Result<ExitCode>,
}

/// An option, or an argument, of a command.
#[derive(Clone, Copy)]
pub struct Choice {
    /// As it is given: `--for TIME`.
    pub form: &'static str,
    /// What it takes and what it does, in one line.
    pub about: &'static str,
}

/// Every command.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "serve",
        about: "answer the one HTTP request on standard input (the default when that is no terminal)",
        usage: "",
        options: &[],
        example: "socat TCP-LISTEN:9095,bind=127.0.0.1,reuseaddr,fork,backlog=4096,max-children=64 \
                  EXEC:\"/usr/local/bin/self-heal serve\",nofork",
        run: |args| {
            nothing_more(args)?;
            Ok(serve::serve())
        },
    },
    status::COMMAND,
    history::COMMAND,
    explain::COMMAND,
    run::COMMAND,
    pause::COMMAND,
    resume::COMMAND,
    reset::COMMAND,
    drain::COMMAND,
    snapshots::COMMAND,
    check::COMMAND,
    metrics::COMMAND,
    completions::COMMAND,
    help::COMMAND,
    guard::COMMAND,
    Command {
        name: "version",
        about: "show the version",
        usage: "",
        options: &[],
        example: "self-heal version",
        run: |args| {
            nothing_more(args)?;
            say(&format!("self-heal {VERSION}\n"))
        },
    },
];

/// Wrong usage or configuration, in a sentence: exit code 100. What `lexopt` refuses is taken for the same;
/// every other error of a command is the machine's: 111.
#[derive(Debug)]
pub(super) struct Misused(pub(super) String);

impl std::fmt::Display for Misused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misused {}

/// Nobody reads standard output any more: the command ends, and went well.
#[derive(Debug)]
struct SeenEnough;

impl std::fmt::Display for SeenEnough {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody reads standard output any more")
    }
}

impl std::error::Error for SeenEnough {}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let mut args = Parser::from_env();
    let (command, ended) = match chosen(&mut args) {
        Ok(command) => (Some(command), (command.run)(args)),
        Err(error) => (None, Err(error)),
    };
    let ended = ended.or_else(|error| match command {
        Some(command) if asks_for_help(&error) => say(&help::of(command)),
        _ => Err(error),
    });
    ended.unwrap_or_else(|error| match error.is::<SeenEnough>() {
        true => ExitCode::SUCCESS,
        false => complain::complain(command, &error),
    })
}

/// The command that the first argument names.
fn chosen(args: &mut Parser) -> anyhow::Result<&'static Command> {
    let word = match args.next()? {
        None if std::io::stdin().is_terminal() => "help".to_owned(),
        None => "serve".to_owned(),
        Some(Arg::Short('h') | Arg::Long("help")) => "help".to_owned(),
        Some(Arg::Short('V') | Arg::Long("version")) => "version".to_owned(),
        Some(Arg::Value(word)) => word.to_string_lossy().into_owned(),
        Some(other) => return Err(other.unexpected().into()),
    };
    Ok(named(&word)?)
}

fn named(word: &str) -> Result<&'static Command, Misused> {
    let found = COMMANDS.iter().find(|command| command.name == word);
    found.ok_or_else(|| {
        let near = nearest::hint(word, COMMANDS.iter().map(|command| command.name));
        Misused(format!("there is no command {word:?}{near}"))
    })
}

/// No command has an option of these names, so each of them refuses it, in whatever place it stands.
fn asks_for_help(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(lexopt::Error::UnexpectedOption(option)) if option == "--help" || option == "-h"
    )
}

/// For commands without arguments, and behind the last one.
fn nothing_more(mut args: Parser) -> anyhow::Result<()> {
    match args.next()? {
        Some(arg) => Err(arg.unexpected().into()),
        None => Ok(()),
    }
}

/// Takes the value of an option that may be given once.
fn once(value: &mut Option<String>, option: &str, args: &mut Parser) -> anyhow::Result<()> {
    let text = args.value()?.string()?;
    match value.replace(text) {
        None => Ok(()),
        Some(_) => Err(Misused(format!("{option} is given twice")).into()),
    }
}

/// Shows what an operator's command came to.
fn tell(came: Result<Said, Refused>) -> anyhow::Result<ExitCode> {
    let said = came.map_err(refusal)?;
    for warning in &said.warnings {
        // The answer matters more.
        let _ = writeln!(std::io::stderr(), "self-heal: {warning}");
    }
    say(&said.text)?;
    Ok(ExitCode::from(if said.done { 0 } else { NO }))
}

/// Why an operator's command was refused, with its exit code to come.
fn refusal(refused: Refused) -> anyhow::Error {
    match refused {
        Refused::Misused(why) => Misused(why).into(),
        Refused::Failed(_) => refused.into(),
    }
}

/// Writes this to standard output. A reader who has seen enough (`| head`) ends the command, and that is no error.
fn say(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(SeenEnough.into()),
        other => {
            other.context("cannot write to standard output")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
