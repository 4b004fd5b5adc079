//! What is run to its end: with the suite what takes seconds, by `--ignored` what takes minutes. Each is small by what it
//! leaves out; together they leave out little.

use std::time::Duration;

use self_heal::judge::record::Reason;
use self_heal::judge::{Ending, Limits, RunLimit, Verdict};

use super::Rare::*;
use super::{Flaps, Machine, Rare, check, seen, ticks, walk};

/// What may happen to one alert; a clock is set back one by one.
const MISHAPS: [Rare; 11] = [
    Crash,
    Reset,
    Force,
    Pause,
    Damage,
    LockRemoved,
    SpoolFull,
    Survivor,
    Lost,
    Spoiled,
    NotStarted,
];

/// It fires and goes on firing.
fn fires() -> Machine {
    Machine {
        flaps: Flaps::Never,
        ..Machine::new()
    }
}

/// It ends and begins anew at any time, and its senders are late with either.
fn flaps() -> Machine {
    Machine::new()
}

/// The same, of a handler that only heals or fails, and with nothing done late.
fn flaps_at_once() -> Machine {
    Machine {
        late: 0,
        endings: vec![Ending::Exit(0), Ending::Exit(1)],
        ..flaps()
    }
}

/// Two Alertmanagers, or one that does not wait for its answer.
fn of_two(machine: Machine) -> Machine {
    Machine {
        senders: 2,
        ..machine
    }
}

/// Two alerts that fire for one slot, and a limit of the host's that they reach.
fn two_alerts() -> Machine {
    Machine {
        alerts: 2,
        slots: 1,
        senders: 2,
        storm: Some(RunLimit {
            runs: 1,
            window: ticks(2),
        }),
        limits: Limits {
            max_attempts: 1,
            attempt_window: ticks(2),
            retry_delay: ticks(1),
            settle: ticks(1),
            run_limits: Vec::new(),
        },
        endings: vec![Ending::Exit(0), Ending::Exit(1), Ending::Exit(75)],
        ..fires()
    }
}

/// The same, with nothing done late, of handlers that only fail and defer.
fn two_alerts_at_once() -> Machine {
    Machine {
        late: 0,
        limits: Limits {
            settle: Duration::ZERO,
            ..two_alerts().limits
        },
        storm: Some(RunLimit {
            runs: 1,
            window: ticks(1),
        }),
        endings: vec![Ending::Exit(1), Ending::Exit(75)],
        ..two_alerts()
    }
}

#[test]
fn an_alert_that_goes_on_firing() {
    use seen::{FORCED, INTERRUPTED, ORPHAN, PROBE};
    check("fires", fires(), &[PROBE, seen::verdict(Verdict::Deferred)]);
    let happens = [FORCED, INTERRUPTED, ORPHAN, PROBE];
    check("fires, 1 mishap", fires().with(1, &MISHAPS), &happens);
    for clock in [ClockBack, SendersClockBack] {
        check(&format!("fires, {clock:?}"), fires().with(1, &[clock]), &[]);
    }
    let lost = fires().with(2, &[Crash, LockRemoved]);
    check("fires, 2 crashes or lock files", lost, &[INTERRUPTED]);
}

#[test]
fn an_alert_that_flaps() {
    let machine = Machine {
        flaps: Flaps::OnTheTick,
        ..flaps_at_once()
    };
    let run_limits = seen::reason(Reason::RunLimits);
    check("flaps on the tick", machine, &[seen::VERIFIED, run_limits]);
}

#[test]
fn two_requests_at_once() {
    let two = Machine {
        late: 0,
        ..of_two(fires())
    };
    let busy = seen::verdict(Verdict::Busy);
    check("fires, 2 requests", two.clone(), &[busy]);
    check("fires, 2 requests, a crash", two.with(1, &[Crash]), &[busy]);
}

#[test]
fn two_alerts_for_one_slot() {
    let storm = seen::verdict(Verdict::Storm);
    check(
        "two alerts, at once",
        two_alerts_at_once(),
        &[seen::SLOTS, storm],
    );
}

#[test]
fn far_out_on_long_walks() {
    let mut rare = MISHAPS.to_vec();
    rare.extend([ClockBack, HostDamage]);
    let storm = Some(RunLimit {
        runs: 2,
        window: ticks(2),
    });
    let machine = Machine {
        storm,
        ..of_two(flaps().with(3, &rare))
    };
    walk("flaps, 2 requests, 3 mishaps", machine, 400, 200);
}

macro_rules! to_the_end {
    ($($name:ident: $machine:expr;)+) => {
        $(#[test]
        #[ignore = "minutes, and gigabytes"]
        fn $name() {
            check(&stringify!($name).replace('_', " "), $machine, &[]);
        })+
    };
}

to_the_end! {
    to_the_end_flaps: flaps();
    to_the_end_flaps_with_a_survivor: flaps().with(1, &[Survivor]);
    to_the_end_flaps_with_a_lost_run: flaps().with(1, &[Lost]);
    to_the_end_flaps_with_a_crash: flaps().with(1, &[Crash]);
    to_the_end_flaps_with_a_reset: flaps().with(1, &[Reset]);
    to_the_end_flaps_at_once_with_a_clock_set_back: flaps_at_once().with(1, &[ClockBack]);
    to_the_end_flaps_at_once_with_our_clock_set_back: flaps_at_once().with(1, &[OwnClockBack]);
    to_the_end_flaps_at_once_with_the_senders_clock_set_back: flaps_at_once().with(1, &[SendersClockBack]);
    to_the_end_flaps_at_once_with_any_mishap: flaps_at_once().with(1, &MISHAPS);
    to_the_end_flaps_at_once_with_two_requests: of_two(flaps_at_once());
    to_the_end_fires_with_2_mishaps: fires().with(2, &MISHAPS);
    to_the_end_fires_with_two_requests: of_two(fires());
    to_the_end_fires_with_two_requests_and_a_mishap: Machine { late: 0, ..of_two(fires()).with(1, &MISHAPS) };
    to_the_end_two_alerts: two_alerts();
}
