//! Spans and instants: what is read is what was meant, and what is written is read again.

use std::time::Duration;

use self_heal::judge::Time;
use self_heal::wire::{chronicle, duration, timestamp};

use super::pieces::Pieces;

/// The years in which RFC 3339 has a form.
const FIRST: i64 = -62_167_219_200_000;
const LAST: i64 = 253_402_300_799_999;

pub fn body(data: &[u8]) {
    let mut pieces = Pieces::new(data);
    let number = pieces.number();
    spans(Duration::from_millis(number >> (number % 64)));
    instants(Time(number as i64));
    instants(Time(number as i64 >> (number % 64)));
    let text = String::from_utf8_lossy(pieces.rest());
    match duration::parse(&text) {
        Ok(span) => spans(span),
        Err(reason) => super::sentence(&reason),
    }
    if let Some(time) = timestamp::parse(&text) {
        // An offset may lead a day out of these years.
        assert!((FIRST - 86_400_000..=LAST + 86_401_000).contains(&time.0));
        instants(time);
    }
    match chronicle::instant(&text, Time(number as i64)) {
        Ok(time) => assert!(time.0 % 1000 == 0 || time.0 <= i64::MIN + 1000),
        Err(reason) => super::sentence(&reason),
    }
}

fn spans(span: Duration) {
    let shown = duration::show(span);
    assert_eq!(duration::parse(&shown), Ok(span), "{shown}");
    let rough = duration::parse(&duration::rough(span)).unwrap();
    assert!(rough <= span);
    // The two longest units: within a tenth, or within an hour of days.
    assert!(
        span - rough < (span / 10).max(Duration::from_secs(1)),
        "{span:?}: {rough:?}"
    );
}

fn instants(time: Time) {
    let whole = timestamp::rfc3339(time);
    let fine = timestamp::to_the_millisecond(time);
    assert_eq!((whole.len(), fine.len()), (20, 24), "{whole} {fine}");
    let back = timestamp::parse(&whole).unwrap();
    assert_eq!(timestamp::rfc3339(back), whole);
    if (FIRST..=LAST).contains(&time.0) {
        assert_eq!(timestamp::parse(&fine), Some(time));
        assert_eq!(back.0, time.0.div_euclid(1000) * 1000);
    }
}
