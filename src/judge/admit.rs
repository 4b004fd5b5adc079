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
    /// It cannot be told, and why: the machine failed.
    Unknown(String),
    /// There is one that may be run, and what it wants.
    Ready(Stance),
}

/// What is wanted of an alert that may be healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Heal it.
    Act,
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
    /// An operator's pause holds it back, and its words.
    Paused(String),
    /// To be judged by its record, and only told.
    Observed(AlertName),
    /// To be judged by its record.
    Candidate(AlertName),
}

/// A gate that an alert came to, and what it met there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate<'a> {
    /// What the sender says; a resolved one meets no other gate.
    Status(Status),
    /// Whether the alertname is a safe name.
    Name(bool),
    /// Whether there is an instance.
    Instance(bool),
    /// The line of the allow-list that admits it, if one does.
    Allowed(Option<usize>),
    /// What the machine found for a handler.
    Handler(&'a Handler),
    /// The words of the pause in effect, or why it is not known whether there is one.
    Pause(&'a Result<Option<String>, String>),
    /// What is wanted of it, now that nothing stands in its way.
    Stance(Stance),
}

/// Takes an alert through the gates in the order of the documentation. `handler` is asked only for a safe name
/// on an allowed instance, `paused` only where there is a handler: it gives the words of the pause in effect,
/// or why it cannot be known whether there is one. `seen` is told of every gate up to the one that stops it.
pub fn admit(
    alert: &Alert,
    allowed: &AllowList,
    handler: impl FnOnce(&AlertName) -> Handler,
    paused: impl FnOnce(&AlertName) -> Result<Option<String>, String>,
    seen: &mut dyn FnMut(Gate<'_>),
) -> Admission {
    seen(Gate::Status(alert.status));
    if alert.status == Status::Resolved {
        return Admission::Resolved;
    }
    let name = AlertName::new(alert.name());
    seen(Gate::Name(name.is_some()));
    let Some(name) = name else {
        let why = if alert.name().is_empty() {
            "the alert has no label alertname"
        } else {
            "the alertname is not a safe file name ([A-Za-z0-9_][A-Za-z0-9_.-]*, at most 128)"
        };
        return Admission::Stopped(Verdict::NoHandler, why.to_owned());
    };
    let instance = alert.instance();
    seen(Gate::Instance(!instance.is_empty()));
    if instance.is_empty() {
        let why = "the alert has no label instance".to_owned();
        return Admission::Stopped(Verdict::NotAllowed, why);
    }
    let line = allowed.admits(instance, name.as_str());
    seen(Gate::Allowed(line));
    if line.is_none() {
        let why = "the instance is not on the allow-list".to_owned();
        return Admission::Stopped(Verdict::NotAllowed, why);
    }
    let handler = handler(&name);
    seen(Gate::Handler(&handler));
    let stance = match handler {
        Handler::Missing => {
            let why = "no handler of that name".to_owned();
            return Admission::Stopped(Verdict::NoHandler, why);
        }
        Handler::Unsafe(why) => return Admission::Stopped(Verdict::UnsafeHandler, why),
        Handler::Unknown(why) => return Admission::Stopped(Verdict::Error, why),
        Handler::Ready(stance) => stance,
    };
    let paused = paused(&name);
    seen(Gate::Pause(&paused));
    match paused {
        Err(why) => return Admission::Stopped(Verdict::Error, why),
        Ok(Some(words)) => return Admission::Paused(words),
        Ok(None) => {}
    }
    seen(Gate::Stance(stance));
    match stance {
        Stance::Act => Admission::Candidate(name),
        Stance::Observe => Admission::Observed(name),
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

    fn verdict(
        labels: &[(&str, &str)],
        handler: Handler,
        paused: Result<Option<String>, String>,
    ) -> Option<Verdict> {
        let list = AllowList::parse("web-1\n");
        let firing = alert(labels, Status::Firing);
        match admit(&firing, &list, |_| handler, |_| paused, &mut |_| ()) {
            Admission::Stopped(verdict, why) => {
                assert!(!why.is_empty());
                Some(verdict)
            }
            Admission::Paused(words) => {
                assert_eq!(words, "by ann");
                Some(Verdict::Paused)
            }
            Admission::Observed(_) => Some(Verdict::Observed),
            Admission::Candidate(_) => None,
            Admission::Resolved => Some(Verdict::Resolved),
        }
    }

    #[test]
    fn the_gates_stand_in_this_order() {
        const GOOD: &[(&str, &str)] = &[("alertname", "A"), ("instance", "web-1:9100")];
        let unsafe_ = || Handler::Unsafe("mode 0777".into());
        let ready = || Handler::Ready(Stance::Act);
        let observing = || Handler::Ready(Stance::Observe);
        let free = || Ok(None);
        let paused = || Ok(Some("by ann".to_owned()));
        let unknown = || Err("damaged".to_owned());
        for (labels, handler, pause, want) in [
            (GOOD, ready(), free(), None),
            (GOOD, ready(), paused(), Some(Verdict::Paused)),
            (GOOD, ready(), unknown(), Some(Verdict::Error)),
            (GOOD, observing(), free(), Some(Verdict::Observed)),
            (GOOD, observing(), paused(), Some(Verdict::Paused)),
            (GOOD, observing(), unknown(), Some(Verdict::Error)),
            (GOOD, unsafe_(), paused(), Some(Verdict::UnsafeHandler)),
            (GOOD, Handler::Missing, unknown(), Some(Verdict::NoHandler)),
            (
                &[("alertname", "A")],
                unsafe_(),
                free(),
                Some(Verdict::NotAllowed),
            ),
            (
                &[("alertname", "A"), ("instance", "web-10")],
                unsafe_(),
                paused(),
                Some(Verdict::NotAllowed),
            ),
            (
                &[("instance", "web-10")],
                unsafe_(),
                free(),
                Some(Verdict::NoHandler),
            ),
            (
                &[("alertname", "../A"), ("instance", "web-1")],
                ready(),
                free(),
                Some(Verdict::NoHandler),
            ),
        ] {
            assert_eq!(verdict(labels, handler, pause), want, "{labels:?}");
        }
    }

    #[test]
    fn a_resolved_alert_meets_no_gate() {
        let none = AllowList::parse("");
        let seen = admit(
            &alert(&[], Status::Resolved),
            &none,
            |_| Handler::Unsafe(String::new()),
            |_| Err("damaged".to_owned()),
            &mut |gate| assert_eq!(gate, Gate::Status(Status::Resolved)),
        );
        assert_eq!(seen, Admission::Resolved);
    }

    #[test]
    fn who_looks_on_sees_every_gate_up_to_the_one_that_stops_it() {
        let list = AllowList::parse("# who\nweb-1 A\n");
        let firing = alert(&[("alertname", "A"), ("instance", "web-1")], Status::Firing);
        let mut seen = Vec::new();
        let admission = admit(
            &firing,
            &list,
            |_| Handler::Ready(Stance::Observe),
            |_| Ok(None),
            &mut |gate| seen.push(format!("{gate:?}")),
        );
        assert!(matches!(admission, Admission::Observed(_)));
        let gates = [
            "Status(Firing)",
            "Name(true)",
            "Instance(true)",
            "Allowed(Some(2))",
            "Handler(Ready(Observe))",
            "Pause(Ok(None))",
            "Stance(Observe)",
        ];
        assert_eq!(seen, gates);
        seen.clear();
        admit(
            &firing,
            &AllowList::parse(""),
            |_| Handler::Missing,
            |_| Ok(None),
            &mut |gate| seen.push(format!("{gate:?}")),
        );
        assert_eq!(seen.last().unwrap(), "Allowed(None)");
    }
}
