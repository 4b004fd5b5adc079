//! One HTTP/1.x request in, one answer out (RFC 9110, RFC 9112), as bytes: no descriptor, no
//! clock, no decision about alerts. It is strict where senders and intermediaries could disagree
//! on where a request ends: whatever RFC 9112 calls an error is refused, never repaired. One
//! request a connection; what follows it is never looked at.
//!
//! `httparse` reads the head; it also takes bare LF for a line end and any byte inside a chunk
//! extension, so `section` and `body` hold every line to CRLF before it sees one.

mod body;
mod head;
mod reader;
mod response;
mod rules;
mod section;

pub use head::{Head, Method};
pub use reader::{Limits, Progress, Reader, Request};
pub use response::{CONTINUE, JSON, Refusal, Response, Status};

#[cfg(test)]
mod tests;
