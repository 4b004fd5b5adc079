//! What was done: the history shown, summed up, followed, and its chain walked. Reads only, takes no handler's lock, and
//! makes nothing. What cannot be read is said, and then the answer is not called whole.

use std::cell::OnceCell;
use std::io::{self, Write};
use std::time::Duration;

use super::{Refused, refused, to_read};
use crate::judge::{Record, Time};
use crate::sys::history::History;
use crate::sys::history::following::Follower;
use crate::sys::history::reading::{Chronicle, Piece};
use crate::sys::process::ProcessId;
use crate::sys::signals::Signals;
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::{clock, terminal};
use crate::wire::chronicle::chain::{self, Head, Part};
use crate::wire::chronicle::runs::{Runs, Seen, Table};
use crate::wire::chronicle::summary::Summary;
use crate::wire::chronicle::{self, Entry, Filter};
use crate::wire::config::Config;
use crate::wire::paint::{Paint, Tone};
use crate::wire::quote::{json, printable};
use crate::wire::records::hex_digest;

/// How often it is looked whether a line came. A person looks on.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is wanted of the history.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Not earlier than this.
    pub since: Option<String>,
    /// Earlier than this.
    pub until: Option<String>,
    /// Of this alert.
    pub alert: Option<String>,
    /// Of this instance.
    pub instance: Option<String>,
    /// With this outcome, or of this event.
    pub outcome: Option<String>,
    /// Of this run.
    pub run: Option<String>,
    /// In which form.
    pub form: Form,
    /// As JSON.
    pub json: bool,
}

/// In which form the history is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A line for each run.
    #[default]
    Runs,
    /// A line for each alertname.
    Summary,
    /// What is there, and then what comes.
    Follow,
    /// Whether the chain holds.
    Verify,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// Something was shown; the chain holds.
    Yes,
    /// Nothing matched; the chain is broken.
    No,
    /// Something was shown or not, and something could not be read.
    Incomplete,
}

/// Shows it on `out`, whole lines fit for a terminal; what went wrong beside it is told to `warn`, a sentence each. Whoever
/// reads `out` may go away at any time.
///
/// # Errors
/// Times that are none, a combination that means nothing; the configuration; the history may not be read.
pub fn show(
    asked: &Asked,
    out: &mut dyn Write,
    warn: &mut dyn FnMut(&str),
) -> Result<Came, Refused> {
    let now = clock::now();
    let filter = asked.filter(now)?;
    let config = to_read()?;
    let paint = terminal::paint();
    let mut reader = Reader {
        config: &config,
        filter,
        paint,
        json: asked.json,
        warn,
        incomplete: false,
    };
    let shown = match asked.form {
        Form::Verify => reader.verify(out),
        Form::Summary => reader.summary(out),
        Form::Runs => reader.runs(out),
        Form::Follow => reader.follow(out),
    };
    let flushed = shown.and_then(|any| {
        out.flush()?;
        Ok(any)
    });
    match flushed {
        Ok(_) if reader.incomplete => Ok(Came::Incomplete),
        Ok(true) => Ok(Came::Yes),
        Ok(false) => Ok(Came::No),
        Err(Stopped::Gone) => Ok(Came::Yes),
        Err(Stopped::Refused(why)) => Err(why),
    }
}

/// Why it goes no further.
enum Stopped {
    /// Nobody reads on.
    Gone,
    Refused(Refused),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Stopped::Gone;
        }
        let why = format!("cannot write to standard output: {error}");
        Stopped::Refused(Refused::Failed(why))
    }
}

/// Why it does not follow any further.
enum Halted {
    Stopped(Stopped),
    Unread(io::Error),
}

impl From<io::Error> for Halted {
    fn from(error: io::Error) -> Halted {
        Halted::Unread(error)
    }
}

impl From<Stopped> for Halted {
    fn from(stopped: Stopped) -> Halted {
        Halted::Stopped(stopped)
    }
}

impl Asked {
    fn filter(&self, now: Time) -> Result<Filter, Refused> {
        let misused = |why: &str| Err(Refused::Misused(why.to_owned()));
        let instant = |option: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => chronicle::instant(text, now)
                .map(Some)
                .map_err(|why| Refused::Misused(format!("{option}: {why}"))),
        };
        let filter = Filter {
            since: instant("--since", &self.since)?,
            until: instant("--until", &self.until)?,
            alertname: self.alert.clone(),
            instance: self.instance.clone(),
            outcome: self.outcome.clone(),
            run: self.run.clone(),
        };
        match self.form {
            Form::Verify if filter != Filter::default() || self.json => {
                misused("--verify is about all of the history: it goes with no other option")
            }
            Form::Summary if self.outcome.is_some() => {
                misused("--outcome does not go with --summary, which counts them all")
            }
            Form::Follow if self.until.is_some() => {
                misused("--until does not go with --follow, which has no end")
            }
            _ => Ok(filter),
        }
    }
}

/// Reads the history on somebody's behalf.
struct Reader<'a> {
    config: &'a Config,
    filter: Filter,
    paint: Paint,
    json: bool,
    warn: &'a mut dyn FnMut(&str),
    incomplete: bool,
}

impl Reader<'_> {
    fn refused(&self, source: io::Error) -> Stopped {
        let error = StateError {
            path: self.config.state_dir.clone(),
            doing: "read the history in",
            source,
        };
        Stopped::Refused(refused(self.config, &error))
    }

    fn open(&mut self, since: Option<Time>) -> Result<Chronicle, Stopped> {
        let history = History::new(&self.config.state_dir);
        let chronicle = history
            .chronicle(since)
            .map_err(|error| self.refused(error))?;
        for why in &chronicle.left_out {
            (self.warn)(why);
        }
        Ok(chronicle)
    }

    /// Every line of the files that are not too old. A file that cannot be read to its end is told of, and the next one
    /// read.
    fn each(
        &mut self,
        chronicle: &Chronicle,
        mut act: impl FnMut(&[u8], &Entry<'_>, &Filter) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let mut damaged = Damaged::default();
        for piece in &chronicle.files {
            let mut number = 0;
            let mut read = || -> Result<(), Result<Stopped, io::Error>> {
                let mut lines = piece.lines().map_err(Err)?;
                while let Some(line) = lines.read_on().map_err(Err)? {
                    number += 1;
                    match Entry::parse(line) {
                        Some(entry) => act(line, &entry, &self.filter).map_err(Ok)?,
                        None => damaged.add(piece, number),
                    }
                }
                Ok(())
            };
            match read() {
                Ok(()) => {}
                Err(Ok(stopped)) => return Err(stopped),
                Err(Err(error)) => {
                    self.incomplete = true;
                    let name = &piece.name;
                    (self.warn)(&format!(
                        "{name}: cannot be read behind line {number}: {error}"
                    ));
                }
            }
        }
        if let Some(words) = damaged.words() {
            (self.warn)(&words);
        }
        Ok(())
    }

    fn runs(&mut self, out: &mut dyn Write) -> Result<bool, Stopped> {
        let chronicle = self.open(self.filter.since)?;
        if self.json {
            let mut any = false;
            self.each(&chronicle, |line, entry, filter| {
                any |= filter.takes(entry);
                write_line(out, line, entry, filter)
            })?;
            return Ok(any);
        }
        let (runs, mut table) = self.known(&chronicle, false)?;
        if runs.all().is_empty() {
            out.write_all(nothing(&chronicle).as_bytes())?;
            return Ok(false);
        }
        out.write_all(table.head().as_bytes())?;
        for run in runs.all() {
            out.write_all(table.line(run).as_bytes())?;
        }
        Ok(true)
    }

    fn known(&mut self, chronicle: &Chronicle, all: bool) -> Result<(Runs, Table), Stopped> {
        let mut runs = Runs::default();
        self.each(chronicle, |_, entry, filter| {
            runs.add(entry, filter);
            Ok(())
        })?;
        let running = Running::new(self.config);
        runs.settle(&self.filter, &mut |run| running.has(run));
        let table = Table::for_runs(self.paint, runs.all(), all);
        Ok((runs, table))
    }

    fn summary(&mut self, out: &mut dyn Write) -> Result<bool, Stopped> {
        let chronicle = self.open(self.filter.since)?;
        let mut summary = Summary::default();
        self.each(&chronicle, |_, entry, filter| {
            summary.add(entry, filter);
            Ok(())
        })?;
        let text = match (summary.is_empty(), self.json) {
            (_, true) => summary.to_json(),
            (true, false) => nothing(&chronicle),
            (false, false) => summary.to_text(self.paint),
        };
        out.write_all(text.as_bytes())?;
        Ok(!summary.is_empty())
    }

    /// Goes on until this process is told to end or nobody reads on.
    fn follow(&mut self, out: &mut dyn Write) -> Result<bool, Stopped> {
        let signals = Signals::block().map_err(|errno| self.refused(errno.into()));
        let mut signals = signals?;
        let chronicle = self.open(self.filter.since)?;
        let history = History::new(&self.config.state_dir);
        let mut follower = history
            .follow(&chronicle)
            .map_err(|error| self.refused(error))?;
        let mut shown = Shown::Lines;
        if self.json {
            self.each(&chronicle, |line, entry, filter| {
                write_line(out, line, entry, filter)
            })?;
        } else {
            let (runs, mut table) = self.known(&chronicle, true)?;
            out.write_all(table.head().as_bytes())?;
            for run in runs.all() {
                out.write_all(table.line(run).as_bytes())?;
            }
            shown = Shown::Table(Box::new((runs, table)));
        }
        drop(chronicle);
        while !signals.terminated() && !terminal::reader_is_gone() {
            self.look(&mut follower, &mut shown, out)?;
            out.flush()?;
            signals.wait(LOOK_AGAIN);
        }
        Ok(true)
    }

    fn look(
        &mut self,
        follower: &mut Follower,
        shown: &mut Shown,
        out: &mut dyn Write,
    ) -> Result<(), Stopped> {
        let Reader { filter, warn, .. } = self;
        let came = follower.more(&mut |line| {
            let Some(entry) = Entry::parse(line) else {
                warn("a line came that is no record");
                return Ok(());
            };
            match shown {
                Shown::Lines => write_line(out, line, &entry, filter)?,
                Shown::Table(both) => {
                    let (runs, table) = &mut **both;
                    let run = runs.add(&entry, filter);
                    if let Some(run) = run.filter(|run| run.is_asked_for(filter)) {
                        let line = table.line_as_it_comes(run).as_bytes();
                        out.write_all(line).map_err(Stopped::from)?;
                    }
                }
            }
            Ok(())
        });
        came.map_err(|halted| match halted {
            Halted::Stopped(stopped) => stopped,
            Halted::Unread(error) => self.refused(error),
        })
    }

    fn verify(&mut self, out: &mut dyn Write) -> Result<bool, Stopped> {
        let mut chronicle = self.open(None)?;
        let mut parts = Vec::new();
        for piece in &mut chronicle.files {
            let links = links(piece).map_err(|why| Stopped::Refused(Refused::Failed(why)))?;
            piece.ends.last = links.last().map(|link| link.digest);
            let name = piece.name.clone();
            parts.push(Part { name, links });
        }
        let ends: Vec<_> = chronicle
            .files
            .iter()
            .map(|piece| piece.ends.clone())
            .collect();
        // Now that every file was read, the chain alone tells which comes after which.
        let places = chronicle::order::order(&ends);
        let parts: Vec<Part> = places
            .into_iter()
            .filter_map(|place| parts.get_mut(place).map(std::mem::take))
            .collect();
        let walked = chain::walk(&parts, Head::parse(chronicle.head.as_deref()));
        let files = count(walked.files, "file");
        let lines = |number| count(number, "line");
        let text = match &walked.broken {
            None if walked.lines == 0 => "intact: nothing was ever written\n".to_owned(),
            None => {
                let intact = self.paint.text(Tone::Good, "intact");
                format!("{intact}: {} in {files}\n", lines(walked.lines))
            }
            Some((place, why)) => {
                let broken = self.paint.text(Tone::Bad, "broken");
                let (good, lines) = (count(walked.good, "good line"), lines(walked.lines));
                format!(
                    "{broken}: {}\n  {good} before it, {lines} in {files}\n",
                    printable(&format!("{place} {why}"))
                )
            }
        };
        out.write_all(text.as_bytes())?;
        for note in &walked.notes {
            out.write_all(format!("  {}\n", printable(note)).as_bytes())?;
        }
        Ok(walked.broken.is_none())
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

/// What is shown so far of what is followed.
enum Shown {
    Lines,
    Table(Box<(Runs, Table)>),
}

/// The line, fit for a terminal: its value is the stored one's, and --verify reads the file.
fn write_line(
    out: &mut dyn Write,
    line: &[u8],
    entry: &Entry<'_>,
    filter: &Filter,
) -> Result<(), Stopped> {
    if filter.takes(entry) {
        // It was read as JSON, so it is UTF-8.
        let line = std::str::from_utf8(line).unwrap_or_default();
        out.write_all(json(line).as_bytes())?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn links(piece: &Piece) -> Result<Vec<chain::Link>, String> {
    let mut links = Vec::new();
    let mut read = || -> io::Result<()> {
        let mut lines = piece.lines()?;
        while let Some(line) = lines.read_on()? {
            let link = chain::link(line, links.last());
            links.push(link);
        }
        Ok(())
    };
    match read() {
        Ok(()) => Ok(links),
        Err(error) => Err(format!(
            "{}: cannot be read behind line {}: {error}",
            piece.name,
            links.len()
        )),
    }
}

fn nothing(chronicle: &Chronicle) -> String {
    let there = chronicle.files.iter().any(|piece| !piece.is_empty());
    let words = if there {
        "nothing in the history matches"
    } else {
        "the history is empty: nothing was run yet"
    };
    format!("{words}\n")
}

/// Lines that are no records.
#[derive(Default)]
struct Damaged {
    first: String,
    count: usize,
}

impl Damaged {
    fn add(&mut self, piece: &Piece, line: usize) {
        if self.count == 0 {
            self.first = format!("{}:{line}", piece.name);
        }
        self.count += 1;
    }

    fn words(&self) -> Option<String> {
        let first = &self.first;
        match self.count {
            0 => None,
            1 => Some(format!(
                "{first} is no record: self-heal history --verify tells whether a crash cut it"
            )),
            count => Some(format!(
                "{count} lines are no records, {first} is the first: see self-heal history --verify"
            )),
        }
    }
}

/// Which runs are under way, by the records.
struct Running {
    store: Store,
    all: OnceCell<Vec<Record>>,
}

impl Running {
    fn new(config: &Config) -> Running {
        Running {
            store: Store::at(&config.state_dir),
            all: OnceCell::new(),
        }
    }

    /// Whether somebody supervises this run. What cannot be read tells nothing.
    fn has(&self, seen: &Seen) -> bool {
        let runs = |record: &Record| {
            let run = record
                .in_flight
                .as_ref()
                .filter(|run| *run.id == *seen.run_id);
            run.is_some_and(|run| ProcessId::from(run.supervisor).alive())
        };
        if !seen.fingerprint.is_empty() {
            let key = hex_digest(seen.fingerprint.as_bytes());
            let record = self.store.read(&key).ok().flatten();
            return record.as_ref().is_some_and(runs);
        }
        let list = || {
            let records = self.store.list().unwrap_or_default();
            records.into_iter().map(|(_, record)| record).collect()
        };
        self.all.get_or_init(list).iter().any(runs)
    }
}
