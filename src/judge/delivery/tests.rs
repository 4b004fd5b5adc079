use super::*;

const HOUR: i64 = 3_600_000;

pub(super) fn name(at: i64, letter: char, incident: u8) -> EventName {
    EventName::parse(&format!("{at:013}-{letter}-{incident:016x}")).unwrap()
}

pub(super) fn event(at: i64, letter: char, incident: u8) -> Event {
    Event {
        name: name(at, letter, incident),
        place: Place::Pending,
        marks: BTreeMap::new(),
    }
}

impl Event {
    fn at(mut self, place: Place) -> Event {
        self.place = place;
        self
    }

    fn with(mut self, escalator: &str, stage: Stage) -> Event {
        let mark = Mark { attempts: 1, stage };
        self.marks.insert(escalator.to_owned(), mark);
        self
    }
}

fn open(next: i64) -> Stage {
    Stage::Open { next: Time(next) }
}

fn everybody(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_name_is_read_as_it_is_written_and_no_other_way() {
    let name = EventName::new(
        Time(1_732_276_800_123),
        Action::Resolve,
        &"0123456789abcdef".repeat(4),
    );
    let name = name.unwrap();
    assert_eq!(name.to_string(), "1732276800123-r-0123456789abcdef");
    assert_eq!(EventName::parse(&name.to_string()), Some(name));
    for wrong in [
        "",
        "1732276800123-r-0123456789abcde",
        "1732276800123-r-0123456789abcdef0",
        "1732276800123-r-0123456789ABCDEF",
        "1732276800123-x-0123456789abcdef",
        "1732276800123-tr-0123456789abcdef",
        "732276800123-r-0123456789abcdef",
        "+732276800123-r-0123456789abcdef",
        "-732276800123-r-0123456789abcdef",
        "11732276800123-r-0123456789abcdef",
        "1732276800123-r-0123456789abcdef/",
        "1732276800123-r-0123456789abcde\u{e9}",
        "1732276800123-t-../../../../../x",
    ] {
        assert_eq!(EventName::parse(wrong), None, "{wrong}");
    }
    assert_eq!(
        EventName::new(Time(0), Action::Trigger, "0123456789abcde"),
        None
    );
    assert_eq!(
        EventName::new(Time(0), Action::Trigger, "0123456789abcdé"),
        None
    );
    let early = EventName::new(Time(-5), Action::Trigger, "0123456789abcdef").unwrap();
    assert_eq!(early.to_string(), "0000000000000-t-0123456789abcdef");
    let late = EventName::new(Time(i64::MAX), Action::Trigger, "0123456789abcdef").unwrap();
    assert_eq!(late.at(), Time(9_999_999_999_999));
}

#[test]
fn names_sort_by_time() {
    let mut names = [name(1000, 'r', 1), name(999, 't', 2), name(20_000, 't', 0)];
    names.sort();
    let texts: Vec<String> = names.iter().map(EventName::to_string).collect();
    let mut sorted = texts.clone();
    sorted.sort();
    assert_eq!(texts, sorted);
    assert!(texts[0].starts_with("0000000000999-t"));
}

#[test]
fn the_wait_doubles_from_15_seconds_to_an_hour() {
    let middle = u16::MAX / 2;
    let seconds: Vec<u64> = (1..=12)
        .map(|n| backoff(n, middle).as_secs_f64().round() as u64)
        .collect();
    assert_eq!(
        seconds,
        [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]
    );
    assert_eq!(backoff(1, 0), Duration::from_secs(12));
    assert_eq!(backoff(1, u16::MAX), Duration::from_secs(18));
    assert_eq!(backoff(u32::MAX, u16::MAX), FARTHEST);
    assert_eq!(backoff(0, 0), Duration::from_secs(12));
}

#[test]
fn an_exit_code_is_an_answer() {
    let mark = Mark::default();
    let after = |code| {
        mark.after(1, code, Time(1000), Duration::from_secs(15))
            .stage
    };
    assert_eq!(after(Some(0)), Stage::Delivered);
    assert_eq!(after(Some(100)), Stage::Failed);
    for other in [
        Some(1),
        Some(2),
        Some(75),
        Some(124),
        Some(137),
        Some(255),
        None,
    ] {
        assert_eq!(after(other), open(16_000), "{other:?}");
    }
}

#[test]
fn an_answer_told_twice_counts_once() {
    let wait = Duration::from_secs(15);
    let once = Mark::default().after(1, Some(1), Time(0), wait);
    assert_eq!(once.after(1, Some(1), Time(99), wait), once);
    assert_eq!(once.after(1, Some(100), Time(99), wait), once);
    let twice = once.after(2, Some(0), Time(99), wait);
    assert_eq!((twice.attempts, twice.stage), (2, Stage::Delivered));
    assert_eq!(twice.after(3, Some(100), Time(99), wait), twice);
}

#[test]
fn a_failed_attempt_holds_up_its_own_incident_alone() {
    let events = [
        event(1, 't', 1).with("pager", open(5000)),
        event(2, 't', 2),
        event(3, 'r', 1),
    ];
    assert_eq!(next(&events, "pager", Time(0)), Next::Send(name(2, 't', 2)));
    let events = [
        events[0].clone(),
        events[1].clone().with("pager", Stage::Delivered),
        events[2].clone(),
    ];
    assert_eq!(next(&events, "pager", Time(0)), Next::Wait(Time(5000)));
    assert_eq!(
        next(&events, "pager", Time(5000)),
        Next::Send(name(1, 't', 1))
    );
    // Another escalator is somewhere else.
    assert_eq!(next(&events, "mail", Time(0)), Next::Send(name(1, 't', 1)));
}

#[test]
fn a_resolve_goes_to_whoever_has_its_trigger() {
    for place in Place::ALL {
        let events = [
            event(1, 't', 1)
                .at(place)
                .with("has", Stage::Delivered)
                .with("refused", Stage::Failed)
                .with("spared", Stage::Discarded),
            event(2, 'r', 1),
        ];
        assert_eq!(next(&events, "has", Time(9)), Next::Send(name(2, 'r', 1)));
        assert_eq!(next(&events, "refused", Time(9)), Next::Nothing);
        assert_eq!(next(&events, "spared", Time(9)), Next::Nothing);
    }
    assert_eq!(next(&[event(2, 'r', 1)], "has", Time(9)), Next::Nothing);
    // One that came later than the trigger was delivered to everybody there was.
    let told = [event(1, 't', 1).at(Place::Told), event(2, 'r', 1)];
    assert_eq!(next(&told, "new", Time(9)), Next::Nothing);
}

#[test]
fn a_second_resolve_needs_a_second_trigger() {
    let first = [
        event(1, 't', 1).with("pager", Stage::Delivered),
        event(2, 'r', 1).with("pager", Stage::Delivered),
    ];
    let mut events = first.to_vec();
    events.push(event(3, 'r', 1));
    assert_eq!(next(&events, "pager", Time(9)), Next::Nothing);
    let mut events = first.to_vec();
    events.push(event(3, 't', 1).with("pager", Stage::Delivered));
    events.push(event(4, 'r', 1));
    assert_eq!(next(&events, "pager", Time(9)), Next::Send(name(4, 'r', 1)));
}

#[test]
fn a_clock_set_back_makes_a_far_attempt_due() {
    let events = [event(1, 't', 1).with("pager", open(30 * 24 * HOUR))];
    assert_eq!(next(&events, "pager", Time(0)), Next::Send(name(1, 't', 1)));
    // As far as the longest wait goes, it waits.
    let events = [event(1, 't', 1).with("pager", open(72 * 60_000))];
    assert_eq!(
        next(&events, "pager", Time(0)),
        Next::Wait(Time(72 * 60_000))
    );
}

#[test]
fn a_trigger_that_everybody_has_waits_for_its_resolve() {
    let everybody = everybody(&["mail", "pager"]);
    let half = event(1, 't', 1).with("pager", Stage::Delivered);
    assert_eq!(dispose(std::slice::from_ref(&half), &everybody), []);
    let told = |anybody| Disposal::Told {
        name: name(1, 't', 1),
        anybody,
    };
    let whole = half.clone().with("mail", Stage::Delivered);
    assert_eq!(dispose(&[whole], &everybody), [told(true)]);
    // An escalator that is gone is not waited for.
    assert_eq!(dispose(&[half], &everybody[1..]), [told(true)]);
    assert_eq!(dispose(&[event(1, 't', 1)], &[]), [told(false)]);
}

#[test]
fn what_was_refused_is_kept_when_nobody_is_left_to_get_it() {
    let names = everybody(&["mail", "pager"]);
    let one = event(1, 't', 1).with("pager", Stage::Failed);
    assert_eq!(dispose(std::slice::from_ref(&one), &names), []);
    let both = one.with("mail", Stage::Delivered);
    assert_eq!(
        dispose(std::slice::from_ref(&both), &names),
        [Disposal::Failed(name(1, 't', 1))]
    );
    assert_eq!(dispose(&[both.at(Place::Failed)], &names), []);
}

#[test]
fn a_resolve_takes_its_triggers_with_it() {
    let names = everybody(&["pager"]);
    let events = [
        event(1, 't', 1)
            .at(Place::Told)
            .with("pager", Stage::Delivered),
        event(2, 't', 2)
            .at(Place::Told)
            .with("pager", Stage::Delivered),
        event(3, 't', 1).with("pager", Stage::Delivered),
        event(4, 'r', 1).with("pager", Stage::Delivered),
        event(5, 't', 1),
    ];
    let ended = vec![name(1, 't', 1), name(3, 't', 1), name(4, 'r', 1)];
    assert_eq!(dispose(&events, &names), [Disposal::Removed(ended)]);
    // What a removal that was cut short has left.
    assert_eq!(
        dispose(&events[3..4], &names),
        [Disposal::Removed(vec![name(4, 'r', 1)])]
    );
}

#[test]
fn a_resolve_stays_while_a_trigger_of_its_incident_may_yet_be_sent() {
    let names = everybody(&["mail", "pager"]);
    let failed = event(1, 't', 1)
        .at(Place::Failed)
        .with("mail", Stage::Delivered)
        .with("pager", Stage::Failed);
    let resolve = event(2, 'r', 1).with("mail", Stage::Delivered);
    let events = [failed, resolve];
    assert_eq!(next(&events, "pager", Time(9)), Next::Nothing);
    assert_eq!(dispose(&events, &names), []);

    // The operator has it sent after all: the trigger, then the resolve.
    let mut again = events.clone();
    for (escalator, mark) in retry(&events, &name(1, 't', 1)).unwrap() {
        again[0].marks.insert(escalator, mark);
    }
    again[0].place = Place::Pending;
    assert_eq!(next(&again, "pager", Time(9)), Next::Send(name(1, 't', 1)));
    assert_eq!(next(&again, "mail", Time(9)), Next::Nothing);
    again[0] = again[0].clone().with("pager", Stage::Delivered);
    assert_eq!(next(&again, "pager", Time(9)), Next::Send(name(2, 'r', 1)));

    // Or not: then nothing is left.
    let mut without = events.clone();
    for (escalator, mark) in discard(&events[0], &names) {
        without[0].marks.insert(escalator, mark);
    }
    without[0].place = Place::Told;
    let ended = vec![name(1, 't', 1), name(2, 'r', 1)];
    assert_eq!(dispose(&without, &names), [Disposal::Removed(ended)]);
}

#[test]
fn nothing_is_sent_again_behind_a_later_event() {
    let events = [
        event(1, 't', 1)
            .at(Place::Failed)
            .with("pager", Stage::Failed),
        event(2, 't', 1).with("pager", Stage::Delivered),
    ];
    let why = retry(&events, &name(1, 't', 1)).unwrap_err();
    assert!(why.contains("pager") && why.contains("discard"), "{why}");
    assert_eq!(retry(&events, &name(2, 't', 1)), Ok(Vec::new()));
}

#[test]
fn a_retry_counts_on_and_is_due_at_once() {
    let mut failed = event(1, 't', 1)
        .at(Place::Failed)
        .with("mail", Stage::Delivered);
    failed.marks.insert(
        "pager".into(),
        Mark {
            attempts: 7,
            stage: Stage::Failed,
        },
    );
    failed.marks.insert(
        "slow".into(),
        Mark {
            attempts: 2,
            stage: open(HOUR),
        },
    );
    let changes = retry(&[failed], &name(1, 't', 1)).unwrap();
    let due = |attempts| Mark {
        attempts,
        stage: open(0),
    };
    assert_eq!(
        changes,
        [("pager".to_owned(), due(7)), ("slow".to_owned(), due(2))]
    );
}
