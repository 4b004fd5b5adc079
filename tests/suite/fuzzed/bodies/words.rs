//! Small texts: log lines that nobody forges, tokens, addresses, ids, base64.

use std::net::IpAddr;

use self_heal::judge::{AlertName, run_id};
use self_heal::wire::logline::{self, Level};
use self_heal::wire::net::Net;
use self_heal::wire::token::Token;
use self_heal::wire::{base64, json, sudo};

use super::pieces::Pieces;

pub fn body(data: &[u8]) {
    let mut pieces = Pieces::new(data);
    let (one, two) = (pieces.text(), pieces.text());
    log(&mut pieces, &one, &two);
    ids(&mut pieces, &one);
    let rest = pieces.rest();
    tokens(rest);
    let text = String::from_utf8_lossy(rest);
    addresses(&text);
    sudo::calls(&text);
    sudo::asks_for_a_password(&text, &one);
    if let Some(bytes) = base64::decode(&text) {
        assert!(bytes.len() <= text.len());
    }
    match json::check(rest) {
        Ok(value) => {
            // As strict a reader as any takes it too, and sees the same.
            let plain: serde_json::Value = serde_json::from_slice(rest).unwrap();
            assert_eq!(
                json::members(value).map(|members| members.len()),
                plain.as_object().map(|map| map.len())
            );
            assert_eq!(json::text(value).as_deref(), plain.as_str());
        }
        Err(reason) => super::sentence(&reason),
    }
}

fn log(pieces: &mut Pieces<'_>, one: &str, two: &str) {
    let line = logline::line(
        pieces.time(),
        Level::Warn,
        "event",
        &[("a", one), ("b", two), ("c", "1")],
    );
    let bare = line.strip_suffix('\n').unwrap();
    assert!(
        bare.bytes().all(|b| b == b' ' || b.is_ascii_graphic()),
        "{bare}"
    );
    assert!(
        bare[20..].starts_with(" [WARN] event a=") && bare.ends_with(" c=1"),
        "{bare}"
    );
    // Values stand alone: each is the same whatever the others are.
    let rest = bare.split_once(" event ").unwrap().1;
    assert_eq!(
        rest,
        format!(
            "{} {} c=1",
            logline::pairs(&[("a", one)]),
            logline::pairs(&[("b", two)])
        )
    );
}

fn ids(pieces: &mut Pieces<'_>, text: &str) {
    let name = AlertName::new(&pieces.name()).unwrap();
    let id = run_id::make(
        pieces.time(),
        pieces.number() as i32,
        pieces.number() as u32,
        &name,
    );
    assert_eq!(run_id::parse(&id).map(|id| id.alertname), Some(name));
    let stem = run_id::stem(&id);
    assert!(stem.len() <= 34 && stem.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'));
    if let Some(id) = run_id::parse(text) {
        assert!(!text.contains('/') && text.ends_with(id.alertname.as_str()));
    }
}

fn tokens(bytes: &[u8]) {
    match Token::new(bytes) {
        Ok(token) => {
            let secret = String::from_utf8(bytes.trim_ascii().to_vec()).unwrap();
            assert!(token.accepts(Some(&format!("Bearer {secret}"))));
            assert!(!token.accepts(Some(&format!("Bearer {secret}x"))));
            assert!(!token.accepts(Some(&format!("Basic {secret}"))) || secret.is_empty());
            assert!(!token.accepts(Some(&secret)) && !token.accepts(None));
        }
        Err(reason) => super::sentence(&reason),
    }
    let Ok(token) = Token::new(b"0123456789abcdef") else {
        panic!("a good token")
    };
    let text = String::from_utf8_lossy(bytes);
    if token.accepts(Some(&text)) {
        let lower = text.to_ascii_lowercase();
        assert!(lower.starts_with("bearer ") || lower.starts_with("basic "));
    }
}

fn addresses(text: &str) {
    let Ok(net) = Net::parse(text) else { return };
    let again = net.to_string();
    assert_eq!(Net::parse(&again), Ok(net), "{again}");
    let first: IpAddr = again.split('/').next().unwrap().parse().unwrap();
    assert!(net.contains(first), "{again}");
    if let IpAddr::V4(v4) = first {
        assert!(net.contains(IpAddr::V6(v4.to_ipv6_mapped())));
    }
}
