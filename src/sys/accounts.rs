//! Names of accounts and their numbers, from `/etc/passwd` itself (passwd(5)). The name service is not
//! asked: a statically linked glibc has none to ask. An account that only a directory server knows is
//! therefore named by its number.

use std::io;
use std::path::PathBuf;

/// The accounts of this machine as they were when the file was read: its text, looked through each time.
#[derive(Clone, Debug)]
pub struct Accounts(String);

#[derive(Clone, Copy, Debug)]
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl Accounts {
    /// Reads `/etc/passwd`. Lines that are not an account's (comments, NIS markers, damage) are skipped.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn read() -> io::Result<Accounts> {
        let bytes = std::fs::read("/etc/passwd")?;
        let text = String::from_utf8(bytes);
        Ok(Accounts(text.unwrap_or_else(|bad| {
            String::from_utf8_lossy(bad.as_bytes()).into_owned()
        })))
    }

    fn all(&self) -> impl Iterator<Item = Account<'_>> {
        self.0.lines().filter_map(account)
    }

    /// The number of an account given by name, or by number: digits are a number whether or not an
    /// account has it. `None`: no such account.
    pub fn uid(&self, name: &str) -> Option<u32> {
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            return number(name);
        }
        self.all()
            .find(|account| account.name == name)
            .map(|account| account.uid)
    }

    /// The first name of an account's number.
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.of(uid).map(|account| account.name)
    }

    /// The number of an account's own group.
    pub fn gid(&self, uid: u32) -> Option<u32> {
        self.of(uid).map(|account| account.gid)
    }

    /// The home folder of an account; `None` where the file names none, or not by an absolute path.
    pub fn home(&self, uid: u32) -> Option<PathBuf> {
        let account = self.of(uid)?;
        account
            .home
            .starts_with('/')
            .then(|| PathBuf::from(account.home))
    }

    fn of(&self, uid: u32) -> Option<Account<'_>> {
        self.all().find(|account| account.uid == uid)
    }
}

/// `name:password:uid:gid:gecos:home:shell`.
fn account(line: &str) -> Option<Account<'_>> {
    let mut fields = line.split(':');
    let name = fields
        .next()
        .filter(|name| !name.is_empty() && !name.starts_with(['+', '-', '#']))?;
    let uid = fields.nth(1).and_then(number)?;
    let gid = fields.next().and_then(number)?;
    let home = fields.nth(1)?;
    Some(Account {
        name,
        uid,
        gid,
        home,
    })
}

/// The numbers of the groups that list this account as a member, from `/etc/group` itself (group(5)).
///
/// # Errors
/// As the file system gives them.
pub fn memberships(name: &str) -> io::Result<Vec<u32>> {
    let bytes = std::fs::read("/etc/group")?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text
        .lines()
        .filter_map(|line| membership(line, name))
        .collect())
}

/// `name:password:gid:members`.
fn membership(line: &str, name: &str) -> Option<u32> {
    let mut fields = line.split(':');
    fields
        .next()
        .filter(|group| !group.is_empty() && !group.starts_with(['+', '-', '#']))?;
    let gid = fields.nth(1).and_then(number)?;
    let mut members = fields.next()?.split(',');
    members.any(|member| member == name).then_some(gid)
}

/// A uid in digits. The largest number is `(uid_t) -1`, "no user" (credentials(7), chown(2)).
fn number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let uid = plain.then(|| digits.parse().ok()).flatten()?;
    (uid != u32::MAX).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "root:x:0:0:root:/root:/bin/bash\n\
        # comment:x:7:7::/:\n\
        toor:x:0:0::/other:/bin/sh\n\
        +nis:x:8:8::/:\n\
        torn:x:9\n\
        odd:x:+5:5::/odd:/bin/sh\n\
        nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";

    #[test]
    fn names_and_numbers() {
        let accounts = Accounts(TABLE.to_owned());
        assert_eq!(accounts.uid("nobody"), Some(65534));
        assert_eq!(accounts.uid("toor"), Some(0));
        assert_eq!(accounts.name(0), Some("root"));
        assert_eq!(accounts.name(65534), Some("nobody"));
        for absent in ["", "nob", "Nobody", "+nis", "# comment", "torn", "odd", "x"] {
            assert_eq!(accounts.uid(absent), None, "{absent}");
        }
        assert_eq!(accounts.name(8), None);
        assert_eq!(accounts.gid(65534), Some(65534));
        assert_eq!(accounts.gid(8), None);
    }

    #[test]
    fn a_member_is_listed_whole() {
        for (line, member) in [
            ("adm:x:4:syslog,anna", Some(4)),
            ("adm:x:4:anna", Some(4)),
            ("adm:x:4:joanna", None),
            ("adm:x:4:", None),
            ("adm:x:4", None),
            ("#adm:x:4:anna", None),
            ("+:::anna", None),
            ("adm:x:-4:anna", None),
            ("", None),
        ] {
            assert_eq!(membership(line, "anna"), member, "{line}");
        }
    }

    #[test]
    fn digits_are_a_number_and_never_minus_one() {
        let accounts = Accounts(TABLE.to_owned());
        assert_eq!(accounts.uid("4711"), Some(4711));
        assert_eq!(accounts.uid("4294967294"), Some(4294967294));
        for bad in ["4294967295", "4294967296", "-1", "+1", "1 "] {
            assert_eq!(accounts.uid(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_account_has_a_home() {
        let accounts = Accounts::read().unwrap();
        assert_eq!(accounts.uid("root"), Some(0));
        let us = 4711;
        let line = format!("us:x:{us}:0::/home/us:/bin/sh\nroot:x:0:0::relative:/bin/sh");
        let expected = PathBuf::from("/home/us");
        assert_eq!(Accounts(line).home(us), Some(expected));
        let relative = format!("us:x:{us}:0::relative:/bin/sh");
        assert_eq!(Accounts(relative).home(us), None);
        assert_eq!(Accounts(String::new()).home(us), None);
    }
}
