//! Requests that are refused, each with its code, beside the nearest ones that pass.

use super::*;

#[test]
fn what_is_not_http_is_refused_at_its_first_byte() {
    // A TLS ClientHello, an SSLv2 one, a space, and what else begins no method.
    for first in [0x16, 0x80, b' ', b'\n', 0, b'{', b'"', b':', 0xff] {
        assert_eq!(code([first]), 400, "{first:#x}");
        assert_eq!(code([b'\r', b'\n', first]), 400, "{first:#x}");
    }
    assert_eq!(code("\rG"), 400);
    assert_eq!(outcome(b"\r\n\r\nG"), Outcome::Waits);
}

#[test]
fn other_versions_are_refused_at_the_request_line() {
    for (line, want) in [
        ("PRI * HTTP/2.0\r\n", 505),
        ("GET / HTTP/1.2\r\n", 505),
        ("GET / HTTP/0.9\r\n", 505),
        ("GET / HTTP/3.0\r\n", 505),
        ("GET /\r\n", 400),
        ("GET\r\n", 400),
        ("SSH-2.0-x\r\n", 400),
        ("GET / HTTP/1.1 \r\n", 400),
        ("GET  / HTTP/1.1\r\n", 400),
        ("GET / http/1.1\r\n", 400),
        ("GET / HTTP/1.1\n", 400),
        ("GET / HTTP/1.1\rX", 400),
        ("GET /\0", 400),
    ] {
        assert_eq!(code(line), want, "{line:?}");
    }
}

#[test]
fn request_lines() {
    for (line, want) in [
        ("GE(T / HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET /\t HTTP/1.1", 400),
        ("GET /# HTTP/1.1", 400),
        ("GET x HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET h:80 HTTP/1.1", 400),
        ("GET http:/// HTTP/1.1", 400),
        ("GET /\u{e9} HTTP/1.1", 400),
        ("DELETE / HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 405),
        ("CONNECT h:80 HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
        ("post / HTTP/1.1", 405),
        ("GET / HTTP/1.1", 0),
    ] {
        assert_eq!(code(format!("{line}\r\nHost: h\r\n\r\n")), want, "{line}");
    }
}

#[test]
fn field_lines() {
    for (field, want) in [
        ("A: b\n", 400),
        ("A: b\rc\r\n", 400),
        ("A: b\0c\r\n", 400),
        ("A: \x1b\r\n", 400),
        ("A: \x7f\r\n", 400),
        ("A\0: b\r\n", 400),
        ("A : b\r\n", 400),
        ("A\t: b\r\n", 400),
        ("A b: c\r\n", 400),
        (": b\r\n", 400),
        ("A\r\n", 400),
        ("\u{e9}: b\r\n", 400),
        ("A: b\r\n c\r\n", 400),
        ("A: b\r\n\tc\r\n", 400),
        (" A: b\r\n", 400),
        ("Authorization: a\r\nauthorization: b\r\n", 400),
        ("A:\r\n", 0),
        ("A: \u{e9} b\tc \r\n", 0),
        ("A: b\r\nA: c\r\n", 0),
    ] {
        assert_eq!(code(post(field)), want, "{field:?}");
    }
    assert_eq!(
        code(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: \xff\r\n\r\n"),
        400
    );
    assert_eq!(code("GET / HTTP/1.1\r\n Host: h\r\n\r\n"), 400);
}

#[test]
fn host() {
    for (fields, want) in [
        ("", 400),
        ("Host: a\r\nHost: a\r\n", 400),
        ("Host: a\r\nhost: b\r\n", 400),
        ("Host: a b\r\n", 400),
        ("Host: a/b\r\n", 400),
        ("Host: u@a\r\n", 400),
        ("Host:\r\n", 0),
        ("Host: [::1]:9095\r\n", 0),
    ] {
        assert_eq!(
            code(format!("GET / HTTP/1.1\r\n{fields}\r\n")),
            want,
            "{fields:?}"
        );
    }
    assert_eq!(code("GET / HTTP/1.0\r\n\r\n"), 0);
    assert_eq!(code("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
}

/// The shapes by which a request is hidden from one of two readers.
#[test]
fn smuggling() {
    let chunks = "0\r\n\r\n";
    for (fields, want) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 0\r\n", 400),
        ("Content-Length: 5, 5\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: -5\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 5 5\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: 18446744073709551621\r\n", 400),
        ("Content-Length : 5\r\n", 400),
        ("Content-Length\0: 5\r\n", 400),
        ("Content-Length: 5\r\n Transfer-Encoding: chunked\r\n", 400),
        ("A: b\rContent-Length: 5\r\n", 400),
        ("A: b\nContent-Length: 5\r\n", 400),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            400,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            400,
        ),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 400),
        ("Transfer-Encoding: identity\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", 400),
        ("Transfer-Encoding: \"chunked\"\r\n", 400),
        ("Transfer-Encoding: chunked;a\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding:\r\n chunked\r\n", 400),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("Transfer_Encoding: chunked\r\n", 411),
        ("", 411),
        ("Transfer-Encoding:\tChunked \r\n", 0),
        ("Content-Length: 5\r\n", 0),
    ] {
        assert_eq!(
            code(after_host(&format!("{fields}\r\n{chunks}"))),
            want,
            "{fields:?}"
        );
    }
    assert_eq!(
        code("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        400
    );
    assert_eq!(code("POST / HTTP/1.0\r\n\r\n"), 411);
    assert_eq!(
        code("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        400
    );
}

#[test]
fn bad_chunks() {
    for (chunks, want) in [
        ("\r\n", 400),
        ("x\r\n", 400),
        ("-1\r\n", 400),
        ("0x1\r\n", 400),
        ("1\n{", 400),
        ("1 \r\n{", 400),
        ("1;a\nb\r\n{", 400),
        ("1\r\n{}", 400),
        ("1\r\n{\n", 400),
        ("10000000000000001\r\n", 400),
        ("0\r\nA : b\r\n\r\n", 400),
        ("0\r\nA: b\n\r\n", 400),
        ("41\r\n", 413),
        ("ffffffffffffffff\r\n", 413),
    ] {
        let request = after_host(&format!("Transfer-Encoding: chunked\r\n\r\n{chunks}"));
        assert_eq!(code(request), want, "{chunks:?}");
    }
}

#[test]
fn limits_of_the_head() {
    let fields = |count| post(&"A: b\r\n".repeat(count));
    assert_eq!(code(fields(62)), 0);
    assert_eq!(code(fields(63)), 431);

    // The head alone, padded to a length.
    let padded = |len: usize| {
        let line = "GET / HTTP/1.1\r\nHost: h\r\nA: ";
        format!("{line}{}\r\n\r\n", "b".repeat(len - line.len() - 4))
    };
    assert_eq!(code(padded(32 * 1024)), 0);
    assert_eq!(code(padded(32 * 1024 + 1)), 431);
    assert_eq!(code("G".repeat(32 * 1024 + 1)), 431);
    assert_eq!(code("\r\n".repeat(16 * 1024) + "\r"), 431);
    assert_eq!(outcome("G".repeat(32 * 1024).as_bytes()), Outcome::Waits);
}

#[test]
fn limits_of_the_body() {
    let of = |length: usize| {
        after_host(&format!(
            "Content-Length: {length}\r\n\r\n{}",
            " ".repeat(length)
        ))
    };
    assert_eq!(done(of(MAX_BODY)).body.len(), MAX_BODY);
    assert_eq!(code(of(MAX_BODY + 1)), 413);
    assert_eq!(
        code(after_host("Content-Length: 18446744073709551615\r\n\r\n")),
        413
    );
    let chunk = format!("20\r\n{}\r\n", " ".repeat(32));
    let of = |rest: &str| {
        after_host(&format!(
            "Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}{rest}"
        ))
    };
    assert_eq!(done(of("0\r\n\r\n")).body.len(), MAX_BODY);
    assert_eq!(code(of("1\r\n")), 413);
}

#[test]
fn expectations() {
    for (value, want) in [
        ("100-continue", 0),
        ("", 0),
        ("100-continue, x", 417),
        ("200-ok", 417),
        ("100-continue=1", 417),
    ] {
        assert_eq!(code(post(&format!("Expect: {value}\r\n"))), want, "{value}");
    }
    assert_eq!(code("GET / HTTP/1.0\r\nExpect: x\r\n\r\n"), 417);
}

#[test]
fn media() {
    for (fields, want) in [
        ("Content-Type: application/json\r\n", 0),
        ("Content-Type: APPLICATION/vnd.x+JSON ; q\r\n", 0),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
        ("Content-Type:\r\n", 415),
        (
            "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
            400,
        ),
        ("Content-Encoding: identity\r\n", 0),
        ("Content-Encoding: gzip\r\n", 415),
        (
            "Content-Encoding: identity\r\nContent-Encoding: br\r\n",
            415,
        ),
        ("Content-Encoding: identity, gzip\r\n", 415),
    ] {
        assert_eq!(code(post(fields)), want, "{fields:?}");
    }
    assert_eq!(
        code("GET / HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n\r\n"),
        0
    );
}

#[test]
fn a_browser_is_refused_whatever_it_asks() {
    for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS"] {
        for origin in ["null", "http://127.0.0.1:9095", ""] {
            let request = format!(
                "{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nOrigin: {origin}\r\n\r\n"
            );
            assert_eq!(code(request), 403, "{method} {origin}");
        }
    }
}
