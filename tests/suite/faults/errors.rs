//! Which errors a system call can meet with on a machine that is full, out of descriptors or memory, or failing: the
//! ones that its manual page has and that something at run time can bring about.

/// Call, errors. What is not here cannot fail in a process that was written right (getpid(2), umask(2),
/// rt_sigprocmask(2)), or only in ways that strace cannot stage: a close(2) that fails has closed all the same, and a child is there until it
/// is waited for.
const ERRORS: [(&[&str], &[&str]); 19] = [
    (
        &[
            "read",
            "pread64",
            "readlink",
            "readlinkat",
            "copy_file_range",
        ],
        &["EIO", "EINTR"],
    ),
    (
        &["write", "pwrite64", "writev"],
        &["ENOSPC", "EIO", "EINTR"],
    ),
    (
        &["fsync", "fdatasync", "ftruncate", "fallocate"],
        &["EIO", "ENOSPC"],
    ),
    (
        &[
            "rename",
            "renameat",
            "renameat2",
            "link",
            "linkat",
            "symlink",
            "symlinkat",
        ],
        &["ENOSPC", "EIO"],
    ),
    (
        &["unlink", "unlinkat", "rmdir", "access", "faccessat2"],
        &["EIO", "EACCES"],
    ),
    (&["mkdir", "mkdirat"], &["ENOSPC", "EACCES"]),
    (
        &["stat", "lstat", "statx", "fstat", "newfstatat"],
        &["EIO", "EACCES", "ENOMEM"],
    ),
    (&["statfs", "fstatfs", "getdents64"], &["EIO"]),
    (&["flock"], &["ENOLCK", "EINTR"]),
    (&["poll", "ppoll"], &["ENOMEM", "EINTR"]),
    (&["clone", "clone3", "vfork", "fork"], &["EAGAIN", "ENOMEM"]),
    (&["wait4", "waitid"], &["EINTR"]),
    (
        &[
            "memfd_create",
            "signalfd4",
            "pipe2",
            "dup2",
            "dup3",
            "pidfd_open",
        ],
        &["EMFILE", "ENOMEM"],
    ),
    (&["mmap", "mremap", "brk"], &["ENOMEM"]),
    (&["getsockname", "getpeername"], &["ENOBUFS"]),
    (
        &[
            "socket", "connect", "sendto", "recvfrom", "sendmsg", "recvmsg",
        ],
        &["ENOBUFS", "ENOMEM"],
    ),
    (
        &[
            "chmod",
            "fchmod",
            "fchmodat",
            "chown",
            "fchown",
            "lchown",
            "fchownat",
            "utimensat",
        ],
        &["EIO", "EPERM"],
    ),
    (
        &[
            "llistxattr",
            "flistxattr",
            "lgetxattr",
            "fgetxattr",
            "lsetxattr",
            "fsetxattr",
            "lremovexattr",
            "fremovexattr",
        ],
        &["EIO"],
    ),
    (&["chdir", "kill"], &["EPERM"]),
];

/// The errors of this call, as strace shows it.
pub(super) fn of(name: &str, line: &str) -> &'static [&'static str] {
    match name {
        "open" | "openat" if line.contains("O_CREAT") => {
            &["ENOSPC", "EMFILE", "EIO", "EACCES", "EINTR"]
        }
        "open" | "openat" => &["EMFILE", "EIO", "EACCES", "EINTR"],
        "fcntl" if line.contains("F_DUPFD") => &["EMFILE"],
        _ => {
            let row = ERRORS.iter().find(|(calls, _)| calls.contains(&name));
            row.map_or(&[], |(_, errors)| errors)
        }
    }
}

/// An error that goes on once it has begun: the disk is full or broken, the table of descriptors is full.
pub(super) fn lasting(name: &str) -> Option<&'static str> {
    Some(match name {
        "write" | "pwrite64" | "mkdir" | "rename" | "link" => "ENOSPC",
        "fsync" | "fdatasync" | "read" | "getdents64" | "unlink" => "EIO",
        "open" | "openat" => "EMFILE",
        "clone" | "clone3" | "vfork" => "EAGAIN",
        "flock" => "ENOLCK",
        _ => return None,
    })
}
