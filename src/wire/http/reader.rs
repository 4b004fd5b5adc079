//! A request in the making: bytes are fed in as they come, in any pieces, and each is looked at
//! once. The gate is asked between head and body, before 100 Continue invites the body.

use super::body::{Body, Chunked};
use super::head::{Head, Method};
use super::response::{Refusal, Status};
use super::rules::{self, Framing};
use super::section::Section;

/// What a request may cost. The head's limits are fixed: 64 fields, 32 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a body, decoded.
    pub max_body: usize,
}

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its head.
    pub head: Head,
    /// Its body, decoded; empty for GET and HEAD, whose body is not read.
    pub body: Vec<u8>,
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Feed on.
    NeedMore,
    /// Write [`CONTINUE`](super::CONTINUE) now, then feed on. Said once at most.
    SendContinue,
    /// The request is whole. Feed no more; what was fed beyond its end was not looked at.
    Done(Request),
}

/// Reads one request.
///
/// In this order a request is refused: its line discipline, version and limits as it comes (400,
/// 431, 505); its fields and framing (400); a browser's Origin (403: before the gate, because a 401
/// makes a browser ask its user for a password); what the gate refuses; the method (405), Expect
/// (417), media type (415), length (411, 413); at last its chunks (400, 413, 431).
pub struct Reader<G> {
    limits: Limits,
    gate: G,
    state: State,
    head: Option<Head>,
    body: Vec<u8>,
}

enum State {
    Head(Section),
    Body(Body),
    Over,
}

impl<G: FnMut(&Head) -> Result<(), Refusal>> Reader<G> {
    /// A reader that asks `gate` once, when the head is whole and its framing beyond doubt.
    pub fn new(limits: Limits, gate: G) -> Reader<G> {
        Reader {
            limits,
            gate,
            state: State::Head(Section::head()),
            head: None,
            body: Vec::new(),
        }
    }

    /// Takes the next bytes of the connection.
    ///
    /// # Errors
    /// The refusal to answer with; the connection is not read again but to drain it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        let progress = self.advance(bytes);
        if !matches!(progress, Ok(Progress::NeedMore | Progress::SendContinue)) {
            self.state = State::Over;
        }
        progress
    }

    /// What the end of the connection's bytes means: a request cut short, to be answered with 400;
    /// or `None`, no answer is owed, because nothing but empty lines came or the request is over.
    pub fn end(&self) -> Option<Refusal> {
        let cut = self.started() && !matches!(self.state, State::Over);
        cut.then(|| Refusal::malformed("the request was cut short"))
    }

    /// Whether more than empty lines has come.
    pub fn started(&self) -> bool {
        match &self.state {
            State::Head(section) => section.started(),
            State::Body(_) | State::Over => true,
        }
    }

    /// The head, as soon as it is whole; also of a request that was refused for what it says.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Whether the answer goes without its body, because the method is HEAD.
    pub fn head_only(&self) -> bool {
        self.head
            .as_ref()
            .is_some_and(|head| head.method == Method::Head)
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        match &mut self.state {
            State::Head(section) => {
                let mut rest = bytes;
                while let Some((byte, tail)) = rest.split_first() {
                    rest = tail;
                    if section.push(*byte)? {
                        let head = Head::parse(section.bytes())?;
                        return self.begin_body(head, rest);
                    }
                }
                Ok(Progress::NeedMore)
            }
            State::Body(_) => self.read_body(bytes),
            State::Over => Err(Refusal::malformed("the request is over")),
        }
    }

    /// Judges a whole head; `rest` is what came after it.
    fn begin_body(&mut self, head: Head, rest: &[u8]) -> Result<Progress, Refusal> {
        let head = self.head.insert(head);
        let framing = rules::framing(head)?;
        if head.origin {
            return Err(Refusal::new(
                Status::Forbidden403,
                "a request with an Origin comes from a browser",
            ));
        }
        (self.gate)(head)?;
        let waits = rules::admit(head, framing, self.limits.max_body as u64)?;
        self.state = State::Body(match framing {
            _ if !head.method.notifies() => Body::Length(0), // left to the drain
            Framing::None => Body::Length(0),
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Chunked::new()),
        });
        match self.read_body(rest)? {
            // Not when the body is on its way already (RFC 9110 section 10.1.1).
            Progress::NeedMore if waits && rest.is_empty() => Ok(Progress::SendContinue),
            progress => Ok(progress),
        }
    }

    fn read_body(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        let (State::Body(body), Some(head)) = (&mut self.state, &self.head) else {
            return Err(Refusal::malformed("the request is over"));
        };
        if !body.decode(bytes, &mut self.body, self.limits.max_body as u64)? {
            return Ok(Progress::NeedMore);
        }
        Ok(Progress::Done(Request {
            head: head.clone(),
            body: std::mem::take(&mut self.body),
        }))
    }
}
