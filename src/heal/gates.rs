//! The gates that need no record, with what this machine has at each of them. Whoever heals and whoever only asks
//! goes through here, so both meet the same ones.

use crate::judge::admit::{self, Admission, Gate, Stance};
use crate::judge::pauses::Pauses;
use crate::judge::{Alert, AlertName, AllowList, Time, Verdict};
use crate::sys::catalog::{self, Handler, Lookup};
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::unfit::Unfit;
use crate::wire::config::Config;
use crate::wire::directives::Mode;
use crate::wire::report;

/// What every alert of a request is judged by, read once.
pub struct Gates {
    allowed: AllowList,
    /// Why the allow-list allows nothing, where that is not the operator's intention.
    unlisted: Option<Unfit>,
    /// What operators have paused, or why that is not known.
    pauses: Result<Pauses, String>,
}

/// What became of an alert at the gates.
pub struct Admitted {
    /// Past all of them, or stopped.
    pub admission: Admission,
    /// The alertname, if there is anything for a handler under it.
    pub label: Option<AlertName>,
    /// Its handler, if it may be run.
    pub handler: Option<Handler>,
}

impl Gates {
    /// The gates with this allow-list, or why there is none, and the pauses of this store.
    pub fn new(allowed: Result<AllowList, Unfit>, store: Result<&Store, &StateError>) -> Gates {
        let (allowed, unlisted) = match allowed {
            Ok(allowed) => (allowed, None),
            Err(why) => (AllowList::parse(""), Some(why)),
        };
        let pauses = match store {
            Ok(store) => store.pauses().map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        Gates {
            allowed,
            unlisted,
            pauses,
        }
    }

    /// Takes an alert through them; `seen` is told of every gate up to the one that stops it.
    pub fn admit(
        &self,
        config: &Config,
        alert: &Alert,
        now: Time,
        seen: &mut dyn FnMut(Gate<'_>),
    ) -> Admitted {
        let mut found = None;
        let look_up = |name: &AlertName| match catalog::find(&config.handler_dir, name) {
            Lookup::Missing => admit::Handler::Missing,
            Lookup::Unsafe(why) => {
                found = Some((name.clone(), None));
                admit::Handler::Unsafe(why)
            }
            Lookup::Unknown(why) => {
                found = Some((name.clone(), None));
                admit::Handler::Unknown(why)
            }
            Lookup::Ready(handler) => {
                let observe = config.observe || handler.directives.mode == Some(Mode::Observe);
                found = Some((name.clone(), Some(handler)));
                admit::Handler::Ready(if observe {
                    Stance::Observe
                } else {
                    Stance::Act
                })
            }
        };
        let paused = |name: &AlertName| match &self.pauses {
            Ok(pauses) => Ok(pauses
                .in_effect(name.as_str(), alert.instance(), now)
                .map(report::pause)),
            Err(why) => Err(format!("whether it is paused is not known: {why}")),
        };
        let mut admission = admit::admit(alert, &self.allowed, look_up, paused, seen);
        if let (Admission::Stopped(verdict @ Verdict::NotAllowed, why), Some(unlisted)) =
            (&mut admission, &self.unlisted)
        {
            if unlisted.passing {
                // The sender has to ask again: who knows what the list allows.
                *verdict = Verdict::Error;
            }
            *why = format!("the allow-list cannot be used: {unlisted}");
        }
        let (label, handler) = found.unzip();
        Admitted {
            admission,
            label,
            handler: handler.flatten(),
        }
    }
}
