//! `self-heal help [COMMAND]`: what the table of commands says, for people.

use std::process::ExitCode;

use lexopt::{Arg, Parser};

use super::{COMMANDS, Command, named, nothing_more, say};
use crate::serve::VERSION;

/// Shows all commands, or the one that is asked for.
pub(super) fn run(mut args: Parser) -> anyhow::Result<ExitCode> {
    let command = match args.next()? {
        None => return say(&all()),
        Some(Arg::Value(word)) => named(&word.to_string_lossy())?,
        Some(other) => return Err(other.unexpected().into()),
    };
    nothing_more(args)?;
    say(&of(command))
}

fn all() -> String {
    let mut text = format!("self-heal {VERSION}: runs the remediation handler for an alert\n\n");
    let names = COMMANDS.iter().map(|command| command.name.len());
    let width = names.max().unwrap_or(0);
    for Command { name, about, .. } in COMMANDS {
        text.push_str(&format!("  self-heal {name:<width$}  {about}\n"));
    }
    if let Ok(serve) = named("serve") {
        text.push_str(&format!(
            "\nserve is started once per connection by socat, a systemd socket unit or inetd:\n  {}\n",
            serve.example
        ));
    }
    text.push_str(
        "\nself-heal help COMMAND shows a command's options and an example.\n\n\
         Exit codes: 0, 1 no, 100 wrong usage or configuration, 111 the machine failed.\n",
    );
    text
}

/// One command's help.
pub(super) fn of(command: &Command) -> String {
    let Command {
        name,
        about,
        usage,
        options,
        example,
        ..
    } = command;
    let line = format!("self-heal {name} {usage}");
    let mut text = format!("self-heal {name}: {about}\n\n  {}\n", line.trim_end());
    let width = options.iter().map(|choice| choice.form.len()).max();
    if let Some(width) = width {
        text.push('\n');
        for choice in *options {
            text.push_str(&format!("  {:<width$}  {}\n", choice.form, choice.about));
        }
    }
    text.push_str(&format!("\nFor example:\n  {example}\n"));
    text
}
