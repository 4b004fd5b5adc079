//! Very many connections, one after another and at once: counted before and after are processes, descriptors, files,
//! connections and locks.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::libc::linger;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;

use super::{House, alert, body, dial, files, whole};
use crate::docs;
use crate::support::{Answer, read_all, request, until};

/// What connections are about, in turn.
const KINDS: usize = 10;

/// How many of both: sampled, or whole.
fn counts() -> (usize, usize) {
    if whole() { (10_000, 500) } else { (300, 100) }
}

fn ask(port: u16, bytes: &[u8]) -> Answer {
    let mut stream = dial(port);
    stream.write_all(bytes).unwrap();
    Answer::parse(&read_all(stream))
}

fn get(port: u16, method: &str, path: &str) -> u16 {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut stream = dial(port);
    stream.write_all(head.as_bytes()).unwrap();
    let bytes = read_all(stream);
    let text = String::from_utf8(bytes).unwrap();
    text.strip_prefix("HTTP/1.1 ").unwrap()[..3]
        .parse()
        .unwrap()
}

/// Sends so much of a request and is gone.
fn leave(port: u16, bytes: &[u8], by_reset: bool) {
    let mut stream: TcpStream = dial(port);
    stream.write_all(bytes).unwrap();
    if by_reset {
        let at_once = linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&stream, Linger, &at_once).unwrap();
    }
}

fn connect_as(port: u16, number: usize) {
    let post = |name| request(&body(&alert(name, number)));
    match number % KINDS {
        0 => ask(port, &post("Heals")).expect(200, &["healed"]),
        1 => ask(port, &request(&body(&alert("Heals", number - 1)))).expect(200, &["settling"]),
        2 => assert_eq!(get(port, "GET", "/-/healthy"), 200),
        3 => assert_eq!(get(port, "GET", "/metrics"), 200),
        4 => assert_eq!(get(port, "HEAD", "/-/ready"), 200),
        5 => assert_eq!(ask(port, b"SSH-2.0-x\r\n\r\n").code, 400),
        6 => leave(port, b"", false),
        7 => leave(port, &post("Never")[..80], true),
        8 => {
            let whole = post("Never");
            leave(port, &whole[..whole.len() - 1], false);
        }
        // Asked whole, and gone before the answer: it is run, and nobody is told.
        _ => leave(port, &post("Left"), false),
    }
}

/// Posts a new alert together with all others, and again for as long as it is told to.
fn post_at_once(port: u16, number: usize, start: &Barrier, asked: &AtomicUsize) {
    let bytes = request(&body(&alert("AtOnce", number)));
    start.wait();
    until("it is settled", || {
        asked.fetch_add(1, Ordering::Relaxed);
        let answer = ask(port, &bytes);
        assert!([200, 503].contains(&answer.code), "{answer:?}");
        (answer.code == 200).then_some(())
    });
}

/// The files, those apart of which there is one for each alert ever run, or for each slot.
fn lasting(house: &House) -> BTreeSet<String> {
    let mut files = files(house.sandbox());
    files.retain(|file| !file.starts_with("state/records/") && !file.starts_with("lock/slot-"));
    files
}

fn count(house: &House, folder: &str) -> usize {
    let files = files(house.sandbox());
    files.iter().filter(|file| file.starts_with(folder)).count()
}

#[test]
fn ten_thousand_connections_and_five_hundred_at_once_leave_records_and_nothing_else() {
    let (in_turn, at_once) = counts();
    let house = House::new();
    let port = house.place.port;
    for name in ["Heals", "Left", "Never", "AtOnce"] {
        house.healer(name);
    }
    // One of each kind makes what is made once.
    (0..KINDS).for_each(|number| connect_as(port, number));
    ask(port, &request(&body(&alert("AtOnce", 0)))).expect(200, &["healed"]);
    house.nothing_is_left();
    let before = lasting(&house);

    (KINDS..in_turn + KINDS).for_each(|number| connect_as(port, number));
    let (start, asked) = (Barrier::new(at_once), AtomicUsize::new(0));
    thread::scope(|posts| {
        for number in 1..=at_once {
            let (start, asked) = (&start, &asked);
            posts.spawn(move || post_at_once(port, number, start, asked));
        }
    });

    house.nothing_is_left();
    assert_eq!(lasting(&house), before, "files");
    assert!(count(&house, "lock/slot-") <= 4, "HEAL_MAX_CONCURRENT");
    let run = ["Heals", "Left", "AtOnce"].map(|name| house.healed_once(name).len());
    let each = in_turn / KINDS + 1;
    assert_eq!(run, [each, each, at_once + 1]);
    assert_eq!(house.healed_once("Never").len(), 0);
    assert_eq!(count(&house, "state/records/"), run.iter().sum::<usize>());
    house.every_place_is_free();
    house.nothing_is_left();

    let row = format!(
        "| {in_turn} one after another, {at_once} at once | {} | 0 | 0 | 0 | 0 | 0 |",
        in_turn / KINDS * 2 + at_once
    );
    println!("{row}\nasked at once, with those that were told to come again: {asked:?}");
    if whole() {
        assert!(
            docs::page("proof.md").contains(&row),
            "docs/proof.md has other counts"
        );
    }
}
