//! What could stand for the last word of a command line, by the table of commands. It looks at nothing but words;
//! names that only the machine knows come from whoever asks.

use crate::cli::values::{Value, Word};
use crate::cli::{COMMANDS, Command};

/// What a shell offers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Suggestion {
    /// These words, as lines for the scripts: what a word is stands behind it, after a tab.
    Words(Vec<String>),
    /// The files that there are.
    Files,
    /// The folders that there are.
    Folders,
}

/// The values of a kind, as lines; those of one alert, where the command line names it.
pub(super) type Known<'a> = &'a dyn Fn(Value, Option<&str>) -> Vec<String>;

/// A word and what it is.
pub(super) fn line(word: &str, about: &str) -> String {
    format!("{word}\t{about}")
}

/// What could stand for the last word. The words are those behind `self-heal`.
pub(super) fn last(words: &[String], known: Known<'_>) -> Suggestion {
    let Some((last, before)) = words.split_last() else {
        return Suggestion::Words(Vec::new());
    };
    let Some((first, before)) = before.split_first() else {
        return commands(last);
    };
    match COMMANDS.iter().find(|command| command.name == first) {
        Some(command) => Line::read(command, before).complete(last, known),
        None => Suggestion::Words(Vec::new()),
    }
}

fn commands(last: &str) -> Suggestion {
    let mut lines = named();
    if last.starts_with('-') {
        lines.push(line("--help", "show the commands"));
        lines.push(line("--version", "show the version"));
    }
    matching(last, "", lines)
}

fn named() -> Vec<String> {
    COMMANDS.iter().map(|c| line(c.name, c.about)).collect()
}

/// Those that begin with what stands there, behind what stays as it is.
fn matching(last: &str, before: &str, mut lines: Vec<String>) -> Suggestion {
    for line in &mut lines {
        line.insert_str(0, before);
    }
    lines.retain(|line| line.starts_with(last));
    Suggestion::Words(lines)
}

/// A command's words so far.
struct Line<'a> {
    command: &'static Command,
    arguments: Vec<&'a str>,
    /// The alert that the line is about.
    alert: Option<&'a str>,
    /// What the last option waits for.
    pending: Option<Word>,
    /// Behind `--` there are no options.
    plain: bool,
}

impl<'a> Line<'a> {
    fn read(command: &'static Command, words: &'a [String]) -> Line<'a> {
        let mut line = Line {
            command,
            arguments: Vec::new(),
            alert: None,
            pending: None,
            plain: false,
        };
        for word in words {
            line.take(word);
        }
        line
    }

    fn take(&mut self, word: &'a str) {
        if let Some(pending) = self.pending.take() {
            return self.note(pending, word);
        }
        if self.plain || !word.starts_with('-') || word == "-" {
            for expected in self.expected() {
                self.note(expected, word);
            }
            return self.arguments.push(word);
        }
        if word == "--" {
            self.plain = true;
            return;
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let waits = self.waits_for(name);
        match (waits, value) {
            (Some(waits), Some(value)) => self.note(waits, value),
            (waits, _) => self.pending = waits,
        }
    }

    fn note(&mut self, what: Word, word: &'a str) {
        if what == Word::Stands(Value::Alert) {
            self.alert = Some(word);
        }
    }

    /// What an option takes.
    fn waits_for(&self, name: &str) -> Option<Word> {
        let choice = self.command.option(name)?;
        choice.words().next().and_then(Word::read)
    }

    /// What may be the next argument: of each form the word at this place, if those before it fit.
    fn expected(&self) -> Vec<Word> {
        let mut found = Vec::new();
        let forms = self.command.options.iter();
        for form in forms.filter(|choice| choice.option().is_none()) {
            let words: Vec<Word> = form.words().filter_map(Word::read).collect();
            let fits = |(word, given): (&Word, &&str)| match word {
                Word::Fixed(fixed) => fixed == given,
                Word::Stands(_) => true,
            };
            if words.iter().zip(&self.arguments).all(fits) {
                found.extend(words.get(self.arguments.len()));
            }
        }
        found
    }

    fn complete(&self, last: &str, known: Known<'_>) -> Suggestion {
        if let Some(pending) = self.pending {
            return self.stand_for(&[pending], last, "", known);
        }
        if last.starts_with('-') && !self.plain {
            return match last.split_once('=') {
                Some((name, _)) => {
                    let waits: Vec<Word> = self.waits_for(name).into_iter().collect();
                    self.stand_for(&waits, last, &format!("{name}="), known)
                }
                None => self.options_for(last),
            };
        }
        match self.expected().as_slice() {
            [] if self.plain => Suggestion::Words(Vec::new()),
            [] => self.options_for(last),
            expected => self.stand_for(expected, last, "", known),
        }
    }

    fn options_for(&self, last: &str) -> Suggestion {
        let about = |name| match self.command.option(name) {
            Some(choice) => choice.about,
            None => "show what this command does",
        };
        let names = self.command.option_names();
        let lines = names.map(|name| line(name, about(name)));
        matching(last, "", lines.collect())
    }

    fn stand_for(&self, what: &[Word], last: &str, before: &str, known: Known<'_>) -> Suggestion {
        let mut lines = Vec::new();
        for word in what {
            match word {
                Word::Fixed(word) => lines.push(line(word, self.about(word))),
                Word::Stands(Value::File) => return Suggestion::Files,
                Word::Stands(Value::Folder) => return Suggestion::Folders,
                Word::Stands(value) => match value.words().as_slice() {
                    [] => lines.append(&mut known(*value, self.alert)),
                    words => lines.extend(words.iter().map(|(word, about)| line(word, about))),
                },
            }
        }
        matching(last, before, lines)
    }

    /// What is said about the argument that begins with this word.
    fn about(&self, word: &str) -> &'static str {
        let mut forms = self.command.options.iter();
        let found = forms.find(|choice| choice.words().next() == Some(word));
        found.map_or("", |choice| choice.about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<String> {
        let known = |value, alert: Option<&str>| {
            vec![match value {
                Value::Alert => "NginxDown".to_owned(),
                Value::Instance => format!("web-of-{}", alert.unwrap_or("any")),
                other => format!("{other:?}"),
            }]
        };
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match last(&words, &known) {
            Suggestion::Words(lines) => lines
                .iter()
                .map(|line| line.split('\t').next().unwrap().to_owned())
                .collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn each_word_is_completed_by_what_stands_before_it() {
        for (line, words) in [
            ("dr", "drain"),
            ("pa", "pause"),
            ("--v", "--version"),
            ("nonsense ", ""),
            ("help dra", "drain"),
            ("drain --r", "--retry"),
            ("drain --retry ", "Event"),
            ("drain --forget=", "--forget=Escalator"),
            ("drain --lis", "--list"),
            ("pause --alert ", "NginxDown"),
            ("pause --alert=N", "--alert=NginxDown"),
            ("pause --alert NginxDown --instance ", "web-of-NginxDown"),
            ("pause --alert=X --instance w", "web-of-X"),
            ("pause --for 1h --in", "--instance"),
            ("resume ", "--alert --instance --help"),
            ("reset ", "NginxDown"),
            ("reset NginxDown ", "web-of-NginxDown"),
            ("reset -- NginxDown ", "web-of-NginxDown"),
            ("history --outcome gave", "gave-up"),
            (
                "history --outcome=i",
                "--outcome=interrupted --outcome=ineffective",
            ),
            ("reset --key ", "Key"),
            ("reset NginxDown web-1 ", "--key --help"),
            ("reset NginxDown web-1 x", ""),
            ("guard ", "capture restore"),
            ("guard restore ", "Free"),
            ("completions ", "bash zsh fish for"),
            ("version -", "--help"),
        ] {
            assert_eq!(of(line).join(" "), words, "{line}");
        }
    }
}
