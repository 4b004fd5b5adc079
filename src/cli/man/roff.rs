//! A manual page in roff, for man(7) macros: the one place that knows what has to be escaped. Text comes as prose in
//! which code stands between backquotes, as in the documents.

use crate::serve::VERSION;

/// The longest line of the source, in bytes; the formatter fills lines itself.
const WIDTH: usize = 78;

/// The widest line of an example: a terminal's 80 columns less its indents.
const EXAMPLE: usize = 64;

/// A page that is being written.
pub(super) struct Page(String);

impl Page {
    /// The page of this name and section, its title line written.
    pub(super) fn new(name: &str, section: u8, date: &str, about: &str) -> Page {
        let upper = name.to_uppercase();
        let mut page = Page(
            ".\\\" Made by `cargo run --example generate`; change the tables, not this file.\n"
                .to_owned(),
        );
        page.line(&format!(
            ".TH {} {section} {date} \"self\\-heal {VERSION}\"",
            code(&upper)
        ));
        page.line(".ad l");
        // One blank behind a sentence, wherever its line ends in the source.
        page.line(".ss 12 0");
        // What the macros set hyphenation to again at each paragraph (groff 1.22, an-old.tmac).
        page.line(".nr HY 0");
        page.unbroken();
        page.section("NAME");
        page.line(&format!("{} \\- {}", code(name), prose(about)));
        page
    }

    /// The whole page.
    pub(super) fn text(self) -> String {
        self.0
    }

    pub(super) fn section(&mut self, title: &str) {
        self.line(&format!(".SH {title}"));
    }

    pub(super) fn subsection(&mut self, title: &str) {
        self.line(&format!(".SS {title}"));
    }

    /// How something is called: a name that stays, and words to break lines between.
    pub(super) fn synopsis(&mut self, name: &str, usage: &str) {
        self.line(&format!(".SY \"{}\"", code(name)));
        self.filled(&call(usage));
        self.line(".YS");
        // It ends with words being broken again.
        self.unbroken();
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        self.apart();
        self.filled(&prose(text));
    }

    /// Begins a paragraph; below a heading there is one already.
    fn apart(&mut self) {
        let above = self.0.lines().next_back().unwrap_or("");
        if !above.starts_with(".SH") && !above.starts_with(".SS") {
            self.line(".PP");
        }
    }

    /// A word, as it is written in a call, and what is said about it.
    pub(super) fn item(&mut self, word: &str, text: &str) {
        self.tagged(&call(word), text);
    }

    /// A piece of code, and what is said about it.
    pub(super) fn entry(&mut self, word: &str, text: &str) {
        self.tagged(&format!("\\fB{}\\fR", code(word)), text);
    }

    /// A path, and what is said about it.
    pub(super) fn path(&mut self, path: &str, text: &str) {
        self.tagged(&format!("\\fI{}\\fR", code(path)), text);
    }

    /// Prose, and what is said about it.
    pub(super) fn point(&mut self, point: &str, text: &str) {
        self.tagged(&prose(point), text);
    }

    fn tagged(&mut self, tag: &str, text: &str) {
        self.line(".TP");
        self.line(&begun(tag.trim_end()));
        self.filled(&prose(text));
    }

    /// What is written by this stands further in.
    pub(super) fn within(&mut self, inner: impl FnOnce(&mut Page)) {
        self.line(".RS");
        inner(self);
        self.line(".RE");
    }

    /// Lines as they are. A command line that is too wide goes on on the next one, as a shell takes it.
    pub(super) fn example(&mut self, lines: &str) {
        self.apart();
        self.line(".RS");
        self.line(".EX");
        for line in lines.lines() {
            for part in continued(line) {
                self.line(&begun(&code(&part)));
            }
        }
        self.line(".EE");
        self.line(".RE");
    }

    /// No word is broken, so that each is found by a search.
    fn unbroken(&mut self) {
        self.line(".nh");
    }

    /// Words in lines that are not too long.
    fn filled(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
                self.line(&begun(&line));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.line(&begun(&line));
        }
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

/// A line of text that begins like a request gets something invisible before it.
fn begun(line: &str) -> String {
    if line.starts_with(['.', '\'']) {
        format!("\\&{line}")
    } else {
        line.to_owned()
    }
}

/// Text to be typed: a dash stays a dash, a quote a quote (groff_char(7)).
fn code(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            c => plain(&mut out, c),
        }
    }
    out
}

fn plain(out: &mut String, c: char) {
    match c {
        '\\' => out.push_str("\\e"),
        '~' => out.push_str("\\(ti"),
        '^' => out.push_str("\\(ha"),
        '…' => out.push_str("..."),
        c => out.push(c),
    }
}

/// Text to be read, with its code in bold.
fn prose(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            out.push_str(&format!("\\fB{}\\fR", code(part)));
        } else {
            part.chars().for_each(|c| plain(&mut out, c));
        }
    }
    out
}

/// A call: what is typed in bold, what is put in its place in italics, the brackets around them plain.
fn call(usage: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    let end = |word: &mut String, out: &mut String| {
        if word.is_empty() {
            return;
        }
        let value = !word.starts_with('-') && word.contains(|c: char| c.is_ascii_uppercase());
        let font = if value { 'I' } else { 'B' };
        out.push_str(&format!("\\f{font}{}\\fR", code(word)));
        word.clear();
    };
    for c in usage.chars() {
        match c {
            '[' | ']' | '|' | ' ' => {
                end(&mut word, &mut out);
                out.push(c);
            }
            c => word.push(c),
        }
    }
    end(&mut word, &mut out);
    out
}

/// A line in parts, each but the last ending with a backslash. Nothing between quotes is parted.
fn continued(line: &str) -> Vec<String> {
    if line.len() <= EXAMPLE || line.starts_with('#') {
        return vec![line.to_owned()];
    }
    let mut parts = Vec::new();
    let mut part = String::new();
    for word in words(line) {
        if part.len() + 1 + word.len() > EXAMPLE && !part.trim().is_empty() {
            parts.push(format!("{part} \\"));
            part = "   ".to_owned();
        }
        if !part.is_empty() {
            part.push(' ');
        }
        part.push_str(word);
    }
    parts.push(part);
    parts
}

/// The words of a command line; what stands between quotes belongs to its word.
fn words(line: &str) -> Vec<&str> {
    let mut quote = None;
    let parts = line.split(move |c| {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        quote.is_none() && c == ' '
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_text_is_taken_for_a_request_or_an_escape() {
        let mut page = Page(String::new());
        page.filled(&prose(".so /etc/passwd `--for` a-b \\n `it's` ~ ^"));
        let line = "\\&.so /etc/passwd \\fB\\-\\-for\\fR a-b \\en \\fBit\\(aqs\\fR \\(ti \\(ha\n";
        assert_eq!(page.text(), line);
        let mut page = Page(String::new());
        page.example("'a\n.b\\");
        assert_eq!(page.text(), ".PP\n.RS\n.EX\n\\(aqa\n\\&.b\\e\n.EE\n.RE\n");
    }

    #[test]
    fn a_call_shows_what_is_typed_and_what_is_put_in_its_place() {
        assert_eq!(
            call("[--for TIME | list] ALERT"),
            "[\\fB\\-\\-for\\fR \\fITIME\\fR | \\fBlist\\fR] \\fIALERT\\fR"
        );
    }

    #[test]
    fn a_wide_command_line_goes_on_on_the_next_line() {
        let line = format!("{} {}", "a".repeat(40), "b".repeat(40));
        let parts = continued(&line);
        assert_eq!(
            parts,
            [
                format!("{} \\", "a".repeat(40)),
                format!("    {}", "b".repeat(40))
            ]
        );
        let quoted = format!("{} 'b b'", "a".repeat(60));
        assert_eq!(
            continued(&quoted),
            [format!("{} \\", "a".repeat(60)), "    'b b'".to_owned()]
        );
    }
}
