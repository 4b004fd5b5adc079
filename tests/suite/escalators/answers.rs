//! What an answer, or the lack of one, is taken for: by those that speak HTTP.

use std::net::TcpListener;

use super::fake::{Fake, Reply, answer};
use super::{Desk, KEY, Outcome, SECRET_PATH, sample};
use crate::support::feed;

const BOTH: [&str; 2] = ["pagerduty", "webhook"];

/// What PagerDuty's and the webhook's escalator make of each code.
pub const CODES: &[(u16, Outcome, Outcome)] = &[
    (200, Outcome::Again, Outcome::Delivered),
    (201, Outcome::Again, Outcome::Delivered),
    (202, Outcome::Delivered, Outcome::Delivered),
    (204, Outcome::Again, Outcome::Delivered),
    (301, Outcome::Again, Outcome::Again),
    (302, Outcome::Again, Outcome::Again),
    (307, Outcome::Again, Outcome::Again),
    (308, Outcome::Again, Outcome::Again),
    (400, Outcome::Refused, Outcome::Refused),
    (401, Outcome::Again, Outcome::Again),
    (403, Outcome::Again, Outcome::Again),
    (404, Outcome::Again, Outcome::Again),
    (405, Outcome::Again, Outcome::Again),
    (407, Outcome::Again, Outcome::Again),
    (408, Outcome::Again, Outcome::Again),
    (410, Outcome::Again, Outcome::Again),
    (413, Outcome::Again, Outcome::Refused),
    (422, Outcome::Again, Outcome::Refused),
    (425, Outcome::Again, Outcome::Again),
    (429, Outcome::Again, Outcome::Again),
    (500, Outcome::Again, Outcome::Again),
    (502, Outcome::Again, Outcome::Again),
    (503, Outcome::Again, Outcome::Again),
    (504, Outcome::Again, Outcome::Again),
];

fn of(name: &str, row: &(u16, Outcome, Outcome)) -> Outcome {
    if name == "pagerduty" { row.1 } else { row.2 }
}

#[test]
fn every_code_means_what_the_table_says() {
    for name in BOTH {
        let fake = Fake::new(CODES.iter().map(|row| Reply::code(row.0)).collect());
        let desk = Desk::at(&fake.url("/x"));
        for row in CODES {
            let told = desk.tell(name, &sample("failures"));
            let code = row.0.to_string();
            told.is(of(name, row), &[&code]);
            fake.body("/x");
        }
    }
}

#[test]
fn no_redirect_is_followed() {
    let elsewhere = Fake::accepting(1);
    for name in BOTH {
        let head = format!(
            "HTTP/1.1 307 Elsewhere\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
            elsewhere.url("/x")
        );
        let fake = Fake::new(vec![Reply::Bytes(head.into_bytes())]);
        let desk = Desk::at(&fake.url("/x"));
        desk.tell(name, &sample("failures"))
            .is(Outcome::Again, &["307", &format!("{name}.url")]);
        fake.body("/x");
    }
    assert!(elsewhere.untouched());
}

#[test]
fn half_an_answer_is_none() {
    let cut = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
    for name in BOTH {
        for (text, outcome) in [
            ("", Outcome::Again),
            ("HTTP/1.1 20", Outcome::Again),
            ("HTTP/1.1 202 Acc", Outcome::Again),
            ("HTTP/1.1 202 Accepted\r\n", Outcome::Again),
            ("HTTP/1.1 202 Accepted\r\nContent-Len", Outcome::Again),
            (
                "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n",
                Outcome::Again,
            ),
            (
                "HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n",
                Outcome::Again,
            ),
            (
                "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 202 Accepted\r\n",
                Outcome::Again,
            ),
            ("HTTP/1.1 103 Early Hints\r\n\r\n", Outcome::Again),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", Outcome::Again),
            ("202\r\n\r\n", Outcome::Again),
            // The head is whole: the event was taken.
            (
                "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n",
                Outcome::Delivered,
            ),
            (
                "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\nabc",
                Outcome::Delivered,
            ),
            (
                "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
                Outcome::Delivered,
            ),
            (
                "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n",
                Outcome::Delivered,
            ),
            ("HTTP/1.1 202 Accepted\n\n", Outcome::Delivered),
        ] {
            let fake = Fake::new(vec![cut(text)]);
            let told = Desk::at(&fake.url("/x")).tell(name, &sample("failures"));
            assert_eq!(told.outcome, outcome, "{name} {text:?}: {}", told.said);
        }
    }
}

#[test]
fn nobody_there_or_gone_at_once_is_tried_again() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for name in BOTH {
        let desk = Desk::at(&format!("http://127.0.0.1:{port}/x"));
        desk.tell(name, &sample("failures"))
            .is(Outcome::Again, &["curl exit 7"]);
        let fake = Fake::new(vec![Reply::Slam]);
        Desk::at(&fake.url("/x"))
            .tell(name, &sample("failures"))
            .is(Outcome::Again, &["no whole answer"]);
        let desk = Desk::at("https://host.invalid/x");
        desk.tell(name, &sample("failures"))
            .is(Outcome::Again, &["curl exit 6"]);
    }
}

#[test]
fn who_hangs_is_given_up_within_the_time_of_the_file() {
    for name in BOTH {
        for said in [
            "",
            "HTTP/1.1 202 Accepted\r\n",
            "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\nabc",
        ] {
            let fake = Fake::new(vec![Reply::Hang(said.as_bytes().to_vec())]);
            let desk = Desk::at(&fake.url("/x"));
            desk.conf(&format!("{name}.timeout"), "1", 0o644);
            desk.tell(name, &sample("failures"))
                .is(Outcome::Again, &["curl exit 28"]);
            fake.body("/x");
        }
    }
    // One that never takes the connection from the kernel.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let desk = Desk::at(&format!("http://{}/x", deaf.local_addr().unwrap()));
    desk.conf("pagerduty.timeout", "1", 0o644);
    desk.tell("pagerduty", &sample("failures"))
        .is(Outcome::Again, &["curl exit 28"]);
}

#[test]
fn an_answer_of_any_length_is_an_answer() {
    for (length, code, outcome) in [
        (20_000, 202, Outcome::Delivered),
        (8_000_000, 202, Outcome::Delivered),
        (8_000_000, 400, Outcome::Refused),
    ] {
        for name in BOTH {
            let fake = Fake::new(vec![Reply::Bytes(answer(
                code,
                &"202|0|x\r\n\r\n".repeat(length / 11),
            ))]);
            let told = Desk::at(&fake.url("/x"))
                .tell(name, &sample("failures"))
                .is(outcome, &[]);
            assert!(told.said.len() < 1000, "{}", told.said.len());
        }
    }
}

/// What an answer says is shown, in one line, cut, and without what is secret.
#[test]
fn what_an_answer_says_is_printable_and_keeps_the_secret() {
    for name in BOTH {
        let body = format!(
            "no: {KEY} {SECRET_PATH} \u{1b}[2J\r\n2026 [ERROR] forged\0\u{85}é{}",
            "x".repeat(9000)
        );
        let fake = Fake::new(vec![Reply::Bytes(answer(400, &body))]);
        let desk = Desk::at(&fake.url(SECRET_PATH));
        let told = desk
            .tell(name, &sample("failures"))
            .is(Outcome::Refused, &["400", "(secret)", "forged"]);
        assert_eq!(told.said.lines().count(), 1, "{}", told.said);
        assert!(
            told.said
                .trim_end()
                .bytes()
                .all(|b| b == b' ' || b.is_ascii_graphic()),
            "{}",
            told.said
        );
        assert!(told.said.len() < 1000);
        let secret = if name == "pagerduty" {
            KEY
        } else {
            SECRET_PATH
        };
        assert!(!told.said.contains(secret), "{}", told.said);
    }
}

/// Cut off behind the secret's beginning, it would show that.
#[test]
fn no_part_of_the_secret_is_shown_where_an_answer_is_cut() {
    for name in BOTH {
        let secret = if name == "pagerduty" {
            KEY
        } else {
            SECRET_PATH
        };
        for before in 0..3 {
            let body = "x".repeat(before * 11) + &secret.repeat(300);
            let fake = Fake::new(vec![Reply::Bytes(answer(400, &body))]);
            let told = Desk::at(&fake.url(SECRET_PATH)).tell(name, &sample("failures"));
            let told = told.is(Outcome::Refused, &["(secret)"]);
            assert!(!told.said.contains(&secret[..8]), "{}", told.said);
        }
    }
}

/// No proxy and no configuration of curl's but what is asked for.
#[test]
fn nothing_around_leads_the_request_elsewhere() {
    let elsewhere = Fake::accepting(1);
    for name in BOTH {
        let fake = Fake::accepting(1);
        let desk = Desk::at(&fake.url("/x"));
        let proxy = elsewhere.url("");
        desk.sandbox.write(
            "home/.curlrc",
            &format!("proxy = \"{proxy}\"\nuser = \"a:b\"\nlocation\n"),
        );
        let mut command = desk.command(name, name);
        for variable in ["http_proxy", "all_proxy", "ALL_PROXY", "HTTPS_PROXY"] {
            command.env(variable, &proxy);
        }
        let done = feed(command, sample("failures").to_string().as_bytes());
        super::Told::of(&done).is(Outcome::Delivered, &[]);
        fake.body("/x");
    }
    assert!(elsewhere.untouched());
}
