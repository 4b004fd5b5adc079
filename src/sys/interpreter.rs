//! What runs a script, looked for on this machine: as execve(2) finds what stands behind `#!`, and env(1) what it is
//! asked for, for the account whose [`viewpoint`](crate::sys::viewpoint) it is. It starts nothing.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::sys::sight::{self, Sight};
use crate::wire::environment::PATH;
use crate::wire::shebang::{self, Interpreter};

/// As much of a script as the kernel looks at (execve(2), since Linux 5.1).
const HEAD: u64 = 256;

/// What runs the script is not to be found; why, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfound {
    /// So the kernel does not start it.
    ByTheKernel(String),
    /// So env(1) ends with 127, and the script with it.
    ByEnv(String),
}

/// Whether what the program at `path` names in its first line can be found, or `instead`, which runs it when it names
/// nothing. A file that cannot be read is not this one's to tell.
///
/// # Errors
/// What is missing.
pub fn look(path: &Path, instead: Option<&Path>) -> Result<(), Unfound> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    let named = shebang::interpreter(&head).or_else(|| {
        instead.map(|path| Interpreter {
            path: path.display().to_string(),
            by_env: None,
            options: String::new(),
        })
    });
    match named.filter(|_| read.is_ok()) {
        Some(interpreter) => found(&interpreter),
        None => Ok(()),
    }
}

/// Whether the kernel, and env(1), will find it.
///
/// # Errors
/// What is missing.
pub fn found(interpreter: &Interpreter) -> Result<(), Unfound> {
    let Interpreter { path, by_env, .. } = interpreter;
    let by_the_kernel = |why: String| Err(Unfound::ByTheKernel(why));
    if !path.starts_with('/') {
        return by_the_kernel(format!("#!{path} is no absolute path"));
    }
    match sight::at(Path::new(path)) {
        Sight::There(thing) if thing.file => {}
        Sight::Hidden => return Ok(()),
        _ => return by_the_kernel(format!("there is no {path}")),
    }
    if let Err(why) = sight::allowed(Path::new(path), 0o1) {
        return by_the_kernel(format!("{path}: {why}"));
    }
    match by_env {
        Some(name) if !on_path(name) => {
            Err(Unfound::ByEnv(format!("{path} finds no {name} in {PATH}")))
        }
        _ => Ok(()),
    }
}

/// Whether a handler finds this program by its name.
pub fn on_path(name: &str) -> bool {
    let there = |path: &Path| matches!(sight::at(path), Sight::There(thing) if thing.file && thing.mode & 0o111 != 0);
    if name.contains('/') {
        return there(Path::new(name));
    }
    PATH.split(':')
        .any(|folder| there(&Path::new(folder).join(name)))
}
