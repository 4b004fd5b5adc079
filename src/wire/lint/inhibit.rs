//! Inhibition of the alerts that self-heal gets. Rules that touch only some of them, or perhaps, are left alone.

use std::time::Duration;

use super::kinds::{INHIBIT_ALL, INHIBIT_EMPTY, INHIBIT_INSTANCE, INHIBIT_LATE, INHIBIT_SELF};
use super::matchers::{self, Matcher, demand, follow};
use super::rules::Alert;
use super::yaml::Node;
use super::{Report, named};
use crate::wire::duration::show;
use crate::wire::quote::quote;

/// Rules beyond these are not looked at.
const MOST: usize = 500;

/// Labels that every alert has, or whose absence has a finding of its own.
const USUAL: [&str; 3] = ["alertname", "instance", "job"];

pub(super) fn lint(
    root: &Node,
    targets: &[Vec<Matcher>],
    alerts: &[Alert<'_>],
    report: &mut Report<'_>,
) {
    for node in root.items("inhibit_rules").iter().take(MOST) {
        let Some(rule) = read(node) else { continue };
        let touched: Vec<&Vec<Matcher>> = targets
            .iter()
            .filter(|facts| follow(&rule.target, facts) == Some(true))
            .collect();
        if !touched.is_empty() {
            rule.lint(&touched, alerts, report);
        }
    }
}

struct Rule<'a> {
    line: usize,
    /// Where `equal` is.
    place: usize,
    source: Vec<Matcher>,
    target: Vec<Matcher>,
    equal: Vec<&'a str>,
}

/// `None` for what cannot be told: `sources` (0.32), several that have to be there at once.
fn read(node: &Node) -> Option<Rule<'_>> {
    if node.get("sources").is_some() {
        return None;
    }
    Some(Rule {
        line: node.line,
        place: node.get("equal").map_or(node.line, |entry| entry.line),
        source: matchers::of(node, "source_match", "source_match_re", "source_matchers")?,
        target: matchers::of(node, "target_match", "target_match_re", "target_matchers")?,
        equal: node
            .items("equal")
            .iter()
            .filter_map(|n| n.text())
            .collect(),
    })
}

impl Rule<'_> {
    fn lint(&self, targets: &[&Vec<Matcher>], alerts: &[Alert<'_>], report: &mut Report<'_>) {
        let same = follow(&self.target, &self.source) == Some(true)
            && follow(&self.source, &self.target) == Some(true);
        if same {
            let what = "source and target are the same".to_owned();
            report.add(&INHIBIT_SELF, self.line, what);
            return;
        }
        match self.equal.as_slice() {
            [] => {
                let what = "an inhibition of alerts to heal".to_owned();
                report.add(&INHIBIT_ALL, self.line, what);
            }
            equal => self.equal(equal, targets, report),
        }
        self.late(targets, alerts, report);
    }

    fn equal(&self, equal: &[&str], targets: &[&Vec<Matcher>], report: &mut Report<'_>) {
        if equal.contains(&"instance") && !equal.contains(&"job") && self.is_between_alerts() {
            let what = format!("equal: [{}]", equal.join(", "));
            report.add(
                &INHIBIT_INSTANCE,
                self.place,
                crate::wire::quote::printable(&what),
            );
        }
        for label in equal.iter().filter(|label| !USUAL.contains(label)) {
            let there = demand(label, &self.source)
                || demand(label, &self.target)
                || targets.iter().all(|facts| demand(label, facts));
            if !there {
                let what = format!("label {} may be missing on both sides", quote(label));
                let mend = format!("write '{label}!=\"\"' among the matchers of one side");
                report.mend(
                    &INHIBIT_EMPTY,
                    self.place,
                    what,
                    crate::wire::quote::printable(&mend),
                );
            }
        }
    }

    /// Whether one alert inhibits others, not one severity of an alert the next.
    fn is_between_alerts(&self) -> bool {
        let name = |side: &[Matcher]| {
            side.iter()
                .find(|matcher| matcher.label == "alertname")
                .cloned()
        };
        let source = name(&self.source);
        source.is_some() && source != name(&self.target) && !self.equal.contains(&"alertname")
    }

    /// Whether the inhibiting alerts fire sooner than those they are for.
    fn late(&self, targets: &[&Vec<Matcher>], alerts: &[Alert<'_>], report: &mut Report<'_>) {
        if !self.is_between_alerts() {
            return;
        }
        let surely =
            |side: &[Matcher], alert: &Alert<'_>| follow(side, &alert.facts()) == Some(true);
        let Some(source) = alerts
            .iter()
            .filter(|alert| surely(&self.source_labels(), alert))
            .max_by_key(|alert| pending(alert))
        else {
            return;
        };
        let late: Vec<&str> = alerts
            .iter()
            .filter(|alert| {
                let ours = targets.iter().any(|facts| surely(facts, alert));
                ours && surely(&self.target_labels(), alert) && pending(alert) <= pending(source)
            })
            .map(|alert| alert.name)
            .collect();
        if !late.is_empty() && !late.contains(&source.name) {
            let what = format!(
                "{} has `for` {}, and {} has no longer one",
                quote(source.name),
                show(pending(source)),
                named(late.into_iter())
            );
            report.add(&INHIBIT_LATE, self.line, what);
        }
    }

    /// A rule's file does not show the labels that its series bring: what only asks for one to be there is left out.
    fn source_labels(&self) -> Vec<Matcher> {
        without_presence(&self.source)
    }

    fn target_labels(&self) -> Vec<Matcher> {
        without_presence(&self.target)
    }
}

fn without_presence(side: &[Matcher]) -> Vec<Matcher> {
    side.iter()
        .filter(|matcher| !(matcher.op == matchers::Op::IsNot && matcher.value.is_empty()))
        .cloned()
        .collect()
}

fn pending(alert: &Alert<'_>) -> Duration {
    alert.pending.unwrap_or(Duration::ZERO)
}
