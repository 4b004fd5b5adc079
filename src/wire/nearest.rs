//! What a mistyped word was probably meant to be: the known word with the fewest slips. It only ever asks; nothing is
//! done under a name that nobody gave.

/// The most slips that are forgiven: enough for a forgotten word ending, too few to turn one word into another.
const SLIPS: usize = 3;

/// More words than this that are equally near help nobody.
const NAMED: usize = 3;

/// `; did you mean this?`, as the end of a sentence; empty if no known word is near.
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, known).as_slice() {
        [] => String::new(),
        near => format!("; did you mean {}?", near.join(" or ")),
    }
}

/// The known words nearest to this one, in their order. Those that it begins are nearest of all; else a slip is
/// forgiven for every two letters, up to three. The dashes of an option are no letters.
fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.trim_start_matches('-');
    let slips = |other: &str| {
        let other = other.trim_start_matches('-');
        if word.len() > 1 && other.starts_with(word) {
            0
        } else {
            distance(word, other)
        }
    };
    let counted: Vec<(usize, &str)> = known.into_iter().map(|w| (slips(w), w)).collect();
    let forgiven = word.len().div_ceil(2).min(SLIPS);
    let least = counted.iter().map(|(slips, _)| *slips).min();
    let Some(least) = least.filter(|slips| *slips <= forgiven) else {
        return Vec::new();
    };
    let near = counted.into_iter().filter(|(slips, _)| *slips == least);
    let near: Vec<&str> = near.map(|(_, word)| word).collect();
    if near.len() > NAMED {
        return Vec::new();
    }
    near
}

/// How many letters have to be added, removed or replaced (Levenshtein, one row at a time).
pub(in crate::wire) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, pair) in b.bytes().zip(row.windows(2)) {
            if let [diagonal, above] = pair {
                left = (diagonal + usize::from(x != y))
                    .min(above + 1)
                    .min(left + 1);
                next.push(left);
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, slips) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("abc", "abc", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(a, b), slips, "{a} {b}");
            assert_eq!(distance(b, a), slips, "{b} {a}");
        }
    }

    #[test]
    fn a_slip_is_recognised_and_nonsense_is_not() {
        let known = ["status", "reset", "resume", "run", "snapshots", "pause"];
        for (word, near) in [
            ("statsu", "; did you mean status?"),
            ("puase", "; did you mean pause?"),
            ("rn", "; did you mean run?"),
            ("snap", "; did you mean snapshots?"),
            ("re", "; did you mean reset or resume?"),
            ("reseet", "; did you mean reset?"),
            ("s", ""),
            ("", ""),
            ("foo", ""),
            ("restart-nginx", ""),
            ("\u{1b}[31m", ""),
        ] {
            assert_eq!(hint(word, known), near, "{word}");
        }
        let options = ["--alert", "--instance"];
        assert_eq!(hint("--alrt", options), "; did you mean --alert?");
        assert_eq!(hint("--all", options), "");
        assert_eq!(hint("ab", ["abc", "abd", "abe", "abf"]), "");
    }
}
