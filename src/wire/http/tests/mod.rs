//! The reader from outside: what passes, who is asked when, and what an end means. Every request
//! is read whole, one byte at a time and cut in two anywhere, and has to fare the same.

use std::cell::Cell;

use super::*;

mod pieces;
mod shapes;

const MAX_BODY: usize = 64;

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Done(Request),
    Refused(Refusal),
    /// Every byte was taken and more is wanted.
    Waits,
}

/// Feeds the pieces until the request is over; also whether 100 Continue was asked for.
fn read(pieces: &[&[u8]]) -> (Outcome, bool) {
    let mut reader = Reader::new(Limits { max_body: MAX_BODY }, |_: &Head| Ok(()));
    let mut invited = false;
    for piece in pieces {
        match reader.feed(piece) {
            Ok(Progress::NeedMore) => {}
            Ok(Progress::SendContinue) => {
                assert!(!invited, "100 Continue twice");
                invited = true;
            }
            Ok(Progress::Done(request)) => return (Outcome::Done(request), invited),
            Err(refusal) => return (Outcome::Refused(refusal), invited),
        }
    }
    (Outcome::Waits, invited)
}

/// The outcome, the same whole, one byte at a time and cut in two anywhere.
fn outcome(bytes: &[u8]) -> Outcome {
    let (whole, _) = read(&[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(
        read(&single).0,
        whole,
        "one byte at a time: {}",
        bytes.escape_ascii()
    );
    // A long one is cut every 509 bytes (a prime, so that no limit falls on a cut) and near its end.
    let every = if bytes.len() < 2000 { 1 } else { 509 };
    for at in (0..=bytes.len())
        .step_by(every)
        .chain(bytes.len().saturating_sub(9)..bytes.len())
    {
        let (left, right) = bytes.split_at(at);
        assert_eq!(
            read(&[left, right]).0,
            whole,
            "cut at {at}: {}",
            bytes.escape_ascii()
        );
    }
    whole
}

/// The code a request is refused with; 0 when it is not.
fn code(bytes: impl AsRef<[u8]>) -> u16 {
    match outcome(bytes.as_ref()) {
        Outcome::Refused(refusal) => refusal.status.code(),
        _ => 0,
    }
}

/// The request, which has to be whole.
fn done(bytes: impl AsRef<[u8]>) -> Request {
    match outcome(bytes.as_ref()) {
        Outcome::Done(request) => request,
        other => panic!("{}: {other:?}", bytes.as_ref().escape_ascii()),
    }
}

/// A POST of `{}` with these field lines added.
fn post(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n{fields}\r\n{{}}")
}

/// A head without its framing: what is given follows the Host field.
fn after_host(rest: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\n{rest}")
}

#[test]
fn a_notification_is_read_and_nothing_after_it() {
    for junk in ["", "x", "\r\n", "GET / HTTP/1.1\r\n\r\n", "\0\u{16}"] {
        let request = done(format!("{}{junk}", post("Authorization: Bearer t\r\n")));
        assert_eq!(request.head.method, Method::Post);
        assert_eq!(request.head.path, "/");
        assert_eq!(request.head.authorization.as_deref(), Some("Bearer t"));
        assert_eq!(request.body, b"{}");
    }
    let chunked = after_host(
        "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x\r\n}\r\n0\r\nT: u\r\n\r\n\0junk",
    );
    assert_eq!(done(chunked).body, b"{}");
}

#[test]
fn senders_as_they_are() {
    let alertmanager = "POST /heal?x=1 HTTP/1.1\r\nHost: 127.0.0.1:9095\r\nUser-Agent: Alertmanager/0.25.0\r\n\
                        Content-Length: 2\r\nContent-Type: application/json\r\n\r\n{}";
    assert_eq!(done(alertmanager).head.path, "/heal");
    let grafana = "PUT http://[::1]:9095/heal HTTP/1.1\r\nHost: [::1]:9095\r\nUser-Agent: Grafana\r\nContent-Length: 2\r\n\
                   Content-Type: application/json; charset=utf-8\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n{}";
    let request = done(grafana);
    assert_eq!(
        (request.head.method, request.head.path.as_str()),
        (Method::Put, "/heal")
    );
    assert_eq!(
        done("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}").body,
        b"{}"
    );
    assert_eq!(
        done("\r\n\r\nPOST / HTTP/1.1\r\nhost:h\r\nCONTENT-LENGTH:\t0 \r\n\r\n").body,
        b""
    );
    assert_eq!(
        done("GET /metrics?x HTTP/1.1\r\nHost:\r\n\r\n").head.path,
        "/metrics"
    );
    assert_eq!(
        done("HEAD /-/ready HTTP/1.0\r\n\r\n").head.method,
        Method::Head
    );
}

#[test]
fn continue_is_asked_for_once_and_only_when_the_body_waits() {
    let ask = |version: &str, fields: &str, body: &[u8]| {
        let head = format!("POST / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
        read(&[head.as_bytes(), body])
    };
    let invited =
        |(outcome, invited): (Outcome, bool)| (matches!(outcome, Outcome::Done(_)), invited);
    assert_eq!(
        invited(ask(
            "1.1",
            "Content-Length: 2\r\nExpect: 100-Continue\r\n",
            b"{}"
        )),
        (true, true)
    );
    assert_eq!(
        invited(ask("1.1", "Content-Length: 2\r\n", b"{}")),
        (true, false)
    );
    assert_eq!(
        invited(ask(
            "1.0",
            "Content-Length: 2\r\nExpect: 100-continue\r\n",
            b"{}"
        )),
        (true, false)
    );
    assert_eq!(
        invited(ask(
            "1.1",
            "Content-Length: 0\r\nExpect: 100-continue\r\n",
            b""
        )),
        (true, false)
    );
    let chunked = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n";
    assert_eq!(invited(ask("1.1", chunked, b"0\r\n\r\n")), (true, true));
    // Part of the body came with the head.
    let together =
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{";
    assert_eq!(invited(read(&[together.as_bytes(), b"}"])), (true, false));
    // A body that is not read is not invited.
    let get = "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(invited(read(&[get.as_bytes()])), (true, false));
    // Nor one that is refused.
    let refused = ask("1.1", "Content-Length: 99\r\nExpect: 100-continue\r\n", b"");
    assert!(
        matches!(refused, (Outcome::Refused(_), false)),
        "{refused:?}"
    );
}

#[test]
fn the_body_of_a_get_is_not_read() {
    for framed in [
        "Content-Length: 3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\nnonsense",
        "Content-Length: 99\r\n\r\n",
    ] {
        assert_eq!(
            done(format!("GET / HTTP/1.1\r\nHost: h\r\n{framed}")).body,
            b"",
            "{framed}"
        );
    }
}

#[test]
fn the_gate_is_asked_once_between_head_and_body() {
    let asked = Cell::new(0);
    let gate = |head: &Head| {
        asked.set(asked.get() + 1);
        match head.authorization {
            Some(_) => Ok(()),
            None => Err(Refusal::new(Status::Unauthorized401, "a token is needed")),
        }
    };
    let limits = Limits { max_body: MAX_BODY };

    let mut reader = Reader::new(limits, gate);
    let head = "HEAD / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r";
    assert_eq!(reader.feed(head.as_bytes()), Ok(Progress::NeedMore));
    assert!(reader.head().is_none() && !reader.head_only() && asked.get() == 0);
    assert_eq!(
        reader.feed(b"\n").unwrap_err().status,
        Status::Unauthorized401
    );
    assert!(reader.head().is_some() && reader.head_only() && asked.get() == 1);
    assert!(reader.feed(b"x").is_err() && asked.get() == 1);

    let mut reader = Reader::new(limits, gate);
    let head = "POST / HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(reader.feed(head.as_bytes()), Ok(Progress::SendContinue));
    assert_eq!((asked.get(), reader.head_only()), (2, false));
    assert!(matches!(reader.feed(b"xy"), Ok(Progress::Done(_))));
    assert_eq!(asked.get(), 2);

    // Neither an unclear end nor a browser reaches it.
    for bytes in [
        "POST / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nOrigin: x\r\n\r\n",
    ] {
        assert!(Reader::new(limits, gate).feed(bytes.as_bytes()).is_err());
    }
    assert_eq!(asked.get(), 2);
}

#[test]
fn the_end_of_the_bytes() {
    let whole = post("");
    for at in 0..=whole.len() {
        let mut reader = Reader::new(Limits { max_body: MAX_BODY }, |_: &Head| Ok(()));
        assert!(reader.feed(&whole.as_bytes()[..at]).is_ok());
        assert_eq!(reader.started(), at > 0);
        let cut = reader.end().map(|refusal| refusal.status);
        assert_eq!(
            cut,
            (at > 0 && at < whole.len()).then_some(Status::BadRequest400),
            "{at}"
        );
    }
    let mut reader = Reader::new(Limits { max_body: MAX_BODY }, |_: &Head| Ok(()));
    assert_eq!(reader.feed(b"\r\n\r\n"), Ok(Progress::NeedMore));
    assert!(!reader.started() && reader.end().is_none());
}
