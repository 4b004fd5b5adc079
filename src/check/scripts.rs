//! Programs that are started: whether their first line names one of this machine, and whether the shell that reads them
//! can. Handlers, hooks and escalators alike. Nothing of them is run: a shell reads them with `-n`.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::{Desk, kinds};
use crate::sys::interpreter::{self, Unfound};
use crate::sys::tool::{self, Call};
use crate::wire::shebang::{self, Interpreter};

/// What a shell reads the script from, by a name: else it would not say in which line.
const INPUT: &str = "/dev/stdin";

/// How long a shell may take to read one.
const BOUND: Duration = Duration::from_secs(10);

/// Looks at one, by its path and its bytes.
pub(super) fn look(desk: &mut Desk, path: &Path, bytes: &[u8]) {
    if bytes.starts_with(b"\x7fELF") {
        return;
    }
    let shebang = shebang::interpreter(bytes);
    if let Some(line) = shebang::carriage_return(bytes) {
        let place = format!("{}:{line}", path.display());
        let what = match line {
            1 => {
                "its first line ends in a carriage return, which belongs to the interpreter's name: it cannot be started"
            }
            _ => {
                "the line ends in a carriage return, which its interpreter takes for a part of the last word"
            }
        };
        return desk.found(
            &kinds::CARRIAGE_RETURN,
            place,
            what,
            "save it with Unix line ends: sed -i 's/\\r$//'",
        );
    }
    if let Some(interpreter) = &shebang
        && let Err(unfound) = interpreter::found(interpreter)
    {
        let place = format!("{}:1", path.display());
        let what = match unfound {
            Unfound::ByTheKernel(why) => format!("{why}: it cannot be started"),
            Unfound::ByEnv(why) => format!("{why}: it ends with 127 whenever it is started"),
        };
        return desk.found(
            &kinds::INTERPRETER,
            place,
            what,
            "install it, or correct the line; an absolute path behind #!",
        );
    }
    // What begins with neither is run by bash.
    let name = shebang.as_ref().map_or("bash", Interpreter::name);
    let shell = match name {
        "bash" => "/bin/bash",
        "sh" | "dash" => "/bin/sh",
        _ => return,
    };
    if let Err(why) = parses(desk, shell, bytes) {
        let (line, said) = placed(&why);
        let shown = path.display();
        let place = line.map_or_else(|| shown.to_string(), |line| format!("{shown}:{line}"));
        let what = format!("{shell} -n: {said}: it stops there, in the middle of its work");
        desk.found(
            &kinds::SYNTAX,
            place,
            what,
            format!("correct it, and try {shell} -n {shown}"),
        );
    }
}

/// The line and the rest of what a shell complains of: bash writes `FILE: line 3: …`, dash `FILE: 3: …`.
fn placed(complaint: &str) -> (Option<u32>, &str) {
    let rest = complaint
        .strip_prefix(INPUT)
        .and_then(|rest| rest.strip_prefix(": "));
    let rest = rest.unwrap_or(complaint);
    let numbered = rest.strip_prefix("line ").unwrap_or(rest).split_once(": ");
    match numbered.and_then(|(number, said)| Some((number.parse().ok()?, said))) {
        Some((line, said)) => (Some(line), said),
        None => (None, rest),
    }
}

/// What the shell says of it. It reads it from its standard input, as the account that serves.
fn parses(desk: &Desk, shell: &str, bytes: &[u8]) -> Result<(), String> {
    let mut args = vec![OsStr::new("-n")];
    // shopt is not run by -n, so its patterns would be errors.
    if shell == "/bin/bash" && bytes.windows(7).any(|word| word == b"extglob") {
        args.extend(["-O", "extglob"].map(OsStr::new));
    }
    args.push(OsStr::new(INPUT));
    let account = crate::sys::identity::is_root().then_some(desk.uid);
    let call = Call {
        program: shell,
        args: &args,
        stdin: bytes,
        bound: BOUND,
        account,
    };
    // A machine without that shell has said so at the interpreter.
    let Ok(outcome) = tool::ask(&call) else {
        return Ok(());
    };
    if outcome.status.success() && outcome.complained.is_empty() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&outcome.complained).into_owned();
    Err(complaint
        .lines()
        .next()
        .unwrap_or("it cannot be read")
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_says_where() {
        let bash = "/dev/stdin: line 3: syntax error near unexpected token `)'";
        assert_eq!(
            placed(bash),
            (Some(3), "syntax error near unexpected token `)'")
        );
        let dash = "/dev/stdin: 12: Syntax error: \"fi\" unexpected";
        assert_eq!(placed(dash), (Some(12), "Syntax error: \"fi\" unexpected"));
        assert_eq!(placed("bash: what: else"), (None, "bash: what: else"));
    }
}
