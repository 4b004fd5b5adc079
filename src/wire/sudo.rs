//! sudo as text: the commands that a script gives to it, as far as they are written out, and what its long list of
//! rules says of passwords. It understands simple commands only, and says which ones it does not.

/// A command that a script gives to sudo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The line, from 1.
    pub line: usize,
    /// What it gives.
    pub command: Command,
}

/// What is given to sudo.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// Options that say as whom, and words.
    Plain(Vec<String>, Vec<String>),
    /// Text that only a shell could make words of.
    Unclear(String),
}

/// Every command of a script that begins with sudo, where a command may begin.
pub fn calls(script: &str) -> Vec<Call> {
    let mut found = Vec::new();
    for (line, text) in joined(script) {
        if text.trim_start().starts_with('#') {
            continue;
        }
        for rest in after_sudo(&text) {
            found.push(Call {
                line,
                command: command(rest),
            });
        }
    }
    found
}

/// Lines, those that end in a backslash with the ones behind them.
fn joined(script: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(script.lines()) {
        let (text, goes_on) = match line.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| open) {
            Some((_, before)) => before.push_str(text),
            None => lines.push((number, text.to_owned())),
        }
        open = goes_on;
    }
    lines
}

/// What stands behind each sudo that is a word of its own, is not quoted, and is followed by an option or a path or a
/// program's name.
fn after_sudo(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut before = ' ';
    let mut commanding = true;
    for (at, c) in line.char_indices() {
        if quote.is_none() && !word(before) {
            let rest = line.get(at..).unwrap_or("");
            let rest = rest.strip_prefix("/usr/bin/").unwrap_or(rest);
            let after = rest.strip_prefix("sudo").unwrap_or("");
            // Behind other words it is a command if it is used like one: timeout 5 sudo -n …
            let used = commanding || after.trim_start().starts_with(['-', '/']);
            if after.starts_with([' ', '\t']) && used {
                found.push(after);
            }
        }
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            // A comment, to the end.
            (None, '#') if before == ' ' => break,
            _ => {}
        }
        // Where a command may begin: at the start, behind an operator, and behind words such as if, time or exec.
        if quote.is_none() && !c.is_whitespace() {
            let so_far = line.get(..at + c.len_utf8()).unwrap_or("");
            commanding = "();&|{!`".contains(c) || LEADS.iter().any(|lead| ends_with(so_far, lead));
        }
        before = c;
    }
    found
}

/// Words after which a command begins.
const LEADS: [&str; 10] = [
    "if", "then", "else", "elif", "while", "until", "do", "time", "exec", "command",
];

fn ends_with(text: &str, lead: &str) -> bool {
    let head = text.strip_suffix(lead);
    head.is_some_and(|head| !head.ends_with(word) && !head.ends_with(['-', '/']))
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '$' | '=')
}

fn command(text: &str) -> Command {
    let (words, taken) = match split(text) {
        Ok(found) => found,
        Err(taken) => return unclear(text, taken),
    };
    let mut options = Vec::new();
    let mut words = words.into_iter();
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-n" | "-H" | "-E" | "--non-interactive" | "--set-home" => {}
            "-u" | "-g" => {
                options.push(word);
                options.extend(words.next());
            }
            "--" => {
                rest.extend(words.by_ref());
            }
            option if option.starts_with('-') => return unclear(text, taken),
            _ => {
                rest.push(word);
                rest.extend(words.by_ref());
            }
        }
    }
    match rest.first() {
        Some(program) if !program.contains('=') => Command::Plain(options, rest),
        _ => unclear(text, taken),
    }
}

fn unclear(text: &str, taken: usize) -> Command {
    let shown = text.get(..taken).unwrap_or(text);
    Command::Unclear(format!("sudo {}", shown.trim()))
}

/// Words of a shell, up to what ends a simple command, and how much of the text that is; `Err` where something would
/// be expanded.
fn split(text: &str) -> Result<(Vec<String>, usize), usize> {
    let end = end(text);
    let mut words = Vec::new();
    let mut now: Option<String> = None;
    let mut quote = None;
    for c in text.get(..end).unwrap_or("").chars() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some('"') | None, '$' | '`' | '\\') => return Err(end),
            (None, '*' | '?' | '[' | '~' | '{') => return Err(end),
            (None, '\'' | '"') => {
                quote = Some(c);
                now.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(now.take()),
            (_, c) => now.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(end);
    }
    words.extend(now);
    Ok((words, end))
}

/// Where a simple command ends: an operator, a redirection with its number, a comment.
fn end(text: &str) -> usize {
    let mut quote = None;
    let mut word = 0;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, ';' | '|' | '&' | ')' | '`') => return at,
            (None, '#' | '}') if before == ' ' => return at,
            (None, '<' | '>') => {
                let number = text.get(word..at).unwrap_or("");
                let is_number = number.bytes().all(|b| b.is_ascii_digit());
                return if is_number { word } else { at };
            }
            _ => {}
        }
        if c == ' ' || c == '\t' {
            word = at + 1;
        }
        before = c;
    }
    text.len()
}

/// Whether sudo's rules ask for a password before this command, as far as its list (`sudo -ll`) says it word for word:
/// the last rule that has the command, or `ALL`, counts (sudoers(5)).
pub fn asks_for_a_password(rules: &str, command: &str) -> bool {
    let mut asks = false;
    for rule in rules.split("Sudoers entry:").skip(1) {
        let (head, commands) = rule.split_once("Commands:").unwrap_or((rule, ""));
        let free = head
            .lines()
            .any(|line| line.trim().starts_with("Options:") && line.contains("!authenticate"));
        // A long one goes on in the next line, which begins with blanks; a new one with a tab.
        let whole: Vec<String> = commands
            .split("\n\t")
            .skip(1)
            .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        // A rule without arguments is for all of them.
        let program = command.split(' ').next().unwrap_or(command);
        let has = |text: &String| text == command || text == program || text == "ALL";
        if whole.iter().any(has) {
            asks = !free;
        }
    }
    asks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(words: &str) -> Command {
        Command::Plain(Vec::new(), words.split(' ').map(str::to_owned).collect())
    }

    #[test]
    fn commands_that_are_written_out() {
        for (script, words) in [
            ("sudo -n /usr/sbin/nginx -t", "/usr/sbin/nginx -t"),
            ("f() { sudo -n /bin/a b; }", "/bin/a b"),
            ("  x=$(sudo /bin/a b 2>&1) || true", "/bin/a b"),
            ("if ! sudo -n /bin/a; then", "/bin/a"),
            ("a && /usr/bin/sudo -n -- /bin/a -x | cat", "/bin/a -x"),
            ("sudo -n /bin/a 'b' \"c\" # why", "/bin/a b c"),
            ("sudo -n \\\n  /bin/a \\\n  b >/dev/null", "/bin/a b"),
            (
                "  journal) sudo -n /opt/x.sh journal ;;",
                "/opt/x.sh journal",
            ),
            ("until sudo -n systemctl start x; do", "systemctl start x"),
            ("exec sudo -n /bin/a", "/bin/a"),
            ("LC_ALL=C timeout 5 sudo -n /bin/a", "/bin/a"),
        ] {
            let found = calls(script);
            assert_eq!(found.len(), 1, "{script}: {found:?}");
            assert_eq!(
                found[0],
                Call {
                    line: 1,
                    command: plain(words)
                },
                "{script}"
            );
        }
        let as_other = calls("sudo -n -u www /bin/a");
        let options = ["-u", "www"].map(str::to_owned).to_vec();
        let words = vec!["/bin/a".to_owned()];
        assert_eq!(as_other[0].command, Command::Plain(options, words));
        let two = calls("#!/bin/bash\nsudo /bin/a; sudo /bin/b\n");
        assert_eq!(two.iter().map(|c| c.line).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn commands_that_only_a_shell_understands_are_shown() {
        for (script, shown) in [
            (
                "sudo -n systemctl restart \"$1\"; x",
                "sudo -n systemctl restart \"$1\"",
            ),
            ("sudo $cmd", "sudo $cmd"),
            ("sudo /bin/rm /tmp/*", "sudo /bin/rm /tmp/*"),
            ("sudo -i", "sudo -i"),
            ("sudo A=b /bin/a", "sudo A=b /bin/a"),
            ("sudo -n \"/bin/a", "sudo -n \"/bin/a"),
        ] {
            let found = calls(script);
            assert_eq!(found.len(), 1, "{script}");
            assert_eq!(found[0].command, Command::Unclear(shown.to_owned()));
        }
    }

    #[test]
    fn words_about_sudo_are_no_commands() {
        for script in [
            "# sudo -n /bin/a",
            "echo 'sudo -n /bin/a'",
            "give_up 'nginx -t fails, or sudo refuses it'",
            "command -v sudo >/dev/null",
            "visudo -c",
            "x=pseudo y",
            "a # sudo /bin/a",
            "apt-get install sudo curl",
            "",
        ] {
            assert_eq!(calls(script), [], "{script}");
        }
    }

    #[test]
    fn the_last_rule_that_has_the_command_says_whether_a_password_is_asked_for() {
        let rules = "User healer may run the following commands on vm:\n\n\
            Sudoers entry:\n    RunAsUsers: root\n    Options: !authenticate\n    Commands:\n\t/bin/a\n\
            \t/usr/bin/timeout -k 5 60 /usr/bin/systemctl\n        restart x.service\n\n\
            Sudoers entry:\n    RunAsUsers: root\n    Commands:\n\t/bin/b\n";
        assert!(!asks_for_a_password(rules, "/bin/a"));
        assert!(asks_for_a_password(rules, "/bin/b"));
        assert!(asks_for_a_password(rules, "/bin/b -x"));
        let wrapped = "/usr/bin/timeout -k 5 60 /usr/bin/systemctl restart x.service";
        assert!(!asks_for_a_password(rules, wrapped));
        // A rule with a pattern cannot be compared.
        assert!(!asks_for_a_password(rules, "/bin/c"));
        let all = format!("{rules}\nSudoers entry:\n    RunAsUsers: ALL\n    Commands:\n\tALL\n");
        assert!(asks_for_a_password(&all, "/bin/a"));
    }
}
