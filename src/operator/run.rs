//! `self-heal run`: a handler by an operator's hand, through the gates and the judgement of every alert. It refuses
//! whatever they refuse; with force it gets past the breaker and the delays, and past nothing else.

use super::subject::{Named, Subject};
use super::{Desk, Refused, Said, refused};
use crate::deliver;
use crate::heal::{self, Asked, Healer, Starting};
use crate::judge::{Force, Verdict};
use crate::ready;
use crate::serve::{BROKEN, NOT_AS_ROOT};
use crate::sys::signals::{self, Signals};
use crate::sys::state::file::Store;
use crate::sys::{clock, files, handler, identity, inherited};
use crate::wire::duration;
use crate::wire::quote::printable;
use crate::wire::{meaning, report};

/// The receiver that a handler is told of, where no sender names one.
pub const RECEIVER: &str = "self-heal run";

/// How much of the handler's output is shown at the end: bytes, and lines.
const OUTPUT: usize = 4096;
const LINES: usize = 20;

/// What came of it.
#[derive(Debug)]
pub struct Ran {
    /// For standard output and standard error.
    pub said: Said,
    /// Whether the machine failed.
    pub broken: bool,
}

/// Runs what this alert has for a handler. To be called first thing in the process, which then ends. `tell` takes a line
/// for standard error as soon as there is one.
///
/// # Errors
/// Wrong usage or configuration; this account may not; the machine failed before anything was judged.
pub fn run(subject: &Subject, force: bool, tell: &mut dyn FnMut(&str)) -> Result<Ran, Refused> {
    let failed = |error: &dyn std::fmt::Display| Refused::Failed(error.to_string());
    if signals::child_ignored().unwrap_or(false) {
        // The ending of the handler would be lost (wait(2), ECHILD): the same program again, with SIGCHLD as it should be.
        let text = signals::start_over_and_listen().map_err(|error| failed(&error))?;
        return Ok(again(text));
    }
    inherited::close_inherited().map_err(|error| failed(&error))?;
    let mut signals = Signals::block().map_err(|error| failed(&error))?;
    handler::setup_process().map_err(|error| failed(&error))?;
    let mut desk = Desk::open()?;
    if identity::is_root() && !desk.config.allow_root {
        return Err(Refused::Misused(NOT_AS_ROOT.to_owned()));
    }
    let records = desk.store.list_all();
    let records = records.map_err(|error| refused(&desk.config, &error))?;
    let Named { notification, key } = subject.named(&records, RECEIVER, clock::now())?;
    let Some(posted) = notification.alerts.first() else {
        return Err(failed(&"there is no alert"));
    };
    let (forced, force) = if force {
        ("yes", Force::PastBreakerAndDelays)
    } else {
        ("no", Force::No)
    };
    let values = [
        ("who", desk.who.as_str()),
        ("alertname", &subject.alertname),
        ("instance", &subject.instance),
        ("force", forced),
    ];
    desk.log.info("run_by_hand", &values);

    let mut began = None;
    let mut starting = |starting: &Starting<'_>| {
        let log = starting.case.log();
        announce(starting, tell);
        began = Some((files::size(&log), log));
    };
    let asked = Asked {
        peer: format!("operator:{}", desk.who),
        force,
        key,
        starting: Some(&mut starting),
    };
    let (config, log) = (&desk.config, &mut desk.log);
    let (allowed, store) = (ready::allow_list(config), Store::open(&config.state_dir));
    let healer = Healer::new(
        config,
        allowed,
        &notification,
        store,
        log,
        &mut signals,
        asked,
    );
    let mut healer = healer.map_err(|error| failed(&format!("cannot read /proc: {error}")))?;
    let report = healer.heal(posted);
    let counted = healer.counted();
    heal::save_counters(config, log, counted);

    let mut said = Said {
        done: report.verdict == Verdict::Healed,
        ..Said::default()
    };
    said.line(&format!(
        "{}: {} on {}: {}",
        report.verdict.as_str(),
        report.alertname,
        report.instance,
        report.detail
    ));
    if let Some((from, path)) = began {
        said.text.push_str(&ending(
            &files::tail(&path, from, OUTPUT),
            &path.display().to_string(),
        ));
    } else if report.verdict != Verdict::Error {
        said.line(&format!("what to do: {}", meaning::remedy(report.verdict)));
    }
    deliver::in_passing(&desk.config, &mut desk.log, &mut signals);
    let broken = report.verdict == Verdict::Error;
    let said = desk.close(said);
    Ok(Ran { said, broken })
}

/// What the program said that was started in this one's place.
fn again(text: String) -> Ran {
    let verdict = text.split(':').next().unwrap_or_default();
    let is = |other: Verdict| verdict == other.as_str();
    // Without a word it has failed, and said why on standard error.
    let broken = is(Verdict::Error) || text.is_empty();
    let done = is(Verdict::Healed);
    Ran {
        broken,
        said: Said {
            text,
            done,
            ..Said::default()
        },
    }
}

/// Says what is about to run, and that nothing here stops it.
fn announce(starting: &Starting<'_>, tell: &mut dyn FnMut(&str)) {
    let Starting { case, run, past } = starting;
    if let Some((verdict, why)) = past {
        let (verdict, why) = (verdict.as_str(), report::words(*why));
        tell(&printable(&format!("forced past {verdict}: {why}")));
    }
    let timeout = duration::show(case.timeout);
    tell(&printable(&format!(
        "running attempt {} of {}, at most {timeout}: {}",
        run.attempt,
        case.limits.max_attempts,
        case.command()
    )));
    tell(&printable(&format!("its output: {}", case.log().display())));
    tell("interrupting this command does not stop it, and what comes of it is recorded");
}

/// The last lines of an output, fit for a terminal.
fn ending(output: &str, log: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    if lines.is_empty() {
        return format!("it printed nothing (its output: {})\n", printable(log));
    }
    let shown = lines.len().saturating_sub(LINES);
    let mut text = format!("the last it printed (all of it: {}):\n", printable(log));
    for line in lines.iter().skip(shown) {
        text.push_str(&format!("  {}\n", printable(line)));
    }
    text
}

impl Ran {
    /// The exit code that only this command has, if it is one.
    pub fn code(&self) -> Option<u8> {
        self.broken.then_some(BROKEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_in_its_place_tells_what_came_of_it() {
        for (text, done, broken) in [
            ("healed: A on i: handler exit 0\n", true, false),
            ("error: A on i: no room\n", false, true),
            ("tripped: A on i: breaker open\n", false, false),
            ("", false, true),
        ] {
            let ran = again(text.to_owned());
            assert_eq!((ran.said.done, ran.broken), (done, broken), "{text}");
            assert_eq!(ran.said.text, text);
        }
    }

    #[test]
    fn the_end_of_an_output_is_bounded_and_obeyed_by_no_terminal() {
        let long: String = (0..50).map(|n| format!("line {n}\n")).collect();
        let text = ending(&long, "/log");
        assert_eq!(text.lines().count(), 1 + LINES);
        assert!(text.ends_with("  line 49\n"));
        assert_eq!(
            ending("a\u{1b}[2J\n", "/l").lines().last(),
            Some("  a\\u{1b}[2J")
        );
        assert_eq!(ending("", "/l"), "it printed nothing (its output: /l)\n");
    }
}
