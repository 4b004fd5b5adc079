//! However the bytes are cut, and whatever they are.

use proptest::prelude::*;

use super::*;

/// Quadratic work here would be 10^12 steps.
#[test]
fn one_byte_at_a_time_is_linear() {
    let length = 1 << 20;
    let mut reader = Reader::new(Limits { max_body: length }, |_: &Head| Ok(()));
    let mut request = after_host(&format!("Content-Length: {length}\r\n\r\n")).into_bytes();
    request.resize(request.len() + length, b' ');
    let mut pieces = request.chunks(1);
    let last = pieces.next_back().unwrap();
    for piece in pieces {
        assert_eq!(reader.feed(piece), Ok(Progress::NeedMore));
    }
    assert!(
        matches!(reader.feed(last), Ok(Progress::Done(request)) if request.body.len() == length)
    );
}

/// Bytes that get past the first line now and then: parts of requests, and noise.
fn requestlike() -> impl Strategy<Value = Vec<u8>> {
    const PARTS: [&str; 30] = [
        "POST / HTTP/1.1\r\n",
        "GET /metrics HTTP/1.0\r\n",
        "HEAD http://h/ HTTP/1.1\r\n",
        "Host: h\r\n",
        "Host: h\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "Content-Type: application/json\r\n",
        "Origin: null\r\n",
        "A: b\r\n",
        "\r\n",
        "\r\n",
        "\r\n",
        "3\r\n",
        "abc",
        "0\r\n",
        "1;a=b\r\n",
        "ff\r\n",
        "x",
        "\r",
        "\n",
        " ",
        "\t",
        ":",
        "\0",
        "{}",
        "PRI * HTTP/2.0\r\n",
        "\u{e9}",
    ];
    let part = prop_oneof![
        8 => proptest::sample::select(&PARTS[..]).prop_map(|part| part.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    let head = proptest::sample::select(vec![
        "",
        "POST / HTTP/1.1\r\nHost: h\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
    ]);
    (head, proptest::collection::vec(part, 0..12))
        .prop_map(|(head, parts)| [head.as_bytes(), &parts.concat()].concat())
}

proptest! {
    #[test]
    fn any_bytes_end_the_same_however_they_are_cut(
        bytes in requestlike(),
        cuts in proptest::collection::vec(1..20usize, 1..20),
    ) {
        let (whole, _) = read(&[&bytes]);
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = tail;
        }
        prop_assert_eq!(&read(&pieces).0, &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&read(&single).0, &whole);
        // And what follows a decided request changes nothing.
        if whole != Outcome::Waits {
            prop_assert_eq!(&read(&[&bytes, b"\0GET / HTTP/1.1\r\n\r\n"]).0, &whole);
        }
    }

    #[test]
    fn noise_never_panics_nor_passes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!matches!(read(&[&bytes]).0, Outcome::Done(_)));
    }
}
