use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::judge::Time;
use crate::wire::history::{self, Event, RunLine};

/// Files as the appender writes them: the last one is written to.
#[derive(Clone, Debug)]
struct Files {
    files: Vec<Vec<u8>>,
    head: String,
}

impl Files {
    fn new() -> Files {
        Files {
            files: vec![Vec::new()],
            head: String::new(),
        }
    }

    fn live(&mut self) -> &mut Vec<u8> {
        self.files.last_mut().unwrap()
    }

    /// As `sys::history` does it; a crash may come before the head is written.
    fn append(&mut self, text: &str, crash: bool) {
        let (glue, prev) = match self.files.last().unwrap().as_slice() {
            [] if self.head.is_empty() => ("", GENESIS.to_owned()),
            [] => ("", self.head.clone()),
            tail => history::after(tail, true).unwrap(),
        };
        let run = RunLine {
            run_id: text,
            alertname: "A",
            instance: text,
            fingerprint: "",
            group_key: "{}",
            peer: "local",
            attempt: 1,
            forced: false,
        };
        let line = history::line(Time(0), &Event::Ineffective { run, count: 1 }, &prev).unwrap();
        self.live()
            .extend_from_slice(format!("{glue}{line}").as_bytes());
        if !crash {
            self.head = history::digest(line.as_bytes());
        }
    }

    /// An append that loses its last bytes to a crash, its newline at least.
    fn cut(&mut self, text: &str, bytes: usize) {
        let before = self.live().len();
        self.append(text, true);
        let end = self.live().len();
        self.live().truncate(end.saturating_sub(bytes).max(before));
    }

    fn rotate(&mut self) {
        if !self.live().is_empty() {
            self.files.push(Vec::new());
        }
    }

    fn walked(&self) -> Walked {
        let parts: Vec<Part> = self
            .files
            .iter()
            .enumerate()
            .map(|(n, bytes)| part(n, bytes))
            .collect();
        let head = Some(self.head.as_bytes()).filter(|head| !head.is_empty());
        walk(&parts, Head::parse(head))
    }

    #[track_caller]
    fn broken(&self, place: &str, words: &str, good: usize) {
        let walked = self.walked();
        let (found, why) = walked.broken.unwrap();
        assert!(why.contains(words), "{found}: {why}");
        assert_eq!(
            (found.to_string().as_str(), walked.good),
            (place, good),
            "{why}"
        );
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

fn part(number: usize, bytes: &[u8]) -> Part {
    let mut links: Vec<Link> = Vec::new();
    for line in lines(bytes) {
        let link = link(line, links.last());
        links.push(link);
    }
    Part {
        name: format!("f{number}"),
        links,
    }
}

/// Five lines in two files.
fn five() -> Files {
    let mut files = Files::new();
    for text in ["a", "b", "c"] {
        files.append(text, false);
    }
    files.rotate();
    files.append("d", false);
    files.append("e", false);
    files
}

/// The lines of a file, rearranged.
fn rearranged(bytes: &[u8], order: &[usize]) -> Vec<u8> {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    order.iter().flat_map(|n| lines[*n].to_vec()).collect()
}

fn change(bytes: &mut [u8], from: &str, to: &str) {
    let at = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
}

#[test]
fn an_honest_history_is_intact() {
    let walked = five().walked();
    assert_eq!(
        (walked.broken, walked.lines, walked.files, walked.good),
        (None, 5, 2, 5)
    );
    assert_eq!(walked.notes, [""; 0]);
    assert_eq!(walk(&[], Head::Missing), Walked::default());
    let mut later = five();
    later.files.remove(0);
    let walked = later.walked();
    assert_eq!(walked.broken, None);
    assert_eq!(
        walked.notes,
        ["f0:1 names a line before it: earlier files are gone"]
    );
}

#[test]
fn what_a_crash_leaves_is_no_break() {
    let mut files = five();
    files.cut("f", 70);
    let walked = files.walked();
    assert_eq!((walked.broken, walked.good), (None, 6));
    assert!(
        walked.notes[0].contains("names the line before f1:3"),
        "{:?}",
        walked.notes
    );
    assert!(
        walked.notes[1].starts_with("1 line is no whole record"),
        "{:?}",
        walked.notes
    );
    files.append("g", false);
    let walked = files.walked();
    assert_eq!(walked.broken, None);
    assert_eq!(
        walked.notes,
        ["1 line is no whole record, as a crash leaves it: f1:3"]
    );
    // Between the line and the head.
    files.append("h", true);
    let walked = files.walked();
    assert_eq!(walked.broken, None);
    assert!(
        walked.notes[0].contains("names the line before f1:5"),
        "{:?}",
        walked.notes
    );
    // The very first one.
    let mut first = Files::new();
    first.append("a", true);
    assert_eq!(first.walked().broken, None);
}

#[test]
fn what_was_changed_is_named() {
    let mut files = five();
    change(&mut files.files[0], "\"run_id\":\"b\"", "\"run_id\":\"x\"");
    files.broken(
        "f0:2",
        "was changed, or lines behind it are missing: f0:3 names another",
        1,
    );

    let mut files = five();
    let at = files.files[0].len() - 10;
    files.files[0][at] ^= 1;
    files.broken("f0:3", "was changed: it does not name f0:2", 2);

    let mut files = five();
    change(&mut files.files[0], "\"run_id\":\"c\"", "\"run_id\":\"x\"");
    files.broken(
        "f1:1",
        "the line before it is not there: f0:3 is another one",
        3,
    );

    let mut files = five();
    change(&mut files.files[1], "\"run_id\":\"e\"", "\"run_id\":\"x\"");
    files.broken("f1:2", "history.head names another one as the last line", 4);
}

#[test]
fn what_is_missing_or_out_of_place_is_named() {
    let mut files = five();
    files.files[0] = rearranged(&files.files[0], &[0, 2]);
    files.broken("f0:1", "lines behind it are missing: f0:2 names another", 0);

    let mut files = five();
    files.files[0] = rearranged(&files.files[0], &[0, 2, 1]);
    files.broken("f0:2", "out of its place: it names f0:3", 1);

    let mut files = five();
    files.files[0] = rearranged(&files.files[0], &[0, 1, 1, 2]);
    files.broken("f0:3", "out of its place: it names f0:1", 2);

    let mut files = five();
    files.rotate();
    files.append("f", false);
    files.files.remove(1);
    files.broken("f1:1", "a file or lines between are missing", 3);

    let mut files = five();
    files.files[1] = rearranged(&files.files[1], &[0]);
    files.broken("f1:1", "lines behind it are missing: history.head", 3);

    let mut files = five();
    files.head = GENESIS.to_owned();
    files.files.pop();
    files.rotate();
    files.append("new", false);
    files.broken("f1:1", "begins a new history", 3);
}

#[test]
fn the_head_is_part_of_the_chain() {
    let mut files = five();
    files.head = "0a".repeat(32);
    files.broken("f1:2", "history.head names another", 4);
    files.head = files.head.to_uppercase();
    files.broken("history.head", "holds no digest", 5);
    files.head = String::new();
    files.broken("history.head", "is missing", 5);
    // An old one, or lines that somebody else added.
    files.head = history::digest(lines(&files.files[0]).next().unwrap());
    files.broken("f0:2", "is behind f0:1, which history.head names", 1);
    let head = Head::Of([1; 32]);
    assert_eq!(
        walk(&[], head).broken.unwrap().0.to_string(),
        "history.head"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Append(String),
    Crash(String),
    Cut(String, usize),
    Rotate,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => "\\PC{0,12}".prop_map(Step::Append),
        1 => "\\PC{0,12}".prop_map(Step::Crash),
        2 => ("\\PC{0,12}", 1..400_usize).prop_map(|(text, bytes)| Step::Cut(text, bytes)),
        1 => Just(Step::Rotate),
    ]
}

fn played(steps: Vec<Step>) -> Files {
    let mut files = Files::new();
    files.append("first", false);
    for step in steps {
        match step {
            Step::Append(text) => files.append(&text, false),
            Step::Crash(text) => files.append(&text, true),
            Step::Cut(text, bytes) => files.cut(&text, bytes),
            // What a crash left of the head is made good by the next append to the same file.
            Step::Rotate => {
                files.append("before the rotation", false);
                files.rotate();
            }
        }
    }
    files.append("last", false);
    files
}

/// Where each byte that something vouches for stands: not those of a file's last line where the next file begins with a
/// line that was cut, which does not know it.
fn vouched(files: &Files) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (number, bytes) in files.files.iter().enumerate() {
        let next = files
            .files
            .get(number + 1)
            .and_then(|next| lines(next).next());
        let last = lines(bytes).last().map_or(0, <[u8]>::len);
        let unknown = next.is_some_and(|line| prev(line).is_none());
        let end = bytes.len() - if unknown { last + 1 } else { 0 };
        found.extend((0..end).map(|at| (number, at)));
    }
    found
}

proptest! {
    #[test]
    fn whatever_the_appender_leaves_is_intact(steps in vec(step(), 0..20)) {
        let files = played(steps);
        let walked = files.walked();
        prop_assert_eq!(walked.broken, None);
        prop_assert_eq!(walked.good, walked.lines);
    }

    #[test]
    fn no_byte_can_be_changed(steps in vec(step(), 0..12), at in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        let mut files = played(steps);
        let places = vouched(&files);
        let (file, at) = places[at.index(places.len())];
        files.files[file][at] ^= bits;
        let walked = files.walked();
        prop_assert!(walked.broken.is_some(), "{:?}", walked);
        prop_assert!(walked.good <= walked.lines);
    }

    #[test]
    fn any_bytes_are_walked(files in vec(vec(any::<u8>(), 0..200), 0..4), head in vec(any::<u8>(), 0..70)) {
        let parts: Vec<Part> = files.iter().enumerate().map(|(n, bytes)| part(n, bytes)).collect();
        let _ = walk(&parts, Head::parse(Some(&head)));
    }
}
