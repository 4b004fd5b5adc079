//! What an option or an argument takes, read off the form that help shows: `--alert NAME`, `ALERT INSTANCE`,
//! `capture RUN`. Words in capitals stand for a value and are all in one table; other words stand for themselves.

use super::{COMMANDS, Choice, Command};
use crate::wire::chronicle::runs;

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// An alertname that has a handler.
    Alert,
    /// An instance.
    Instance,
    /// The key of a record.
    Key,
    /// The name of an event in the spool.
    Event,
    /// The name of an escalator.
    Escalator,
    /// The name of a command.
    Command,
    /// What a run, or a line of the history, can be asked for by.
    Outcome,
    /// A file.
    File,
    /// A folder.
    Folder,
    /// Something that only whoever types it knows.
    Free,
}

/// Every word that stands for a value.
const WORDS: &[(&str, Value)] = &[
    ("ALERT", Value::Alert),
    ("NAME", Value::Alert),
    ("ALERTNAME", Value::Alert),
    ("INSTANCE", Value::Instance),
    ("KEY", Value::Key),
    ("EVENT", Value::Event),
    ("ESCALATOR", Value::Escalator),
    ("COMMAND", Value::Command),
    ("FILE", Value::File),
    ("FOLDER", Value::Folder),
    ("DIR", Value::Folder),
    ("TIME", Value::Free),
    ("DURATION", Value::Free),
    ("SECONDS", Value::Free),
    ("COUNT", Value::Free),
    ("NUMBER", Value::Free),
    ("N", Value::Free),
    ("TEXT", Value::Free),
    ("WORD", Value::Free),
    ("RUN", Value::Free),
    ("SNAPSHOT", Value::Free),
    ("VERDICT", Value::Free),
    ("OUTCOME", Value::Outcome),
    ("USER", Value::Free),
    ("LABEL=VALUE", Value::Free),
    ("NAME=VALUE", Value::Free),
    ("KEY=VALUE", Value::Free),
];

/// A word of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Itself.
    Fixed(&'static str),
    /// A value.
    Stands(Value),
}

impl Word {
    /// Reads one; `None` for a word in capitals that the table lacks. Dots behind it say that more may follow.
    pub(super) fn read(text: &'static str) -> Option<Word> {
        let text = text.trim_end_matches("...").trim_end_matches('…');
        let text = text.trim_start_matches('[').trim_end_matches(']');
        if !text.contains(|c: char| c.is_ascii_uppercase()) {
            return Some(Word::Fixed(text));
        }
        let found = WORDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| Word::Stands(*value))
    }
}

impl Value {
    /// Its words with what they mean, where it has some that every machine has.
    pub(super) fn words(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Value::Command => COMMANDS.iter().map(|c| (c.name, c.about)).collect(),
            Value::Outcome => runs::outcomes().collect(),
            _ => Vec::new(),
        }
    }
}

impl Choice {
    /// The option's name with its dashes; `None` for an argument.
    pub(super) fn option(&self) -> Option<&'static str> {
        let first = self.form.split([' ', '=']).next();
        first.filter(|first| first.starts_with('-'))
    }

    /// The words behind an option's name, or those of an argument.
    pub(super) fn words(&self) -> impl Iterator<Item = &'static str> {
        let rest = match self.option() {
            Some(name) => self.form.get(name.len()..).unwrap_or(""),
            None => self.form,
        };
        rest.trim_start_matches('=').split_whitespace()
    }
}

impl Command {
    /// The names of its options, `--help` last: every command has that one.
    pub(super) fn option_names(&self) -> impl Iterator<Item = &'static str> {
        let own = self.options.iter().filter_map(Choice::option);
        own.chain(["--help"])
    }

    /// The option of this name.
    pub(super) fn option(&self, name: &str) -> Option<&'static Choice> {
        let mut options = self.options.iter();
        options.find(|choice| choice.option() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_in_capitals_is_in_the_table() {
        for command in COMMANDS {
            for choice in command.options {
                for word in choice.words() {
                    let place = format!("{} {}: {word}", command.name, choice.form);
                    assert!(Word::read(word).is_some(), "{place}: src/cli/values.rs");
                }
            }
        }
    }

    #[test]
    fn a_form_is_an_option_with_its_value_or_a_row_of_arguments() {
        let of = |form| {
            let choice = Choice { form, about: "" };
            let words: Vec<&str> = choice.words().collect();
            (choice.option(), words)
        };
        assert_eq!(of("--for TIME"), (Some("--for"), vec!["TIME"]));
        assert_eq!(of("--list"), (Some("--list"), vec![]));
        assert_eq!(of("ALERT INSTANCE"), (None, vec!["ALERT", "INSTANCE"]));
        assert_eq!(Word::read("capture"), Some(Word::Fixed("capture")));
        assert_eq!(Word::read("FILE..."), Some(Word::Stands(Value::File)));
        assert_eq!(Word::read("NONSENSE"), None);
    }
}
