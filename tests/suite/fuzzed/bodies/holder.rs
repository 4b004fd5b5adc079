//! What a lock file says of its holder is read as it was written, or not at all.

use self_heal::wire::holder::Holder;
use self_heal::wire::records::hex_digest;

use super::pieces::Pieces;
use super::record::process;

pub fn body(data: &[u8]) {
    let mut pieces = Pieces::new(data);
    if pieces.flag() {
        let holder = Holder {
            run_id: pieces.text(),
            key: hex_digest(&[pieces.byte()]),
            fingerprint: pieces.text(),
            supervisor: process(&mut pieces),
            session: process(&mut pieces),
            deadline: pieces.time(),
        };
        let line = holder.to_line().unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(Holder::from_line(&line), Some(holder));
        for cut in [1, line.len() / 2, line.len() - 1] {
            let short = line.char_indices().map(|(at, _)| at).rfind(|at| *at <= cut);
            assert_eq!(Holder::from_line(&line[..short.unwrap_or(0)]), None);
        }
        return;
    }
    let text = String::from_utf8_lossy(pieces.rest()).into_owned();
    if let Some(holder) = Holder::from_line(&text) {
        let hex = holder.key.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(holder.key.len() == 64 && hex);
        let line = holder.to_line().unwrap();
        assert_eq!(Holder::from_line(&line), Some(holder));
    }
}
