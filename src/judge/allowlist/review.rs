//! What an allow-list says that it cannot mean: entries that nothing will ever match, or that another one makes
//! needless. It finds what is certain, and nothing about which instances there are.

use std::collections::BTreeMap;

use super::{AllowList, Part, glob};

/// Something odd about an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// The line, from 1.
    pub line: usize,
    /// What.
    pub what: Odd,
}

/// What is odd about an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Odd {
    /// It admits every host that is one label, or every address of one group: hardly what is meant.
    Everything,
    /// It is written as a URL or a path: no instance looks like that.
    Url,
    /// Its port is none: 0, or more than 65535.
    Port,
    /// Everything it admits is admitted by that line already.
    Covered(usize),
    /// No handler is called like this.
    NoHandler(Vec<String>),
}

impl AllowList {
    /// What is odd, by line; `handlers` are the alertnames that have one.
    pub fn review(&self, handlers: &[&str]) -> Vec<Remark> {
        let entries = self.rules();
        // Who may say the same: one with this pattern, one with its host, and those with a *.
        let mut by_pattern: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut globs = Vec::new();
        for (number, (pattern, _)) in entries.iter().enumerate() {
            if pattern.contains('*') {
                globs.push(number);
            } else {
                by_pattern.entry(pattern).or_default().push(number);
            }
        }
        let mut remarks = Vec::new();
        let mut note = |line, what| remarks.push(Remark { line, what });
        for (number, (pattern, rule)) in entries.iter().enumerate() {
            if pattern.contains('/') {
                note(rule.line, Odd::Url);
            } else if rule.part == Part::Whole && no_port(pattern) {
                note(rule.line, Odd::Port);
            } else if pattern.chars().all(|c| "*.:".contains(c)) {
                note(rule.line, Odd::Everything);
            }
            let unknown = |name: &&String| !handlers.contains(&name.as_str());
            let unknown: Vec<String> = rule.alertnames.iter().filter(unknown).cloned().collect();
            if !unknown.is_empty() {
                note(rule.line, Odd::NoHandler(unknown));
            }
            let same = [pattern, super::split(pattern).0].map(|text| by_pattern.get(text));
            let others = same.into_iter().flatten().flatten().chain(&globs);
            let cover = others.filter(|other| {
                let Some((wider, by)) = entries.get(**other).filter(|_| **other != number) else {
                    return false;
                };
                // Of two that say the same the later one is needless; a narrower one is, wherever it stands.
                let earlier = **other < number;
                covers(wider, by, pattern, rule) && (earlier || !covers(pattern, rule, wider, by))
            });
            let lines = cover.filter_map(|other| entries.get(*other).map(|(_, by)| by.line));
            if let Some(line) = lines.min() {
                note(rule.line, Odd::Covered(line));
            }
        }
        remarks.sort();
        remarks
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Patterns and rules by line.
    fn rules(&self) -> Vec<(&str, Rule)> {
        let rule = |entry: &super::Entry| Rule {
            line: entry.line as usize,
            part: entry.part,
            alertnames: self.alertnames(entry).map(str::to_owned).collect(),
        };
        let entries = self.entries.iter();
        entries
            .map(|entry| (self.text(entry.pattern), rule(entry)))
            .collect()
    }
}

/// What a line says besides its pattern.
struct Rule {
    line: usize,
    part: Part,
    /// Empty: every alertname.
    alertnames: Vec<String>,
}

/// Whether everything that the narrower entry admits is admitted by the wider one. `*` of the narrower one is compared
/// as a letter that no other pattern has, so what is found is certain.
fn covers(wider: &str, by: &Rule, narrower: &str, of: &Rule) -> bool {
    let names = by.alertnames.is_empty()
        || !of.alertnames.is_empty()
            && of
                .alertnames
                .iter()
                .all(|name| by.alertnames.contains(name));
    names
        && match (by.part, of.part) {
            (Part::Whole, Part::Whole) | (Part::Host, Part::Host) => glob(wider, narrower),
            (Part::Host, Part::Whole) => glob(wider, super::split(narrower).0),
            (Part::Whole, Part::Host) => false,
        }
}

/// A pattern's port may be any with `*` in it.
fn no_port(pattern: &str) -> bool {
    let port = super::split(pattern).1.unwrap_or("");
    !port.contains('*') && !matches!(port.parse::<u32>(), Ok(1..=65_535))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(text: &str) -> Vec<(usize, Odd)> {
        let list = AllowList::parse(text);
        assert_eq!(list.problems(), []);
        let remarks = list.review(&["NginxDown", "DiskFull"]);
        remarks.into_iter().map(|r| (r.line, r.what)).collect()
    }

    #[test]
    fn a_list_as_it_should_be_gets_no_remark() {
        let text = "# ours\nweb-*.example.org NginxDown,DiskFull\ndb-1:9100 DiskFull\n[fd00::8]:9100\nfd01::*\n";
        assert_eq!(review(text), []);
        assert_eq!(AllowList::parse(text).len(), 4);
    }

    #[test]
    fn entries_that_admit_everything_or_nothing() {
        for everything in ["*", "*.*", "*:*", "*.*.*:*"] {
            assert_eq!(review(everything), [(1, Odd::Everything)], "{everything}");
        }
        for url in ["http://web-1:9113", "web-1/metrics"] {
            assert_eq!(review(url), [(1, Odd::Url)], "{url}");
        }
        assert_eq!(review("web-1:0"), [(1, Odd::Port)]);
        assert_eq!(
            review("web-1:65536\nweb-2:65535\nweb-3:9*"),
            [(1, Odd::Port)]
        );
        let unknown = Odd::NoHandler(vec!["NginxUp".to_owned()]);
        assert_eq!(review("web-1 NginxDown,NginxUp"), [(1, unknown)]);
    }

    #[test]
    fn what_another_entry_says_already() {
        for (text, line, by) in [
            ("web-1\nweb-1", 2, 1),
            ("web-*\nweb-1", 2, 1),
            ("web-1\nweb-*", 1, 2),
            ("web-1\nweb-1:9113", 2, 1),
            ("web-*\nweb-1:9113", 2, 1),
            ("web-1:*\nweb-1:9113", 2, 1),
            ("web-1\nweb-1 NginxDown", 2, 1),
            ("web-1 NginxDown,DiskFull\nweb-1 DiskFull", 2, 1),
            ("web-*\nweb-*-eu", 2, 1),
            ("[fd00::8]\n[fd00::8]:9100", 2, 1),
        ] {
            assert_eq!(review(text), [(line, Odd::Covered(by))], "{text}");
        }
        for text in [
            "web-1:9113\nweb-1 NginxDown",
            "web-1 NginxDown\nweb-1 DiskFull",
            "web-*-eu\nweb-1-*",
            "web-1 NginxDown\nweb-*",
            "WEB-1\nweb-1",
        ] {
            let found = review(text);
            let covered = |(_, odd): &&(usize, Odd)| matches!(odd, Odd::Covered(_));
            let expected = usize::from(text == "web-1 NginxDown\nweb-*");
            assert_eq!(
                found.iter().filter(covered).count(),
                expected,
                "{text}: {found:?}"
            );
        }
    }
}
