//! What the manual says about each command beyond its help. Code stands between backquotes.

/// What is said about a command.
pub(super) struct Entry {
    /// Its name.
    pub(super) command: &'static str,
    /// Paragraphs.
    pub(super) text: &'static [&'static str],
    /// Command lines beside the one that its help has.
    pub(super) examples: &'static [&'static str],
}

/// Every command has one.
pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        command: "status",
        text: &[
            "What is urgent stands first: open breakers and when an attempt is let through, runs and their supervisor, \
             what waits and for what, what was healed and is not verified, pauses, a storm, pages, and what is damaged. \
             No lock is taken and nothing is changed. For root and the account that serves.",
        ],
        examples: &["self-heal status --json"],
    },
    Entry {
        command: "history",
        text: &[
            "The runs of `history.jsonl` and of the files that it was rotated into, oldest first. `--verify` walks the \
             chain of digests and names the first record that is not as it was written: exit 1. Exit 1 too where \
             nothing matched.",
        ],
        examples: &["self-heal history --summary --since 7d"],
    },
    Entry {
        command: "explain",
        text: &[
            "The same gates as `serve`, in order, each with what it saw, and at the end the run that would be made, with \
             its command, environment and lock, or the answer that would be given. Nothing is done. Anybody may ask who \
             may read the files. Exit 1: it would not run.",
        ],
        examples: &["self-heal explain <payload.json"],
    },
    Entry {
        command: "run",
        text: &[
            "The same gates, locks and counts as for a sender, and on record with the name of whoever asked. `--force` \
             gets past an open breaker, the run limits, the retry delay and the settle time, and past nothing else. \
             Exit 1: it was not healed.",
        ],
        examples: &["self-heal run NginxDown web-1:9113 --force"],
    },
    Entry {
        command: "snapshots",
        text: &[
            "What handlers with `snapshot=` had copied before they ran. `restore` puts one run's copies back, under the \
             alert's lock, and runs the handler's hook `.restored`. A snapshot is put back once.",
        ],
        examples: &["self-heal snapshots list --alert NginxWorkers"],
    },
    Entry {
        command: "check",
        text: &[
            "Looks at configuration, folders, handlers, allow-list, sudo, units, escalators, port and clock with the \
             rights of the account that serves, and at Alertmanager's configuration and Prometheus' rules where they are \
             named; nothing is changed. Exit 1: an error was found.",
        ],
        examples: &[
            "self-heal check --alertmanager /etc/prometheus/alertmanager.yml --rules /etc/prometheus/rules.yml",
        ],
    },
    Entry {
        command: "metrics",
        text: &[
            "What a scrape of `/metrics` shows. `--textfile` puts it in place in one step, for the textfile collector of \
             node_exporter(1), which reads names that end in `.prom`.",
        ],
        examples: &[
            "self-heal metrics --textfile /var/lib/prometheus/node-exporter/self-heal.prom",
        ],
    },
    Entry {
        command: "pause",
        text: &[
            "Firing alerts are answered 200 with the verdict `paused`; `resolved` is taken note of. Without `--alert` \
             and `--instance` everything is paused. A pause always ends; one of the same scope replaces it. A run \
             under way is not stopped, it is named.",
            "For root, who becomes the account that owns `HEAL_STATE_DIR`, and for that account; so are `resume` and \
             `reset`.",
        ],
        examples: &["self-heal pause --reason 'moving the rack'"],
    },
    Entry {
        command: "resume",
        text: &[
            "Shows which pauses still cover the same, and what was held back and has not been heard of as resolved \
             since. The sender's next repeat (`repeat_interval`) brings that back. Exit 1: nothing of the kind was \
             paused.",
        ],
        examples: &["self-heal resume"],
    },
    Entry {
        command: "reset",
        text: &[
            "For when the cause is mended and nobody wants to wait for `resolved`: the breaker closes, failures, heals \
             without effect and counted runs are forgotten, the page ends. A run under way and the settle time of the \
             last heal stay. No lock is waited for. A record that was damaged is meant by its key, which the log line \
             `record_damaged` has. Exit 1: there is no such record.",
        ],
        examples: &[],
    },
    Entry {
        command: "drain",
        text: &[
            "Every escalator in `HEAL_ESCALATE_DIR` is given each event that it does not have, until none is due. A \
             timer starts it; so may anybody who is root or the account that serves. Exit 0: nothing waits any more, or \
             the event was there. Exit 1: something waits still, or there is no such event.",
        ],
        examples: &["self-heal drain --retry 1795348800000-t-0a1b2c3d4e5f6071"],
    },
    Entry {
        command: "completions",
        text: &[
            "The scripts know no command: at each key they ask the `self-heal` in `PATH`. Names of handlers are offered \
             to whoever may read the handler folder; instances, keys and events to root and the account that serves.",
        ],
        examples: &[],
    },
    Entry {
        command: "help",
        text: &["So do `--help` and `-h`, in any place of a command line."],
        examples: &["self-heal help pause"],
    },
    Entry {
        command: "version",
        text: &["So do `--version` and `-V`."],
        examples: &[],
    },
    Entry {
        command: "serve",
        text: &[
            "Reads one HTTP request from standard input, judges its alerts one after another, runs the handlers that \
             are to run, writes one response to standard output, and ends. `POST` on any path is a notification of \
             Alertmanager (webhook version 4) or Grafana; `GET /metrics`, `/-/healthy` and `/-/ready` are answered too. \
             Status 200 says that every alert is settled, 503 that the sender is to ask again, which is always safe.",
            "Without a command and with a terminal for standard input, the help is shown instead. It refuses to serve \
             as root, unless `HEAL_ALLOW_ROOT` is `yes`. Neither a sender that hangs up nor the signal TERM interrupts a \
             handler; after TERM no further one starts.",
        ],
        examples: &[],
    },
    Entry {
        command: "guard",
        text: &[
            "Nobody types this. It reads /etc/self-heal/self-heal.conf and no environment, takes what to copy from a \
             handler of root's, and refuses everything else.",
        ],
        examples: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::super::super::COMMANDS;
    use super::*;

    #[test]
    fn every_command_has_its_entry_and_no_other_exists() {
        let mut written: Vec<&str> = ENTRIES.iter().map(|entry| entry.command).collect();
        let mut known: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        written.sort_unstable();
        known.sort_unstable();
        assert_eq!(written, known);
        for entry in ENTRIES {
            assert!(!entry.text.is_empty(), "{}", entry.command);
            for example in entry.examples {
                let call = format!("self-heal {}", entry.command);
                assert!(example.contains(&call), "{example}");
            }
        }
    }
}
