//! Why a command failed, in one line on standard error: which command, what is wrong, what was probably meant, where
//! its help is.

use std::io::Write;
use std::process::ExitCode;

use super::{Choice, Command, Misused};
use crate::serve::{BROKEN, MISUSED};
use crate::wire::nearest;
use crate::wire::quote::printable;

/// Says why a command failed; the exit code for it.
pub(super) fn complain(command: Option<&Command>, error: &anyhow::Error) -> ExitCode {
    let (before, hint) = match command {
        Some(Command { name, .. }) => (format!(" {name}"), format!("self-heal help {name}")),
        None => (String::new(), "self-heal help".to_owned()),
    };
    let usage = error.downcast_ref::<lexopt::Error>();
    let why = usage.map_or_else(|| format!("{error:#}"), |usage| wrong(command, usage));
    let (after, code) = if usage.is_some() || error.is::<Misused>() {
        (format!(" (see: {hint})"), MISUSED)
    } else {
        (String::new(), BROKEN)
    };
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "self-heal{before}: {why}{after}");
    ExitCode::from(code)
}

/// What is wrong with the arguments, and what was probably meant.
fn wrong(command: Option<&Command>, error: &lexopt::Error) -> String {
    let options: Vec<&str> = match command {
        Some(command) => command.option_names().collect(),
        None => vec!["--help", "--version"],
    };
    let near = match error {
        lexopt::Error::UnexpectedOption(option) => {
            Some(nearest::hint(option, options.iter().copied()))
        }
        // An option without its dashes.
        lexopt::Error::UnexpectedArgument(word) => {
            let dashed = format!("--{}", word.to_string_lossy());
            let known = options.contains(&dashed.as_str());
            known.then(|| format!("; did you mean {dashed}?"))
        }
        lexopt::Error::MissingValue {
            option: Some(option),
        } => command
            .and_then(|command| command.option(option))
            .map(takes),
        _ => None,
    };
    format!("{}{}", plain(&error.to_string()), near.unwrap_or_default())
}

/// What an option takes.
fn takes(choice: &Choice) -> String {
    let words: Vec<&str> = choice.words().collect();
    format!("; it takes {}: {}", words.join(" "), choice.about)
}

/// Without what could move a terminal's cursor. A backslash is one of the escapes that are there already.
fn plain(text: &str) -> String {
    let parts: Vec<String> = text.split('\\').map(printable).collect();
    parts.join("\\")
}
