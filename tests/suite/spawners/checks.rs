//! What a client sees, whoever spawns the listener. Each check brings handlers with names of their own, so that all
//! of them can also run in one place, one after another.

use std::thread;

use super::{Peer, Place};
use crate::support::{Alert, notification, request, until};

/// On the shipped list of instances too.
const INSTANCE: &str = "localhost:9113";

/// Bash that waits until the test writes a file of this name.
pub fn wait_for(note: &str) -> String {
    format!("until [[ -e $HEAL_BACKUP_DIR/{note} ]]; do sleep 0.02; done\n")
}

/// Bash that writes one.
pub fn say(note: &str) -> String {
    format!("echo >\"$HEAL_BACKUP_DIR/{note}\"\n")
}

pub fn firing(alertname: &str) -> Alert {
    Alert::firing(alertname, INSTANCE)
}

fn post(alert: &Alert) -> Vec<u8> {
    request(&notification(&[alert]).to_string())
}

/// The history's records of this kind for this alert.
pub fn records(place: &dyn Place, event: &str, alertname: &str) -> Vec<serde_json::Value> {
    let mut records = place.history();
    records.retain(|record| record["event"] == event && record["alertname"] == alertname);
    records
}

pub fn heals_once_and_answers_that_and_nothing_else(place: &dyn Place) {
    place.handler(
        "Heals",
        "echo 'HTTP/1.1 999 said'; echo 'HTTP/1.1 998 complained' >&2\n",
    );
    let mut client = place.connect();
    let port = client.port();
    client.post(&firing("Heals")).expect(200, &["healed"]);
    place
        .connect()
        .post(&firing("Heals"))
        .expect(200, &["settling"]);

    let [run] = &records(place, "intent", "Heals")[..] else {
        panic!("not one run: {:?}", place.history());
    };
    let shown = run["peer"].as_str().unwrap();
    match (place.peer(), port) {
        (Peer::Socket, Some(port)) => assert_eq!(shown, format!("127.0.0.1:{port}")),
        (Peer::Socket, None) => {
            let port = shown.strip_prefix("127.0.0.1:").expect(shown);
            assert!(port.parse::<u16>().is_ok(), "{shown}");
        }
        (Peer::Declared, _) => assert_eq!(shown, "127.0.0.1"),
        (Peer::Local, _) => assert_eq!(shown, "local"),
    }
    assert!(place.log().contains("] run_end "), "{}", place.log());
}

pub fn a_failed_handler_is_answered_503(place: &dyn Place) {
    place.handler("Fails", "exit 1\n");
    let answer = place.connect().post(&firing("Fails"));
    answer.expect(503, &["failed"]);
    assert!(answer.header("retry-after").is_some(), "{}", answer.head);
}

pub fn metrics_are_answered(place: &dyn Place) {
    let answer = place
        .connect()
        .ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(answer.code, 200, "{}", answer.body);
    assert!(
        answer.body.contains("\nself_heal_build_info{"),
        "{}",
        answer.body
    );
}

/// It is not read for ever, and not cut off either: the sender reads nothing before it has sent everything.
pub fn a_refused_large_body_still_gets_its_answer(place: &dyn Place) {
    let answer = place.connect().ask(&request(&" ".repeat(6 << 20)));
    assert_eq!(answer.code, 413, "{}", answer.body);
}

pub fn bytes_after_the_request_are_never_looked_at(place: &dyn Place) {
    place.handler("First", "exit 0\n");
    place.handler("Second", "exit 0\n");
    let both = [post(&firing("First")), post(&firing("Second"))].concat();
    place.connect().ask(&both).expect(200, &["healed"]);
    let seen = format!("{:?}{}", place.history(), place.log());
    assert!(seen.contains("First") && !seen.contains("Second"), "{seen}");
}

pub fn the_connection_is_closed_though_the_client_would_keep_it_and_a_daemon_lives(
    place: &dyn Place,
) {
    let daemon = format!("{}{}", wait_for("daemon-may-end"), say("daemon-ended"));
    place.handler("Daemon", &format!("setsid bash -c '{daemon}' &\n"));
    let text = String::from_utf8(post(&firing("Daemon"))).unwrap();
    let keeping = text.replacen("Host:", "Connection: keep-alive\r\nHost:", 1);
    // Returns at the end of the connection only; the client's side is open all the while.
    place
        .connect()
        .ask(keeping.as_bytes())
        .expect(200, &["healed"]);
    assert_eq!(
        place.note("daemon-ended"),
        None,
        "it was to outlive the connection"
    );
    place.put("daemon-may-end");
    until("the daemon went on and ended", || {
        place.note("daemon-ended")
    });
}

pub fn a_client_that_half_closes_gets_its_answer(place: &dyn Place) {
    place.handler("HalfClosed", "exit 0\n");
    let mut client = place.connect();
    client.send(&post(&firing("HalfClosed")));
    client.half_close();
    let answer = crate::support::Answer::parse(&client.receive());
    answer.expect(200, &["healed"]);
}

/// Each of the two handlers waits for the other.
pub fn two_at_once_are_healed_side_by_side(place: &dyn Place) {
    place.handler("Left", &format!("{}{}", say("left"), wait_for("right")));
    place.handler("Right", &format!("{}{}", say("right"), wait_for("left")));
    thread::scope(|both| {
        for alertname in ["Left", "Right"] {
            let mut client = place.connect();
            both.spawn(move || client.post(&firing(alertname)).expect(200, &["healed"]));
        }
    });
}

/// `handler_inherits_connection`: nothing but a file to read, the log, and the lock; and Bash's own script.
pub fn the_handler_has_nothing_of_the_connection(place: &dyn Place) {
    place.handler(
        "Descriptors",
        "find /proc/$$/fd -type l -printf '%f %l\\n' >\"$HEAL_BACKUP_DIR/fds\"\n",
    );
    place
        .connect()
        .post(&firing("Descriptors"))
        .expect(200, &["healed"]);
    let seen = place.note("fds").unwrap();
    let named = |name: &str, end: &str| {
        seen.lines()
            .any(|line| line.starts_with(&format!("{name} ")) && line.ends_with(end))
    };
    assert!(
        named("1", "/Descriptors.log") && named("2", "/Descriptors.log"),
        "{seen}"
    );
    assert!(
        !seen.contains("socket:") && !seen.contains("pipe:"),
        "{seen}"
    );
    let expected = |line: &&str| {
        let name = line.split(' ').next().unwrap();
        ["0", "1", "2"].contains(&name)
            || line.ends_with("/heal-Descriptors.lock")
            || line.ends_with("/Descriptors.sh")
    };
    let others: Vec<&str> = seen.lines().filter(|line| !expected(line)).collect();
    assert!(others.is_empty(), "{others:?} of {seen}");
}

pub fn a_sender_that_leaves_does_not_disturb_the_handler(place: &dyn Place) {
    let body = format!("{}{}", say("deserted"), wait_for("go-on"));
    place.handler("Deserted", &body);
    let mut client = place.connect();
    client.send(&post(&firing("Deserted")));
    until("the handler runs", || place.note("deserted"));
    drop(client);
    place.put("go-on");
    let result = until("the outcome is recorded", || {
        records(place, "result", "Deserted").pop()
    });
    assert_eq!(result["verdict"], "healed", "{result}");
    place
        .connect()
        .post(&firing("Deserted"))
        .expect(200, &["settling"]);
}

pub fn nothing_is_left_behind(place: &dyn Place) {
    place.handler("Leaves", "exit 0\n");
    place
        .connect()
        .post(&firing("Leaves"))
        .expect(200, &["healed"]);
    drop(place.connect());
    let mut half = place.connect();
    half.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le");
    drop(half);
    until(&format!("{:?} are gone", place.left_behind()), || {
        place.left_behind().is_empty().then_some(())
    });
    place
        .connect()
        .post(&firing("Leaves"))
        .expect(200, &["settling"]);
}
