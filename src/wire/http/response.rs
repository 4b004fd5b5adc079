//! Answers: the status codes in use, a refusal, and a whole response as bytes. No header's text
//! is free: what a status demands follows from the status.

use std::borrow::Cow;
use std::fmt::Write;

/// The interim answer that [`Progress::SendContinue`](super::Progress::SendContinue) asks for (RFC 9110 section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Content type of results and errors.
pub const JSON: &str = "application/json";

/// Seconds in the Retry-After of a 503 that names none: the default of `HEAL_RETRY_DELAY`.
const RETRY_AFTER: u32 = 30;

/// The status codes in use (RFC 9110 section 15; 431 is RFC 6585 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Every alert is settled.
    Ok200,
    /// Every alert is durably queued.
    Accepted202,
    /// Not HTTP, or not as RFC 9112 writes it, or not a notification.
    BadRequest400,
    /// The token is missing or wrong.
    Unauthorized401,
    /// This peer, or a browser.
    Forbidden403,
    /// Nothing is at this path.
    NotFound404,
    /// Not POST, PUT, GET or HEAD.
    MethodNotAllowed405,
    /// The request did not come whole in time.
    RequestTimeout408,
    /// A notification without Content-Length or chunked coding.
    LengthRequired411,
    /// The body is above the limit.
    ContentTooLarge413,
    /// Not JSON, or coded.
    UnsupportedMediaType415,
    /// An Expect other than 100-continue.
    ExpectationFailed417,
    /// The head, or the trailer section, is above its limits.
    HeaderFieldsTooLarge431,
    /// At least one alert is unsettled, or nothing can be judged now: ask again.
    ServiceUnavailable503,
    /// Not HTTP/1.0 or HTTP/1.1.
    VersionNotSupported505,
}

impl Status {
    /// The three digits.
    pub fn code(self) -> u16 {
        self.line().0
    }

    /// The phrase after the digits.
    pub fn phrase(self) -> &'static str {
        self.line().1
    }

    fn line(self) -> (u16, &'static str) {
        match self {
            Status::Ok200 => (200, "OK"),
            Status::Accepted202 => (202, "Accepted"),
            Status::BadRequest400 => (400, "Bad Request"),
            Status::Unauthorized401 => (401, "Unauthorized"),
            Status::Forbidden403 => (403, "Forbidden"),
            Status::NotFound404 => (404, "Not Found"),
            Status::MethodNotAllowed405 => (405, "Method Not Allowed"),
            Status::RequestTimeout408 => (408, "Request Timeout"),
            Status::LengthRequired411 => (411, "Length Required"),
            Status::ContentTooLarge413 => (413, "Content Too Large"),
            Status::UnsupportedMediaType415 => (415, "Unsupported Media Type"),
            Status::ExpectationFailed417 => (417, "Expectation Failed"),
            Status::HeaderFieldsTooLarge431 => (431, "Request Header Fields Too Large"),
            Status::ServiceUnavailable503 => (503, "Service Unavailable"),
            Status::VersionNotSupported505 => (505, "HTTP Version Not Supported"),
        }
    }
}

/// Why a request is not served. The reason is one line for a person, and is ours: no secret and
/// no text of the request is in it, because senders print it in their logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to answer.
    pub status: Status,
    /// Why, in one line.
    pub reason: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with this status, for this reason.
    pub fn new(status: Status, reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            status,
            reason: reason.into(),
        }
    }

    /// 400: the bytes are not a request as RFC 9112 writes it.
    pub(super) fn malformed(reason: &'static str) -> Refusal {
        Refusal::new(Status::BadRequest400, reason)
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status; it brings its own header: Allow (405), WWW-Authenticate (401), Retry-After (503).
    pub status: Status,
    /// The body's type: [`JSON`], or what the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Seconds for Retry-After, on a 503 only; `None` is 30.
    pub retry_after: Option<u32>,
}

impl Response {
    /// An answer with this body.
    pub fn new(status: Status, content_type: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response {
            status,
            content_type,
            body: body.into(),
            retry_after: None,
        }
    }

    /// The answer to a refused request: `{"error":"reason"}` on one line.
    pub fn error(refusal: &Refusal) -> Response {
        let reason = serde_json::Value::from(refusal.reason.as_ref());
        Response::new(refusal.status, JSON, format!(r#"{{"error":{reason}}}"#))
    }

    /// The bytes to write. With `head_only`, the answer to HEAD: the same head, no body (RFC 9110
    /// section 9.3.2). No Date: there is no clock here, and none is due without one (section 6.6.1).
    pub fn to_bytes(&self, head_only: bool) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n",
            self.status.code(),
            self.status.phrase(),
            self.content_type,
            self.body.len(),
        );
        match self.status {
            Status::Unauthorized401 => head.push_str(
                "WWW-Authenticate: Bearer realm=\"self-heal\"\r\nWWW-Authenticate: Basic realm=\"self-heal\"\r\n",
            ),
            Status::MethodNotAllowed405 => head.push_str("Allow: GET, HEAD, POST, PUT\r\n"),
            Status::ServiceUnavailable503 => {
                let seconds = self.retry_after.unwrap_or(RETRY_AFTER);
                // Writing to a String cannot fail.
                let _ = write!(head, "Retry-After: {seconds}\r\n");
            }
            _ => {}
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if !head_only {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::exposition::CONTENT_TYPE;

    fn text(response: &Response, head_only: bool) -> String {
        String::from_utf8(response.to_bytes(head_only)).unwrap()
    }

    #[test]
    fn an_answer_is_framed_and_closes() {
        assert_eq!(
            text(&Response::new(Status::Ok200, JSON, "{}"), false),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        );
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let response = Response::new(Status::Ok200, CONTENT_TYPE, "up 1\n");
        let whole = text(&response, false);
        assert_eq!(whole.strip_suffix("up 1\n").unwrap(), text(&response, true));
        assert!(whole.contains("\r\nContent-Length: 5\r\n"));
    }

    #[test]
    fn a_status_brings_its_header() {
        let answer = |status, reason| text(&Response::error(&Refusal::new(status, reason)), false);
        assert!(
            answer(Status::MethodNotAllowed405, "x")
                .contains("\r\nAllow: GET, HEAD, POST, PUT\r\n")
        );
        assert!(answer(Status::ServiceUnavailable503, "x").contains("\r\nRetry-After: 30\r\n"));
        let refused = answer(Status::Unauthorized401, "x");
        assert!(
            refused.contains("\r\nWWW-Authenticate: Bearer "),
            "{refused}"
        );
        assert!(
            refused.contains("\r\nWWW-Authenticate: Basic "),
            "{refused}"
        );
        let mut later = Response::new(Status::ServiceUnavailable503, JSON, "{}");
        later.retry_after = Some(7);
        assert!(text(&later, false).contains("\r\nRetry-After: 7\r\n"));
        assert!(!answer(Status::NotFound404, "x").contains("Retry-After"));
    }

    #[test]
    fn an_error_is_one_line_of_json_whatever_the_reason() {
        let refusal = Refusal::new(Status::BadRequest400, "a \"b\" \\ \r\nX: y\0");
        let body = String::from_utf8(Response::error(&refusal).body).unwrap();
        assert_eq!(body, r#"{"error":"a \"b\" \\ \r\nX: y\u0000"}"#);
    }
}
