//! A request comes to the same in whatever pieces it arrives, and whatever is refused is answered well.

use self_heal::wire::http::{Head, Limits, Progress, Reader, Refusal, Request, Response};

use super::pieces::Chance;

const LIMITS: Limits = Limits { max_body: 2048 };

/// All that a caller can see in the end.
#[derive(Debug, PartialEq)]
struct Seen {
    came: Result<Option<Request>, Refusal>,
    head: Option<Head>,
    head_only: bool,
    started: bool,
    cut_short: Option<Refusal>,
}

/// The first byte says how it is cut, the rest is what comes.
pub fn body(data: &[u8]) {
    let Some((seed, bytes)) = data.split_first() else {
        return;
    };
    let (whole, _) = read(bytes, &mut |left| left);
    let (single, used) = read(bytes, &mut |_| 1);
    assert_eq!(whole, single, "byte by byte");
    let mut chance = Chance::new(u64::from(*seed));
    let (pieces, _) = read(bytes, &mut |left| 1 + chance.below(left.min(64)));
    assert_eq!(whole, pieces, "in pieces");

    match &whole.came {
        Ok(Some(request)) => {
            assert!(request.body.len() <= LIMITS.max_body);
            assert!(request.head.path.starts_with('/'), "{:?}", request.head);
            let (end, behind) = bytes.split_at(used);
            let mut other = end.to_vec();
            other.extend(behind.iter().map(|byte| !byte).chain(*b"\0\r\n\r\n"));
            let (again, _) = read(&other, &mut |left| left);
            assert_eq!(whole, again, "what comes after it was looked at");
            let (short, _) = read(&end[..end.len() - 1], &mut |left| left);
            assert_eq!(short.came, Ok(None), "it was whole before its end");
            if request.head.method.notifies() {
                posted_anew(&request.body);
            } else {
                assert!(request.body.is_empty());
            }
        }
        Ok(None) => assert_eq!(whole.cut_short.is_some(), whole.started),
        Err(refusal) => {
            assert_eq!(whole.cut_short, None);
            answered(refusal, whole.head_only);
        }
    }
    if let Some(refusal) = &whole.cut_short {
        answered(refusal, whole.head_only);
    }
}

/// Reads the bytes in pieces of these lengths, and how many it took until the request was whole.
fn read(bytes: &[u8], piece: &mut dyn FnMut(usize) -> usize) -> (Seen, usize) {
    let mut asked = 0;
    let mut continues = 0;
    let gate = |_: &Head| {
        asked += 1;
        assert_eq!(asked, 1, "the gate is asked once");
        Ok(())
    };
    let mut reader = Reader::new(LIMITS, gate);
    let mut came = Ok(None);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (next, left) = rest.split_at(piece(rest.len()));
        rest = left;
        match reader.feed(next) {
            Ok(Progress::NeedMore) => continue,
            Ok(Progress::SendContinue) => {
                continues += 1;
                assert_eq!(continues, 1, "100 Continue is said once");
                continue;
            }
            Ok(Progress::Done(request)) => came = Ok(Some(request)),
            Err(refusal) => came = Err(refusal),
        }
        break;
    }
    let seen = Seen {
        came,
        head: reader.head().cloned(),
        head_only: reader.head_only(),
        started: reader.started(),
        cut_short: reader.end(),
    };
    (seen, bytes.len() - rest.len())
}

/// The same body in other framings is the same body.
fn posted_anew(body: &[u8]) {
    let mut length = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    length.extend_from_slice(body);
    let mut chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(700) {
        chunked.extend_from_slice(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    for bytes in [length, chunked] {
        let (seen, used) = read(&bytes, &mut |left| left.min(900));
        let came = seen.came.unwrap().unwrap();
        assert_eq!((came.body.as_slice(), used), (body, bytes.len()));
    }
}

/// An answer that a strict client understands: status line, fields, a body as long as it says, one line of JSON.
fn answered(refusal: &Refusal, head_only: bool) {
    super::sentence(&refusal.reason);
    let response = Response::error(refusal);
    let bytes = response.to_bytes(false);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let status = format!(
        "HTTP/1.1 {} {}",
        refusal.status.code(),
        refusal.status.phrase()
    );
    assert_eq!(lines.next(), Some(&*status));
    let fields: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    for (name, value) in &fields {
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'));
        assert!(value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
    }
    let value = |wanted: &str| {
        let mut found = fields.iter().filter(|(name, _)| *name == wanted);
        let value = found.next().map(|(_, value)| *value);
        assert!(found.next().is_none() || wanted == "WWW-Authenticate");
        value
    };
    assert_eq!(value("Content-Length"), Some(&*body.len().to_string()));
    assert_eq!(value("Connection"), Some("close"));
    assert_eq!(value("Content-Type"), Some("application/json"));
    assert_eq!(value("Allow").is_some(), refusal.status.code() == 405);
    assert!(!body.contains('\n'));
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(json["error"], *refusal.reason);
    if head_only {
        assert_eq!(
            response.to_bytes(true),
            format!("{head}\r\n\r\n").into_bytes()
        );
    }
}
