//! What operators have taken over: for whom healing is paused, until when, by whom and why. A pause always
//! has an end. It stops no run that is under way, and nothing but firing alerts: `resolved` is taken note of as ever.
//!
//! A clock set back leaves a pause in effect until the clock says its end again: what is uncertain is
//! paused. The next change of the pauses moves one that begins in the future to that moment, so that it
//! lasts no longer than asked from then on.

use std::fmt;
use std::time::Duration;

use super::alert::{AlertName, cut};
use super::allowlist::AllowList;
use super::time::Time;

/// For whom healing is paused. Without an alert, every one; without an instance, every one; with both, that alert
/// on that instance alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The alertname.
    pub alertname: Option<AlertName>,
    /// The instance, as an entry of the allow-list: whole with a port, its host without, `*` as there.
    pub instance: Option<String>,
}

impl Scope {
    /// A scope, if the instance may stand in the allow-list as it is.
    ///
    /// # Errors
    /// One sentence: why it may not.
    pub fn new(
        alertname: Option<AlertName>,
        instance: Option<String>,
    ) -> Result<Scope, &'static str> {
        if let Some(instance) = &instance {
            let blank = |c: char| c.is_whitespace() || c.is_control();
            // A list may begin with a byte order mark, which is no part of its first entry.
            let other = instance.starts_with(['#', '\u{feff}']);
            if instance.is_empty() || other || instance.contains(blank) {
                return Err("an instance is a name or an address, with or without a port");
            }
            if instance.len() > Scope::LONGEST {
                return Err("longer than 256 bytes");
            }
            if let Some(problem) = AllowList::parse(instance).problems().first() {
                return Err(problem.reason);
            }
        }
        Ok(Scope {
            alertname,
            instance,
        })
    }

    /// The longest instance, in bytes.
    pub const LONGEST: usize = 256;

    /// Whether an alert of this name on this instance is meant. The instance is compared as the allow-list does.
    pub fn covers(&self, alertname: &str, instance: &str) -> bool {
        let named = self
            .alertname
            .as_ref()
            .is_none_or(|name| name.as_str() == alertname);
        named
            && self.instance.as_ref().is_none_or(|entry| {
                AllowList::parse(entry)
                    .admits(instance, alertname)
                    .is_some()
            })
    }

    /// Whether everything of `narrower` is within this scope: each of the two that this one names, it names too.
    pub fn includes(&self, narrower: &Scope) -> bool {
        (self.alertname.is_none() || self.alertname == narrower.alertname)
            && (self.instance.is_none() || self.instance == narrower.instance)
    }

    /// Whether an alert could be in both scopes; yes, where one has a `*` and it cannot be told.
    pub fn meets(&self, other: &Scope) -> bool {
        let alert = match (&self.alertname, &other.alertname) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        let place = |scope: &Scope| Scope {
            alertname: None,
            instance: scope.instance.clone(),
        };
        alert
            && match (&self.instance, &other.instance) {
                (Some(one), Some(two)) => {
                    one.contains('*')
                        || two.contains('*')
                        || place(self).covers("", two)
                        || place(other).covers("", one)
                }
                _ => true,
            }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.alertname, &self.instance) {
            (None, None) => f.write_str("everything"),
            (Some(name), None) => write!(f, "{name}"),
            (None, Some(instance)) => write!(f, "every alert on {instance}"),
            (Some(name), Some(instance)) => write!(f, "{name} on {instance}"),
        }
    }
}

/// One pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// For whom.
    pub scope: Scope,
    /// When it was asked for.
    pub from: Time,
    /// When it ends by itself.
    pub until: Time,
    /// Who asked: an account's name.
    pub who: String,
    /// Why, in his words.
    pub why: String,
}

impl Pause {
    /// A pause of this length from now on. Texts are cut, to 32 and 160 bytes; what is no character of a line
    /// becomes a blank.
    pub fn new(scope: Scope, now: Time, span: Duration, who: &str, why: &str) -> Pause {
        Pause {
            scope,
            from: now,
            until: now.plus(span),
            who: one_line(who, 32),
            why: one_line(why, 160),
        }
    }

    /// How much of a file it takes at most, in bytes: two instants of 20 digits and the signs around them, and
    /// texts in which a quote or a backslash takes two.
    fn size(&self) -> usize {
        let instance = self.scope.instance.as_deref().unwrap_or("");
        let name = self.scope.alertname.as_ref().map_or("", AlertName::as_str);
        let texts = [name, instance, &self.who, &self.why];
        let text = |text: &str| text.len() + text.matches(['"', '\\']).count();
        64 + texts.into_iter().map(text).sum::<usize>()
    }
}

fn one_line(text: &str, most: usize) -> String {
    let plain = text.replace(|c: char| c.is_control(), " ");
    cut(plain.trim(), most).to_owned()
}

/// Every pause of a host. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses(Vec<Pause>);

/// There is no room for another pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Pauses {
    /// The most pauses at once.
    pub const MOST: usize = 32;

    /// The room for all of them, in bytes: a slot of the store, less its header.
    const ROOM: usize = 7900;

    /// What damaged pauses count as: everything is paused for an hour, which is what a pause lasts if nobody
    /// says otherwise.
    pub fn unknown(now: Time) -> Pauses {
        let hour = Duration::from_secs(60 * 60);
        let why = "the file with the pauses was damaged";
        let scope = Scope::default();
        Pauses(vec![Pause::new(scope, now, hour, "self-heal", why)])
    }

    /// These, as they were read.
    pub fn from_list(list: Vec<Pause>) -> Pauses {
        Pauses(list)
    }

    /// All that are on record, those that ended by now included.
    pub fn list(&self) -> &[Pause] {
        &self.0
    }

    /// Those that have not ended.
    pub fn current(&self, now: Time) -> impl Iterator<Item = &Pause> {
        self.0.iter().filter(move |pause| now < pause.until)
    }

    /// The pause that holds back an alert of this name on this instance; of several, the one that lasts longest.
    pub fn in_effect(&self, alertname: &str, instance: &str, now: Time) -> Option<&Pause> {
        self.current(now)
            .filter(|pause| pause.scope.covers(alertname, instance))
            .max_by_key(|pause| pause.until)
    }

    /// With this pause in place of one of the same scope, and without those that ended.
    ///
    /// # Errors
    /// There are [`Pauses::MOST`] already, or their texts take all the room.
    pub fn add(&self, pause: Pause, now: Time) -> Result<Pauses, Full> {
        let mut next = self.swept(now);
        next.0.retain(|other| other.scope != pause.scope);
        next.0.push(pause);
        let size: usize = next.0.iter().map(Pause::size).sum();
        if next.0.len() > Pauses::MOST || size > Pauses::ROOM {
            return Err(Full);
        }
        Ok(next)
    }

    /// Without the pauses within this scope, which are returned too, and without those that ended.
    pub fn lift(&self, scope: &Scope, now: Time) -> (Pauses, Vec<Pause>) {
        let all = self.swept(now).0;
        let (lifted, kept) = all
            .into_iter()
            .partition(|pause| scope.includes(&pause.scope));
        (Pauses(kept), lifted)
    }

    /// Without those that ended; one that begins in the future begins now.
    fn swept(&self, now: Time) -> Pauses {
        let current = self.current(now).cloned().map(|mut pause| {
            if pause.from > now {
                pause.until = now.plus(pause.until.since(pause.from));
                pause.from = now;
            }
            pause
        });
        Pauses(current.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn scope(alertname: &str, instance: &str) -> Scope {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Scope::new(AlertName::new(alertname), text(instance)).unwrap()
    }

    fn pause(alertname: &str, instance: &str, from: Time, span: Duration) -> Pause {
        Pause::new(scope(alertname, instance), from, span, "anna", "a reason")
    }

    #[test]
    fn each_scope_covers_what_it_names_and_nothing_else() {
        let ports = "web-1:9113";
        for (alert, entry, name, instance, covered) in [
            ("", "", "Any", "anywhere", true),
            ("Down", "", "Down", ports, true),
            ("Down", "", "DownToo", ports, false),
            ("", "web-1", "Any", ports, true),
            ("", "web-1", "Any", "web-1", true),
            ("", "web-1", "Any", "web-11:9113", false),
            ("", ports, "Any", ports, true),
            ("", ports, "Any", "web-1:9100", false),
            ("", ports, "Any", "web-1", false),
            ("", "web-*", "Any", ports, true),
            ("", "web-*", "Any", "db-1", false),
            ("", "[fd00::8]", "Any", "[fd00::8]:9100", true),
            ("", "[fd00::8]:9100", "Any", "[fd00::8]:9100", true),
            ("", "[fd00::8]:9100", "Any", "[fd00::8]:9101", false),
            ("", "fd00::8", "Any", "[fd00::8]:9100", true),
            ("Down", "web-1", "Down", ports, true),
            ("Down", "web-1", "Other", ports, false),
            ("Down", "web-1", "Down", "web-2:9113", false),
        ] {
            let scope = scope(alert, entry);
            assert_eq!(scope.covers(name, instance), covered, "{scope}: {instance}");
        }
    }

    #[test]
    fn two_scopes_meet_where_one_alert_could_be_in_both() {
        for (one, other, meet) in [
            (("", ""), ("Down", "web-1"), true),
            (("Down", ""), ("Other", ""), false),
            (("Down", ""), ("", "web-1"), true),
            (("", "web-1"), ("", "web-2"), false),
            (("", "web-1"), ("", "web-1:9100"), true),
            (("", "web-1:9113"), ("", "web-1:9100"), false),
            (("Down", "web-1"), ("Other", "web-1"), false),
            (("", "web-*"), ("", "web-1:9100"), true),
        ] {
            let (one, other) = (scope(one.0, one.1), scope(other.0, other.1));
            assert_eq!(one.meets(&other), meet, "{one}, {other}");
            assert_eq!(other.meets(&one), meet, "{other}, {one}");
        }
    }

    #[test]
    fn an_instance_that_no_alert_could_have_is_refused() {
        let long = "x".repeat(257);
        for bad in [
            "",
            " ",
            "a b",
            "#x",
            "\u{feff}x",
            "a\nb",
            "-x",
            ":9100",
            "[fd00::8",
            "[x]",
            &long,
        ] {
            assert!(Scope::new(None, Some(bad.to_owned())).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pause_begins_at_once_and_ends_by_itself() {
        let from = Time(1_000_000);
        let one = Pauses::default()
            .add(pause("Down", "", from, MINUTE), from)
            .unwrap();
        let at = |ms: i64| one.in_effect("Down", "web-1", Time(from.0 + ms)).is_some();
        assert!(at(0) && at(59_999));
        assert!(!at(60_000) && !at(60_001));
        assert_eq!(one.in_effect("Other", "web-1", from), None);
    }

    #[test]
    fn a_clock_set_back_leaves_it_in_effect_and_the_next_change_shortens_it() {
        let from = Time(1_000_000_000);
        let pauses = Pauses::default()
            .add(pause("", "", from, MINUTE), from)
            .unwrap();
        let before = Time(from.0 - 500_000_000);
        assert!(pauses.in_effect("Down", "web-1", before).is_some());
        let other = pause("Down", "", before, MINUTE);
        let after = pauses.add(other, before).unwrap();
        let kept = after.in_effect("Other", "web-1", before).unwrap();
        assert_eq!((kept.from, kept.until), (before, before.plus(MINUTE)));
    }

    #[test]
    fn the_same_scope_is_replaced_and_the_longest_is_named() {
        let now = Time(0);
        let pauses = Pauses::default()
            .add(pause("Down", "", now, 5 * MINUTE), now)
            .and_then(|p| p.add(pause("Down", "", now, 2 * MINUTE), now))
            .and_then(|p| p.add(pause("", "web-1", now, 3 * MINUTE), now))
            .unwrap();
        assert_eq!(pauses.list().len(), 2);
        let named = pauses.in_effect("Down", "web-1", now).unwrap();
        assert_eq!(named.scope, scope("", "web-1"));
        let named = pauses.in_effect("Down", "web-2", now).unwrap();
        assert_eq!(named.until, now.plus(2 * MINUTE));
    }

    #[test]
    fn lifting_takes_what_is_within_the_scope_and_leaves_the_rest() {
        let now = Time(0);
        let mut pauses = Pauses::default();
        for (alert, instance) in [("", ""), ("Down", ""), ("Down", "web-1"), ("", "web-1")] {
            pauses = pauses
                .add(pause(alert, instance, now, MINUTE), now)
                .unwrap();
        }
        let scopes = |pauses: &[Pause]| -> Vec<String> {
            pauses.iter().map(|p| p.scope.to_string()).collect()
        };
        let (left, lifted) = pauses.lift(&scope("Down", ""), now);
        assert_eq!(scopes(&lifted), ["Down", "Down on web-1"]);
        assert_eq!(scopes(left.list()), ["everything", "every alert on web-1"]);
        let (left, lifted) = pauses.lift(&scope("", "web-1"), now);
        assert_eq!(scopes(&lifted), ["Down on web-1", "every alert on web-1"]);
        assert_eq!(scopes(left.list()), ["everything", "Down"]);
        let (left, lifted) = pauses.lift(&Scope::default(), now);
        assert_eq!((left.list().len(), lifted.len()), (0, 4));
        let (left, lifted) = pauses.lift(&Scope::default(), now.plus(MINUTE));
        assert_eq!((left.list().len(), lifted.len()), (0, 0), "they had ended");
    }

    #[test]
    fn there_is_room_for_so_many_and_what_ended_makes_room() {
        let now = Time(0);
        let mut pauses = Pauses::default();
        for n in 0..Pauses::MOST {
            let next = pause("", &format!("web-{n}"), now, MINUTE);
            pauses = pauses.add(next, now).unwrap();
        }
        let more = |at: Time| pauses.add(pause("Down", "", at, MINUTE), at);
        assert_eq!(more(now), Err(Full));
        // One of the same scope takes no more room.
        assert!(pauses.add(pause("", "web-0", now, 2 * MINUTE), now).is_ok());
        assert_eq!(more(now.plus(MINUTE)).unwrap().list().len(), 1);
        let mut long = Pauses::default();
        let taken = (0..Pauses::MOST).take_while(|n| {
            let instance = format!("{n}{}", "\"".repeat(200));
            match long.add(pause("", &instance, now, MINUTE), now) {
                Ok(next) => long = next,
                Err(Full) => return false,
            }
            true
        });
        let taken = taken.count();
        assert!(taken > 10 && taken < Pauses::MOST, "{taken}");
    }

    #[test]
    fn texts_are_one_line_and_cut() {
        let span = MINUTE;
        let pause = Pause::new(
            Scope::default(),
            Time(0),
            span,
            &"é".repeat(40),
            "a\nb\u{1b}[2J\u{7f} ",
        );
        assert_eq!(pause.who, "é".repeat(16));
        assert_eq!(pause.why, "a b [2J");
    }
}
