//! What the words mean that a person reads elsewhere: each verdict, each way a handler can end. Text for documentation,
//! once; the program decides nothing by it.

use crate::judge::Verdict;

/// A verdict, for documentation. Code stands between backquotes.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    /// When an alert gets it.
    pub when: &'static str,
    /// What a person does about it.
    pub cure: &'static str,
}

/// Every verdict: its word, whether it is settled, what it means; in the order of the documentation.
pub fn verdicts() -> [(&'static str, bool, Meaning); Verdict::ALL.len()] {
    Verdict::ALL.map(|verdict| (verdict.as_str(), verdict.settled(), meaning(verdict)))
}

/// What a verdict means.
pub fn meaning(verdict: Verdict) -> Meaning {
    let (when, cure) = match verdict {
        Verdict::Resolved => (
            "the sender says that it is over: no handler runs; the episode closes, a heal is verified, the breaker closes (unless the run limits opened it). Also: a handler failed after `resolved` had come, which counts nowhere",
            "nothing",
        ),
        Verdict::NotAllowed => (
            "the instance is not on the allow-list, is missing or begins with `-`; an unreadable or empty list allows nothing",
            "if it should be healed: put it on the allow-list",
        ),
        Verdict::NoHandler => (
            "no handler of that name, no alertname, or one that is no safe file name",
            "nothing, or write one; `heal=\"true\"` on an alert without a handler is a slip in the rules",
        ),
        Verdict::UnsafeHandler => (
            "the handler or a folder on its way can be changed by others, belongs to somebody else, leads out of the folder, is not executable, or has a bad directive",
            "mend what the detail names; until then nothing runs for that alert",
        ),
        Verdict::Paused => (
            "an operator paused it; the detail says who, until when and why",
            "nothing; after `resume` the sender's next repeat brings it back",
        ),
        Verdict::Observed => (
            "`HEAL_OBSERVE=yes`, or the handler has `mode=observe`: judged, told and not run; the detail has the command line, or what else the answer would have been",
            "nothing; when the first week is over, take `HEAL_OBSERVE=yes` or `mode=observe` away",
        ),
        Verdict::Healed => (
            "the handler exited 0; unverified until `resolved` comes",
            "nothing",
        ),
        Verdict::Settling => (
            "healed less than `HEAL_SETTLE` ago, or `resolved` came less than that ago and this is a late copy",
            "nothing",
        ),
        Verdict::GaveUp => (
            "the handler exited 2: the breaker opened at once",
            "a person was paged: read the handler's log",
        ),
        Verdict::Tripped => (
            "the breaker opened by this attempt, or is open",
            "a person: read the handler's log, mend the cause; `self-heal reset` closes the breaker at once",
        ),
        Verdict::Storm => (
            "`HEAL_STORM_LIMIT` runs on this host within its window",
            "look for the common cause; runs go on as the window frees",
        ),
        Verdict::Failed => (
            "the handler failed (another exit code, a signal, the timeout); attempts are left",
            "nothing yet; the next attempt comes by itself",
        ),
        Verdict::Waiting => (
            "less than `HEAL_RETRY_DELAY` after a failure or a deferral",
            "nothing",
        ),
        Verdict::Deferred => (
            "the handler exited 75, not now: counted nowhere",
            "nothing, unless it never ends: a whole `HEAL_ATTEMPT_WINDOW` after the first, with nothing healed in between, it is `tripped`",
        ),
        Verdict::Busy => (
            "the lock or every slot is taken, a process of an earlier run lives on and may not be ended, or the listener was told to end; not counted",
            "nothing; if it stays, find out who holds the lock",
        ),
        Verdict::Error => (
            "records, pauses, lock or slots unusable, the record was damaged, a snapshot could not be taken or an interrupted run not be put back, a page is owed and the spool cannot take it, the handler could not be started or supervised: nothing (more) is run",
            "mend at once what the detail and `GET /-/ready` name, with file and reason",
        ),
    };
    Meaning { when, cure }
}

/// What to do about a verdict, for a terminal.
pub fn remedy(verdict: Verdict) -> String {
    meaning(verdict).cure.replace('`', "")
}

/// A way for a handler to end, for documentation. Code stands between backquotes.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How.
    pub ending: &'static str,
    /// What it tells self-heal.
    pub means: &'static str,
    /// The alert's verdict.
    pub verdict: &'static str,
    /// The run's outcome, in metrics and history.
    pub outcome: &'static str,
}

/// Every ending.
pub const ENDINGS: [Ended; 9] = [
    Ended {
        ending: "`0`",
        means: "healed: checked, it works",
        verdict: "`healed`",
        outcome: "healed",
    },
    Ended {
        ending: "`2`",
        means: "give up: a person is needed now",
        verdict: "`gave-up`",
        outcome: "gave-up",
    },
    Ended {
        ending: "`75`",
        means: "not now (a package upgrade, a planned restart): counted nowhere",
        verdict: "`deferred`",
        outcome: "deferred",
    },
    Ended {
        ending: "any other code",
        means: "failed",
        verdict: "`failed`, or `tripped` at the last attempt",
        outcome: "failed",
    },
    Ended {
        ending: "a signal",
        means: "failed",
        verdict: "the same",
        outcome: "signal",
    },
    Ended {
        ending: "past its timeout",
        means: "failed, whatever it exits with then",
        verdict: "the same",
        outcome: "timeout",
    },
    Ended {
        ending: "never started",
        means: "nothing was run, nothing is counted",
        verdict: "`error`",
        outcome: "not-started",
    },
    Ended {
        ending: "cannot be known",
        means: "counted as failed",
        verdict: "`error`, or `tripped`",
        outcome: "lost",
    },
    Ended {
        ending: "its supervisor died",
        means: "counted as failed",
        verdict: "none",
        outcome: "interrupted",
    },
];
