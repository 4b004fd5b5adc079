//! The times of a route to self-heal, against the healer's own and the rules'.

use std::time::Duration;

use super::kinds::{
    ATTEMPTS_APART, GROUP_BY, GROUP_INTERVAL, GROUP_WAIT, LOCK_WAIT, REPEAT_LOST, REPEAT_ROUNDED,
    REPEAT_SETTLE, REPEAT_SHORT, RETRY_DELAY, SETTLE_SHORT, SLOW_VERDICT,
};
use super::matchers::{Matcher, follow};
use super::routes::{GroupBy, Route, Setting, Tree};
use super::rules::Alert;
use super::{Context, Limits, Report, named};
use crate::wire::duration::show;

/// notify.MinTimeout: a request may last that long however short group_interval is.
const SHORTEST_REQUEST: Duration = Duration::from_secs(10);

/// A person would have begun to mend it by then.
const LONG_WAIT: Duration = Duration::from_secs(5 * 60);

/// Where a time of the route is to be mended.
pub(super) struct Place<'a> {
    pub(super) tree: &'a Tree,
    pub(super) index: usize,
    pub(super) healing: &'a [usize],
}

impl Place<'_> {
    fn of<T>(&self, setting: &Setting<T>) -> usize {
        self.tree.place(setting, self.index, self.healing)
    }

    /// Whether this alert surely comes by the route.
    fn surely_gets(&self, alert: &Alert<'_>) -> bool {
        let hits = self.tree.reach(&alert.facts()).unwrap_or_default();
        hits.iter().any(|hit| hit.route == self.index && hit.sure)
    }
}

pub(super) fn lint(
    route: &Route,
    place: &Place<'_>,
    facts: &[Matcher],
    alerts: &[Alert<'_>],
    context: &Context<'_>,
    report: &mut Report<'_>,
) {
    let times = Times {
        route,
        place,
        context,
        limits: limits(facts, context),
        interval: route.group_interval.value,
        repeat: route.repeat_interval.value,
    };
    times.group(report);
    times.interval(report);
    times.rules(alerts, report);
    times.repeat(report);
    times.attempts(report);
}

/// The limits of the alerts that may be in a route, each with its handler's name.
fn limits<'c>(facts: &[Matcher], context: &'c Context<'_>) -> Vec<(&'c str, Limits)> {
    let about: Vec<Matcher> = facts
        .iter()
        .filter(|fact| fact.label == "alertname")
        .cloned()
        .collect();
    let handlers = context.handlers.as_deref().unwrap_or(&[]).iter();
    let here: Vec<(&str, Limits)> = handlers
        .filter(|handler| follow(&about, &[Matcher::is("alertname", &handler.name)]) != Some(false))
        .map(|handler| (handler.name.as_str(), handler.limits))
        .collect();
    if here.is_empty() {
        return vec![("", context.usual)];
    }
    here
}

struct Times<'a> {
    route: &'a Route,
    place: &'a Place<'a>,
    context: &'a Context<'a>,
    limits: Vec<(&'a str, Limits)>,
    interval: Duration,
    repeat: Duration,
}

impl Times<'_> {
    /// Those whose limits are so: the number that is the same for all of them, or the largest, and whose they are.
    fn those(&self, bad: impl Fn(&Limits) -> Option<Duration>) -> Option<(Duration, String)> {
        let hit: Vec<(&str, Duration)> = self
            .limits
            .iter()
            .filter_map(|(name, limits)| Some((*name, bad(limits)?)))
            .collect();
        let worst = hit.iter().map(|(_, span)| *span).max()?;
        let whose = match hit.len() == self.limits.len() {
            true => String::new(),
            false => format!(" of {}", named(hit.iter().map(|(name, _)| *name))),
        };
        Some((worst, whose))
    }

    fn group(&self, report: &mut Report<'_>) {
        let by = &self.route.group_by;
        if let GroupBy::Labels(labels) = &by.value
            && !by.value.keeps("instance")
        {
            let what = match labels.as_slice() {
                [] => "no group_by: all alerts of the route are one group".to_owned(),
                labels => format!("group_by {}", named(labels.iter().map(String::as_str))),
            };
            report.add(&GROUP_BY, self.place.of(by), what);
        }
        let wait = &self.route.group_wait;
        if wait.value >= LONG_WAIT {
            let what = format!("group_wait {}", show(wait.value));
            report.add(&GROUP_WAIT, self.place.of(wait), what);
        }
    }

    /// How long one request may last (dispatch.go `run`, `timeoutFunc`), its peers' wait apart.
    fn request(&self) -> Duration {
        self.interval.max(SHORTEST_REQUEST)
    }

    fn interval(&self, report: &mut Report<'_>) {
        let line = self.place.of(&self.route.group_interval);
        let late = self.request().saturating_add(self.context.peers_wait);
        let short = |limits: &Limits| {
            let short = !limits.settle.is_zero() && limits.settle <= late;
            short.then_some(limits.settle)
        };
        if let Some((settle, whose)) = self.those(short) {
            let what = format!(
                "settle time {}{whose}, group_interval {} and peers' wait {}",
                show(settle),
                show(self.interval),
                show(self.context.peers_wait)
            );
            report.add(&SETTLE_SHORT, line, what);
        }
        if self.context.lock_wait >= self.request() {
            let what = format!(
                "HEAL_LOCK_WAIT {}, and a request lasts {} at most",
                show(self.context.lock_wait),
                show(self.request())
            );
            report.add(&LOCK_WAIT, line, what);
        }
        let long =
            |limits: &Limits| (limits.retry_delay > self.interval).then_some(limits.retry_delay);
        if let Some((delay, whose)) = self.those(long) {
            let what = format!(
                "retry delay {}{whose}, group_interval {}",
                show(delay),
                show(self.interval)
            );
            report.add(&RETRY_DELAY, line, what);
        }
    }

    /// Against the `for` of the rules whose alerts surely come here.
    fn rules(&self, alerts: &[Alert<'_>], report: &mut Report<'_>) {
        let longer = |alert: &&Alert<'_>| {
            let pending = alert
                .pending
                .is_some_and(|pending| !pending.is_zero() && pending < self.interval);
            pending && self.place.surely_gets(alert)
        };
        let hit: Vec<&Alert<'_>> = alerts.iter().filter(longer).collect();
        let Some(shortest) = hit.iter().filter_map(|alert| alert.pending).min() else {
            return;
        };
        let what = format!(
            "group_interval {}, and `for` from {} in {}",
            show(self.interval),
            show(shortest),
            named(hit.iter().map(|alert| alert.name))
        );
        let mend = format!(
            "write a group_interval of {} at most, such as 1m",
            show(shortest)
        );
        let line = self.place.of(&self.route.group_interval);
        report.mend(&GROUP_INTERVAL, line, what, mend);
    }

    fn repeat(&self, report: &mut Report<'_>) {
        let line = self.place.of(&self.route.repeat_interval);
        let both = format!(
            "repeat_interval {}, group_interval {}",
            show(self.repeat),
            show(self.interval)
        );
        // nflog entries live for twice the repeat_interval.
        if self.interval > self.repeat.saturating_mul(2) {
            report.add(&REPEAT_LOST, line, both);
            return;
        }
        if self.repeat < self.interval {
            report.add(&REPEAT_SHORT, line, both);
            return;
        }
        let (repeat, interval) = (self.repeat.as_millis(), self.interval.as_millis());
        if interval > 0 && repeat % interval != 0 {
            report.add(&REPEAT_ROUNDED, line, both);
        }
        let early = |limits: &Limits| (self.repeat < limits.settle).then_some(limits.settle);
        if let Some((settle, whose)) = self.those(early) {
            let what = format!(
                "repeat_interval {}, settle time {}{whose}",
                show(self.repeat),
                show(settle)
            );
            report.add(&REPEAT_SETTLE, line, what);
        }
    }

    fn attempts(&self, report: &mut Report<'_>) {
        let line = self.place.of(&self.route.repeat_interval);
        let window = self.context.attempt_window;
        let step = self.repeat.max(self.interval);
        let slow = |limits: &Limits| {
            let whole = step.saturating_mul(limits.max_attempts);
            (!limits.settle.is_zero() && whole > window).then_some(whole)
        };
        if let Some((whole, whose)) = self.those(slow) {
            let what = format!(
                "repeat_interval {} lets heals without effect{whose} go on for {}, longer than {}",
                show(self.repeat),
                show(whole),
                show(window)
            );
            report.add(&SLOW_VERDICT, line, what);
        }
        let apart = |limits: &Limits| {
            let whole = step.saturating_mul(limits.max_attempts.saturating_sub(1));
            (self.context.unsettled_status == 200 && whole > window).then_some(whole)
        };
        if let Some((whole, whose)) = self.those(apart) {
            let what = format!(
                "the attempts{whose} are {} apart, HEAL_ATTEMPT_WINDOW is {}",
                show(whole),
                show(window)
            );
            report.add(&ATTEMPTS_APART, line, what);
        }
    }
}
