//! The shipped files, changed in times, ports and paths and in nothing else.

use std::fs;

use crate::support::PROJECT;

/// A shipped file on its way into a sandbox. Each change says how often its text stands there, so that a file that
/// changes its shape breaks the test instead of leaving it behind.
pub struct Shipped {
    name: &'static str,
    text: String,
}

impl Shipped {
    /// A file of the project, by its path in it.
    pub fn read(name: &'static str) -> Shipped {
        let text = fs::read_to_string(format!("{PROJECT}/{name}"))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Shipped { name, text }
    }

    /// `new` in the one place where `old` stands.
    #[track_caller]
    pub fn with(self, old: &str, new: &str) -> Shipped {
        self.with_each(1, old, new)
    }

    /// `new` in the so many places where `old` stands.
    #[track_caller]
    pub fn with_each(mut self, times: usize, old: &str, new: &str) -> Shipped {
        let found = self.text.matches(old).count();
        assert_eq!(
            found, times,
            "{}: how often {old:?} stands there",
            self.name
        );
        self.text = self.text.replace(old, new);
        self
    }

    /// The rest of the one line that holds `start`.
    #[track_caller]
    pub fn after(&self, start: &str) -> &str {
        let mut found = self.text.lines().filter_map(|line| line.split_once(start));
        let (_, rest) = found
            .next()
            .unwrap_or_else(|| panic!("{}: no line with {start:?}", self.name));
        assert!(found.next().is_none(), "{}: {start:?} twice", self.name);
        rest
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}
