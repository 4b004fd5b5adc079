//! The head of a request: method, path, fields. Read once, when it is whole; what the fields
//! demand is judged in [`rules`](super::rules).

use std::fmt;

use super::response::{Refusal, Status};
use super::section::MAX_FIELDS;

/// What is asked. Methods are case-sensitive (RFC 9110 section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A notification.
    Post,
    /// A notification, from a Grafana set to PUT.
    Put,
    /// A page.
    Get,
    /// A page's head.
    Head,
    /// Any other; refused with 405 once the gate let it by.
    Other,
}

impl Method {
    /// The word of the request line; `?` for one that is not served.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Other => "?",
        }
    }

    /// Whether the request is a notification, so that its body is read.
    pub fn notifies(self) -> bool {
        matches!(self, Method::Post | Method::Put)
    }
}

/// A whole head, as the sender wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The path: query stripped, absolute-form reduced, nothing decoded. Begins with `/`, unless
    /// the method is [`Method::Other`], whose target may be any.
    pub path: String,
    /// Whether a browser's `Origin` is there; such a request is refused before the gate is asked.
    pub origin: bool,
    /// The `Authorization` field, scheme and all. A secret.
    pub authorization: Option<String>,
    pub(super) http11: bool,
    fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// Reads a head that [`Section`](super::section::Section) found whole.
    pub(super) fn parse(bytes: &[u8]) -> Result<Head, Refusal> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut slots);
        let whole = request.parse(bytes).map_err(malformed)?.is_complete();
        let (true, Some(method), Some(target), Some(minor)) =
            (whole, request.method, request.path, request.version)
        else {
            return Err(Refusal::malformed("the head is not whole"));
        };
        let method = match method {
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            _ => Method::Other,
        };
        let mut head = Head {
            method,
            path: path(method, target)?,
            origin: false,
            authorization: None,
            http11: minor == 1,
            fields: request
                .headers
                .iter()
                .map(|f| (f.name.to_owned(), f.value.to_owned()))
                .collect(),
        };
        let origin = head.values("Origin").next().is_some();
        head.origin = origin;
        head.authorization = match head.only("Authorization")? {
            Some(value) => Some(text(value)?.to_owned()),
            None => None,
        };
        Ok(head)
    }

    /// The media type of the body, as sent; what is no UTF-8 in it as `\u{fffd}`.
    pub fn content_type(&self) -> Option<String> {
        let value = self.values("Content-Type").next()?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The values of every field of this name, in order, white space trimmed.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields
            .iter()
            .filter(move |f| f.0.eq_ignore_ascii_case(name))
            .map(|f| f.1.as_slice())
    }

    /// The value of a field that may be there once at most (RFC 9110 section 5.3).
    pub(super) fn only(&self, name: &str) -> Result<Option<&[u8]>, Refusal> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Refusal::malformed(
                "a field that may be there once is there twice",
            )),
            (value, None) => Ok(value),
        }
    }
}

/// Without the fields: some are secret, all are the sender's.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Judges the version of a request line as soon as that line is whole.
pub(super) fn check_version(line: &[u8]) -> Result<(), Refusal> {
    let mut parts = line.split(|b| *b == b' ');
    let (Some(_method), Some(_target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::malformed(
            "the request line is not: method, target, version",
        ));
    };
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::new(
                Status::VersionNotSupported505,
                "only HTTP/1.0 and HTTP/1.1 are spoken here",
            ))
        }
        _ => Err(Refusal::malformed("the request line names no HTTP version")),
    }
}

/// A character of a token, such as a method (RFC 9110 section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether this is `host[:port]` as far as its characters go, or empty (RFC 9112 section 3.2).
pub(super) fn is_authority(value: &[u8]) -> bool {
    value
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%[]".contains(b))
}

/// The path of a request target (RFC 9112 section 3.2): origin-form or absolute-form. The
/// authority-form and `*` belong to methods that are not served.
fn path(method: Method, target: &str) -> Result<String, Refusal> {
    const BAD: &str = "the request target is not a path or an http URL";
    // RFC 3986 section 2; a fragment is never sent.
    if !target
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&b))
    {
        return Err(Refusal::malformed(BAD));
    }
    let target = target.split_once('?').map_or(target, |(path, _query)| path);
    if method == Method::Other || target.starts_with('/') {
        return Ok(target.to_owned());
    }
    let (scheme, rest) = target
        .split_once("://")
        .ok_or_else(|| Refusal::malformed(BAD))?;
    let (authority, path) = rest
        .split_at_checked(rest.find('/').unwrap_or(rest.len()))
        .unwrap_or((rest, ""));
    let known = ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    if !known || authority.is_empty() || !is_authority(authority.as_bytes()) {
        return Err(Refusal::malformed(BAD));
    }
    Ok(if path.is_empty() { "/" } else { path }.to_owned())
}

fn text(value: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(value)
        .map_err(|_| Refusal::malformed("the Authorization field is not UTF-8"))
}

/// What `httparse` found wrong, in our words.
pub(super) fn malformed(error: httparse::Error) -> Refusal {
    Refusal::malformed(match error {
        httparse::Error::HeaderName => {
            "a field's name is empty, or is not a token right before its colon"
        }
        httparse::Error::HeaderValue => "a field's value has a character that may not be there",
        httparse::Error::Token => "the request line is not: method, target, version",
        _ => "the head is not as RFC 9112 writes it",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_becomes_a_path() {
        for (target, want) in [
            ("/", "/"),
            ("/metrics", "/metrics"),
            ("/a?b=/c?d", "/a"),
            ("/?", "/"),
            ("/%2e%2e//x", "/%2e%2e//x"),
            ("//host/x", "//host/x"),
            ("http://127.0.0.1:9095", "/"),
            ("HTTP://[::1]:9095/metrics?x", "/metrics"),
            ("http://h?x=/y", "/"),
        ] {
            assert_eq!(path(Method::Get, target).unwrap(), want, "{target}");
        }
        for bad in [
            "*",
            "x",
            "h:80",
            "ftp://h/",
            "http:///x",
            "http://u@h/",
            "http:/x",
            "/#f",
            "/é",
            "/\\",
            "/\"",
            "?/",
        ] {
            assert!(path(Method::Get, bad).is_err(), "{bad}");
        }
        assert_eq!(path(Method::Other, "*").unwrap(), "*");
        assert_eq!(path(Method::Other, "h:80").unwrap(), "h:80");
    }

    #[test]
    fn a_version_is_judged_at_its_line() {
        let code =
            |line: &str| check_version(line.as_bytes()).map_err(|refusal| refusal.status.code());
        for good in ["GET / HTTP/1.1", "GET / HTTP/1.0"] {
            assert_eq!(code(good), Ok(()), "{good}");
        }
        for later in [
            "PRI * HTTP/2.0",
            "GET / HTTP/1.2",
            "GET / HTTP/0.9",
            "GET / HTTP/3.0",
        ] {
            assert_eq!(code(later), Err(505), "{later}");
        }
        for bad in [
            "GET /",
            "GET",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / http/1.1",
        ] {
            assert_eq!(code(bad), Err(400), "{bad}");
        }
        for bad in [
            "GET / HTTP/1",
            "GET / HTTP/11",
            "GET / HTTP/1.10",
            "GET / HTTP/11.1",
            "GET / HTTP/x.1",
            "GET / HTTP/1.x",
            "GET / XTTP/2.0",
            "GET / ",
        ] {
            assert_eq!(code(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn the_secret_is_not_in_the_debug_text() {
        let head = Head::parse(b"GET /x HTTP/1.1\r\nAuthorization: Bearer hush\r\n\r\n").unwrap();
        assert_eq!(head.authorization.as_deref(), Some("Bearer hush"));
        assert_eq!(
            format!("{head:?}"),
            r#"Head { method: Get, path: "/x", .. }"#
        );
    }
}
