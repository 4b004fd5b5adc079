//! One rule whose alert is to be healed: whether it can be, and whether a heal can be told from none.

use std::time::Duration;

use super::alertmanager::Reaches;
use super::kinds::{
    CHANGING_LABEL, FOR_SHORT, KEEP_FIRING, LONG_WINDOW, NO_FOR, NO_HANDLER, NO_INSTANCE,
    NO_SUMMARY, NOT_ROUTED, SELF_HEALING, UNSAFE_NAME,
};
use super::promql::{Expression, Instance};
use super::rules::Alert;
use super::{Context, Report, nearest};
use crate::judge::AlertName;
use crate::wire::duration::show;
use crate::wire::quote::{printable, quote};

/// A scrape gap, a restart or an upgrade is over before that.
const LEAST: Duration = Duration::from_secs(120);

/// Whether the alert is to be healed; if it is, what is wrong with its rule.
pub(super) fn lint(
    alert: &Alert<'_>,
    expression: &Expression<'_>,
    reaches: Reaches,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> bool {
    let labelled = alert.label("heal") == Some("true");
    if labelled && reaches == Reaches::Never {
        report.add(&NOT_ROUTED, alert.line, subject(alert));
    }
    let healed = reaches == Reaches::Surely || (labelled && reaches == Reaches::Perhaps);
    if !healed {
        return labelled;
    }
    if alert.is_about_the_healer(expression) {
        report.add(&SELF_HEALING, alert.line, subject(alert));
        return true;
    }
    name(alert, context, report);
    times(alert, expression, context, report);
    labels(alert, expression, report);
    true
}

fn subject(alert: &Alert<'_>) -> String {
    format!("alert {}", quote(alert.name))
}

fn name(alert: &Alert<'_>, context: &Context<'_>, report: &mut Report<'_>) {
    if AlertName::new(alert.name).is_none() {
        report.add(&UNSAFE_NAME, alert.line, subject(alert));
        return;
    }
    let Some(handlers) = &context.handlers else {
        return;
    };
    if handlers.iter().any(|handler| handler.name == alert.name) {
        return;
    }
    let names = handlers.iter().map(|handler| handler.name.as_str());
    match nearest(alert.name, names) {
        Some(other) => {
            let mend = format!("did you mean {}?", quote(other));
            report.mend(&NO_HANDLER, alert.line, subject(alert), mend);
        }
        None => report.add(&NO_HANDLER, alert.line, subject(alert)),
    }
}

fn times(
    alert: &Alert<'_>,
    expression: &Expression<'_>,
    context: &Context<'_>,
    report: &mut Report<'_>,
) {
    let pending = alert.pending.unwrap_or(Duration::ZERO);
    let line = alert.pending_line.unwrap_or(alert.line);
    if pending.is_zero() {
        report.add(&NO_FOR, line, subject(alert));
    } else if pending < LEAST {
        let what = format!("{} has `for` {}", subject(alert), show(pending));
        report.add(&FOR_SHORT, line, what);
    }
    let settle = context.limits(alert.name).settle;
    if settle.is_zero() {
        return;
    }
    if let Some((keeps, line)) = alert.keeps
        && keeps >= settle
    {
        let what = format!(
            "{} keeps firing for {}, its settle time is {}",
            subject(alert),
            show(keeps),
            show(settle)
        );
        report.add(&KEEP_FIRING, line, what);
    }
    if let Some(window) = expression.window
        && window > settle
    {
        let what = format!(
            "{} looks back {}, its settle time is {}",
            subject(alert),
            show(window),
            show(settle)
        );
        report.add(&LONG_WINDOW, alert.expr_line, what);
    }
}

fn labels(alert: &Alert<'_>, expression: &Expression<'_>, report: &mut Report<'_>) {
    for (label, entry) in &alert.labels {
        if entry.node.text().is_some_and(is_changing) {
            let what = format!("label {} of {}", quote(label), subject(alert));
            report.add(&CHANGING_LABEL, entry.line, what);
        }
    }
    if expression.instance == Instance::Dropped && alert.label("instance").is_none() {
        report.add(&NO_INSTANCE, alert.expr_line, printable(&subject(alert)));
    }
    if !alert.annotated {
        report.add(&NO_SUMMARY, alert.line, subject(alert));
    }
}

/// Whether a template prints the value, or the time.
fn is_changing(text: &str) -> bool {
    text.split("{{").skip(1).any(|rest| {
        let inside = rest.split("}}").next().unwrap_or("");
        let inside = inside.trim_start();
        let chooses = ["if ", "- if ", "else if "];
        // `{{ if gt $value 10.0 }}` chooses between words: that changes rarely.
        !chooses.iter().any(|word| inside.starts_with(word))
            && inside
                .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '$' | '.' | '_')))
                .any(|word| matches!(word, "$value" | ".Value" | "now"))
    })
}
