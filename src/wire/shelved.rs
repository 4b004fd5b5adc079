//! Snapshots as a person sees them: which runs they are of, how they stand, what is in them; as a table and as JSON.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::manifest::{Kind, Manifest};
use super::paint::{Paint, Tone};
use super::quote::{json, printable};
use super::timestamp::rfc3339;
use crate::judge::{AlertName, Time};

/// How a snapshot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Everything of it was put back.
    Restored,
    /// It is whole, and nobody has put it back.
    Whole,
    /// It is being taken, or put back.
    Busy,
    /// A restore was begun, and could not be ended.
    Unfinished,
    /// A capture was killed; the alert's next one removes it.
    Incomplete,
    /// Its manifest cannot be read.
    Damaged,
}

impl State {
    /// Every state, the better ones first.
    pub const ALL: [State; 6] = [
        State::Restored,
        State::Whole,
        State::Busy,
        State::Unfinished,
        State::Incomplete,
        State::Damaged,
    ];

    /// The word used outside the program.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Restored => "restored",
            State::Whole => "whole",
            State::Busy => "busy",
            State::Unfinished => "unfinished",
            State::Incomplete => "incomplete",
            State::Damaged => "damaged",
        }
    }
}

/// One side's part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Its folder.
    pub folder: PathBuf,
    /// The paths in it.
    pub paths: Vec<PathBuf>,
    /// How it stands; unknown of root's part to anybody else.
    pub state: Option<State>,
}

/// What was captured for one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The run; unknown without a manifest.
    pub run_id: Option<String>,
    /// Its alert.
    pub alertname: AlertName,
    /// When it was captured; without a manifest, when the run began.
    pub captured: Time,
    /// The bytes of the files in it, as far as this account may look.
    pub bytes: u64,
    /// The part of the account that took it, if it is there.
    pub own: Option<Side>,
    /// Root's part.
    pub roots: Option<Side>,
}

impl Listed {
    /// How it stands as a whole: as the worse of its parts does.
    pub fn state(&self) -> State {
        let parts = [&self.own, &self.roots];
        let states = parts.into_iter().flatten().filter_map(|side| side.state);
        states.max().unwrap_or(State::Damaged)
    }
}

impl Listed {
    /// Takes in the manifest of another folder of the same run.
    pub fn take(&mut self, folder: PathBuf, manifest: &Manifest, state: State) {
        let files = manifest.paths.iter().flat_map(|captured| &captured.entries);
        let files = files.filter(|entry| entry.kind == Kind::File);
        let bytes = files.fold(0_u64, |sum, entry| sum.saturating_add(entry.print.size));
        self.bytes = self.bytes.saturating_add(bytes);
        let paths = manifest
            .paths
            .iter()
            .map(|captured| captured.path.clone())
            .collect();
        let part = Side {
            folder,
            paths,
            state: Some(state),
        };
        // The manifest that names another folder is the healer's, and the one it names is root's.
        let is_roots = self
            .roots
            .as_ref()
            .is_some_and(|side| side.folder == part.folder);
        let roots_alone = self.own.is_some() && manifest.by_root.is_none();
        if is_roots || roots_alone {
            self.roots = Some(part);
            return;
        }
        let before = self.own.replace(part);
        self.captured = manifest.captured;
        if let Some(by_root) = &manifest.by_root {
            let known = before.filter(|side| side.folder == by_root.folder);
            self.roots = Some(known.unwrap_or_else(|| Side {
                folder: by_root.folder.clone(),
                paths: by_root.paths.clone(),
                state: None,
            }));
        }
    }
}

#[derive(Serialize)]
struct Shape<'a> {
    run_id: Option<&'a str>,
    alertname: &'a str,
    captured: String,
    state: &'static str,
    bytes: u64,
    folder: Option<&'a Path>,
    paths: &'a [PathBuf],
    root: Option<RootShape<'a>>,
}

#[derive(Serialize)]
struct RootShape<'a> {
    folder: &'a Path,
    paths: &'a [PathBuf],
    state: Option<&'static str>,
}

/// One JSON object a snapshot, a line each.
pub fn to_json(snapshots: &[Listed]) -> String {
    let lines = snapshots.iter().filter_map(|listed| {
        let own = listed.own.as_ref();
        let shape = Shape {
            run_id: listed.run_id.as_deref(),
            alertname: listed.alertname.as_str(),
            captured: rfc3339(listed.captured),
            state: listed.state().as_str(),
            bytes: listed.bytes,
            folder: own.map(|side| side.folder.as_path()),
            paths: own.map_or(&[], |side| &side.paths),
            root: listed.roots.as_ref().map(|side| RootShape {
                folder: &side.folder,
                paths: &side.paths,
                state: side.state.map(State::as_str),
            }),
        };
        serde_json::to_string(&shape).ok()
    });
    lines.map(|line| json(&line).into_owned() + "\n").collect()
}

/// As a table.
pub fn to_text(snapshots: &[Listed], paint: Paint) -> String {
    let headings = ["CAPTURED", "ALERT", "STATE", "BYTES", "RUN", "PATHS"];
    let mut rows = vec![
        headings
            .map(|heading| (Tone::Strong, heading.to_owned()))
            .to_vec(),
    ];
    for listed in snapshots {
        let state = listed.state();
        let tone = match state {
            State::Whole => Tone::Plain,
            State::Restored => Tone::Good,
            State::Busy | State::Incomplete => Tone::Warning,
            State::Unfinished | State::Damaged => Tone::Bad,
        };
        let own = listed.own.iter().flat_map(|side| &side.paths);
        let own = own.map(|path| printable(&path.to_string_lossy()));
        let roots = listed.roots.iter().flat_map(|side| &side.paths);
        let roots = roots.map(|path| format!("{} (root's)", printable(&path.to_string_lossy())));
        let paths: Vec<String> = own.chain(roots).collect();
        let run = listed
            .run_id
            .as_deref()
            .map_or_else(|| "-".to_owned(), printable);
        rows.push(vec![
            (Tone::Plain, rfc3339(listed.captured)),
            (Tone::Plain, listed.alertname.to_string()),
            (tone, state.as_str().to_owned()),
            (Tone::Plain, listed.bytes.to_string()),
            (Tone::Plain, run),
            (Tone::Plain, paths.join(", ")),
        ]);
    }
    paint.columns("", &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::manifest::{ByRoot, Captured, Entry, Print};

    fn manifest(path: &str, by_root: Option<&str>) -> Manifest {
        let print = Print {
            dev: 1,
            ino: 1,
            size: 7,
            ctime: (1, 0),
        };
        Manifest {
            run_id: "1-1-1.A".to_owned(),
            alertname: AlertName::new("A").unwrap(),
            captured: Time(0),
            paths: vec![Captured {
                path: path.into(),
                entries: vec![Entry {
                    name: Vec::new(),
                    kind: Kind::File,
                    print,
                }],
            }],
            by_root: by_root.map(|folder| ByRoot {
                folder: folder.into(),
                paths: vec!["/etc/r".into()],
            }),
        }
    }

    /// Root's part is found before the healer's, after it, or not at all.
    #[test]
    fn two_sides_are_one_snapshot() {
        let blank = || Listed {
            run_id: Some("1-1-1.A".to_owned()),
            alertname: AlertName::new("A").unwrap(),
            captured: Time(0),
            bytes: 0,
            own: None,
            roots: None,
        };
        let (own, roots) = (manifest("/o\u{1b}", Some("/b/1")), manifest("/etc/r", None));
        let mut before = blank();
        before.take("/b/1".into(), &roots, State::Unfinished);
        before.take("/b/2".into(), &own, State::Whole);
        let mut after = blank();
        after.take("/b/2".into(), &own, State::Whole);
        let alone = after.clone();
        after.take("/b/1".into(), &roots, State::Unfinished);
        assert_eq!(before, after);
        assert_eq!((after.state(), after.bytes), (State::Unfinished, 14));
        assert_eq!(alone.state(), State::Whole);
        assert_eq!(
            to_text(&[after, alone.clone()], Paint::default()),
            "\
CAPTURED              ALERT  STATE       BYTES  RUN      PATHS
1970-01-01T00:00:00Z  A      unfinished  14     1-1-1.A  /o\\u{1b}, /etc/r (root's)
1970-01-01T00:00:00Z  A      whole       7      1-1-1.A  /o\\u{1b}, /etc/r (root's)
"
        );
        assert_eq!(
            to_json(&[alone]),
            concat!(
                r#"{"run_id":"1-1-1.A","alertname":"A","captured":"1970-01-01T00:00:00Z","state":"whole","bytes":7,"#,
                r#""folder":"/b/2","paths":["/o\u001b"],"root":{"folder":"/b/1","paths":["/etc/r"],"state":null}}"#,
                "\n"
            )
        );
    }
}
