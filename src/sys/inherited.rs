//! What a spawner left open: its listening socket, its log, anybody else's connection. Everything but 0, 1 and 2 is
//! closed before the first byte is read, so that nothing of it reaches a handler. It refuses to guess which
//! descriptors exist: the kernel is asked.

use std::io;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::unistd::close;

/// The first descriptor that is not one of the three standard ones.
const FIRST: RawFd = 3;

/// Where the kernel lists this process's descriptors: proc(5).
const LIST: &str = "/proc/self/fd";

/// Closes every descriptor from 3 upwards. To be called before anything else is opened: what is open then was
/// inherited, and a descriptor of our own would be closed under its owner's hands.
///
/// # Errors
/// The list in `/proc/self/fd` cannot be read (no /proc mounted). Nothing can then be said of what is open.
pub fn close_inherited() -> io::Result<()> {
    if nothing_inherited() {
        return Ok(());
    }
    let open = match list() {
        // The spawner left no number free for the list itself: the one place it can be read through is made first.
        Err(error) if error.raw_os_error() == Some(Errno::EMFILE as i32) => {
            let _ = close(FIRST);
            list()?
        }
        other => other?,
    };
    for descriptor in open {
        // EBADF: the list's own descriptor, gone already. Any other error leaves it closed too: close(2), NOTES.
        let _ = close(descriptor);
    }
    Ok(())
}

/// Whether no more are open than the three standard ones, which Rust's runtime opens where they are missing
/// (library/std/src/sys/pal/unix/mod.rs, `sanitize_standard_fds`). The size of the list is how many are open, since
/// Linux 6.2 (fs/proc/fd.c, `proc_fd_getattr`); before, it is 0, and the list is read.
fn nothing_inherited() -> bool {
    std::fs::metadata(LIST).is_ok_and(|list| list.len() == FIRST as u64)
}

fn list() -> io::Result<Vec<RawFd>> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir(LIST)? {
        if let Some(number) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            open.push(number);
        }
    }
    open.retain(|number| *number >= FIRST);
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::signals::again;

    #[test]
    fn everything_from_three_upwards_is_closed() {
        if again::inner() {
            assert!(
                list().unwrap().len() > 4,
                "nothing was inherited: nothing is tested"
            );
            close_inherited().unwrap();
            // One is left: the descriptor that reads the list.
            assert_eq!(list().unwrap().len(), 1);
            return;
        }
        let hostile =
            "exec 3</dev/null 4</dev/null 7</dev/null 9</dev/null 200</dev/null; exec \"$@\"";
        again::run(
            &["bash", "-c", hostile, "-"],
            "everything_from_three_upwards_is_closed",
            module_path!(),
        );
    }

    #[test]
    fn a_full_descriptor_table_is_cleared_too() {
        if again::inner() {
            while let Ok(file) = std::fs::File::open("/dev/null") {
                std::mem::forget(file);
            }
            assert_eq!(
                list().unwrap_err().raw_os_error(),
                Some(Errno::EMFILE as i32)
            );
            close_inherited().unwrap();
            assert_eq!(list().unwrap().len(), 1);
            return;
        }
        let few = "ulimit -n 32; exec \"$@\"";
        again::run(
            &["bash", "-c", few, "-"],
            "a_full_descriptor_table_is_cleared_too",
            module_path!(),
        );
    }
}
