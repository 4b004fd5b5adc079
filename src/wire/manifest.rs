//! What a snapshot says of itself, `manifest.json`, and what root's side of the rollback guard answers. Parsed as
//! if an enemy had written it: one reading only, nothing unknown, no name that leads out of its folder.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::judge::{AlertName, Time, run_id};

/// The format written and read here.
const VERSION: u32 = 1;

/// The most entries of one snapshot, over all its paths.
pub const MOST_ENTRIES: usize = 10_000;

/// The most paths of one snapshot: as many as a handler may name.
const MOST_PATHS: usize = 32;

/// The largest manifest, in bytes: as many entries as may be, with long names.
pub const LARGEST: u64 = 16 * 1024 * 1024;

/// A whole snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The run it was taken for.
    pub run_id: String,
    /// That run's alert.
    pub alertname: AlertName,
    /// When it was taken, by this host's clock.
    pub captured: Time,
    /// Each path with what was there, in the order of the copies `files/0`, `files/1`…
    pub paths: Vec<Captured>,
    /// What root's side took for the same run.
    pub by_root: Option<ByRoot>,
}

/// One path of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Where: absolute and normal.
    pub path: PathBuf,
    /// What was there, a folder before what is in it; nothing if nothing was there.
    pub entries: Vec<Entry>,
}

/// One file, folder or link as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name below the path; empty for the path itself.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// What identifies its content and its attributes: stat(2).
    pub print: Print,
}

/// What may be in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
}

/// Whatever changes a file or its attributes changes one of these: the kernel sets ctime itself (inode(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Print {
    /// The file system.
    pub dev: u64,
    /// The file's number in it.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Last change: seconds since 1970 and nanoseconds.
    pub ctime: (i64, i64),
}

/// Root's part of a snapshot that two sides took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByRoot {
    /// Root's folder.
    pub folder: PathBuf,
    /// What it took.
    pub paths: Vec<PathBuf>,
}

/// The answer to `guard capture`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Took {
    /// The snapshot's folder.
    pub folder: PathBuf,
    /// The paths it holds.
    pub taken: Vec<PathBuf>,
    /// The handler's other paths, each with the reason why root does not take it.
    pub refused: Vec<(PathBuf, String)>,
}

/// The answer to `guard restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutBack {
    /// The snapshot's folder.
    pub folder: PathBuf,
    /// How many entries were put back.
    pub changed: usize,
}

impl Took {
    /// As one line.
    ///
    /// # Errors
    /// A path that is no UTF-8.
    pub fn to_line(&self) -> Result<String, String> {
        line(self)
    }

    /// From root's answer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Took, String> {
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }
}

impl PutBack {
    /// As one line.
    ///
    /// # Errors
    /// A path that is no UTF-8.
    pub fn to_line(&self) -> Result<String, String> {
        line(self)
    }

    /// From root's answer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<PutBack, String> {
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }
}

fn line(answer: &impl Serialize) -> Result<String, String> {
    let mut line = serde_json::to_string(answer).map_err(|e| e.to_string())?;
    line.push('\n');
    Ok(line)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    version: u32,
    run_id: String,
    alertname: String,
    captured: i64,
    paths: Vec<PathShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_root: Option<RootShape>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PathShape {
    path: PathBuf,
    entries: Vec<EntryShape>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryShape {
    name: String,
    kind: Kind,
    print: Print,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootShape {
    folder: PathBuf,
    paths: Vec<PathBuf>,
}

impl Manifest {
    /// As JSON.
    ///
    /// # Errors
    /// A path that is no UTF-8. Names below a path may hold any bytes.
    pub fn to_json(&self) -> Result<String, String> {
        let paths = self.paths.iter().map(|captured| PathShape {
            path: captured.path.clone(),
            entries: captured
                .entries
                .iter()
                .map(|entry| EntryShape {
                    name: escape(&entry.name),
                    kind: entry.kind,
                    print: entry.print,
                })
                .collect(),
        });
        line(&Shape {
            version: VERSION,
            run_id: self.run_id.clone(),
            alertname: self.alertname.to_string(),
            captured: self.captured.0,
            paths: paths.collect(),
            by_root: self.by_root.as_ref().map(|root| RootShape {
                folder: root.folder.clone(),
                paths: root.paths.clone(),
            }),
        })
    }

    /// From JSON.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        let shape: Shape = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if shape.version != VERSION {
            return Err(format!("version {} is not {VERSION}", shape.version));
        }
        let run = run_id::parse(&shape.run_id).ok_or("its run id is none")?;
        if run.alertname.as_str() != shape.alertname {
            return Err("its alertname is not that of its run".to_owned());
        }
        let count: usize = shape.paths.iter().map(|path| path.entries.len()).sum();
        if count > MOST_ENTRIES || shape.paths.len() > MOST_PATHS {
            return Err(format!(
                "more than {MOST_ENTRIES} entries or {MOST_PATHS} paths"
            ));
        }
        let paths: Vec<Captured> = shape
            .paths
            .into_iter()
            .map(captured)
            .collect::<Result<_, _>>()?;
        let one_in_another = |(at, one): (usize, &Captured)| {
            let mut rest = paths.iter().skip(at + 1);
            rest.any(|two| two.path.starts_with(&one.path) || one.path.starts_with(&two.path))
        };
        if paths.iter().enumerate().any(one_in_another) {
            return Err("one of its paths holds another".to_owned());
        }
        let by_root = match shape.by_root {
            Some(RootShape { folder, paths }) => {
                if !plain(&folder) || !paths.iter().all(|path| plain(path)) {
                    return Err("a path of root's part is not absolute and normal".to_owned());
                }
                Some(ByRoot { folder, paths })
            }
            None => None,
        };
        Ok(Manifest {
            run_id: shape.run_id,
            alertname: run.alertname,
            captured: Time(shape.captured),
            paths,
            by_root,
        })
    }
}

fn captured(shape: PathShape) -> Result<Captured, String> {
    let bad = |what: &str| format!("{:?}: {what}", shape.path);
    if !plain(&shape.path) {
        return Err(bad("not absolute and normal"));
    }
    let mut known: HashMap<Vec<u8>, Kind> = HashMap::new();
    let mut entries = Vec::new();
    for entry in &shape.entries {
        let name =
            unescape(&entry.name).ok_or_else(|| bad("a name is not escaped as it should be"))?;
        let above = name.iter().rposition(|byte| *byte == b'/');
        let above = above
            .and_then(|slash| name.get(..slash))
            .unwrap_or_default();
        let mut parts = name.split(|byte| *byte == b'/');
        let placed = if name.is_empty() {
            known.is_empty()
        } else {
            parts.all(|part| !matches!(part, b"" | b"." | b".."))
                && known.get(above) == Some(&Kind::Folder)
        };
        if !placed || name.contains(&0) || known.insert(name.clone(), entry.kind).is_some() {
            return Err(bad("a name is in no folder of it, or is there twice"));
        }
        if !(0..1_000_000_000).contains(&entry.print.ctime.1) {
            return Err(bad("a time is none"));
        }
        entries.push(Entry {
            name,
            kind: entry.kind,
            print: entry.print,
        });
    }
    Ok(Captured {
        path: shape.path,
        entries,
    })
}

/// Whether the path is absolute, not the root folder, and without `.`, `..` or an empty part.
fn plain(path: &Path) -> bool {
    let mut parts = path.components();
    let absolute = parts.next() == Some(Component::RootDir);
    let again: PathBuf = path.components().collect();
    absolute
        && path.parent().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && again.as_os_str() == path.as_os_str()
        && !path.as_os_str().as_encoded_bytes().contains(&0)
}

/// Visible ASCII stays; `%` and every other byte becomes `%` and two hex digits.
fn escape(name: &[u8]) -> String {
    let mut text = String::new();
    for byte in name {
        match byte {
            b'%' => text.push_str("%25"),
            b'!'..=b'~' => text.push(char::from(*byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

/// The way back; `None` for what [`escape`] does not give.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            name.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            name.push(byte);
        }
    }
    (escape(&name) == text).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8], kind: Kind) -> Entry {
        Entry {
            name: name.to_vec(),
            kind,
            print: Print {
                dev: 1,
                ino: u64::MAX,
                size: 3,
                ctime: (-4, 999_999_999),
            },
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            run_id: "19ab3f00c2d-4711-1.Nginx.Down-2".to_owned(),
            alertname: AlertName::new("Nginx.Down-2").unwrap(),
            captured: Time(7),
            paths: vec![
                Captured {
                    path: "/etc/nginx".into(),
                    entries: vec![
                        entry(b"", Kind::Folder),
                        entry(b"a b%", Kind::Folder),
                        entry(b"a b%/\xff\n", Kind::File),
                        entry(b"link", Kind::Link),
                    ],
                },
                Captured {
                    path: "/etc/nginx.absent".into(),
                    entries: Vec::new(),
                },
            ],
            by_root: Some(ByRoot {
                folder: "/var/backups/self-heal/1-Nginx.Down-2".into(),
                paths: vec!["/etc/hosts".into()],
            }),
        }
    }

    #[test]
    fn a_manifest_survives_the_journey() {
        let json = manifest().to_json().unwrap();
        assert!(json.contains(r#""a%20b%25/%FF%0A""#), "{json}");
        assert_eq!(Manifest::parse(json.as_bytes()), Ok(manifest()));
    }

    #[test]
    fn a_hostile_manifest_is_refused() {
        let good = manifest().to_json().unwrap();
        for (from, to) in [
            (r#""version":1"#, r#""version":2"#),
            (r#""version":1"#, r#""version":1,"extra":1"#),
            (r#""version":1"#, r#""version":1,"version":1"#),
            ("c2d-4711-1.", "c2d-4711-01."),
            (r#""alertname":"Nginx"#, r#""alertname":"nginx"#),
            (r#""/etc/nginx""#, r#""etc/nginx""#),
            (r#""/etc/nginx""#, r#""/""#),
            (r#""/etc/nginx""#, r#""/etc/../nginx""#),
            (r#""/etc/nginx""#, r#""/etc/./nginx""#),
            (r#""/etc/nginx""#, r#""/etc//nginx""#),
            (r#""/etc/nginx""#, r#""/etc/nginx/""#),
            (r#""/etc/nginx""#, r#""/etc/nginx\u0000""#),
            (r#""/etc/nginx.absent""#, r#""/etc/nginx/absent""#),
            (r#""/etc/nginx.absent""#, r#""/etc""#),
            (r#""/etc/nginx.absent""#, r#""/etc/nginx""#),
            (r#""name":"link""#, r#""name":"/link""#),
            (r#""name":"link""#, r#""name":"link/""#),
            (r#""name":"link""#, r#""name":"..""#),
            (r#""name":"link""#, r#""name":"a%20b%25/..""#),
            (r#""name":"link""#, r#""name":"a%20b%25/.""#),
            (r#""name":"link""#, r#""name":"a%20b%25//x""#),
            (r#""name":"link""#, r#""name":"%2E%2E""#),
            (r#""name":"link""#, r#""name":"a%20b%25%2Fx""#),
            (r#""name":"link""#, r#""name":"nowhere/x""#),
            (r#""name":"link""#, r#""name":"a%20b%25/%FF%0A/x""#),
            (r#""name":"link""#, r#""name":"a%20b%25""#),
            (r#""name":"link""#, r#""name":"""#),
            (r#""name":"link""#, r#""name":"%00""#),
            (r#""name":"link""#, r#""name":"%ff""#),
            (r#""name":"link""#, r#""name":"%4""#),
            (r#""name":"link""#, r#""name":"a b""#),
            (r#""kind":"link""#, r#""kind":"fifo""#),
            ("999999999", "1000000000"),
            ("999999999", "-1"),
            (r#""dev":1"#, r#""dev":-1"#),
            (r#""/etc/hosts""#, r#""hosts""#),
            (r#""folder":"/var"#, r#""folder":"/var/.."#),
        ] {
            assert!(good.contains(from), "{from}");
            let bad = good.replace(from, to);
            assert!(Manifest::parse(bad.as_bytes()).is_err(), "{from} -> {to}");
        }
        for cut in 0..good.len() - 1 {
            assert!(Manifest::parse(&good.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_crowd_of_entries_is_refused() {
        let mut crowd = manifest();
        let names = (0..MOST_ENTRIES).map(|n| entry(format!("{n}").as_bytes(), Kind::File));
        crowd.paths[0].entries.extend(names);
        let json = crowd.to_json().unwrap();
        assert!(
            Manifest::parse(json.as_bytes())
                .unwrap_err()
                .contains("more than")
        );
        assert!((json.len() as u64) < LARGEST);
    }

    #[test]
    fn answers_survive_the_journey() {
        let took = Took {
            folder: "/b/1-A".into(),
            taken: vec!["/etc/x".into()],
            refused: vec![("/home/x".into(), "belongs to uid 1000".into())],
        };
        assert_eq!(Took::parse(took.to_line().unwrap().as_bytes()), Ok(took));
        let back = PutBack {
            folder: "/b/1-A".into(),
            changed: 3,
        };
        assert_eq!(PutBack::parse(back.to_line().unwrap().as_bytes()), Ok(back));
        assert!(Took::parse(b"{}").is_err() && PutBack::parse(b"").is_err());
    }
}
