//! How a piece of someone's text is shown inside a sentence: short, on one line, nothing but
//! visible ASCII. For error texts only; it refuses to be a way back to the original.

use std::borrow::Cow;

/// At most this many characters are shown: enough to recognise a name, too few to leak a payload.
const SHOWN: usize = 40;

/// The text between backquotes, what is not visible ASCII as `?`, cut after 40 characters.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("`");
    let mut rest = text.chars();
    out.extend(rest.by_ref().take(SHOWN).map(|c| match c {
        '`' => '\'',
        ' '..='~' => c,
        _ => '?',
    }));
    out.push('`');
    if rest.next().is_some() {
        out.push('…');
    }
    out
}

/// One word of a command line for a POSIX shell, whatever the text: bare where that is safe, else in single quotes;
/// with `$'…'` (bash) where it holds what would be invisible.
pub(crate) fn shell(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_./:,@%+=-".contains(c);
    if !text.is_empty() && text.chars().all(bare) {
        return text.to_owned();
    }
    if !text.contains(invisible) {
        return format!("'{}'", text.replace('\'', "'\\''"));
    }
    let mut out = String::from("$'");
    for c in text.chars() {
        match (c, u32::from(c)) {
            ('\'' | '\\', _) => out.extend(['\\', c]),
            (c, code) if invisible(c) && code > 0xffff => out.push_str(&format!("\\U{code:08x}")),
            (c, code) if invisible(c) => out.push_str(&format!("\\u{code:04x}")),
            (c, _) => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// What a terminal would obey or hide instead of showing it.
fn invisible(c: char) -> bool {
    !matches!(c, '"' | '\'' | '\\') && c.escape_debug().count() > 1
}

/// The text for a person's terminal: whole, on one line, and what could move its cursor or turn its
/// letters around escaped.
pub(crate) fn printable(text: &str) -> String {
    shown(text).into_owned()
}

/// The same, borrowed where nothing has to be escaped: nearly every text.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    Cow::Owned(out)
}

/// JSON for a terminal, its line's end included: the same value, with what a terminal would obey or hide escaped as JSON
/// escapes it (RFC 8259, section 7). That stands in strings alone, and a control character outside of them is a blank.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    let odd = |byte: u8| !matches!(byte, b' '..=b'~') & (byte != b'\n');
    if !any(text, odd) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 32);
    for c in text.chars() {
        match c {
            '\n' | '\\' => out.push(c),
            '\0'..' ' => out.push(' '),
            c if invisible(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Whether nothing in it has to be escaped, by its bytes alone.
fn is_plain(text: &str) -> bool {
    !any(text, |byte| !matches!(byte, b' '..=b'~') | (byte == b'\\'))
}

/// Whether any byte is such a one. All are looked at, many at a time: nearly every text has none.
fn any(text: &str, odd: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(false, |found, byte| found | odd(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_shows_what_is_written_and_obeys_none_of_it() {
        assert_eq!(printable("it's \"é\" [::1]:1"), "it's \"é\" [::1]:1");
        assert_eq!(
            printable("a\n\u{1b}[2J\u{85}\u{202e}\u{2028}\\"),
            "a\\n\\u{1b}[2J\\u{85}\\u{202e}\\u{2028}\\\\"
        );
    }

    #[test]
    fn json_for_a_terminal_is_the_same_value() {
        for (text, shown) in [
            ("{\"a\":\"b\\n\"}\n", "{\"a\":\"b\\n\"}\n"),
            ("{\t\"é\" :\r\"日\"}", "{ \"é\" : \"日\"}"),
            ("\"\u{7f}\u{9b}2J\"", "\"\\u007f\\u009b2J\""),
            ("\"\u{202e}x\u{2066}\"", "\"\\u202ex\\u2066\""),
            ("[\"\u{e0001}\\\\\"]", "[\"\\udb40\\udc01\\\\\"]"),
        ] {
            assert_eq!(json(text), shown);
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(value(&json(text)), value(text), "{shown}");
        }
    }

    #[test]
    fn a_word_of_a_command_line_is_one_word() {
        for (text, word) in [
            ("web-1:9113", "web-1:9113"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("$(reboot)", "'$(reboot)'"),
            ("a\n'\\", "$'a\\u000a\\'\\\\'"),
            ("é\u{202e}\u{e0001}", "$'é\\u202e\\U000e0001'"),
        ] {
            assert_eq!(shell(text), word);
        }
    }

    #[test]
    fn nothing_unprintable_or_long_gets_through() {
        assert_eq!(quote("a b"), "`a b`");
        assert_eq!(quote("a\n\x1b[31m\0é`"), "`a??[31m??'`");
        assert_eq!(quote(&"x".repeat(40)), format!("`{}`", "x".repeat(40)));
        assert_eq!(quote(&"x".repeat(41)), format!("`{}`…", "x".repeat(40)));
    }
}
