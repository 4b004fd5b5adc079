//! curl, in every way that it can be told to speak.

use std::process::{Command, Output, Stdio};

use super::{House, alert, body, padded};
use crate::chain::process::program;
use crate::support::until;

/// The exit code for `--max-time`: it hung.
const TIMED_OUT: i32 = 28;

/// What curl said: the body, and behind it what `--write-out` was to print.
pub fn curl(options: &[&str]) -> Output {
    curl_command(options).output().unwrap()
}

pub fn curl_command(options: &[&str]) -> Command {
    let mut curl = Command::new(program("curl"));
    curl.args(["--silent", "--show-error", "--noproxy", "*"])
        .args(["--max-time", "60", "--write-out", "\n%{http_code}\n"])
        .args(options)
        .stdin(Stdio::null());
    curl
}

/// Code and body of one answer; 0 is no answer.
#[track_caller]
fn answer(output: &Output) -> (u16, String) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let (body, code) = text.trim_end().rsplit_once('\n').unwrap_or(("", &text));
    (code.trim().parse().unwrap(), body.to_owned())
}

#[track_caller]
fn healed(output: &Output) {
    let (code, body) = answer(output);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(code, 200, "{body} {complaint}");
    assert!(body.contains(r#""verdict":"healed""#), "{body}");
}

/// curl leaves as soon as it has its answer, and the line about the request is written behind that.
fn is_told(house: &House, words: &str) {
    until(words, || {
        house.sandbox().log().contains(words).then_some(())
    });
}

const JSON: [&str; 2] = ["--header", "Content-Type: application/json"];

#[test]
fn curl_is_answered_in_every_version_that_is_spoken_and_refused_in_the_others() {
    let house = House::new();
    house.healer("Heals");
    let versions = ["--http1.0", "--http1.1", "--http2"];
    for (number, version) in versions.into_iter().enumerate() {
        let body = body(&alert("Heals", number));
        healed(&curl(
            &[&[version, "--data", &body, &house.url("/")], &JSON[..]].concat(),
        ));
    }
    // It looks no further than the first line, and says so in the only language it has.
    let body = body(&alert("Heals", 99));
    let known = ["--http2-prior-knowledge", "--data", &body, &house.url("/")];
    let refused = curl(&[&known, &JSON[..]].concat());
    assert!(!refused.status.success());
    assert_ne!(refused.status.code(), Some(TIMED_OUT), "{refused:?}");
    is_told(&house, " code=505 ");
    let tls = curl(&[&house.url("/").replace("http:", "https:")]);
    assert!(!tls.status.success());
    assert_ne!(tls.status.code(), Some(TIMED_OUT), "{tls:?}");
    is_told(&house, "does the sender speak TLS");
    assert_eq!(house.healed_once("Heals").len(), versions.len());
    house.nothing_is_left();
}

#[test]
fn curl_sends_a_large_body_by_length_or_in_chunks_whether_it_waits_for_100_or_not() {
    let house = House::new();
    house.healer("Heals");
    let url = house.url("/");
    let waits = ["Expect: 100-continue", "Expect:"];
    let ways: [&[&str]; 4] = [
        &["--request", "POST", "--upload-file", "-"],
        &["--upload-file", "-"],
        &["--data-binary", "@-"],
        &[
            "--header",
            "Transfer-Encoding: chunked",
            "--data-binary",
            "@-",
        ],
    ];
    let mut sent = 0;
    for wait in waits {
        for way in ways {
            // 3 MiB of at most 4, then 6.
            for (blanks, code) in [(3 << 20, 200), (6 << 20, 413)] {
                let file = house
                    .sandbox()
                    .write("body.json", &padded(&alert("Heals", sent), blanks));
                let options = ["--header", wait, "--expect100-timeout", "120", &url];
                let mut curl = curl_command(&[way, &options, &JSON].concat());
                curl.stdin(std::fs::File::open(file).unwrap());
                let output = curl.output().unwrap();
                assert_eq!(answer(&output).0, code, "{way:?} {wait} {output:?}");
                if code == 200 {
                    healed(&output);
                    sent += 1;
                }
            }
        }
    }
    assert_eq!(house.healed_once("Heals").len(), sent);
    house.nothing_is_left();
}

#[test]
fn curl_hears_by_head_what_it_would_get() {
    let house = House::new();
    for path in ["/-/healthy", "/-/ready"] {
        let size = ["--write-out", "%{http_code} %{size_download}"];
        let url = house.url(path);
        let got = curl(&[&size[..], &[&url, "--output", "/dev/null"]].concat());
        let got = String::from_utf8(got.stdout).unwrap();
        let length = got.strip_prefix("200 ").expect(&got);
        let head = curl(&[&size[..], &[&url, "--head"]].concat());
        let head = String::from_utf8(head.stdout).unwrap().to_lowercase();
        assert!(head.ends_with("200 0"), "{head}");
        assert!(
            head.contains(&format!("\r\ncontent-length: {length}\r\n")),
            "{head}"
        );
    }
    house.nothing_is_left();
}

/// Forms, files, coded bodies, and a listener that is taken for a proxy: each refused with its code, nothing run.
#[test]
fn curl_is_told_what_is_not_taken() {
    let house = House::new();
    house.healer("Heals");
    let (url, whole) = (house.url("/"), body(&alert("Heals", 1)));
    let cases: [(u16, &[&str]); 6] = [
        (415, &["--form", "payload=x", &url]),
        (415, &["--data", &whole, &url]),
        (
            415,
            &["--header", "Content-Encoding: gzip", "--json", &whole, &url],
        ),
        (405, &["--request", "DELETE", &url]),
        (
            411,
            &[
                "--request",
                "POST",
                "--header",
                "Content-Length:",
                JSON[0],
                JSON[1],
                &url,
            ],
        ),
        (404, &[&url]),
    ];
    for (code, options) in cases {
        let output = curl(options);
        assert_eq!(answer(&output).0, code, "{options:?} {output:?}");
    }
    // A target with another host in it is this listener's all the same; it opens no connection for anybody.
    let listener = house.url("");
    let elsewhere = "http://heal.invalid/-/healthy";
    let through = |tunnel: &[&str]| {
        let mut options = vec!["--noproxy", "", "--proxy", &listener, elsewhere];
        options.extend(tunnel);
        curl(&options)
    };
    assert_eq!(answer(&through(&[])).0, 200);
    let tunnel = through(&["--proxytunnel"]);
    assert!(!tunnel.status.success());
    is_told(&house, " code=405 ");
    assert_eq!(house.healed_once("Heals").len(), 0);
    house.nothing_is_left();
}
