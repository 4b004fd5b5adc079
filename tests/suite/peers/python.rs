//! Python: `http.client`, and requests on top of urllib3 with its pool of connections and its retries.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{House, alert, body, padded};
use crate::chain::process::program;

#[test]
fn python_is_answered_by_http_client_and_by_requests() {
    let house = House::new();
    house.healer("Heals");
    // Fails once for each instance.
    house.sandbox().handler(
        "Flaky",
        "mark=$HEAL_BACKUP_DIR/${1//[^a-z0-9]/-}\n[[ -e $mark ]] || { : >\"$mark\"; exit 1; }\n",
    );
    let bodies: Vec<String> = (0..14).map(|n| body(&alert("Heals", n))).collect();
    let told = json!({
        "port": house.place.port,
        "bodies": bodies,
        "large": padded(&alert("Heals", 14), 3 << 20),
        "too_large": " ".repeat(6 << 20),
        "flaky": [body(&alert("Flaky", 1)), body(&alert("Flaky", 2))],
    });
    let mut python = Command::new(program("python3"))
        .args(["-I", "-c", include_str!("client.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(told.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let said: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = [
        // One object, which opens a connection for each request.
        json!(["kept", 200, "healed", true]),
        json!(["kept", 200, "healed", true]),
        json!(["kept", 200, "healed", true]),
        json!(["http/1.0", 200, "healed", true]),
        json!(["in chunks", 200, "healed", true]),
        json!(["head", 200, 17, ""]),
        json!(["too large", 413]),
        json!(["session", 200, "healed"]),
        json!(["session", 200, "healed"]),
        json!(["session", 200, "healed"]),
        json!(["generator", 200, "healed"]),
        json!(["large", 200, "healed"]),
        json!(["many threads", 5, ["healed"]]),
        json!(["not asked again", 503, "failed", 30]),
        json!(["asked again", 200, "healed", [503]]),
    ];
    assert_eq!(said, expected, "{complaint}");
    assert_eq!(house.healed_once("Heals").len(), 15);
    assert_eq!(house.sandbox().runs("Flaky"), 3);
    house.nothing_is_left();
}
