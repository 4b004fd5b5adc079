//! What the mutations begin with: the samples of tests/data, what the documentation and the shipped files show, and one
//! input of each sort that a body makes of bytes.

use std::fs;
use std::path::{Path, PathBuf};

use self_heal::judge::Time;
use self_heal::judge::record::{Host, Record};
use self_heal::wire::history::{self, Event, GENESIS, RunLine};
use self_heal::wire::records::{self, Kept};

use super::pieces::Chance;

fn project() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let top = own
        .ancestors()
        .find(|folder| folder.join("tests/data").is_dir());
    top.expect("tests/data").to_owned()
}

/// The files of a folder whose names end so, in the order of their names.
fn files(folder: &str, end: &str) -> Vec<Vec<u8>> {
    let folder = project().join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.is_file() && path.to_string_lossy().ends_with(end));
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Bytes for the bodies that make values of them: as many, from plain to wild.
fn wild(first: u8, sorts: u8) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for sort in first..sorts {
        for seed in 0..6_u64 {
            let mut chance = Chance::new(1000 * u64::from(sort) + seed);
            let bytes = (0..400).map(|_| chance.draw() as u8);
            found.push([sort].into_iter().chain(bytes).collect());
        }
    }
    found
}

fn behind(first: &[u8], texts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    texts
        .into_iter()
        .map(|text| [first, &text].concat())
        .collect()
}

pub fn request() -> Vec<Vec<u8>> {
    let mut found = behind(&[7], files("tests/data", ".http"));
    // The longest are about limits, which the suite has tests for; here they would only be slow.
    found.retain(|bytes| bytes.len() < 4000);
    found
}

pub fn payload() -> Vec<Vec<u8>> {
    let mut found = files("tests/data", ".json");
    for request in files("tests/data", ".http") {
        let end = request.windows(4).position(|four| four == b"\r\n\r\n");
        found.extend(end.map(|end| request[end + 4..].to_vec()));
    }
    found.retain(|bytes| !bytes.is_empty() && bytes.len() < 8000);
    found
}

pub fn directives() -> Vec<Vec<u8>> {
    let mut found = files("handlers", ".sh");
    found.push(
        b"#!/bin/sh\n# self-heal: timeout=120s lock=instance settle=10m max-attempts=2 retry-delay=1m\n\
        # self-heal: mode=observe compat=amx snapshot=/etc/nginx/nginx.conf snapshot=/etc/hosts\nexit 0\n"
            .to_vec(),
    );
    found.push(b"\x7fELF\0\0".to_vec());
    found
}

pub fn configuration() -> Vec<Vec<u8>> {
    let mut found = files("deploy", ".conf");
    let keys = self_heal::wire::config::KEYS.iter();
    let all: String = keys
        .clone()
        .filter(|key| !key.default.is_empty())
        .map(|key| format!("{}={}\n", key.name, key.default))
        .collect();
    found.push(all.into_bytes());
    found.push(b"# a comment\n\nHEAL_PORT='9096'\nHEAL_ALLOW_PEERS=10.0.0.0/8,fd00::/8\nHEAL_RUN_LIMITS=6/4h,10/24h\n".to_vec());
    found.push(
        b"HEAL_TOKEN_FILE=/etc/token\nHEAL_ALLOW_USERS=alertmanager,114\nHEAL_STATE=file:/srv/s\n"
            .to_vec(),
    );
    found.extend(keys.map(|key| format!("{}=\"{}\"\n", key.name, key.default).into_bytes()));
    found
}

pub fn allowlist() -> Vec<Vec<u8>> {
    let list = "\u{feff}# hosts\nweb-1\r\nweb-1:9113 Down,Up\n*.example.org\n10.0.0.*:9100\n[fd00::8]:9100\nfd00::8\ndb-* Down # x\nbad entry here x\n-x\nhttp://a\n";
    let mut found: Vec<Vec<u8>> = [
        "web-1:9113",
        "a.example.org",
        "10.0.0.7:9100",
        "[fd00::8]:9100",
        "-x",
        "db-3",
        "fd00::8",
    ]
    .iter()
    .map(|instance| format!("{list}\0{instance}\0Down").into_bytes())
    .collect();
    found.extend(
        ["web-1", "*", "*:*", "[::1]", "a:0"].map(|one| format!("{one}\0{one}\0Down").into_bytes()),
    );
    found
}

fn copies(sort: u8) -> Vec<Vec<u8>> {
    let key = "0".repeat(64);
    let record = records::encode(&Record::default(), &key, 1).unwrap();
    let host = records::encode(&Host::unknown(Time(5)), &key, 2).unwrap();
    behind(&[sort], vec![record, host])
}

pub fn record() -> Vec<Vec<u8>> {
    let mut found = copies(0);
    let json = r#"{"alertname":"A","instance":"i","fingerprint":"f","episode":{"starts_at":1790000000000,"closed_at":1790000900000},"failures":[1790000000000],"ineffective":1,"runs":[1790000000000,1790000400000],"last_end":1790000500000,"retry_from":1790000500000,"healed_at":1790000500000,"deferring_since":1790000500000,"breaker":{"reason":"failures","since":1790000600000,"hold_ms":14400000,"half_open":true},"in_flight":{"id":"1-1-1.A","attempt":2,"started":1790000700000,"deadline":1790000800000,"probe":true,"supervisor":[4711,99]},"survivors":[[7,8]],"unknown_since":1,"page":"failures","owed":[[1790000600000,false,"failures"],[5,null]],"paged_at":1790000600000,"attempts":[["1-1-1.A",1,1,2,"exit 1",0]],"held_since":3}"#;
    let host = r#"{"runs":[1790000000000,1790000400000],"storm_since":1790000400000,"page":true,"told_at":1790000400000,"owed":[[1790000400000,false,"storm"]],"paged_at":1790000400000}"#;
    found.extend(behind(
        &[1],
        vec![
            json.into(),
            host.into(),
            Record::default().to_json().unwrap().into(),
        ],
    ));
    found.extend(wild(2, 4));
    found
}

pub fn pauses() -> Vec<Vec<u8>> {
    let json = r#"[[1790000000000,1790003600000,"Down","web-1:9113","anna","a \"reason\""],[1,2,null,null,"b",""]]"#;
    let mut found = behind(&[1], vec![json.into(), "[]".into()]);
    let pauses = self_heal::judge::pauses::Pauses::from_json(json).unwrap();
    found.extend(behind(
        &[0],
        vec![records::encode(&pauses, &"0".repeat(64), 3).unwrap()],
    ));
    found.extend(wild(2, 3));
    found
}

pub fn history() -> Vec<Vec<u8>> {
    let run = RunLine {
        run_id: "1-1-1.A",
        alertname: "A",
        instance: "i",
        fingerprint: "f",
        group_key: "{}",
        peer: "127.0.0.1",
        attempt: 1,
        forced: true,
    };
    let mut file = Vec::new();
    let mut prev = GENESIS.to_owned();
    let result = Event::Result {
        run: run.clone(),
        handler_sha256: Some("0"),
        exit: Some(0),
        outcome: "healed",
        duration_ms: Some(12),
        verdict: Some("healed"),
        rollback: Some("restored"),
    };
    for event in [
        Event::Intent {
            run: run.clone(),
            handler: "/h",
            handler_sha256: "0",
            timeout_ms: 5,
            snapshot: Some("/s"),
        },
        result,
        Event::Verified {
            run: run.clone(),
            lasted_ms: Some(9),
        },
        Event::Ineffective {
            run: run.clone(),
            count: 2,
        },
        Event::Observed {
            run,
            handler: "/h",
            handler_sha256: "0",
            would: "run",
            command: "/h i",
        },
    ] {
        let line = history::line(Time(1_790_000_000_000), &event, &prev).unwrap();
        prev = history::digest(line.as_bytes());
        file.extend_from_slice(line.as_bytes());
    }
    let mut found = behind(&[0, 0, 0], vec![file]);
    found.extend(wild(1, 2));
    found
}

pub fn spool() -> Vec<Vec<u8>> {
    let mut found = behind(&[0], files("tests/data/events", ".json"));
    found.push(b"\x000000000000005-t-2c70e12b7a0646f9".to_vec());
    found.extend(wild(1, 4));
    found
}

pub fn manifest() -> Vec<Vec<u8>> {
    let json = r#"{"version":1,"run_id":"5-1-1.A","alertname":"A","captured":5,"paths":[{"path":"/etc/a","entries":[{"name":"","kind":"folder","print":{"dev":1,"ino":2,"size":3,"ctime":[4,5]}},{"name":"b%20c","kind":"file","print":{"dev":1,"ino":2,"size":3,"ctime":[4,5]}}]},{"path":"/etc/b","entries":[]}],"by_root":{"folder":"/var/b","paths":["/etc/c"]}}"#;
    let took = r#"{"folder":"/var/b","taken":["/etc/a"],"refused":[["/etc/b","why"]]}"#;
    let back = r#"{"folder":"/var/b","changed":3}"#;
    let mut found = behind(&[0], vec![json.into(), took.into(), back.into()]);
    found.extend(wild(1, 2));
    found
}

pub fn holder() -> Vec<Vec<u8>> {
    let json = format!(
        r#"{{"run_id":"1-1-1.A","key":"{}","fingerprint":"f","pid":1,"pid_started":2,"session":3,"session_started":4,"deadline_ms":5}}"#,
        "a".repeat(64)
    );
    let mut found = behind(&[0], vec![format!("{json}\n").into_bytes()]);
    found.extend(wild(1, 2));
    found
}

pub fn times() -> Vec<Vec<u8>> {
    let number = 1_790_000_000_123_u64.to_le_bytes();
    let texts = [
        "2026-11-22T12:00:00Z",
        "2026-02-28t23:59:60.123456789+05:30",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "2024-02-29",
        "1d2h3m4s5ms",
        "500ms",
        "0",
        "4h",
    ];
    let mut found = behind(&number, texts.map(|text| text.as_bytes().to_vec()).to_vec());
    found.extend(
        [0, 1, u64::MAX, 1 << 63, 86_399_999].map(|number: u64| number.to_le_bytes().to_vec()),
    );
    found
}

pub fn words() -> Vec<Vec<u8>> {
    let texts = [
        "10.0.0.0/8",
        "::ffff:10.0.0.0/104",
        "[fd00::8]",
        "Basic dXNlcjowMTIzNDU2Nzg5YWJjZGVm",
        "Bearer 0123456789abcdef",
        "0123456789abcdef",
        "if sudo -n -u www /usr/bin/systemctl restart 'nginx' \\\n  x; then sudo env A=b true; fi",
        "(ALL) NOPASSWD: /usr/bin/systemctl restart nginx",
        "{\"a\":[1,-2.5e3,\"\\ud83d\\ude00\"],\"b\":null}",
        "\"text\"",
    ];
    let mut found = behind(
        b"\x0bone two=\x1b[m\x02\xc3\xa9",
        texts.map(|text| text.as_bytes().to_vec()).to_vec(),
    );
    found.extend(wild(0, 1));
    found
}

pub fn lint() -> Vec<Vec<u8>> {
    let rules = files("deploy/prometheus", ".rules.yml");
    let mut found = files("deploy/alertmanager", ".yml");
    let whole = [&found[0], super::lint::BETWEEN.as_bytes(), &rules[0]].concat();
    found.extend(rules);
    found.extend(files("tests/data/lint", ".yml"));
    found.push(b"a: &a [x, {y: *b}]\n<<: *a\nb: &b |\n  text\n--- {c: 0x1}\n".to_vec());
    found.push(whole);
    found
}
