//! The plainest uses.

use crate::support::{Alert, Sandbox};

#[test]
fn a_firing_alert_is_healed_once() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "echo \"$@\"\n");
    let alert = Alert::firing("NginxDown", "web-1:9113");
    sandbox.post(&alert).expect(200, &["healed"]);
    sandbox.post(&alert).expect(200, &["settling"]);
    let said = sandbox.read("log/NginxDown.log");
    assert_eq!(
        said,
        format!("web-1:9113 NginxDown {}\n", alert.fingerprint())
    );
}
