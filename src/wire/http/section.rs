//! A run of lines that ends with an empty one: the head, or the trailer section after the last
//! chunk. Holds each byte to the line discipline of RFC 9112 section 2.2 as it arrives, so nothing
//! is scanned twice and a refusal depends on the bytes alone, not on how they were cut.

use super::head;
use super::response::{Refusal, Status};

/// Most bytes of a head (leading empty lines and all), or of a trailer section: 32 KiB.
pub(super) const MAX_BYTES: usize = 32 * 1024;

/// Most fields of a head or a trailer section.
pub(super) const MAX_FIELDS: usize = 64;

/// The lines so far.
#[derive(Debug)]
pub(super) struct Section {
    bytes: Vec<u8>,
    /// Where the current line begins in `bytes`.
    line: usize,
    fields: usize,
    /// The request line is still to come whole; never so in a trailer section.
    request_line: bool,
}

impl Section {
    /// A head: a request line, then fields.
    pub(super) fn head() -> Section {
        Section {
            bytes: Vec::new(),
            line: 0,
            fields: 0,
            request_line: true,
        }
    }

    /// A trailer section: fields only.
    pub(super) fn trailers() -> Section {
        Section {
            request_line: false,
            ..Section::head()
        }
    }

    /// Whether there was more than empty lines.
    pub(super) fn started(&self) -> bool {
        self.bytes.iter().any(|b| !matches!(b, b'\r' | b'\n'))
    }

    /// What has come; whole lines, each ended by CRLF, once [`push`](Section::push) said `true`.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes one byte; `true` when it ended the section.
    pub(super) fn push(&mut self, byte: u8) -> Result<bool, Refusal> {
        if self.bytes.len() >= MAX_BYTES {
            return Err(too_large("the head or the trailer section is above 32 KiB"));
        }
        let begins_line = self.bytes.len() == self.line;
        // A CR is either followed by LF or refused, so a CR at the end is one that waits.
        let after_cr = self.bytes.last() == Some(&b'\r');
        self.bytes.push(byte);
        match byte {
            b'\n' if after_cr => self.end_line(),
            _ if after_cr => Err(Refusal::malformed("a CR without LF in the head")),
            b'\n' => Err(Refusal::malformed("a line of the head ends without CR")),
            b'\r' => Ok(false),
            _ if begins_line && self.request_line && !head::is_token(byte) => {
                Err(Refusal::malformed(
                    "the first byte begins no HTTP method; does the sender speak TLS to a plain port?",
                ))
            }
            b' ' | b'\t' if begins_line => Err(Refusal::malformed(
                "a line of the head begins with white space",
            )),
            b'\t' => Ok(false),
            0..=31 | 127 => Err(Refusal::malformed("a control character in the head")),
            _ => Ok(false),
        }
    }

    /// After a CRLF.
    fn end_line(&mut self) -> Result<bool, Refusal> {
        let line = self
            .bytes
            .get(self.line..self.bytes.len().saturating_sub(2))
            .unwrap_or_default();
        self.line = self.bytes.len();
        if line.is_empty() {
            // Empty lines before the request line are skipped (RFC 9112 section 2.2).
            return Ok(!self.request_line);
        }
        if self.request_line {
            // Judged now: a sender of HTTP/0.9 or HTTP/2 would wait for ever for an answer.
            self.request_line = false;
            return head::check_version(line).map(|()| false);
        }
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(too_large(
                "the head or the trailer section has more than 64 fields",
            ));
        }
        Ok(false)
    }
}

fn too_large(reason: &'static str) -> Refusal {
    Refusal::new(Status::HeaderFieldsTooLarge431, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(mut section: Section, bytes: &[u8]) -> Result<Option<usize>, u16> {
        for (at, byte) in bytes.iter().enumerate() {
            if section
                .push(*byte)
                .map_err(|refusal| refusal.status.code())?
            {
                return Ok(Some(at + 1));
            }
        }
        Ok(None)
    }

    #[test]
    fn it_ends_at_the_empty_line() {
        let head = b"\r\n\r\nGET / HTTP/1.1\r\nA: b\r\n\r\nrest";
        assert_eq!(feed(Section::head(), head), Ok(Some(head.len() - 4)));
        assert_eq!(feed(Section::trailers(), b"\r\nrest"), Ok(Some(2)));
        assert_eq!(feed(Section::trailers(), b"A: b\r\n\r\nrest"), Ok(Some(8)));
        assert_eq!(
            feed(Section::head(), b"GET / HTTP/1.1\r\nA: b\r\n\r"),
            Ok(None)
        );
    }

    #[test]
    fn every_line_is_held_to_crlf() {
        for bad in [
            &b"A: b\n"[..],
            b"A: b\rX",
            b"A\0",
            b"A: \x7f",
            b"A: \x0b",
            b" A",
            b"A: b\r\n C",
            b"\n",
            b"\r\r",
        ] {
            assert_eq!(
                feed(Section::trailers(), bad),
                Err(400),
                "{}",
                bad.escape_ascii()
            );
        }
        assert_eq!(feed(Section::trailers(), b"A:\tb \xe9"), Ok(None));
    }

    #[test]
    fn only_what_is_more_than_an_empty_line_is_a_start() {
        let mut section = Section::head();
        for (byte, started) in [(b'\r', false), (b'\n', false), (b'G', true)] {
            section.push(byte).unwrap();
            assert_eq!(section.started(), started);
        }
    }
}
