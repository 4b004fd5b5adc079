//! Pages leave a machine whose disk is full.

use std::io::ErrorKind;

use self_heal::sys::state::file::Store;

use super::*;
use crate::stage::{fill, in_a_namespace_of_its_own, lines_with, mount_tmpfs, run};

/// Mounts a small file system over the state folder.
fn mount(yard: &Yard, kind: &str) {
    let state = yard.state();
    match kind {
        "tmpfs" => mount_tmpfs(&state, "3m"),
        _ => {
            let image = yard.path("image");
            fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
            run(Command::new("mkfs.ext4")
                .args(["-q", "-m", "0"])
                .arg(&image));
            run(Command::new("mount")
                .args(["-o", "loop"])
                .args([&image, &state]));
            chmod(&state, 0o755);
        }
    }
}

#[test]
fn pages_are_put_and_delivered_with_no_block_free() {
    if !in_a_namespace_of_its_own("spool::disk::pages_are_put_and_delivered_with_no_block_free") {
        return;
    }
    for kind in ["tmpfs", "ext4"] {
        let yard = Yard::new();
        mount(&yard, kind);
        yard.escalator("mail", "exit 0");
        yard.escalator("pager", "exit 0");
        Store::open(&yard.state()).unwrap();
        yard.spool();
        fill(&yard.path("state/filler"));

        // More than there are spare files, since removed events are spare files again. Nobody has a journal yet.
        let mut sent = Vec::new();
        for n in 0..20 {
            sent.push(yard.trigger(THEN + 2 * n, "web-1").to_string());
            yard.drains(&[], 0);
            sent.push(yard.resolve(THEN + 2 * n + 1, "web-1").to_string());
            yard.drains(&[], 0);
        }
        assert_eq!(yard.calls("pager"), sent, "{kind}");
        assert_eq!(yard.calls("mail"), sent, "{kind}");

        // And without a spare file left it is an error: the record goes on owing the page.
        let spool = yard.spool();
        let put = |n: i64| {
            let name = name(THEN + 1000 + n, Action::Trigger, "web-2");
            spool.lock().unwrap().put(&name, &json(&name, "web-2"))
        };
        let spares = yard.names("spare").len() as i64;
        assert!((14..=16).contains(&spares), "{kind}: {spares}");
        for n in 0..spares {
            put(n).unwrap();
        }
        let error = put(spares).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{kind}");
        assert_eq!(yard.names("pending").len() as i64, spares);
        assert!(
            yard.names("spare").is_empty(),
            "{kind}: {:?}",
            yard.names("spare")
        );
        yard.drains(&[], 0);
        assert_eq!(yard.calls("pager").len() as i64, 40 + spares);

        // With room again there are spare files again.
        fs::remove_file(yard.path("state/filler")).unwrap();
        yard.spool();
        assert_eq!(yard.names("spare").len(), 16, "{kind}");
        assert_eq!(lines_with(&yard.log(), "spool_failed"), 0, "{kind}");
        run(Command::new("umount").arg(yard.state()));
    }
}

#[test]
fn a_spool_that_cannot_be_written_sends_nothing_and_says_so() {
    if !in_a_namespace_of_its_own(
        "spool::disk::a_spool_that_cannot_be_written_sends_nothing_and_says_so",
    ) {
        return;
    }
    let yard = Yard::new();
    yard.escalator("pager", "exit 0");
    let name = yard.trigger(THEN, "web-1");
    let state = yard.state();
    run(Command::new("mount").arg("--bind").args([&state, &state]));
    run(Command::new("mount")
        .args(["-o", "remount,ro,bind"])
        .arg(&state));
    let output = yard.drain(&[]);
    assert_ne!(output.status.code(), Some(0));
    assert!(yard.calls("pager").is_empty());
    assert!(
        lines_with(&yard.log(), "[ERROR] spool_failed") >= 1,
        "{}",
        yard.log()
    );
    run(Command::new("umount").arg(&state));
    yard.drains(&[], 0);
    assert_eq!(yard.calls("pager"), [name.to_string()]);
}
