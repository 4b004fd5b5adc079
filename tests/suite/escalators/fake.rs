//! An HTTP server on loopback that answers each connection as it was told to and keeps what it got.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;

/// What becomes of one connection.
pub enum Reply {
    /// These bytes once the request is read, then the end.
    Bytes(Vec<u8>),
    /// Made of the request.
    Made(fn(&Request) -> Vec<u8>),
    /// Closed as soon as it is there.
    Slam,
    /// These bytes, then nothing until the client gives up.
    Hang(Vec<u8>),
}

impl Reply {
    /// An answer with this code and a body that asks for nothing.
    pub fn code(code: u16) -> Reply {
        Reply::Bytes(answer(code, "some words"))
    }
}

pub fn answer(code: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {code} Word\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

/// One request, as it came.
#[derive(Debug)]
pub struct Request {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Vec<&str> {
        let of = |(key, value): &'_ &(String, String)| {
            key.eq_ignore_ascii_case(name) && !value.is_empty()
        };
        self.headers
            .iter()
            .filter(of)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// What every receiver asks of a request; the body's value.
    pub fn strict(&self, path: &str, host: &str) -> Result<Value, String> {
        let wrong = |what: &str| Err(format!("{what}: {self:?}"));
        if self.line != format!("POST {path} HTTP/1.1") {
            return wrong("request line");
        }
        if self.header("host") != [host] {
            return wrong("host");
        }
        if self.header("content-type") != ["application/json"] {
            return wrong("content type");
        }
        if self.header("user-agent") != ["self-heal"] {
            return wrong("user agent");
        }
        if self.header("content-length") != [self.body.len().to_string()] {
            return wrong("length");
        }
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "expect",
            "transfer-encoding",
            "referer",
        ] {
            if !self.header(name).is_empty() {
                return wrong(name);
            }
        }
        serde_json::from_slice(&self.body).map_err(|e| format!("{e}: {self:?}"))
    }
}

pub struct Fake {
    pub port: u16,
    requests: Receiver<Request>,
}

impl Fake {
    /// Serves as many connections as there are replies.
    pub fn new(replies: Vec<Reply>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (send, requests) = channel();
        std::thread::spawn(move || {
            for reply in replies {
                let Ok((connection, _)) = listener.accept() else {
                    return;
                };
                serve(connection, &reply, &send);
            }
        });
        Fake { port, requests }
    }

    /// Answers each of these with 202 and an empty body.
    pub fn accepting(count: usize) -> Fake {
        Fake::new((0..count).map(|_| Reply::code(202)).collect())
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host())
    }

    /// The next request; fails if none comes.
    pub fn request(&self) -> Request {
        self.requests
            .recv_timeout(Duration::from_secs(20))
            .expect("a request")
    }

    /// The next request's body, after `Request::strict`.
    pub fn body(&self, path: &str) -> Value {
        let request = self.request();
        request
            .strict(path, &self.host())
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// Whether nothing has come so far.
    pub fn untouched(&self) -> bool {
        self.requests.try_recv().is_err()
    }
}

fn serve(mut connection: TcpStream, reply: &Reply, requests: &Sender<Request>) {
    if matches!(reply, Reply::Slam) {
        return;
    }
    connection
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let Some(request) = read(&mut connection) else {
        return;
    };
    let bytes = match reply {
        Reply::Bytes(bytes) | Reply::Hang(bytes) => bytes.clone(),
        Reply::Made(make) => make(&request),
        Reply::Slam => Vec::new(),
    };
    // Whoever waits for the request may count on it before the client is done.
    let _ = requests.send(request);
    let _ = connection.write_all(&bytes);
    if matches!(reply, Reply::Hang(_)) {
        let _ = connection.read_to_end(&mut Vec::new());
    }
}

fn read(connection: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut piece = [0; 65_536];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let count = connection
            .read(&mut piece)
            .ok()
            .filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect();
    let mut request = Request {
        line,
        headers,
        body: bytes[end + 4..].to_vec(),
    };
    let length: usize = request.header("content-length").first()?.parse().ok()?;
    while request.body.len() < length {
        let count = connection
            .read(&mut piece)
            .ok()
            .filter(|count| *count > 0)?;
        request.body.extend_from_slice(&piece[..count]);
    }
    Some(request)
}
