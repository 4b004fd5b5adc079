//! Files of Prometheus' rules: the alerts in them, and what is missing among them.

use std::time::Duration;

use super::alertmanager::{Reaches, Routing};
use super::kinds::{HANDLER_UNUSED, HEALER_UNWATCHED, STATE_UNWATCHED};
use super::matchers::{self, Matcher, Op, like};
use super::promql::{self, Expression};
use super::yaml::{Document, Entry, Node};
use super::{Context, Report, alerts, span};
use crate::wire::finding::Finding;
use crate::wire::quote::quote;

/// A rule that raises an alert.
#[derive(Debug)]
pub(super) struct Alert<'a> {
    pub(super) file: &'a str,
    pub(super) name: &'a str,
    pub(super) line: usize,
    pub(super) expr: &'a str,
    pub(super) expr_line: usize,
    /// `for`.
    pub(super) pending: Option<Duration>,
    pub(super) pending_line: Option<usize>,
    pub(super) keeps: Option<(Duration, usize)>,
    /// Those of its group and its own.
    pub(super) labels: Vec<(&'a str, &'a Entry)>,
    pub(super) annotated: bool,
}

impl Alert<'_> {
    /// What is known of the alerts it raises: labels whose value is written out.
    pub(super) fn facts(&self) -> Vec<Matcher> {
        let mut facts = vec![Matcher::is("alertname", self.name)];
        for (label, entry) in &self.labels {
            if let Some(value) = entry.node.text()
                && !value.contains("{{")
            {
                facts.push(Matcher::is(label, value));
            }
        }
        facts
    }

    pub(super) fn label(&self, name: &str) -> Option<&str> {
        let (_, entry) = self.labels.iter().find(|(label, _)| *label == name)?;
        entry.node.text()
    }

    /// Whether it is about self-heal itself.
    pub(super) fn is_about_the_healer(&self, expression: &Expression<'_>) -> bool {
        expression.metrics.iter().any(|(name, braces)| {
            name.starts_with("self_heal_") || (*name == "up" && picks_healer(braces))
        })
    }
}

/// The alerts of a file; `None` if it is no file of rules. A PrometheusRule of Kubernetes has them below `spec`.
pub(super) fn read<'a>(document: &'a Document, file: &'a str) -> Option<Vec<Alert<'a>>> {
    let root: &Node = &document.root;
    let holder = match root.get("spec") {
        Some(spec) => &spec.node,
        None => root,
    };
    // An empty list of groups is a file of rules all the same.
    holder.map()?.get("groups")?;
    let mut found = Vec::new();
    for group in holder.items("groups") {
        for rule in group.items("rules") {
            found.extend(alert(rule, group, file));
        }
    }
    Some(found)
}

fn alert<'a>(rule: &'a Node, group: &'a Node, file: &'a str) -> Option<Alert<'a>> {
    let name = rule.get("alert")?;
    let time = |key: &str| {
        let entry = rule.get(key)?;
        Some((span::prometheus(entry.node.text()?)?, entry.line))
    };
    let own = rule.get("labels").and_then(|entry| entry.node.map());
    let shared = group.get("labels").and_then(|entry| entry.node.map());
    let mut labels: Vec<(&str, &Entry)> = Vec::new();
    for map in [own, shared].into_iter().flatten() {
        for (label, entry) in map {
            if labels.iter().all(|(known, _)| known != label) {
                labels.push((label, entry));
            }
        }
    }
    let expr = rule.get("expr");
    let pending = time("for");
    Some(Alert {
        file,
        name: name.node.text()?,
        line: name.line,
        expr: expr.and_then(|entry| entry.node.text()).unwrap_or(""),
        expr_line: expr.map_or(name.line, |entry| entry.line),
        pending: pending.map(|(span, _)| span),
        pending_line: pending.map(|(_, line)| line),
        keeps: time("keep_firing_for"),
        labels,
        annotated: rule.get("annotations").is_some(),
    })
}

/// Whether a selector of `up`, by what is in its braces, may be the healer's. Its job's name is not known.
fn picks_healer(braces: &str) -> bool {
    let Some(matchers) = matchers::parse(braces) else {
        return false;
    };
    let fits = |matcher: &Matcher| match matcher.op {
        Op::Is => matcher.value.contains("heal"),
        Op::Like => {
            matcher.value.contains("heal") || like(&matcher.value, "self-heal") == Some(true)
        }
        Op::IsNot | Op::Unlike => true,
    };
    let mut jobs = matchers.iter().filter(|matcher| matcher.label == "job");
    let named = jobs.clone().any(|matcher| matcher.value.contains("heal"));
    named && jobs.all(fits)
}

/// Whether an expression fires when the healer is gone.
fn watches_healer(expression: &Expression<'_>, expr: &str, port: u16) -> bool {
    expression.metrics.iter().any(|(name, braces)| {
        if name.starts_with("self_heal_") {
            return expr.contains("absent");
        }
        let Some(matchers) = matchers::parse(braces).filter(|_| *name == "up") else {
            return false;
        };
        let mut about = matchers
            .iter()
            .filter(|matcher| matcher.label != "instance");
        let by_port = braces.contains(&format!(":{port}\""));
        // `up == 0` of everything is the healer's too.
        by_port || about.all(|matcher| matcher.label != "job" || matcher_may_pick(matcher))
    })
}

fn matcher_may_pick(matcher: &Matcher) -> bool {
    match matcher.op {
        Op::Is => matcher.value.contains("heal"),
        _ => matcher.passes("self-heal") != Some(false),
    }
}

/// The files that were given, together.
pub(super) struct Files<'a> {
    /// The name of the first; `None` where there is none, or not every one could be read.
    pub(super) first: Option<&'a str>,
    pub(super) alerts: &'a [Alert<'a>],
}

/// Everything about the rules, where alerts go being known or not.
pub(super) fn lint(
    files: &Files<'_>,
    routing: Option<&Routing>,
    context: &Context<'_>,
    findings: &mut Vec<Finding>,
) {
    let mut seen = Seen::default();
    for alert in files.alerts {
        let expression = promql::read(alert.expr);
        seen.look(alert, &expression, context);
        let reaches = match routing {
            Some(routing) => routing.reaches(&alert.facts()),
            None => Reaches::Perhaps,
        };
        let mut report = Report::new(alert.file, findings);
        if alerts::lint(alert, &expression, reaches, context, &mut report) {
            seen.healed.push(alert.name);
        }
    }
    if let Some(first) = files.first {
        seen.missing(context, &mut Report::new(first, findings));
    }
}

/// What of all that should be there was seen.
#[derive(Default)]
struct Seen<'a> {
    healed: Vec<&'a str>,
    healer: bool,
    breakers: bool,
    pages: bool,
}

impl Seen<'_> {
    fn look(&mut self, alert: &Alert<'_>, expression: &Expression<'_>, context: &Context<'_>) {
        let names = |metric: &str| expression.metrics.iter().any(|(name, _)| *name == metric);
        self.healer |= watches_healer(expression, alert.expr, context.port);
        self.breakers |= names("self_heal_breakers_open");
        self.pages |= names("self_heal_escalations_pending");
    }

    fn missing(&self, context: &Context<'_>, report: &mut Report<'_>) {
        if !self.healer {
            let what = "no alert of these files is about up{job=\"self-heal\"}".to_owned();
            report.add(&HEALER_UNWATCHED, 1, what);
        }
        for (seen, metric) in [
            (self.breakers, "self_heal_breakers_open"),
            (self.pages, "self_heal_escalations_pending"),
        ] {
            if !seen {
                let what = format!("no alert of these files is about {metric}");
                report.add(&STATE_UNWATCHED, 1, what);
            }
        }
        for handler in context.handlers.iter().flatten() {
            if !self.healed.contains(&handler.name.as_str()) {
                let what = format!("handler {} has no alert", quote(&handler.name));
                report.add(&HANDLER_UNUSED, 1, what);
            }
        }
    }
}
