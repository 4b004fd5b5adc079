//! Pauses are read as they were written, and what nobody can have written pauses nobody by mistake.

use std::time::Duration;

use self_heal::judge::AlertName;
use self_heal::judge::pauses::{Pause, Pauses, Scope};
use self_heal::wire::pauses::words;
use self_heal::wire::records::{self, Kept, SLOT};

use super::pieces::Pieces;
use super::record::{decoded, kept};

pub fn body(data: &[u8]) {
    let mut pieces = Pieces::new(data);
    match pieces.below(3) {
        0 => decoded::<Pauses>(pieces.rest()),
        1 => {
            let json = String::from_utf8_lossy(pieces.rest()).into_owned();
            if let Ok(pauses) = Pauses::from_json(&json) {
                kept(&pauses);
                for pause in pauses.list() {
                    let scope = &pause.scope;
                    assert!(Scope::new(scope.alertname.clone(), scope.instance.clone()).is_ok());
                }
            }
        }
        _ => by_hand(&mut pieces),
    }
}

fn scope(pieces: &mut Pieces<'_>) -> Scope {
    let alertname = pieces
        .maybe(Pieces::name)
        .and_then(|name| AlertName::new(&name));
    let instance = pieces.maybe(|pieces| {
        let text = pieces.text();
        if pieces.flag() {
            text
        } else {
            pieces
                .pick(&["web-1", "web-1:9100", "web-*", "[fd00::8]:1"])
                .to_owned()
        }
    });
    Scope::new(alertname, instance).unwrap_or_default()
}

/// One after another, as an operator's commands would.
fn by_hand(pieces: &mut Pieces<'_>) {
    let mut pauses = Pauses::default();
    for _ in 0..pieces.below(6) {
        let now = pieces.time();
        let (who, why) = (pieces.text(), pieces.text());
        let span = Duration::from_secs(u64::from(pieces.byte()) * 60);
        let next = Pause::new(scope(pieces), now, span, &who, &why);
        assert!(next.who.len() <= 32 && next.why.len() <= 160);
        assert!(!format!("{}{}", next.who, next.why).contains(char::is_control));
        words(&next);
        if let Ok(added) = pauses.add(next.clone(), now) {
            assert!(added.list().len() <= Pauses::MOST);
            assert!(added.list().contains(&next));
            pauses = added;
        }
        kept(&pauses);
        let copy = records::encode(&pauses, &"k".repeat(64), u64::MAX).unwrap();
        assert!(copy.len() <= SLOT);
        let (instance, name) = (pieces.text(), pieces.name());
        if let Some(pause) = pauses.in_effect(&name, &instance, now) {
            assert!(now < pause.until && pause.scope.covers(&name, &instance));
        }
        if pieces.flag() {
            let scope = scope(pieces);
            let (left, lifted) = pauses.lift(&scope, now);
            assert!(lifted.iter().all(|pause| scope.includes(&pause.scope)));
            assert!(
                left.list()
                    .iter()
                    .all(|pause| !scope.includes(&pause.scope) && now < pause.until)
            );
            assert!(left.list().len() + lifted.len() <= pauses.list().len());
            pauses = left;
        }
    }
}
