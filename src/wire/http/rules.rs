//! What a head's fields demand: first whether the request's end is beyond doubt ([`framing`]), then,
//! after the gate, whether such a request is taken at all ([`admit`]).

use super::head::{Head, Method, is_authority, is_token};
use super::response::{Refusal, Status};

/// How a body is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No field says: there is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Where the request ends, or 400 when two readers could disagree about it.
pub(super) fn framing(head: &Head) -> Result<Framing, Refusal> {
    match head.only("Host")? {
        None if head.http11 => return Err(Refusal::malformed("the Host field is missing")),
        Some(host) if !is_authority(host) => {
            return Err(Refusal::malformed("the Host field is not a host"));
        }
        _ => {}
    }
    head.only("Content-Type")?;
    match (
        head.only("Transfer-Encoding")?,
        head.only("Content-Length")?,
    ) {
        (None, None) => Ok(Framing::None),
        (Some(_), Some(_)) => Err(Refusal::malformed(
            "both Transfer-Encoding and Content-Length are there",
        )),
        (None, Some(length)) => length_of(length).map(Framing::Length),
        (Some(_), None) if !head.http11 => {
            Err(Refusal::malformed("HTTP/1.0 has no Transfer-Encoding"))
        }
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (Some(_), None) => Err(Refusal::malformed(
            "a Transfer-Encoding other than one chunked",
        )),
    }
}

/// Whether a request that the gate let by is taken; `true` when its sender waits for 100 Continue.
pub(super) fn admit(head: &Head, framing: Framing, max_body: u64) -> Result<bool, Refusal> {
    if head.method == Method::Other {
        return Err(Refusal::new(
            Status::MethodNotAllowed405,
            "only GET, HEAD, POST and PUT are served",
        ));
    }
    let continues = expects_continue(head)?;
    if !head.method.notifies() {
        return Ok(false);
    }
    // One line at most: framing() saw to it.
    if !head.values("Content-Type").all(is_json) {
        return Err(Refusal::new(
            Status::UnsupportedMediaType415,
            "the Content-Type is not JSON",
        ));
    }
    if !members(head, "Content-Encoding").all(|coding| coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::new(
            Status::UnsupportedMediaType415,
            "a coded body is not read; send it plain",
        ));
    }
    match framing {
        Framing::None => Err(Refusal::new(
            Status::LengthRequired411,
            "a notification needs Content-Length or chunked coding",
        )),
        Framing::Length(length) if length > max_body => Err(too_large()),
        Framing::Length(_) | Framing::Chunked => Ok(continues),
    }
}

/// 413, before or while the body comes.
pub(super) fn too_large() -> Refusal {
    Refusal::new(
        Status::ContentTooLarge413,
        "the body is above HEAL_MAX_BODY",
    )
}

/// Digits, and nothing else: no sign, no list, no number above 64 bits.
fn length_of(value: &[u8]) -> Result<u64, Refusal> {
    const BAD: &str = "the Content-Length is not one number";
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).unwrap_or_default();
    match text.parse() {
        Ok(length) if digits => Ok(length),
        _ => Err(Refusal::malformed(BAD)),
    }
}

/// RFC 9110 section 10.1.1: HTTP/1.0 is never told to go on.
fn expects_continue(head: &Head) -> Result<bool, Refusal> {
    if !members(head, "Expect").all(|one| one.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::new(
            Status::ExpectationFailed417,
            "only 100-continue may be expected",
        ));
    }
    Ok(head.http11 && members(head, "Expect").next().is_some())
}

/// The members of a list field, empty ones left out (RFC 9110 section 5.6.1).
fn members<'a>(head: &'a Head, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    head.values(name)
        .flat_map(|value| value.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// `application/json` or `application/*+json` (RFC 6839 section 3.1), whatever its parameters.
fn is_json(value: &[u8]) -> bool {
    let media = value
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
        .to_ascii_lowercase();
    let Some(subtype) = media.strip_prefix(b"application/") else {
        return false;
    };
    let suffixed = subtype
        .strip_suffix(b"+json")
        .is_some_and(|name| !name.is_empty());
    (subtype == b"json" || suffixed) && subtype.iter().copied().all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_types() {
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json ;x",
            "application/vnd.a+json",
            "application/json;",
        ] {
            assert!(is_json(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ";",
            "text/plain",
            "text/json",
            "application/jsonp",
            "application/+json",
            "application/x-www-form-urlencoded",
            "application/a b+json",
            "application/json, text/plain",
            "json",
        ] {
            assert!(!is_json(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn lengths() {
        assert_eq!(length_of(b"0"), Ok(0));
        assert_eq!(length_of(b"007"), Ok(7));
        assert_eq!(length_of(b"18446744073709551615"), Ok(u64::MAX));
        for bad in [
            "",
            "+1",
            "-1",
            "1,1",
            "1 1",
            "0x1",
            "1.0",
            "1_0",
            "18446744073709551616",
            "\u{661}",
        ] {
            assert!(length_of(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(length_of(b"1\xff").is_err());
    }
}
