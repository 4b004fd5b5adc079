//! The first line of a script, as execve(2) reads it, and the lines that were saved with another system's ends.

/// What runs a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The program; what stands behind `#!`.
    pub path: String,
    /// What it looks for on the way of `PATH`, where it is env(1).
    pub by_env: Option<String>,
    /// Its options, in one piece.
    pub options: String,
}

impl Interpreter {
    /// The name of the program that reads the script in the end.
    pub fn name(&self) -> &str {
        let path = self.by_env.as_deref().unwrap_or(&self.path);
        path.rsplit('/').next().unwrap_or(path)
    }
}

/// What the first line names, if it names something. A carriage return at its end is part of the last word.
pub fn interpreter(script: &[u8]) -> Option<Interpreter> {
    let first = script.split(|b| *b == b'\n').next()?;
    let line = String::from_utf8_lossy(first.strip_prefix(b"#!")?).into_owned();
    let line = line.trim_matches([' ', '\t']);
    let (path, options) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let options = options.trim_start_matches([' ', '\t']);
    let by_env = (path.rsplit('/').next() == Some("env"))
        .then(|| {
            let mut words = options.split([' ', '\t']).filter(|word| !word.is_empty());
            words.find(|word| !word.starts_with('-') && !word.contains('='))
        })
        .flatten();
    Some(Interpreter {
        by_env: by_env.map(str::to_owned),
        path: path.to_owned(),
        options: options.to_owned(),
    })
}

/// The first line, from 1, that ends in a carriage return.
pub fn carriage_return(script: &[u8]) -> Option<usize> {
    let mut lines = script.split(|b| *b == b'\n');
    lines
        .position(|line| line.ends_with(b"\r"))
        .map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_starts_and_what_reads_in_the_end() {
        for (script, path, name) in [
            ("#!/bin/bash\nx", "/bin/bash", "bash"),
            ("#! /bin/sh -eu", "/bin/sh", "sh"),
            ("#!/usr/bin/env python3\n", "/usr/bin/env", "python3"),
            ("#!/usr/bin/env -S A=b bash -eu\n", "/usr/bin/env", "bash"),
            ("#!bash\n", "bash", "bash"),
            ("#!/bin/bash\r\nx", "/bin/bash\r", "bash\r"),
            ("#!\n", "", ""),
        ] {
            let found = interpreter(script.as_bytes()).unwrap();
            assert_eq!((&*found.path, found.name()), (path, name), "{script:?}");
        }
        assert_eq!(interpreter(b"echo"), None);
        assert_eq!(interpreter(b""), None);
    }

    #[test]
    fn the_first_foreign_end_of_a_line() {
        assert_eq!(carriage_return(b"a\nb\r\nc\r\n"), Some(2));
        assert_eq!(carriage_return(b"a\rb\n"), None);
    }
}
