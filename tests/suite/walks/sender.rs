//! Alertmanager as its source has it, on a clock that is given: when a group is posted, what the payload
//! says, how a refused one is asked again (v0.25: dispatch/dispatch.go, notify/notify.go,
//! notify/webhook/webhook.go). One alert, one group. On the other side the parser, the gates and the judgement
//! of the library, and a record that goes through its bytes at every step.

use std::time::Duration;

use self_heal::judge::admit::{self, Admission, Handler, Stance};
use self_heal::judge::decision::{decide, look, resolve, settle};
use self_heal::judge::pages;
use self_heal::judge::record::{PageKind, Process, Reason};
use self_heal::judge::{
    Alert, AllowList, Decision, Ending, Limits, Look, Note, Proposal, Record, Run, Time, Verdict,
};
use self_heal::judge::{Ended, Force, Rollback};
use self_heal::wire::records::{self, Copy};
use self_heal::wire::{config, notification, timestamp};

pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;

/// When every walk begins, in milliseconds since 1970, so that payloads look like payloads.
const DAY_ONE: i64 = 1_772_600_400_000;

/// A moment of a walk by our clock.
fn ours(at: i64) -> Time {
    Time(DAY_ONE + at)
}

/// A route's times, in milliseconds.
#[derive(Clone, Copy)]
pub struct Route {
    pub group_wait: i64,
    pub group_interval: i64,
    pub repeat_interval: i64,
}

/// The route of deploy/alertmanager/alertmanager.yml; a test below holds it to that file.
pub const SHIPPED: Route = Route {
    group_wait: 10 * SECOND,
    group_interval: MINUTE,
    repeat_interval: 15 * MINUTE,
};

/// Alertmanager's own defaults.
pub const DEFAULT: Route = Route {
    group_wait: 30 * SECOND,
    group_interval: 5 * MINUTE,
    repeat_interval: 4 * HOUR,
};

/// When the condition holds, in true time.
struct Episode {
    from: i64,
    until: Option<i64>,
}

/// What a handler does this time.
pub struct Act {
    ending: Ending,
    takes: i64,
    cures: Option<i64>,
}

/// Ends with this code after so long, and changes nothing.
pub fn exits(code: i32, takes: i64) -> Act {
    Act {
        ending: Ending::Exit(code),
        takes,
        cures: None,
    }
}

impl Act {
    /// The condition ends so long after the handler.
    pub fn and_cures(mut self, after: i64) -> Act {
        self.cures = Some(after);
        self
    }
}

struct InFlight {
    run: Run,
    ends: i64,
    act: Act,
}

/// What the notification log remembers of the group.
#[derive(Clone, Copy)]
struct Notified {
    firing: bool,
    at: i64,
}

/// The condition, its sender, and the healer's memory.
pub struct World {
    route: Route,
    /// The sender's clock minus ours.
    skew: i64,
    episodes: Vec<Episode>,
    notified: Option<Notified>,
    limits: Limits,
    in_flight: Option<InFlight>,
    pub record: Record,
    /// When handlers were started.
    pub runs: Vec<i64>,
    /// Every post: when, whether firing, the verdict.
    pub posts: Vec<(i64, bool, Verdict)>,
    /// Pages: when, and why; `None` ends one.
    pub pages: Vec<(i64, Option<Reason>)>,
    pub notes: Vec<Note>,
}

impl World {
    pub fn new(route: Route) -> World {
        World {
            route,
            skew: 0,
            episodes: Vec::new(),
            notified: None,
            limits: config::load(None, |_| None).unwrap().limits,
            in_flight: None,
            record: Record::default(),
            runs: Vec::new(),
            posts: Vec::new(),
            pages: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The sender's clock is so far ahead of ours.
    pub fn skewed(mut self, skew: i64) -> World {
        self.skew = skew;
        self
    }

    /// The condition begins; it ends by itself then, unless a handler ends it sooner.
    pub fn fires(&mut self, from: i64, until: Option<i64>) {
        self.episodes.push(Episode { from, until });
    }

    /// Lets the sender do its work until this moment.
    pub fn play(&mut self, end: i64, mut handler: impl FnMut(usize) -> Act) {
        let mut clock = i64::MIN;
        // A group is born with the first alert that fires while there is none.
        while let Some(from) = self.next_firing(clock) {
            let mut tick = (from + self.route.group_wait).max(clock);
            loop {
                if tick >= end {
                    return;
                }
                self.finish(tick);
                let (starts, ended) = self.seen(tick);
                let (done, at) = self.flush(tick, starts, ended, &mut handler);
                if ended.is_some() && done {
                    clock = tick;
                    break;
                }
                tick = at.max(tick + self.route.group_interval);
            }
        }
    }

    /// The verdicts other than `waiting`, each with its moment: `0:10 firing healed`.
    pub fn told(&self) -> Vec<String> {
        let told = self.posts.iter().filter(|post| post.2 != Verdict::Waiting);
        told.map(|(at, firing, verdict)| {
            let (minutes, seconds) = (at / MINUTE, at % MINUTE / SECOND);
            let status = if *firing { "firing" } else { "resolved" };
            format!("{minutes}:{seconds:02} {status} {}", verdict.as_str())
        })
        .collect()
    }

    /// How often this verdict was given.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.posts.iter().filter(|post| post.2 == verdict).count()
    }

    /// Posts a firing alert that began then, outside the sender's own rhythm.
    pub fn post_firing(&mut self, at: i64, starts: i64, act: Act) -> Verdict {
        let body = self.payload(starts, None);
        let mut act = Some(act);
        self.post(&body, at, &mut |_| act.take().unwrap()).0
    }

    /// Posts its end likewise.
    pub fn post_resolved(&mut self, at: i64, starts: i64, ended: i64) -> Verdict {
        let body = self.payload(starts, Some(ended));
        self.post(&body, at, &mut |_| exits(1, 0)).0
    }

    /// Records the end of a run that is over by then.
    pub fn finish(&mut self, now: i64) {
        let Some(InFlight { run, ends, act }) = self.in_flight.take_if(|run| run.ends <= now)
        else {
            return;
        };
        let (next, answer) = settle(
            &self.record,
            &run,
            &Ended::cleanly(act.ending),
            &self.limits,
            ours(ends),
        );
        self.adopt(next, &answer.notes);
        if let Some(after) = act.cures {
            let over = ends + after;
            let open = |e: &&mut Episode| e.from <= ends && e.until.is_none_or(|u| u > over);
            if let Some(episode) = self.episodes.iter_mut().rfind(open) {
                episode.until = Some(over);
            }
        }
    }

    /// When the condition next holds.
    fn next_firing(&self, clock: i64) -> Option<i64> {
        let later = self
            .episodes
            .iter()
            .filter(|e| e.until.is_none_or(|until| until > clock));
        later.map(|e| e.from).min()
    }

    /// The alert as the sender knows it: when it began, and when it ended if it did.
    fn seen(&self, now: i64) -> (i64, Option<i64>) {
        let known = self.episodes.iter().rfind(|e| e.from <= now).unwrap();
        (known.from, known.until.filter(|until| *until <= now))
    }

    /// A tick of the group: posts if there is news or a repeat is due, and asks again until the flush's
    /// deadline with the payload of its beginning. Whether it succeeded, and when it ended.
    fn flush(
        &mut self,
        tick: i64,
        starts: i64,
        ended: Option<i64>,
        handler: &mut dyn FnMut(usize) -> Act,
    ) -> (bool, i64) {
        let firing = ended.is_none();
        let due = match self.notified {
            None => firing,
            Some(last) if firing => !last.firing || last.at < tick - self.route.repeat_interval,
            Some(last) => last.firing,
        };
        if !due {
            return (true, tick);
        }
        let frozen = self.payload(starts, ended);
        let deadline = tick + self.route.group_interval.max(10 * SECOND);
        let mut free = tick;
        for offset in backoff() {
            let at = free.max(tick + offset);
            if at >= deadline {
                break;
            }
            let (verdict, answered) = self.post(&frozen, at, handler);
            if answered > deadline {
                break;
            }
            free = answered;
            if verdict.settled() {
                self.notified = Some(Notified {
                    firing,
                    at: answered,
                });
                return (true, answered);
            }
        }
        (false, deadline)
    }

    /// One POST: the verdict, and when the answer is there.
    fn post(
        &mut self,
        body: &str,
        at: i64,
        handler: &mut dyn FnMut(usize) -> Act,
    ) -> (Verdict, i64) {
        self.finish(at);
        let notification = notification::parse(body.as_bytes()).unwrap();
        let alert = notification.alerts.first().unwrap().alert.clone();
        let allowed = AllowList::parse("edge-07.lan\n");
        let admission = admit::admit(
            &alert,
            &allowed,
            |_| Handler::Ready(Stance::Act),
            |_| Ok(None),
            &mut |_| (),
        );
        let firing = matches!(admission, Admission::Candidate(_));
        let verdict = if firing {
            self.judge(&alert, at, handler)
        } else {
            assert_eq!(admission, Admission::Resolved);
            let (next, answer) = resolve(&self.record, &alert, &self.limits, ours(at));
            self.adopt(next, &answer.notes);
            Some(answer.verdict)
        };
        let (verdict, answered) = match verdict {
            Some(verdict) => (verdict, at),
            None => self.outcome(),
        };
        self.posts.push((at, firing, verdict));
        (verdict, answered)
    }

    /// The verdict, unless a handler was started.
    fn judge(
        &mut self,
        alert: &Alert,
        at: i64,
        handler: &mut dyn FnMut(usize) -> Act,
    ) -> Option<Verdict> {
        if self.in_flight.is_some() {
            return Some(Verdict::Busy); // its own lock is held
        }
        let now = ours(at);
        let (next, seen) = look(&self.record, alert, &self.limits, None, Force::No, now);
        if let Look::Answer(answer) = seen {
            self.adopt(next, &answer.notes);
            return Some(answer.verdict);
        }
        let proposal = Proposal {
            id: &format!("r{}", self.runs.len()),
            timeout: Duration::from_secs(240),
            supervisor: Process::default(),
            interrupted: Rollback::None,
            force: Force::No,
        };
        match decide(&self.record, alert, &self.limits, None, &proposal, now) {
            (next, Decision::Run { run, notes, .. }) => {
                self.adopt(next, &notes);
                self.runs.push(at);
                let act = handler(self.runs.len());
                let ends = at + act.takes;
                self.in_flight = Some(InFlight { run, ends, act });
                None
            }
            (next, Decision::Answer(answer)) => {
                self.adopt(next, &answer.notes);
                Some(answer.verdict)
            }
        }
    }

    /// What the run in flight will come to, for the one who waits for it. It is recorded when it is over: another
    /// post may come in between.
    fn outcome(&self) -> (Verdict, i64) {
        let InFlight { run, ends, act } = self.in_flight.as_ref().unwrap();
        let (_, answer) = settle(
            &self.record,
            run,
            &Ended::cleanly(act.ending),
            &self.limits,
            ours(*ends),
        );
        (answer.verdict, *ends)
    }

    fn adopt(&mut self, next: Record, notes: &[Note]) {
        for page in &next.owed {
            let why = match page.what {
                PageKind::Trigger(reason) => Some(reason),
                PageKind::Resolve(_) => None,
            };
            self.pages.push((page.at.0 - DAY_ONE, why));
        }
        let bytes = records::encode(&pages::struck(&next, &next.owed), "k", 1).unwrap();
        assert!(bytes.len() <= records::SLOT);
        let Copy::Whole { value, .. } = records::decode(&bytes) else {
            panic!("a record does not survive its bytes");
        };
        self.record = value;
        self.notes.extend_from_slice(notes);
    }

    /// The body as Alertmanager 0.25 writes it, by the sender's clock.
    fn payload(&self, starts: i64, ended: Option<i64>) -> String {
        let time = |at: i64| {
            let text = timestamp::rfc3339(ours(at + self.skew));
            // Nanoseconds, as Prometheus' clock has them.
            text.replace('Z', ".123456789Z")
        };
        let status = if ended.is_some() {
            "resolved"
        } else {
            "firing"
        };
        let ends = ended.map_or("0001-01-01T00:00:00Z".to_owned(), time);
        let labels = r#"{"alertname":"EdgeProxyDown","heal":"true","instance":"edge-07.lan:8404","job":"haproxy"}"#;
        let body = format!(
            r#"{{"receiver":"self-heal","status":"{status}","alerts":[{{"status":"{status}","labels":{labels},"annotations":{{"summary":"edge-07 does not answer"}},"startsAt":"{}","endsAt":"{ends}","generatorURL":"http://prom-a.lan:9090/graph?g0.expr=probe_ok+%3D%3D+0\u0026g0.tab=1","fingerprint":"bb7a11b1299d8b7c"}}],"groupLabels":{labels},"commonLabels":{labels},"commonAnnotations":{{"summary":"edge-07 does not answer"}},"externalURL":"http://am-1.lan:9093","version":"4","groupKey":"{{}}/{{heal=\"true\"}}:{{alertname=\"EdgeProxyDown\", heal=\"true\", instance=\"edge-07.lan:8404\", job=\"haproxy\"}}","truncatedAlerts":0}}"#,
            time(starts)
        );
        body + "\n"
    }
}

/// When a flush asks again, from its beginning: the mean of cenkalti/backoff's exponential one, 500 ms at
/// first, half as much again each time, 60 s at most (notify/notify.go, RetryStage).
fn backoff() -> impl Iterator<Item = i64> {
    let mut next = 0;
    let mut step = 500;
    std::iter::from_fn(move || {
        let now = next;
        next += step;
        step = (step * 3 / 2).min(MINUTE);
        Some(now)
    })
}
