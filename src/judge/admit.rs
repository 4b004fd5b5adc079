//! The gates that need no record: what the sender wrote, the allow-list, the handler, the operator.

use super::alert::{Alert, AlertName, Status};
use super::allowlist::AllowList;
use super::verdict::Verdict;

/// What the machine found in place of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// There is none.
    Missing,
    /// There is one that must not be run, and why.
    Unsafe(String),
    /// There is one that may be run.
    Ready,
}

/// What an operator wants of this alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Heal it.
    Act,
    /// Leave it to the operator.
    Paused,
    /// Judge it and run nothing.
    Observe,
}

/// Past every gate, or stopped at one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The sender says it is over: only its record is touched.
    Resolved,
    /// Stopped: the verdict, and the gate's reason for a person.
    Stopped(Verdict, String),
    /// To be judged by its record.
    Candidate(AlertName),
}

/// Takes an alert through the gates in the order of the documentation. `handler` is asked only for a safe name
/// on an allowed instance.
pub fn admit(
    alert: &Alert,
    allowed: &AllowList,
    handler: impl FnOnce(&AlertName) -> Handler,
    stance: Stance,
) -> Admission {
    if alert.status == Status::Resolved {
        return Admission::Resolved;
    }
    let Some(name) = AlertName::new(alert.name()) else {
        let why = if alert.name().is_empty() {
            "the alert has no label alertname"
        } else {
            "the alertname is not a safe file name ([A-Za-z0-9_][A-Za-z0-9_.-]*, at most 128)"
        };
        return Admission::Stopped(Verdict::NoHandler, why.to_owned());
    };
    if alert.instance().is_empty() {
        let why = "the alert has no label instance".to_owned();
        return Admission::Stopped(Verdict::NotAllowed, why);
    }
    if allowed.admits(alert.instance(), name.as_str()).is_none() {
        let why = "the instance is not on the allow-list".to_owned();
        return Admission::Stopped(Verdict::NotAllowed, why);
    }
    match handler(&name) {
        Handler::Missing => {
            let why = "no handler of that name".to_owned();
            return Admission::Stopped(Verdict::NoHandler, why);
        }
        Handler::Unsafe(why) => return Admission::Stopped(Verdict::UnsafeHandler, why),
        Handler::Ready => {}
    }
    match stance {
        Stance::Act => Admission::Candidate(name),
        Stance::Paused => {
            Admission::Stopped(Verdict::Paused, "an operator paused healing".to_owned())
        }
        Stance::Observe => {
            Admission::Stopped(Verdict::Observed, "observing: nothing is run".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn alert(labels: &[(&str, &str)], status: Status) -> Alert {
        Alert {
            status,
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            annotations: BTreeMap::new(),
            starts_at: None,
            ends_at: None,
            generator_url: String::new(),
            fingerprint: None,
        }
    }

    fn verdict(labels: &[(&str, &str)], handler: Handler, stance: Stance) -> Option<Verdict> {
        let list = AllowList::parse("web-1\n");
        match admit(&alert(labels, Status::Firing), &list, |_| handler, stance) {
            Admission::Stopped(verdict, why) => {
                assert!(!why.is_empty());
                Some(verdict)
            }
            Admission::Candidate(_) => None,
            Admission::Resolved => Some(Verdict::Resolved),
        }
    }

    type Case = (
        &'static [(&'static str, &'static str)],
        Handler,
        Stance,
        Option<Verdict>,
    );

    #[test]
    fn the_gates_stand_in_this_order() {
        const GOOD: &[(&str, &str)] = &[("alertname", "A"), ("instance", "web-1:9100")];
        let unsafe_ = || Handler::Unsafe("mode 0777".into());
        let cases: [Case; 9] = [
            (GOOD, Handler::Ready, Stance::Act, None),
            (GOOD, Handler::Ready, Stance::Paused, Some(Verdict::Paused)),
            (
                GOOD,
                Handler::Ready,
                Stance::Observe,
                Some(Verdict::Observed),
            ),
            (
                GOOD,
                unsafe_(),
                Stance::Paused,
                Some(Verdict::UnsafeHandler),
            ),
            (
                GOOD,
                Handler::Missing,
                Stance::Paused,
                Some(Verdict::NoHandler),
            ),
            (
                &[("alertname", "A")],
                unsafe_(),
                Stance::Act,
                Some(Verdict::NotAllowed),
            ),
            (
                &[("alertname", "A"), ("instance", "web-10")],
                unsafe_(),
                Stance::Act,
                Some(Verdict::NotAllowed),
            ),
            (
                &[("instance", "web-10")],
                unsafe_(),
                Stance::Act,
                Some(Verdict::NoHandler),
            ),
            (
                &[("alertname", "../A"), ("instance", "web-1")],
                Handler::Ready,
                Stance::Act,
                Some(Verdict::NoHandler),
            ),
        ];
        for (labels, handler, stance, want) in cases {
            assert_eq!(verdict(labels, handler, stance), want, "{labels:?}");
        }
    }

    #[test]
    fn a_resolved_alert_meets_no_gate() {
        let none = AllowList::parse("");
        let seen = admit(
            &alert(&[], Status::Resolved),
            &none,
            |_| Handler::Unsafe(String::new()),
            Stance::Paused,
        );
        assert_eq!(seen, Admission::Resolved);
    }
}
