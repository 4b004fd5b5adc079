//! What happens while a fault strikes, and who comes next.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use super::sound::{drained, handler, heard, ran, retry, sound};
use crate::support::{Alert, Answer, Sandbox, notification, request};
use crate::tracing::Fault;

/// One process at work.
pub(super) struct Scene {
    pub(super) name: &'static str,
    /// Whether its calls before the configuration is read are struck as well.
    pub(super) from_the_start: bool,
    /// What there is before.
    pub(super) prepare: fn(&Sandbox),
    /// The process, and what it reads.
    pub(super) act: fn(&Sandbox) -> (Command, Vec<u8>),
    /// What must hold after it; without a fault too.
    pub(super) look: fn(&Sandbox, &Output, Option<Fault>),
}

pub(super) const FIRST: Scene = Scene {
    name: "first request",
    from_the_start: true,
    prepare: |sandbox| handler(sandbox, "", "", 0),
    act: |sandbox| posted(sandbox, &down()),
    look: heals,
};

pub(super) const HEAL: Scene = Scene {
    name: "heal",
    from_the_start: false,
    prepare: |sandbox| {
        handler(sandbox, "", "", 0);
        warm(sandbox);
    },
    ..FIRST
};

pub(super) const TRIPS: Scene = Scene {
    name: "failure that trips",
    from_the_start: false,
    prepare: |sandbox| {
        sandbox.set("HEAL_MAX_ATTEMPTS", "1");
        handler(sandbox, "", "echo it is broken\n", 1);
        warm(sandbox);
    },
    act: |sandbox| posted(sandbox, &down()),
    look: trips,
};

pub(super) const PUTS_BACK: Scene = Scene {
    name: "failure that is put back",
    from_the_start: false,
    prepare: |sandbox| {
        sandbox.set("HEAL_MAX_ATTEMPTS", "2");
        let conf = sandbox.write("place/conf", "old\n");
        let directive = format!("# self-heal: snapshot={}\n", conf.display());
        let body = format!("echo new >{}\n", conf.display());
        handler(sandbox, &directive, &body, 1);
        warm(sandbox);
    },
    act: |sandbox| posted(sandbox, &down()),
    look: puts_back,
};

pub(super) const RESOLVES: Scene = Scene {
    name: "resolved",
    from_the_start: false,
    prepare: |sandbox| {
        (TRIPS.prepare)(sandbox);
        sandbox.post(&down()).expect(200, &["tripped"]);
        drained(sandbox);
        assert_eq!(told(sandbox, None), ["trigger failures"]);
    },
    act: |sandbox| posted(sandbox, &down().resolved()),
    look: resolves,
};

pub(super) const DRAINS: Scene = Scene {
    name: "drain",
    from_the_start: true,
    prepare: |sandbox| {
        sandbox.set("HEAL_MAX_ATTEMPTS", "1");
        handler(sandbox, "", "", 1);
        sandbox.script("escalate.d/recorder", "#!/bin/sh\nexit 1\n");
        for instance in ["web-1", "web-2"] {
            let alert = Alert::firing("Down", instance);
            sandbox.post(&alert).expect(200, &["tripped"]);
        }
        let over = Alert::firing("Down", "web-1").resolved();
        sandbox.post(&over).expect(200, &["resolved"]);
        retry(sandbox);
        sandbox.recorder();
    },
    act: |sandbox| (sandbox.command_of(&["drain"]), Vec::new()),
    look: drains,
};

pub(super) const BY_HAND: Scene = Scene {
    name: "run",
    from_the_start: false,
    prepare: HEAL.prepare,
    act: |sandbox| (by_hand(sandbox), Vec::new()),
    look: runs,
};

fn down() -> Alert {
    Alert::firing("Down", "web-1:9113")
}

fn posted(sandbox: &Sandbox, alert: &Alert) -> (Command, Vec<u8>) {
    (
        sandbox.command(),
        request(&notification(&[alert]).to_string()),
    )
}

fn by_hand(sandbox: &Sandbox) -> Command {
    sandbox.command_of(&["run", "Down", "web-1:9113"])
}

/// Folders, reserve and spool are there, as they are on every host after its first alert.
fn warm(sandbox: &Sandbox) {
    sandbox.handler("Other", "exit 0\n");
    let other = Alert::firing("Other", "web-2");
    sandbox.post(&other).expect(200, &["healed"]);
    drained(sandbox);
}

/// What was told, as `action reason`; an event twice only where what came of the first time could not be known.
fn told(sandbox: &Sandbox, fault: Option<Fault>) -> Vec<String> {
    let mut pages = sandbox.pages();
    let all = pages.len();
    pages.dedup_by_key(|page| page["id"].to_string());
    let once = matches!(fault, None | Some(Fault::Kill));
    assert!(all <= pages.len() + usize::from(!once), "{pages:?}");
    let word = |page: &Value, name: &str| page[name].as_str().unwrap().to_owned();
    let said = |page: &Value| format!("{} {}", word(page, "action"), word(page, "reason"));
    pages.iter().map(said).collect()
}

/// The sender asks again until it hears that the alert is settled; each time, what must hold is looked at.
fn ask_again(sandbox: &Sandbox, alert: &Alert, most: usize) -> Answer {
    for _ in 1..most {
        let answer = sandbox.post(alert);
        sound(sandbox);
        if answer.code == 200 {
            return answer;
        }
    }
    let answer = sandbox.post(alert);
    assert_eq!(answer.code, 200, "asked {most} times: {answer:?}");
    answer
}

fn heals(sandbox: &Sandbox, output: &Output, fault: Option<Fault>) {
    sound(sandbox);
    let healed = heard(output, fault, &["healed"])
        .is_some_and(|answer| answer.code == 200 && answer.verdicts() == ["healed"]);
    let most = if healed {
        assert_eq!(ran(sandbox), 1, "healed without a run");
        1
    } else {
        2
    };
    let answer = ask_again(sandbox, &down(), 3);
    let verdict = answer.verdicts().remove(0);
    assert!(
        ["healed", "settling"].contains(&verdict.as_str()),
        "{answer:?}"
    );
    assert!((1..=most).contains(&ran(sandbox)), "{} runs", ran(sandbox));
    ends(sandbox, most == 2, fault);
}

/// Where a run was lost, a person was told of it once, and that it is over.
fn ends(sandbox: &Sandbox, lost: bool, fault: Option<Fault>) {
    sandbox.post(&down().resolved()).expect(200, &["resolved"]);
    drained(sandbox);
    sound(sandbox);
    let pages = told(sandbox, fault);
    let lost_and_over = ["trigger interrupted", "resolve interrupted"];
    assert!(
        pages.is_empty() || lost && pages == lost_and_over,
        "{pages:?}"
    );
}

fn trips(sandbox: &Sandbox, output: &Output, fault: Option<Fault>) {
    sound(sandbox);
    let tripped = heard(output, fault, &["tripped"])
        .is_some_and(|answer| answer.code == 200 && answer.verdicts() == ["tripped"]);
    if tripped {
        // Nobody asks again.
        drained(sandbox);
        assert_eq!(told(sandbox, fault), ["trigger failures"]);
    }
    ask_again(sandbox, &down(), 3).expect(200, &["tripped"]);
    assert!(ran(sandbox) <= 1, "{} runs of one", ran(sandbox));
    drained(sandbox);
    assert_eq!(told(sandbox, fault), ["trigger failures"]);
    over_and_told(sandbox, fault);
}

fn over_and_told(sandbox: &Sandbox, fault: Option<Fault>) {
    sandbox.post(&down().resolved()).expect(200, &["resolved"]);
    drained(sandbox);
    sound(sandbox);
    assert_eq!(
        told(sandbox, fault),
        ["trigger failures", "resolve failures"]
    );
}

fn puts_back(sandbox: &Sandbox, output: &Output, fault: Option<Fault>) {
    sound(sandbox);
    assert!(["old\n", "new\n"].contains(&sandbox.read("place/conf").as_str()));
    let answer = heard(output, fault, &["tripped"]);
    if answer.is_some_and(|answer| answer.json()["results"][0]["verdict"] == "failed") {
        back(sandbox, fault);
    }
    for _ in 0..3 {
        let answer = sandbox.post(&down());
        sound(sandbox);
        back(sandbox, fault);
        if answer.code == 200 {
            answer.expect(200, &["tripped"]);
            break;
        }
    }
    assert!(ran(sandbox) <= 2, "{} runs of two", ran(sandbox));
    sandbox.post(&down()).expect(200, &["tripped"]);
    drained(sandbox);
    let pages = told(sandbox, fault).join(", ");
    let lost = "trigger interrupted, resolve interrupted, ";
    let told = pages.strip_prefix(lost).unwrap_or(&pages);
    // Whoever hears that it could not be put back, hears no more of it.
    assert!(
        ["trigger failures", "trigger rollback"].contains(&told),
        "{pages}"
    );
    let left: Vec<_> = fs::read_dir(sandbox.path("place")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// The file is as it was; or a person is told that it is not, and the snapshot is kept.
fn back(sandbox: &Sandbox, fault: Option<Fault>) {
    if sandbox.read("place/conf") == "old\n" {
        return;
    }
    drained(sandbox);
    let pages = told(sandbox, fault);
    assert_eq!(pages, ["trigger rollback"], "not put back, and nobody told");
}

fn resolves(sandbox: &Sandbox, output: &Output, fault: Option<Fault>) {
    sound(sandbox);
    let answer = heard(output, fault, &["resolved"]);
    if answer.is_none_or(|answer| answer.code != 200) {
        ask_again(sandbox, &down().resolved(), 3).expect(200, &["resolved"]);
    }
    drained(sandbox);
    sound(sandbox);
    assert_eq!(
        told(sandbox, fault),
        ["trigger failures", "resolve failures"]
    );
    assert_eq!(ran(sandbox), 1);
    // It is forgotten as well: the next episode has its attempt.
    over(sandbox);
}

fn over(sandbox: &Sandbox) {
    let again = down().with("startsAt", crate::support::rfc3339(60).into());
    sandbox.post(&again).expect(200, &["tripped"]);
    assert_eq!(ran(sandbox), 2);
}

fn drains(sandbox: &Sandbox, output: &Output, fault: Option<Fault>) {
    super::sound::complained(output, fault);
    sound(sandbox);
    let ids_of = |name: &str| {
        let pages = sandbox.pages();
        let of = |page: &&Value| page["action"] == name;
        let ids = pages.iter().filter(of).map(|page| page["id"].to_string());
        ids.collect::<Vec<_>>()
    };
    if output.status.code() == Some(0) {
        let mut ids = [ids_of("trigger"), ids_of("resolve")].concat();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 3, "it said that nothing waits");
    }
    drained(sandbox);
    let (mut triggers, mut resolves) = (ids_of("trigger"), ids_of("resolve"));
    if fault != Some(Fault::Kill) {
        // An escalator whose success could not be written down is asked once more: the same event, one page.
        triggers.sort();
        triggers.dedup();
        resolves.dedup();
        assert!(sandbox.pages().len() <= 4, "{:?}", sandbox.paged());
    }
    assert_eq!(
        (triggers.len(), resolves.len()),
        (2, 1),
        "{:?}",
        sandbox.paged()
    );
    let first = |action: &str, instance: &str| {
        sandbox
            .pages()
            .iter()
            .position(|page| page["action"] == action && page["alert"]["instance"] == instance)
    };
    assert!(first("trigger", "web-1") < first("resolve", "web-1"));
}

fn runs(sandbox: &Sandbox, output: &Output, fault: Option<Fault>) {
    super::sound::complained(output, fault);
    sound(sandbox);
    let most = if output.status.code() == Some(0) {
        assert_eq!(ran(sandbox), 1, "it said that it healed");
        1
    } else {
        assert!(fault.is_some(), "{output:?}");
        2
    };
    for _ in 0..2 {
        by_hand(sandbox).output().unwrap();
        sound(sandbox);
    }
    assert!((1..=most).contains(&ran(sandbox)), "{} runs", ran(sandbox));
}
