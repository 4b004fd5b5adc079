//! What a file system promises where a folder lies: what kind it is, as far as that matters here, and how it is
//! mounted (statfs(2), statvfs(3)).

use std::path::Path;

use nix::sys::statfs::statfs;
use nix::sys::statvfs::{FsFlags, statvfs};

/// A kind of file system that does not do what others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Writing in place takes new blocks.
    CopiesOnWrite,
    /// Other machines write there too, and locks may not hold.
    Network,
    /// Gone when the machine goes down.
    Memory,
}

/// Magic numbers (statfs(2), linux/magic.h, and those of file systems from outside the kernel), with names.
const KNOWN: [(u32, Manner, &str); 15] = [
    (0x9123_683e, Manner::CopiesOnWrite, "btrfs"),
    (0x2fc1_2fc1, Manner::CopiesOnWrite, "zfs"),
    (0xca45_1a4e, Manner::CopiesOnWrite, "bcachefs"),
    (0x0000_3434, Manner::CopiesOnWrite, "nilfs2"),
    (0x0000_6969, Manner::Network, "nfs"),
    (0xff53_4d42, Manner::Network, "cifs"),
    (0xfe53_4d42, Manner::Network, "smb"),
    (0x5346_414f, Manner::Network, "afs"),
    (0x00c3_6400, Manner::Network, "ceph"),
    (0x0102_1997, Manner::Network, "9p"),
    (0x6573_5546, Manner::Network, "fuse"),
    (0x0bd0_0bd0, Manner::Network, "lustre"),
    (0x4750_4653, Manner::Network, "gpfs"),
    (0x0102_1994, Manner::Memory, "tmpfs"),
    (0x8584_58f6, Manner::Memory, "ramfs"),
];

/// What is promised at a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    /// What is special about it, and the file system's name.
    pub manner: Option<(Manner, &'static str)>,
    /// Whether programs may not be executed from there (mount(8), noexec).
    pub no_exec: bool,
    /// Whether no file can be made there any more, whatever blocks are free.
    pub no_inode: bool,
}

/// What is promised at this path; `None` where that cannot be asked.
#[allow(
    clippy::useless_conversion,
    reason = "the number's type differs between machines"
)]
pub fn at(path: &Path) -> Option<Ground> {
    let kind = statfs(path).ok()?.filesystem_type().0;
    let mount = statvfs(path).ok()?;
    Some(Ground {
        manner: manner(i64::try_from(kind).ok()?),
        no_exec: mount.flags().contains(FsFlags::ST_NOEXEC),
        no_inode: mount.files() > 0 && mount.files_available() == 0,
    })
}

/// 32 bits of the number count.
fn manner(kind: i64) -> Option<(Manner, &'static str)> {
    let kind = u32::try_from(kind & 0xffff_ffff).ok()?;
    let known = KNOWN.iter().find(|(magic, _, _)| *magic == kind);
    known.map(|(_, manner, name)| (*manner, *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_known_whatever_their_sign() {
        assert_eq!(manner(0x9123_683e), Some((Manner::CopiesOnWrite, "btrfs")));
        assert_eq!(manner(-11_317_950), Some((Manner::Network, "cifs")));
        assert_eq!(manner(0x0102_1994), Some((Manner::Memory, "tmpfs")));
        assert_eq!(manner(0xef53), None, "ext4");
    }

    #[test]
    fn proc_has_no_inodes_and_is_nothing_special() {
        let ground = at(Path::new("/proc")).unwrap();
        assert_eq!((ground.manner, ground.no_inode), (None, false));
        assert_eq!(at(Path::new("/no/such/place")), None);
    }
}
