//! Which of the history's files comes after which. What a rotation leaves is told by the lines themselves: the first line of
//! a file names the last one of the file before. Where that is not known, or a file is missing between, the first
//! instants decide, and names only where those are the same.

use super::chain::Digest;
use crate::judge::Time;

/// The file that is written to.
pub const LIVE: &str = "history.jsonl";

/// A file's place by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// `history.jsonl-20261122`, logrotate's `dateext`: the later the larger, as text.
    Dated(String),
    /// `history.jsonl.3`: the earlier the larger; the number is kept negative.
    Numbered(i64),
    /// `history.jsonl`.
    Live,
}

/// The name's rank, and whether the file is compressed by gzip(1); `None` for a name that no rotation gives.
pub fn rank(name: &str) -> Option<(Rank, bool)> {
    let rest = name.strip_prefix(LIVE)?;
    let (rest, gzipped) = match rest.strip_suffix(".gz") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let rank = if rest.is_empty() {
        (!gzipped).then_some(Rank::Live)?
    } else if let Some(number) = rest.strip_prefix('.') {
        let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        Rank::Numbered(-plain.then(|| number.parse().ok()).flatten()?)
    } else {
        let date = rest.strip_prefix('-')?;
        let digit = |b: u8| b.is_ascii_digit();
        let plain =
            date.bytes().any(digit) && date.bytes().all(|b| digit(b) || b"-_.:T".contains(&b));
        Rank::Dated(plain.then(|| date.to_owned())?)
    };
    Some((rank, gzipped))
}

/// What is known of a file for its place.
#[derive(Clone, Debug)]
pub struct Ends {
    /// Its place by its name.
    pub rank: Rank,
    /// What its first line names as the one before it.
    pub first_prev: Option<Digest>,
    /// The first instant in it.
    pub first_at: Option<Time>,
    /// The digest of its last line, where somebody has read that far.
    pub last: Option<Digest>,
}

/// The places of these files, oldest first.
pub fn order(files: &[Ends]) -> Vec<usize> {
    let mut by_time: Vec<usize> = (0..files.len()).collect();
    by_time.sort_by_key(|n| {
        files
            .get(*n)
            .map(|file| (file.rank == Rank::Live, file.first_at, file.rank.clone()))
    });
    let follows = |one: &Ends, other: &Ends| {
        other.rank != Rank::Live && one.last.is_some() && one.last == other.first_prev
    };
    let has_one_before = |n: usize| {
        let file = files.get(n);
        let mut others = files.iter().enumerate().filter(|(other, _)| *other != n);
        file.is_some_and(|file| others.any(|(_, other)| follows(other, file)))
    };
    let heads = by_time.iter().copied().filter(|n| !has_one_before(*n));
    // What is left in the end goes in a circle, which only copies of a file do.
    let starts: Vec<usize> = heads.chain(by_time.iter().copied()).collect();
    let mut placed = Vec::with_capacity(files.len());
    for start in starts {
        let mut next = Some(start);
        while let Some(n) = next.filter(|n| !placed.contains(n)) {
            placed.push(n);
            let Some(file) = files.get(n) else { break };
            next = by_time.iter().copied().find(|other| {
                let other = files.get(*other);
                other.is_some_and(|other| follows(file, other))
            });
        }
    }
    // The file that is written to comes last, whatever the clock did.
    placed.sort_by_key(|n| files.get(*n).is_some_and(|file| file.rank == Rank::Live));
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_rotation_gives() {
        for (name, known) in [
            ("history.jsonl", Some((Rank::Live, false))),
            ("history.jsonl.1", Some((Rank::Numbered(-1), false))),
            ("history.jsonl.36.gz", Some((Rank::Numbered(-36), true))),
            (
                "history.jsonl-20261122",
                Some((Rank::Dated("20261122".to_owned()), false)),
            ),
            (
                "history.jsonl-2026-11-22_13.gz",
                Some((Rank::Dated("2026-11-22_13".to_owned()), true)),
            ),
            ("history.jsonl.gz", None),
            ("history.jsonl.", None),
            ("history.jsonl-", None),
            ("history.jsonl-.gz", None),
            ("history.jsonl.1.bak", None),
            ("history.jsonl.1.xz", None),
            ("history.jsonl.+1", None),
            ("history.jsonl.99999999999999999999", None),
            ("history.jsonl~", None),
            ("history.jsonlx", None),
            ("history.head", None),
        ] {
            assert_eq!(rank(name), known, "{name}");
        }
    }

    fn file(name: &str, at: i64, prev: u8, last: Option<u8>) -> Ends {
        Ends {
            rank: rank(name).unwrap().0,
            first_prev: Some([prev; 32]),
            first_at: (at > 0).then_some(Time(at)),
            last: last.map(|byte| [byte; 32]),
        }
    }

    #[test]
    fn the_chain_decides_then_time_then_the_name() {
        let places = |files: &[Ends]| order(files);
        // As logrotate numbers them, in whatever order the folder lists them.
        let numbered = [
            file("history.jsonl", 30, 2, Some(3)),
            file("history.jsonl.10.gz", 10, 0, None),
            file("history.jsonl.9.gz", 20, 1, None),
        ];
        assert_eq!(places(&numbered), [1, 2, 0]);
        // The clock was set back before the second file: its first line names the first file's last.
        let set_back = [
            file("history.jsonl.1", 5, 1, Some(2)),
            file("history.jsonl.2", 10, 0, Some(1)),
            file("history.jsonl", 2, 2, Some(3)),
        ];
        assert_eq!(places(&set_back), [1, 0, 2]);
        // Numbers first, dates later; one moment for two files.
        let mixed = [
            file("history.jsonl-20261123", 40, 7, None),
            file("history.jsonl-20261122", 40, 8, None),
            file("history.jsonl.1", 20, 9, None),
            file("history.jsonl.2", 20, 9, None),
        ];
        assert_eq!(places(&mixed), [3, 2, 1, 0]);
        // A copy of a file beside it, and files that name one another: each is there once.
        let circle = [
            file("history.jsonl.1", 10, 1, Some(2)),
            file("history.jsonl.2", 20, 2, Some(1)),
            file("history.jsonl.3", 20, 2, Some(1)),
        ];
        let mut there = places(&circle);
        there.sort_unstable();
        assert_eq!(there, [0, 1, 2]);
        assert_eq!(places(&[]), [0; 0]);
    }
}
