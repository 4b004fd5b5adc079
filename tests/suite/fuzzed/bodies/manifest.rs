//! A snapshot's manifest has one reading, and names nothing outside its folder.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use self_heal::judge::{AlertName, run_id};
use self_heal::wire::manifest::{ByRoot, Captured, Entry, Kind, Manifest, Print, PutBack, Took};

use super::pieces::Pieces;

pub fn body(data: &[u8]) {
    let mut pieces = Pieces::new(data);
    if pieces.flag() {
        let manifest = manifest(&mut pieces);
        let json = manifest.to_json().unwrap();
        // What was made of arbitrary names may be refused; what is taken is the same.
        if let Ok(again) = Manifest::parse(json.as_bytes()) {
            assert_eq!(again, manifest);
            inside(&again);
        }
        return;
    }
    let bytes = pieces.rest();
    if let Ok(manifest) = Manifest::parse(bytes) {
        inside(&manifest);
        let again = manifest.to_json().unwrap();
        assert_eq!(Manifest::parse(again.as_bytes()), Ok(manifest));
    }
    if let Ok(took) = Took::parse(bytes) {
        assert_eq!(Took::parse(took.to_line().unwrap().as_bytes()), Ok(took));
    }
    if let Ok(back) = PutBack::parse(bytes) {
        assert_eq!(PutBack::parse(back.to_line().unwrap().as_bytes()), Ok(back));
    }
}

fn inside(manifest: &Manifest) {
    let id = run_id::parse(&manifest.run_id).unwrap();
    assert_eq!(id.alertname, manifest.alertname);
    let normal = |path: &Path| {
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        assert!(
            path.is_absolute() && path != Path::new("/") && path.components().all(plain),
            "{path:?}"
        );
    };
    for captured in &manifest.paths {
        normal(&captured.path);
        for (at, entry) in captured.entries.iter().enumerate() {
            let whole = captured
                .path
                .join(PathBuf::from(OsString::from_vec(entry.name.clone())));
            normal(&whole);
            assert!(whole.starts_with(&captured.path), "{whole:?}");
            assert_eq!(
                entry.name.is_empty(),
                at == 0,
                "the path itself comes first, and once"
            );
        }
    }
    if let Some(root) = &manifest.by_root {
        normal(&root.folder);
        root.paths.iter().for_each(|path| normal(path));
    }
}

fn manifest(pieces: &mut Pieces<'_>) -> Manifest {
    let alertname = AlertName::new(&pieces.name()).unwrap();
    let path = |pieces: &mut Pieces<'_>| PathBuf::from(format!("/{}", pieces.text()));
    Manifest {
        run_id: run_id::make(pieces.time(), 5, 1, &alertname),
        alertname,
        captured: pieces.time(),
        paths: pieces.list(2, |pieces| Captured {
            path: path(pieces),
            entries: pieces.list(4, entry),
        }),
        by_root: pieces.maybe(|pieces| ByRoot {
            folder: path(pieces),
            paths: pieces.list(2, path),
        }),
    }
}

fn entry(pieces: &mut Pieces<'_>) -> Entry {
    let length = pieces.below(6);
    Entry {
        name: pieces.take(length).to_vec(),
        kind: pieces.pick(&[Kind::Folder, Kind::File, Kind::Link]),
        print: Print {
            dev: pieces.number(),
            ino: pieces.number(),
            size: pieces.number(),
            ctime: (pieces.number() as i64, i64::from(pieces.byte())),
        },
    }
}
