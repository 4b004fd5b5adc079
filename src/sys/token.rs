//! The file that holds the sender's token (`HEAL_TOKEN_FILE`). A file that somebody else could have read
//! or written is refused rather than used: a secret that others know protects nothing.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::sys::viewpoint;
use crate::wire::token::Token;

/// Reads the token. The file is a regular one, not a symbolic link, owned by root or by the account this
/// runs as, and closed to everybody else; if root owns it, its group may read it, which is how
/// `root:healer 0640` and systemd's credentials (ACL, shown as 0440) look.
///
/// # Errors
/// One sentence that names the file and what to do, and shows nothing of its content.
pub fn load(path: &Path) -> Result<Token, String> {
    read(path).map_err(|why| format!("token file {}: {why}", path.display()))
}

fn read(path: &Path) -> Result<Token, String> {
    // O_NONBLOCK: opening a FIFO must not wait for its writer.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(nix::libc::ELOOP) => {
                "it is a symbolic link: name the file it points to".to_owned()
            }
            _ => format!("cannot open it: {error}"),
        })?;
    let found = file
        .metadata()
        .map_err(|error| format!("cannot examine it: {error}"))?;
    if !found.is_file() {
        return Err("it is no regular file".to_owned());
    }
    guarded(found.uid(), found.mode() & 0o7777, viewpoint::uid())?;
    let mut text = Vec::new();
    // Room for white space around the longest token; anything beyond makes it too long.
    file.take(Token::LONGEST as u64 + 1024)
        .read_to_end(&mut text)
        .map_err(|error| format!("cannot read it: {error}"))?;
    Token::new(&text)
}

/// Whether owner and permission bits keep the file between its owner and `ourselves`.
fn guarded(owner: u32, mode: u32, ourselves: u32) -> Result<(), String> {
    if owner != 0 && owner != ourselves {
        return Err(format!(
            "it belongs to uid {owner}: it must belong to root or to uid {ourselves}, which this runs as"
        ));
    }
    let forbidden = if owner == 0 { 0o037 } else { 0o077 };
    if mode & forbidden != 0 {
        return Err(format!(
            "its mode {mode:04o} lets others at it: chmod 0600 it, or give it to root, with a group that may read it, and chmod 0640"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("token-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn file(&self, text: &str, mode: u32) -> PathBuf {
            let path = self.0.join("token");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_guarded_file_is_read() {
        let folder = Folder::new("good");
        let token = load(&folder.file(&format!("{SECRET}\n"), 0o600))
            .ok()
            .unwrap();
        assert!(token.accepts(Some(&format!("Bearer {SECRET}"))));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = Folder::new("open");
        for mode in [0o644, 0o604, 0o602, 0o620, 0o666] {
            let said = load(&folder.file(SECRET, mode)).err().unwrap();
            assert!(said.contains(&format!("{mode:04o}")), "{said}");
            assert!(
                said.contains("chmod 0600") && !said.contains(SECRET),
                "{said}"
            );
        }
    }

    #[test]
    fn the_group_may_read_what_root_owns_and_nothing_else() {
        assert!(guarded(0, 0o640, 990).is_ok());
        assert!(guarded(0, 0o440, 990).is_ok());
        assert!(guarded(0, 0o660, 990).is_err());
        assert!(guarded(0, 0o644, 990).is_err());
        assert!(guarded(990, 0o400, 990).is_ok());
        assert!(guarded(990, 0o640, 990).is_err());
        assert!(guarded(991, 0o600, 990).is_err());
        assert!(guarded(990, 0o600, 0).is_err());
    }

    #[test]
    fn links_folders_pipes_and_absent_files_are_refused() {
        let folder = Folder::new("odd");
        let real = folder.file(SECRET, 0o600);
        let link = folder.0.join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(load(&link).err().unwrap().contains("symbolic link"));
        assert!(load(&folder.0).err().unwrap().contains("regular file"));
        let pipe = folder.0.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(load(&pipe).err().unwrap().contains("regular file"));
        let absent = load(&folder.0.join("absent")).err().unwrap();
        assert!(absent.contains("absent") && absent.contains("cannot open"));
    }

    #[test]
    fn a_padded_file_is_too_long_rather_than_cut() {
        let folder = Folder::new("long");
        let said = load(&folder.file(&"x".repeat(9000), 0o600)).err().unwrap();
        assert!(said.contains("more than 4096"), "{said}");
        let padded = format!("{}{SECRET}", " ".repeat(6000));
        assert!(load(&folder.file(&padded, 0o600)).is_err());
    }
}
