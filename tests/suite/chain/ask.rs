//! Asking the parts of the chain over HTTP, by hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// One request on the loopback; status and body. HTTP/1.0, so that the answer is never chunked.
pub fn http(port: u16, method: &str, target: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let broken = || std::io::Error::other(format!("no response: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((code.ok_or_else(broken)?, body.to_owned()))
}

/// The body of a GET that is answered 200.
pub fn get(port: u16, target: &str) -> Option<String> {
    let answer = http(port, "GET", target, "").ok();
    answer
        .filter(|(code, _)| *code == 200)
        .map(|(_, body)| body)
}

/// What Prometheus answers to this expression, unless it refuses it.
pub fn answer(prometheus: u16, expression: &str) -> Option<Value> {
    let encoded: String = expression.bytes().map(|b| format!("%{b:02X}")).collect();
    serde_json::from_str(&get(prometheus, &format!("/api/v1/query?query={encoded}"))?).ok()
}

/// What Prometheus says this expression is now: the sum of its series, none if it has no series.
pub fn query(prometheus: u16, expression: &str) -> Option<f64> {
    let answer = answer(prometheus, expression)?;
    let series = answer["data"]["result"].as_array()?;
    let value = |one: &Value| one["value"][1].as_str().map(|v| v.parse::<f64>().unwrap());
    (!series.is_empty()).then(|| series.iter().filter_map(value).sum())
}
