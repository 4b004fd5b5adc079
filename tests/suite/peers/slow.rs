//! Clients that take their time to keep others out. As many as the spawner serves at once hold nobody up; more than
//! that hold the others up until `HEAL_REQUEST_TIMEOUT` ends them. Afterwards every place is free.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use nix::sys::socket::SockaddrIn;

use super::{House, alert, body};
use crate::clients::narrow;
use crate::stage::lines_with;
use crate::support::{Alert, Answer, notification, read_all, request, until};

/// What a slow client has sent when it stops: nothing, half a head, a head, all but a byte.
fn beginnings() -> [Vec<u8>; 4] {
    let whole = request(&body(&alert("Never", 1)));
    let head = whole.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    [0, head / 2, head, whole.len() - 1].map(|length| whole[..length].to_vec())
}

/// Connections of every kind.
fn slow(house: &House, count: usize) -> Vec<TcpStream> {
    let beginnings = beginnings();
    let begun = (0..count).map(|number| {
        let mut stream = house.dial();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
            .write_all(&beginnings[number % beginnings.len()])
            .unwrap();
        stream
    });
    begun.collect()
}

fn post(house: &House, alert: &Alert) -> Answer {
    let mut stream = house.dial();
    stream.write_all(&request(&body(alert))).unwrap();
    Answer::parse(&read_all(stream))
}

#[test]
fn two_hundred_that_dawdle_keep_nobody_out() {
    const COUNT: usize = 200;
    let house = House::with(&[("HEAL_REQUEST_TIMEOUT", "5m")]);
    house.healer("Heals");
    house.healer("Never");
    let dawdling = slow(&house, COUNT);
    until("all of them are served", || {
        (house.serving() == COUNT).then_some(())
    });
    for number in 0..5 {
        post(&house, &alert("Heals", number)).expect(200, &["healed"]);
    }
    assert_eq!(house.serving(), COUNT, "they are still there");
    drop(dawdling);
    house.nothing_is_left();
    house.every_place_is_free();
    assert_eq!(house.healed_once("Never").len(), 0);
}

#[test]
fn more_than_are_served_at_once_hold_the_others_up_until_their_time_is_over() {
    const COUNT: usize = 300;
    // For all of them to have begun before the first is told, on a busy machine.
    let house = House::with(&[("HEAL_REQUEST_TIMEOUT", "5s")]);
    house.healer("Heals");
    house.healer("Never");
    let dawdling = slow(&house, COUNT);
    let mut dripping: Vec<TcpStream> = dawdling[..40]
        .iter()
        .map(|stream| stream.try_clone().unwrap())
        .collect();
    // Nobody waits here for anything: this is their pace, until their connections are shut.
    let drip = thread::spawn(move || {
        while !dripping.is_empty() {
            dripping.retain_mut(|stream| stream.write_all(b" ").is_ok());
            thread::sleep(Duration::from_millis(100));
        }
    });
    // Behind them all.
    post(&house, &alert("Heals", 1)).expect(200, &["healed"]);
    let mut told = 0;
    for mut stream in dawdling {
        let mut answer = Vec::new();
        // Whoever still drips when it is shut may be answered by a reset.
        match stream.read_to_end(&mut answer) {
            Ok(_) => {
                let code = Answer::parse(&answer).code;
                assert!([400, 408].contains(&code), "{answer:?}");
                told += 1;
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    drip.join().unwrap();
    assert!(told >= COUNT - 40, "{told}");
    house.nothing_is_left();
    house.every_place_is_free();
    assert_eq!(house.healed_once("Never").len(), 0);
}

#[test]
fn those_that_do_not_read_keep_nobody_out() {
    // Time enough to read half a megabyte on a busy machine.
    let house = House::with(&[("HEAL_REQUEST_TIMEOUT", "3s")]);
    house.healer("Heals");
    let strangers: Vec<Alert> = (0..2000)
        .map(|number| Alert::firing("Heals", &format!("elsewhere:{number}")))
        .collect();
    let many = request(&notification(&strangers.iter().collect::<Vec<_>>()).to_string());
    let mut readers: Vec<TcpStream> = (0..4)
        .map(|_| narrow(SockaddrIn::new(127, 0, 0, 1, house.place.port), Some(536)))
        .collect();
    for reader in &mut readers {
        reader.write_all(&many).unwrap();
    }
    // Two read nothing, two as good as nothing.
    let sipping = readers.split_off(2).into_iter().map(|mut reader| {
        thread::spawn(move || {
            while matches!(reader.read(&mut [0; 16]), Ok(16)) {
                thread::sleep(Duration::from_millis(100));
            }
        })
    });
    let sipping: Vec<_> = sipping.collect();
    for number in 0..5 {
        post(&house, &alert("Heals", number)).expect(200, &["healed"]);
    }
    until("their time is over", || {
        (lines_with(&house.sandbox().log(), "] answer_not_read ") == 4).then_some(())
    });
    drop(readers);
    until("their processes are gone", || {
        (house.serving() == 0).then_some(())
    });
    drop(sipping);
    assert_eq!(house.healed_once("Heals").len(), 5);
    house.every_place_is_free();
}
