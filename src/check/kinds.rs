//! Every kind of finding, in the order of the documentation, which is held to it.

use crate::wire::finding::{Kind, Severity};

const fn kind(severity: Severity, name: &'static str, about: &'static str) -> Kind {
    Kind {
        name,
        severity,
        about,
    }
}

/// Declares the kinds and the table of them.
macro_rules! kinds {
    ($($name:ident = $severity:ident $word:literal $about:literal;)+) => {
        $(pub(super) static $name: Kind = kind(Severity::$severity, $word, $about);)+

        /// All of them.
        pub(super) static ALL: &[&Kind] = &[$(&$name),+];
    };
}

kinds! {
    UNSEEN = Note "unseen" "what this account may not look at";

    SETTINGS = Error "settings" "a line of the configuration file, or a variable, that is not understood";
    SETTINGS_FILE = Error "settings-file" "a configuration file that cannot be read, or that others may change";
    UNKNOWN_VARIABLE = Warning "unknown-variable" "a variable HEAL_* of the environment that is no key";
    OUTRANKED = Note "outranked" "a line of the file that a variable of the environment outranks";
    LIMITS_FIGHT = Warning "limits-fight" "a limit that another one keeps from ever counting";
    SETTLE_SHORT = Note "settle-short" "a settle time below Alertmanager's default group_interval and the peers' wait";
    SENDER_GONE = Note "sender-gone" "answers that come after Alertmanager's default deadline for them";
    OBSERVING = Note "observing" "HEAL_OBSERVE=yes";
    ALWAYS_200 = Note "always-200" "HEAL_UNSETTLED_STATUS=200";
    TOKEN = Error "token" "a token file that cannot be used";
    ALLOW_USERS = Error "allow-users" "a name in HEAL_ALLOW_USERS that no account has";
    OPEN_PEERS = Warning "open-peers" "other machines that may connect without a token";

    ROOT_SERVES = Error "root-serves" "a state folder of root's, though root may not serve";
    ROOT_ALLOWED = Warning "root-allowed" "HEAL_ALLOW_ROOT=yes";

    FOLDER_MISSING = Error "folder-missing" "a folder that is not there and will not be made";
    FOLDER_TO_COME = Note "folder-to-come" "a folder that the first request makes";
    FOLDER_UNSAFE = Error "folder-unsafe" "a folder that others could change, or swap for another";
    FOLDER_CLOSED = Error "folder-closed" "a folder that the account that serves cannot use as it has to";
    FOLDER_FULL = Error "folder-full" "a file system without a free block or inode";
    FILE_CLOSED = Error "file-closed" "a file of self-heal's own that the account that serves may not write to";
    NO_EXEC = Error "no-exec" "programs on a file system that executes none (mount option noexec)";
    COPY_ON_WRITE = Warning "copy-on-write" "state where the reserve for a full disk promises nothing";
    NETWORK_DISK = Warning "network-disk" "state or locks on a file system of a network";
    LOST_AT_BOOT = Error "lost-at-boot" "state in memory";

    NO_HANDLERS = Warning "no-handlers" "a handler folder without a handler";
    HANDLER_UNSAFE = Error "handler-unsafe" "a handler, or its hook, that is refused";
    DIRECTIVE = Error "directive" "a directive that is not understood";
    INTERPRETER = Error "interpreter" "a first line that names no program of this machine";
    CARRIAGE_RETURN = Error "carriage-return" "a script saved with line ends of another system";
    SYNTAX = Error "syntax" "a script that its own shell cannot read (bash -n, sh -n)";
    PROGRAM_MISSING = Error "program-missing" "a program that an escalator says it needs, and that is not installed";
    HANDLER_NAME = Warning "handler-name" "a program whose name no alert can have";
    HANDLER_IDLE = Warning "handler-idle" "a script that may not be executed, and so is no handler";
    HANDLER_SHADOWED = Warning "handler-shadowed" "a program that another file of the same name stands before";
    HOOK_ALONE = Warning "hook-alone" "a hook NAME.restored without its handler";
    SNAPSHOT_PATH = Error "snapshot-path" "a path of snapshot= that cannot be captured";
    BACKUP_FOLDER = Error "backup-folder" "a HEAL_BACKUP_DIR that takes no snapshot, though a handler wants one";

    ALLOW_LIST = Error "allow-list" "an allow-list that cannot be read, that others may change, or that is empty";
    ALLOW_LIST_LINE = Error "allow-list-line" "a line of it that is malformed";
    ALLOW_EVERYTHING = Warning "allow-everything" "an entry of it that consists of * alone";
    ALLOW_NEVER = Warning "allow-never" "an entry of it that no instance matches";
    ALLOW_NO_HANDLER = Warning "allow-no-handler" "an alertname in its second column that has no handler";
    ALLOW_TWICE = Note "allow-twice" "an entry of it that another one makes needless";

    SUDO_MISSING = Error "sudo-missing" "handlers that use sudo where there is none";
    SUDO_REFUSED = Error "sudo-refused" "a command of a handler's, or of the rollback guard's, that sudo does not allow";
    SUDO_PASSWORD = Error "sudo-password" "one that sudo asks a password for";
    SUDO_UNCLEAR = Note "sudo-unclear" "one that is put together as the handler runs, and so cannot be asked about";
    UNIT_NO_SUDO = Error "unit-no-sudo" "a setting of the unit that serves by which sudo fails";
    UNIT_ACCOUNT = Error "unit-account" "a unit that serves as another account than the one whose state it is";
    UNIT_READ_ONLY = Error "unit-read-only" "a path that the unit makes read-only, and that has to be written";
    UNIT_KILLS = Warning "unit-kills" "a unit that ends with a connection what its handler has started";

    NO_ESCALATOR = Warning "no-escalator" "nobody who would be paged";
    ESCALATOR_REFUSED = Error "escalator-refused" "an escalator that must not be run, and that pages wait for";
    ESCALATOR_GONE = Error "escalator-gone" "an escalator that pages wait for, and that is not there any more";
    ESCALATOR_ODD = Warning "escalator-odd" "a program in the folder that cannot be an escalator";
    ESCALATOR_SECRET = Error "escalator-secret" "a file of an escalator's that it cannot use";
    PAGES_STUCK = Error "pages-stuck" "pages that were refused for good, or are damaged";
    PAGES_WAITING = Note "pages-waiting" "pages that are not delivered yet";

    PORT_OPEN = Error "port-open" "a listener on HEAL_PORT that other machines reach";
    PORT_SILENT = Note "port-silent" "nobody listens on HEAL_PORT";
    CLOCK_WRONG = Error "clock-wrong" "a clock that is in the past, or was set back";
    CLOCK_FREE = Warning "clock-free" "a clock that nothing keeps right";
    STATE_DAMAGED = Error "state-damaged" "a record, or the pauses, that cannot be read: nothing is run";
    KEPT_ASIDE = Warning "kept-aside" "records that were damaged and are kept";
    LOST_LINES = Note "lost-lines" "lines of log, history or metrics that could not be written";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_is_there_twice_and_each_is_one_word() {
        let names: BTreeSet<&str> = ALL.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), ALL.len());
        for kind in ALL {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!(kind.name.bytes().all(plain), "{}", kind.name);
            assert!(!kind.about.ends_with('.'), "{}", kind.name);
        }
    }
}
