//! One line of the configuration file: `KEY=VALUE` in the part of the syntax that a POSIX shell (XCU
//! 2.2, 2.6) and systemd's `EnvironmentFile=` (systemd.exec(5); its reader is `src/basic/env-file.c`)
//! understand alike. What the two read differently is refused, so that a start script, a unit and this
//! program can never run with three configurations.

use crate::wire::quote::quote;

/// What may stand in a value without quotes, besides letters and digits.
const PLAIN: &str = "_./:,@%+=-";

/// The key and the value, or nothing for a blank or comment line. The line comes without its newline.
///
/// # Errors
/// What is wrong and how to write it; the caller knows the place.
pub(super) fn read(line: &[u8]) -> Result<Option<(&str, &str)>, String> {
    let line = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    if line.ends_with('\r') {
        return Err(
            "ends in a carriage return, which a shell keeps: save the file with Unix line ends"
                .to_owned(),
        );
    }
    let line = line.trim_matches([' ', '\t']);
    if line.starts_with('#') {
        // systemd before 254 takes the line after it for a part of the comment.
        return if line.ends_with('\\') {
            Err("a comment must not end in a backslash".to_owned())
        } else {
            Ok(None)
        };
    }
    if line.is_empty() {
        return Ok(None);
    }
    if line.starts_with(';') {
        return Err("begin comments with #: a shell does not know ;".to_owned());
    }
    if line.contains(unreadable) {
        return Err(
            "a control character, a byte order mark or a noncharacter, which systemd drops"
                .to_owned(),
        );
    }
    if line.starts_with("export ") {
        return Err("leave out export, which systemd does not know".to_owned());
    }
    let Some((key, value)) = line.split_once('=') else {
        return Err(format!("{} is not KEY=VALUE", quote(line)));
    };
    if key.ends_with([' ', '\t']) || value.starts_with([' ', '\t']) {
        return Err("no blanks around =".to_owned());
    }
    let name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) || !key.bytes().all(name) {
        return Err(format!(
            "{} is not a key: write HEAL_SOMETHING=value",
            quote(key)
        ));
    }
    unquoted(value).map(|value| Some((key, value)))
}

/// Unicode scalar values that systemd.exec(5) leaves out, and all control characters.
fn unreadable(c: char) -> bool {
    let code = u32::from(c);
    (c.is_control() && c != '\t')
        || c == '\u{feff}'
        || (0xfdd0..=0xfdef).contains(&code)
        || code & 0xfffe == 0xfffe
}

fn unquoted(text: &str) -> Result<&str, String> {
    for (mark, special) in [('\'', ""), ('"', "$`\\")] {
        let Some(rest) = text.strip_prefix(mark) else {
            continue;
        };
        return match rest.split_once(mark) {
            None => Err(format!("the quote {mark} is not closed on this line")),
            Some((_, after)) if !after.is_empty() => {
                Err("something stands behind the closing quote; quote the whole value, comments have lines of their own".to_owned())
            }
            Some((value, _)) if value.contains(|c| special.contains(c)) => {
                Err("$, ` and \\ mean different things to a shell and to systemd; use single quotes".to_owned())
            }
            Some((value, _)) => Ok(value),
        };
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !PLAIN.contains(*c))
    {
        None => Ok(text),
        Some(' ' | '\t') => Err(
            "a blank in the value: quote the whole value; comments have lines of their own"
                .to_owned(),
        ),
        Some(c) => Err(format!(
            "{} in the value: put single quotes around the whole value",
            quote(&c.to_string())
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_both_read_alike() {
        for (line, expected) in [
            ("", None),
            ("  \t", None),
            ("# HEAL_PORT=1", None),
            ("  #x", None),
            ("#a\\b", None),
            ("A=b", Some(("A", "b"))),
            ("  A=b \t", Some(("A", "b"))),
            ("A=", Some(("A", ""))),
            ("A=''", Some(("A", ""))),
            ("A='b c $x `y` \\ \"'", Some(("A", "b c $x `y` \\ \""))),
            ("A=\"b c # 'd'\"  ", Some(("A", "b c # 'd'"))),
            (
                "HEAL_RUN_LIMITS=6/4h,10/24h",
                Some(("HEAL_RUN_LIMITS", "6/4h,10/24h")),
            ),
            ("A=file:/srv/x", Some(("A", "file:/srv/x"))),
            ("A=b=c", Some(("A", "b=c"))),
            ("a_1='é'", Some(("a_1", "é"))),
        ] {
            assert_eq!(read(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_they_read_differently_is_refused() {
        for (line, reason) in [
            ("; comment", "begin comments with #"),
            ("# comment \\", "must not end in a backslash"),
            ("A=b\r", "carriage return"),
            ("# c\r", "carriage return"),
            ("A=b c", "blank in the value"),
            ("A=b # c", "blank in the value"),
            ("A =b", "no blanks around ="),
            ("A= b", "no blanks around ="),
            ("export A=b", "leave out export"),
            ("A", "`A` is not KEY=VALUE"),
            ("A=$HOME", "`$` in the value"),
            ("A=`id`", "in the value"),
            ("A=a\\", "in the value"),
            ("A=~/x", "`~` in the value"),
            ("A=a;b", "`;` in the value"),
            ("A=a&b", "`&` in the value"),
            ("A=a'b'", "in the value"),
            ("A=a\"b\"", "in the value"),
            ("A=é", "in the value"),
            ("A=\"$x\"", "single quotes"),
            ("A=\"a\\b\"", "single quotes"),
            ("A=\"`id`\"", "single quotes"),
            ("A='b", "not closed"),
            ("A=\"b", "not closed"),
            ("A='b'c", "behind the closing quote"),
            ("A='b' # c", "behind the closing quote"),
            ("A='b''c'", "behind the closing quote"),
            ("=b", "is not a key"),
            ("1A=b", "is not a key"),
            ("A-B=c", "is not a key"),
            ("A+=c", "is not a key"),
            ("A[0]=c", "is not a key"),
            ("A='\0'", "control character"),
            ("A='\x1b'", "control character"),
            ("\u{feff}A=b", "byte order mark"),
            ("A='\u{ffff}'", "noncharacter"),
            ("A='\u{1fffe}'", "noncharacter"),
        ] {
            let error = read(line.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{line:?}: {error}");
            assert!(!error.contains(char::is_control), "{line:?}: {error}");
        }
        assert_eq!(read(b"A='\xff'"), Err("not UTF-8".to_owned()));
    }

    proptest! {
        #[test]
        fn single_quotes_carry_any_text(value in "[^'\\p{C}]{0,40}") {
            let line = format!("HEAL_X='{value}'");
            prop_assert_eq!(read(line.as_bytes()), Ok(Some(("HEAL_X", value.as_str()))));
        }

        #[test]
        fn any_line_is_answered(line in proptest::collection::vec(any::<u8>(), 0..80), text in "[A='\"# \\\\;$]{0,20}") {
            let _ = read(&line);
            let _ = read(text.as_bytes());
        }
    }
}
