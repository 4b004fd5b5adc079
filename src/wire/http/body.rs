//! The body, by its length or in chunks (RFC 9112 sections 6 and 7.1). Chunk extensions and
//! trailer fields are held to their grammar's line discipline and to limits, then dropped.

use super::head;
use super::response::Refusal;
use super::rules::too_large;
use super::section::{MAX_BYTES, MAX_FIELDS, Section};

/// Most bytes of one chunk's size line: 16 digits, leading zeros and an extension or two.
const MAX_CHUNK_LINE: usize = 256;

/// Most bytes of all size lines beyond the digits, so that extensions cannot dwarf the body.
const MAX_EXTENSIONS: usize = MAX_BYTES;

/// What is still to come.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
}

impl Body {
    /// Takes bytes, appends what is content to `body`; `true` when the body is whole. What comes
    /// after that is not looked at.
    pub(super) fn decode(
        &mut self,
        bytes: &[u8],
        body: &mut Vec<u8>,
        max: u64,
    ) -> Result<bool, Refusal> {
        match self {
            Body::Length(left) => {
                take(left, bytes, body);
                Ok(*left == 0)
            }
            Body::Chunked(chunked) => chunked.decode(bytes, body, max),
        }
    }
}

/// Moves up to `left` bytes to `body`; returns the rest.
fn take<'a>(left: &mut u64, bytes: &'a [u8], body: &mut Vec<u8>) -> &'a [u8] {
    let most = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    let (content, rest) = bytes.split_at_checked(most).unwrap_or((bytes, &[]));
    body.extend_from_slice(content);
    *left = left.saturating_sub(content.len() as u64);
    rest
}

/// A chunked body in the making.
#[derive(Debug)]
pub(super) struct Chunked {
    part: Part,
    /// The chunk's size as its digits come, then what of its data is still to come.
    size: u64,
    /// Bytes of the current size line.
    line: usize,
    /// Bytes of all size lines beyond the digits.
    extensions: usize,
}

#[derive(Debug)]
enum Part {
    /// The first digit of a size.
    Digit,
    /// More digits.
    Digits,
    /// White space before an extension.
    Blank,
    /// Extensions.
    Extension,
    /// LF of the size line.
    SizeLf,
    /// Data.
    Data,
    /// CR after the data.
    DataCr,
    /// LF after the data.
    DataLf,
    /// Behind the last chunk.
    Trailers(Section),
}

impl Chunked {
    pub(super) fn new() -> Chunked {
        Chunked {
            part: Part::Digit,
            size: 0,
            line: 0,
            extensions: 0,
        }
    }

    fn decode(&mut self, bytes: &[u8], body: &mut Vec<u8>, max: u64) -> Result<bool, Refusal> {
        let mut rest = bytes;
        while let Some((byte, tail)) = rest.split_first() {
            rest = match &mut self.part {
                Part::Data => {
                    let tail = take(&mut self.size, rest, body);
                    if self.size == 0 {
                        self.part = Part::DataCr;
                    }
                    tail
                }
                Part::Trailers(section) => {
                    if section.push(*byte)? {
                        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
                        httparse::parse_headers(section.bytes(), &mut slots)
                            .map_err(head::malformed)?;
                        return Ok(true);
                    }
                    tail
                }
                _ => {
                    self.part = self.line_byte(*byte, max.saturating_sub(body.len() as u64))?;
                    tail
                }
            };
        }
        Ok(false)
    }

    /// One byte around the data; `room` is how much content may still come.
    fn line_byte(&mut self, byte: u8, room: u64) -> Result<Part, Refusal> {
        self.line += 1;
        if self.line > MAX_CHUNK_LINE {
            return Err(Refusal::malformed("a chunk's size line is above 256 bytes"));
        }
        let next = match (&self.part, byte) {
            (Part::Digit | Part::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = self
                    .size
                    .checked_mul(16)
                    .and_then(|size| size.checked_add(digit.into()));
                self.size =
                    size.ok_or_else(|| Refusal::malformed("a chunk's size is above 64 bits"))?;
                return Ok(Part::Digits);
            }
            (Part::Digits | Part::Blank, b' ' | b'\t') => Part::Blank,
            (Part::Digits | Part::Blank, b';') => Part::Extension,
            (Part::Digits | Part::Extension, b'\r') => return Ok(Part::SizeLf),
            (Part::Extension, b'\t' | b' '..=b'~' | 128..) => Part::Extension,
            (Part::SizeLf, b'\n') if self.size == 0 => {
                return Ok(Part::Trailers(Section::trailers()));
            }
            (Part::SizeLf, b'\n') if self.size > room => return Err(too_large()),
            (Part::SizeLf, b'\n') => {
                self.line = 0;
                return Ok(Part::Data);
            }
            (Part::DataCr, b'\r') => return Ok(Part::DataLf),
            (Part::DataLf, b'\n') => {
                self.line = 0;
                return Ok(Part::Digit);
            }
            (Part::DataCr | Part::DataLf, _) => {
                return Err(Refusal::malformed("a chunk's data is not followed by CRLF"));
            }
            _ => {
                return Err(Refusal::malformed(
                    "a chunk's size line is not: digits, extensions, CRLF",
                ));
            }
        };
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS {
            return Err(Refusal::malformed("the chunk extensions are above 32 KiB"));
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Option<Vec<u8>>, u16> {
        let mut body = Vec::new();
        match Body::Chunked(Chunked::new()).decode(bytes, &mut body, 10) {
            Ok(whole) => Ok(whole.then_some(body)),
            Err(refusal) => Err(refusal.status.code()),
        }
    }

    #[test]
    fn chunks() {
        for (bytes, want) in [
            (&b"0\r\n\r\n"[..], &b""[..]),
            (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
            (b"A\r\n0123456789\r\n000\r\n\r\nrest", b"0123456789"),
            (
                b"1;a=b;c=\"d e\"\r\nx\r\n2 \t; q\r\nyz\r\n0;z\r\nT: u\r\nV:\r\n\r\n",
                b"xyz",
            ),
        ] {
            assert_eq!(
                decode(bytes),
                Ok(Some(want.to_vec())),
                "{}",
                bytes.escape_ascii()
            );
        }
        for unfinished in ["", "3", "3\r\nabc\r\n0\r\n\r", "0\r\nT: u\r\n"] {
            assert_eq!(decode(unfinished.as_bytes()), Ok(None), "{unfinished}");
        }
    }

    #[test]
    fn chunks_that_are_refused() {
        for (bytes, code) in [
            ("\r\n", 400),
            (";a\r\n", 400),
            (" 3\r\n", 400),
            ("3 \r\n", 400),
            ("3\n", 400),
            ("3\rx", 400),
            ("+3\r\n", 400),
            ("-3\r\n", 400),
            ("0x3\r\n", 400),
            ("3g\r\n", 400),
            ("3;a\nb\r\n", 400),
            ("3;a\0\r\n", 400),
            ("3;a\rb", 400),
            ("fffffffffffffffff\r\n", 400),
            ("ffffffffffffffff\r\n", 413),
            ("b\r\n", 413),
            ("6\r\nabcdef\r\n5\r\n", 413),
            ("3\r\nabcd\r\n", 400),
            ("3\r\nabc\rx", 400),
            ("3\r\nabc\n", 400),
            ("0\r\nT: u\n", 400),
            ("0\r\nT : u\r\n\r\n", 400),
            ("0\r\n: u\r\n\r\n", 400),
            ("0\r\nT: u\r\n v\r\n\r\n", 400),
            ("0\r\nnonsense\r\n\r\n", 400),
            ("0\r\n\n", 400),
        ] {
            assert_eq!(
                decode(bytes.as_bytes()),
                Err(code),
                "{}",
                bytes.escape_debug()
            );
        }
    }

    #[test]
    fn what_is_dropped_is_bounded() {
        let zeros = |count| format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(count));
        assert_eq!(
            decode(zeros(MAX_CHUNK_LINE - 3).as_bytes()),
            Ok(Some(b"x".to_vec()))
        );
        assert_eq!(decode(zeros(MAX_CHUNK_LINE - 2).as_bytes()), Err(400));
        let trailers = |count| format!("0\r\n{}\r\n", "T: u\r\n".repeat(count));
        assert_eq!(
            decode(trailers(MAX_FIELDS).as_bytes()),
            Ok(Some(Vec::new()))
        );
        assert_eq!(decode(trailers(MAX_FIELDS + 1).as_bytes()), Err(431));
        assert_eq!(
            decode(format!("0\r\nT: {}", "u".repeat(MAX_BYTES)).as_bytes()),
            Err(431)
        );

        let mut body = Vec::new();
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(199));
        let many = |count: usize, body: &mut Vec<u8>| {
            Body::Chunked(Chunked::new()).decode(chunk.repeat(count).as_bytes(), body, 1 << 20)
        };
        assert_eq!(many(MAX_EXTENSIONS / 200, &mut body), Ok(false));
        assert!(many(MAX_EXTENSIONS / 200 + 1, &mut body).is_err());
    }
}
