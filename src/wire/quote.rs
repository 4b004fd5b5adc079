//! How a piece of someone's text is shown inside a sentence: short, on one line, nothing but
//! visible ASCII. For error texts only; it refuses to be a way back to the original.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unprintable_or_long_gets_through() {
        assert_eq!(quote("a b"), "`a b`");
        assert_eq!(quote("a\n\x1b[31m\0é`"), "`a??[31m??'`");
        assert_eq!(quote(&"x".repeat(40)), format!("`{}`", "x".repeat(40)));
        assert_eq!(quote(&"x".repeat(41)), format!("`{}`…", "x".repeat(40)));
    }
}
