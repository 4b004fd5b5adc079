//! What `self-heal status` shows: for a person, in columns with the most urgent first; for a program, one JSON object
//! whose members are documented and stay. It judges nothing: how an alert stands is `judge::standing`.

use std::collections::HashMap;

use serde::Serialize;

use super::duration::rough;
use super::paint::{Paint, Tone};
use super::quote::{json, printable};
use super::timestamp::rfc3339;
use crate::judge::Time;
use crate::judge::pauses::Pause;
use crate::judge::record::{Reason, Run};
use crate::judge::standing::{Standing, Wait};

/// Everything that is shown.
#[derive(Clone, Debug)]
pub struct Status {
    /// When it was looked at.
    pub at: Time,
    /// This host's name.
    pub host: String,
    /// How many alerts and groups are on record.
    pub known: usize,
    /// Keys of records that cannot be read.
    pub damaged: Vec<String>,
    /// The alerts that do not stand quiet, in the order they are shown.
    pub alerts: Vec<Line>,
    /// The pauses in effect, or why they are not known: then nothing runs.
    pub pauses: Result<Vec<Pause>, String>,
    /// The host's limit on runs, while it is reached.
    pub storm: Option<Storm>,
    /// What people are still to be told.
    pub pages: Pages,
    /// What else is wrong, one sentence each.
    pub problems: Vec<String>,
}

/// One alert.
#[derive(Clone, Debug)]
pub struct Line {
    /// The name of its record.
    pub key: String,
    /// Alertname, as recorded.
    pub alertname: String,
    /// Instance, as recorded.
    pub instance: String,
    /// How it stands.
    pub standing: Standing,
    /// Its run in flight, and whether that run's supervisor is alive.
    pub run: Option<(Run, bool)>,
    /// Failures in a row on record.
    pub failures: usize,
    /// Heals in a row that changed nothing.
    pub ineffective: u32,
    /// Why a person is being told, if one is.
    pub paged: Option<Reason>,
}

/// The host's limit on runs, reached.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// Since when.
    pub since: Time,
    /// When it admits a run.
    pub until: Time,
}

/// Pages by where they are.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Pages {
    /// Decided on, and not in the spool yet.
    pub owed: usize,
    /// In the spool, and somebody is still to get them.
    pub pending: usize,
    /// Refused for good.
    pub failed: usize,
    /// Damaged in the spool.
    pub damaged: usize,
}

impl Status {
    /// As one JSON object on one line.
    ///
    /// # Errors
    /// None that is known; as `serde_json` has it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let line = serde_json::to_string(&shape(self))?;
        Ok(format!("{}\n", json(&line)))
    }

    /// Whether a person is needed.
    fn grave(&self) -> bool {
        let open = |line: &Line| matches!(line.standing, Standing::Open { .. });
        self.alerts.iter().any(open)
            || !self.damaged.is_empty()
            || !self.problems.is_empty()
            || self.pauses.is_err()
            || self.pages.failed + self.pages.damaged > 0
    }

    /// For a person.
    pub fn render(&self, paint: Paint) -> String {
        let mut out = self.headline(paint);
        let mut shown: HashMap<(&str, &str), usize> = HashMap::new();
        for line in &self.alerts {
            *shown.entry((&line.alertname, &line.instance)).or_default() += 1;
        }
        for (title, tone, chosen) in SECTIONS {
            let lines = self.alerts.iter().filter(|line| chosen(&line.standing));
            let rows = lines.map(|line| {
                let mut row = self.row(line, tone);
                // Alerts of one name on one instance differ in other labels, which no record has.
                if shown.get(&(&*line.alertname, &*line.instance)) > Some(&1) {
                    row.push((Tone::Faint, format!("key {}", line.key)));
                }
                row
            });
            section(&mut out, paint, title, rows.collect());
        }
        let paused = self.pauses.iter().flatten().map(|pause| self.pause(pause));
        section(&mut out, paint, "paused", paused.collect());
        section(&mut out, paint, "storm", self.storm().into_iter().collect());
        section(&mut out, paint, "pages", self.pages());
        let bad = |text: &String| vec![(Tone::Bad, printable(text))];
        let mut wrong: Vec<Row> = self.problems.iter().map(bad).collect();
        wrong.extend(self.pauses.as_ref().err().map(bad));
        wrong.extend(self.damaged.iter().map(|key| {
            bad(&format!(
                "a record is damaged, and nothing runs for it: self-heal reset --key {key}"
            ))
        }));
        section(&mut out, paint, "wrong", wrong);
        out
    }

    fn headline(&self, paint: Paint) -> String {
        let count = |chosen: fn(&Standing) -> bool| {
            let lines = self.alerts.iter().filter(|line| chosen(&line.standing));
            lines.count()
        };
        let mut parts: Vec<String> = SECTIONS
            .iter()
            .map(|(title, _, chosen)| (count(*chosen), *title))
            .filter(|(count, _)| *count > 0)
            .map(|(count, title)| format!("{count} {title}"))
            .collect();
        parts.extend(match self.pauses.as_ref().map_or(0, Vec::len) {
            0 => None,
            1 => Some("1 pause".to_owned()),
            n => Some(format!("{n} pauses")),
        });
        let (tone, verdict) = match (self.grave(), parts.is_empty()) {
            (true, _) => (Tone::Bad, "a person is needed"),
            (false, false) => (Tone::Warning, "at work"),
            (false, true) => (Tone::Good, "all quiet"),
        };
        parts.push(match self.known {
            1 => "1 alert on record".to_owned(),
            n => format!("{n} alerts on record"),
        });
        let host = paint.text(Tone::Strong, &printable(&self.host));
        let verdict = paint.text(tone, verdict);
        let at = rfc3339(self.at);
        format!("{host}  {at}  {verdict}\n{}\n", parts.join(", "))
    }

    fn row(&self, line: &Line, tone: Tone) -> Row {
        let mut row = vec![
            (tone, printable(&line.alertname)),
            (Tone::Plain, printable(&line.instance)),
        ];
        let mut cell = |text: String| row.push((Tone::Plain, text));
        match &line.standing {
            Standing::Quiet => {}
            Standing::Running => {
                if let Some((run, alive)) = &line.run {
                    cell(format!("attempt {}", run.attempt));
                    cell(self.past("since", run.started));
                    cell(if self.at <= run.deadline {
                        self.future("until", run.deadline)
                    } else {
                        self.past("past its deadline", run.deadline)
                    });
                    cell(if *alive {
                        format!("pid {}", run.supervisor.pid)
                    } else {
                        format!("lost its supervisor (pid {})", run.supervisor.pid)
                    });
                    cell(printable(&run.id));
                }
            }
            Standing::Open {
                reason,
                since,
                until,
            } => {
                cell(reason.as_str().to_owned());
                cell(self.past("since", *since));
                cell(match until {
                    Some(until) => self.future("next attempt", *until),
                    None => "next attempt with the sender's next repeat".to_owned(),
                });
                cell(match line.paged {
                    Some(_) => "paged".to_owned(),
                    None => String::new(),
                });
            }
            Standing::Unverified {
                healed,
                settles,
                half_open,
            } => {
                cell(self.past("healed", *healed));
                cell(match settles {
                    Some(until) => self.future("settles", *until),
                    None => "no resolved yet".to_owned(),
                });
                let mut more = Vec::new();
                if line.ineffective > 0 {
                    more.push(format!("{} without effect before", line.ineffective));
                }
                if *half_open {
                    more.push("the breaker is half-open".to_owned());
                }
                cell(more.join(", "));
            }
            Standing::Waiting { what, until } => {
                cell(match what {
                    Wait::RetryDelay => match line.failures {
                        0 => "deferred".to_owned(),
                        n => format!("failed {n} in a row"),
                    },
                    Wait::Damaged => "its record was damaged".to_owned(),
                    Wait::Survivor(process) => {
                        format!("process {} of a past run lives on", process.pid)
                    }
                    Wait::Pause(since) => self.past("held back by a pause", *since),
                });
                cell(until.map_or(String::new(), |until| self.future("until", until)));
            }
            Standing::Due => {
                cell(match line.failures {
                    0 => "may run".to_owned(),
                    n => format!("failed {n} in a row"),
                });
                cell("next attempt with the sender's next repeat".to_owned());
            }
        }
        row
    }

    fn pause(&self, pause: &Pause) -> Row {
        vec![
            (Tone::Warning, printable(&pause.scope.to_string())),
            (Tone::Plain, self.future("until", pause.until)),
            (Tone::Plain, format!("by {}", printable(&pause.who))),
            (Tone::Plain, printable(&pause.why)),
        ]
    }

    fn storm(&self) -> Option<Row> {
        let storm = self.storm?;
        Some(vec![
            (Tone::Bad, "HEAL_STORM_LIMIT is reached".to_owned()),
            (Tone::Plain, self.past("since", storm.since)),
            (Tone::Plain, self.future("admits a run", storm.until)),
        ])
    }

    fn pages(&self) -> Vec<Row> {
        let Pages {
            owed,
            pending,
            failed,
            damaged,
        } = self.pages;
        let row = |count: usize, tone, what: &str, hint: &str| {
            (count > 0).then(|| {
                let what = format!("{count} {what}");
                vec![(tone, what), (Tone::Plain, hint.to_owned())]
            })
        };
        let look = "self-heal drain --list";
        [
            row(owed, Tone::Bad, "not in the spool yet", "self-heal drain"),
            row(pending, Tone::Warning, "on their way", look),
            row(failed, Tone::Bad, "refused for good", look),
            row(damaged, Tone::Bad, "damaged", look),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn past(&self, word: &str, time: Time) -> String {
        let ago = rough(self.at.since(time));
        format!("{word} {} ({ago} ago)", self.clock(time))
    }

    fn future(&self, word: &str, time: Time) -> String {
        let left = rough(time.since(self.at));
        format!("{word} {} (in {left})", self.clock(time))
    }

    /// The instant; of the same day in UTC the time alone.
    fn clock(&self, time: Time) -> String {
        let (then, now) = (rfc3339(time), rfc3339(self.at));
        match (then.split_once('T'), now.split_once('T')) {
            (Some((day, clock)), Some((today, _))) if day == today => clock.to_owned(),
            _ => then,
        }
    }
}

type Row = Vec<(Tone, String)>;

type Section = (&'static str, Tone, fn(&Standing) -> bool);

/// The most urgent first.
const SECTIONS: [Section; 4] = [
    ("breaker open", Tone::Bad, |s| {
        matches!(s, Standing::Open { .. })
    }),
    ("running", Tone::Strong, |s| matches!(s, Standing::Running)),
    ("waiting", Tone::Warning, |s| {
        matches!(s, Standing::Waiting { .. } | Standing::Due)
    }),
    ("healed, not verified", Tone::Good, |s| {
        matches!(s, Standing::Unverified { .. })
    }),
];

fn section(out: &mut String, paint: Paint, title: &str, rows: Vec<Row>) {
    if !rows.is_empty() {
        let title = paint.text(Tone::Strong, title);
        out.push_str(&format!("\n{title}\n{}", paint.columns("  ", &rows)));
    }
}

/// The JSON, member by member; `docs/operations.md` has the same table.
#[derive(Serialize)]
struct Shape<'a> {
    version: u32,
    at: String,
    host: &'a str,
    known: usize,
    breakers: Vec<OpenShape<'a>>,
    in_flight: Vec<RunShape<'a>>,
    waiting: Vec<WaitShape<'a>>,
    unverified: Vec<HealedShape<'a>>,
    pauses: Option<Vec<PauseShape<'a>>>,
    storm: Option<StormShape>,
    pages: Pages,
    damaged: &'a [String],
    problems: Vec<&'a str>,
}

#[derive(Serialize)]
struct Who<'a> {
    alertname: &'a str,
    instance: &'a str,
    key: &'a str,
}

#[derive(Serialize)]
struct OpenShape<'a> {
    #[serde(flatten)]
    who: Who<'a>,
    reason: &'static str,
    since: String,
    until: Option<String>,
    paged: bool,
}

#[derive(Serialize)]
struct RunShape<'a> {
    #[serde(flatten)]
    who: Who<'a>,
    run_id: &'a str,
    attempt: u32,
    since: String,
    deadline: String,
    pid: i32,
    supervised: bool,
}

#[derive(Serialize)]
struct WaitShape<'a> {
    #[serde(flatten)]
    who: Who<'a>,
    why: &'static str,
    failures: usize,
    since: Option<String>,
    until: Option<String>,
    pid: Option<i32>,
}

#[derive(Serialize)]
struct HealedShape<'a> {
    #[serde(flatten)]
    who: Who<'a>,
    healed: String,
    settles: Option<String>,
    ineffective: u32,
    half_open: bool,
}

#[derive(Serialize)]
struct PauseShape<'a> {
    alertname: Option<&'a str>,
    instance: Option<&'a str>,
    from: String,
    until: String,
    who: &'a str,
    why: &'a str,
}

#[derive(Serialize)]
struct StormShape {
    since: String,
    until: String,
}

/// The format of the JSON; another number where a member changes its meaning.
const VERSION: u32 = 1;

fn shape(status: &Status) -> Shape<'_> {
    let mut shape = Shape {
        version: VERSION,
        at: rfc3339(status.at),
        host: &status.host,
        known: status.known,
        breakers: Vec::new(),
        in_flight: Vec::new(),
        waiting: Vec::new(),
        unverified: Vec::new(),
        pauses: status.pauses.as_ref().ok().map(|all| {
            let pauses = all.iter().map(|pause| PauseShape {
                alertname: pause.scope.alertname.as_ref().map(|name| name.as_str()),
                instance: pause.scope.instance.as_deref(),
                from: rfc3339(pause.from),
                until: rfc3339(pause.until),
                who: &pause.who,
                why: &pause.why,
            });
            pauses.collect()
        }),
        storm: status.storm.map(|storm| StormShape {
            since: rfc3339(storm.since),
            until: rfc3339(storm.until),
        }),
        pages: status.pages,
        damaged: &status.damaged,
        problems: status.problems.iter().map(String::as_str).collect(),
    };
    shape
        .problems
        .extend(status.pauses.as_ref().err().map(String::as_str));
    for line in &status.alerts {
        shape.add(line);
    }
    shape
}

impl<'a> Shape<'a> {
    fn add(&mut self, line: &'a Line) {
        let who = Who {
            alertname: &line.alertname,
            instance: &line.instance,
            key: &line.key,
        };
        match &line.standing {
            Standing::Quiet => {}
            Standing::Running => {
                self.in_flight
                    .extend(line.run.as_ref().map(|(run, alive)| RunShape {
                        who,
                        run_id: &run.id,
                        attempt: run.attempt,
                        since: rfc3339(run.started),
                        deadline: rfc3339(run.deadline),
                        pid: run.supervisor.pid,
                        supervised: *alive,
                    }));
            }
            Standing::Open {
                reason,
                since,
                until,
            } => self.breakers.push(OpenShape {
                who,
                reason: reason.as_str(),
                since: rfc3339(*since),
                until: until.map(rfc3339),
                paged: line.paged.is_some(),
            }),
            Standing::Unverified {
                healed,
                settles,
                half_open,
            } => self.unverified.push(HealedShape {
                who,
                healed: rfc3339(*healed),
                settles: settles.map(rfc3339),
                ineffective: line.ineffective,
                half_open: *half_open,
            }),
            Standing::Waiting { what, until } => self.waiting.push(WaitShape {
                who,
                why: wait_word(*what),
                failures: line.failures,
                since: match what {
                    Wait::Pause(since) => Some(rfc3339(*since)),
                    _ => None,
                },
                until: until.map(rfc3339),
                pid: match what {
                    Wait::Survivor(process) => Some(process.pid),
                    _ => None,
                },
            }),
            Standing::Due => self.waiting.push(WaitShape {
                who,
                why: "repeat",
                failures: line.failures,
                since: None,
                until: None,
                pid: None,
            }),
        }
    }
}

fn wait_word(what: Wait) -> &'static str {
    match what {
        Wait::RetryDelay => "retry-delay",
        Wait::Damaged => "damaged",
        Wait::Survivor(_) => "survivor",
        Wait::Pause(_) => "pause",
    }
}
