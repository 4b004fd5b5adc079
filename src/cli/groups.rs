//! The commands in the order in which a person at three in the morning looks for them.

/// Commands that belong together: a heading, and their names. Each command of the table is in one of them.
pub(super) const GROUPS: &[(&str, &[&str])] = &[
    ("What is happening", &["status", "history", "explain"]),
    (
        "Act",
        &["run", "pause", "resume", "reset", "drain", "snapshots"],
    ),
    (
        "Set up and look up",
        &["check", "metrics", "completions", "help", "version"],
    ),
    ("Started by others, not by hand", &["serve", "guard"]),
];

#[cfg(test)]
mod tests {
    use super::super::COMMANDS;
    use super::*;

    #[test]
    fn every_command_is_in_one_group_and_no_other_is() {
        let mut placed: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        let mut known: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        placed.sort_unstable();
        known.sort_unstable();
        assert_eq!(placed, known);
    }
}
