//! An allow-list admits what one of its lines admits by itself, and never what a tool could take for an option.

use self_heal::judge::AllowList;
use self_heal::judge::allowlist::Odd;
use self_heal::judge::pauses::Scope;

/// The list, a NUL, an instance, a NUL, an alertname.
pub fn body(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\0');
    let list = parts.next().unwrap_or("");
    let instance = parts.next().unwrap_or("");
    let alertname = parts.next().unwrap_or("");
    let read = AllowList::parse(list);
    let lines: Vec<&str> = list
        .strip_prefix('\u{feff}')
        .unwrap_or(list)
        .lines()
        .take(64)
        .collect();
    let admits = |line: &str, instance: &str, alertname: &str| {
        // Behind a line end: a byte order mark is one at the beginning only.
        let list = AllowList::parse(&format!("\n{line}"));
        list.admits(instance, alertname).is_some()
    };

    let mut asked = vec![(instance, alertname)];
    // Each entry, as an instance: that is how near a wrong match can come.
    let entries = lines
        .iter()
        .filter_map(|line| line.split([' ', '\t']).find(|word| !word.is_empty()));
    asked.extend(entries.take(8).map(|entry| (entry, alertname)));
    for (instance, alertname) in asked {
        let Some(number) = read.admits(instance, alertname) else {
            assert!(
                !lines.iter().any(|line| admits(line, instance, alertname)),
                "{instance:?}"
            );
            continue;
        };
        assert!(!instance.is_empty() && !instance.starts_with('-') && instance.len() <= 512);
        assert!(
            !instance.contains(|c: char| c.is_control() || c.is_whitespace()),
            "{instance:?}"
        );
        assert!(read.problems().iter().all(|problem| problem.line != number));
        assert!(!read.is_empty());
        let first = lines
            .iter()
            .position(|line| admits(line, instance, alertname));
        if let Some(first) = first {
            assert_eq!(first + 1, number, "{instance:?}");
        } else {
            assert!(number > lines.len());
        }
    }

    for problem in read.problems() {
        super::sentence(problem.reason);
    }
    for remark in read.review(&["Down", alertname]) {
        let Odd::Covered(by) = remark.what else {
            continue;
        };
        let (Some(line), Some(cover)) = (lines.get(remark.line - 1), lines.get(by - 1)) else {
            continue;
        };
        let covered = admits(line, instance, alertname);
        assert!(
            !covered || admits(cover, instance, alertname),
            "{line:?} is not in {cover:?}"
        );
    }
    if let Ok(scope) = Scope::new(None, Some(instance.to_owned())) {
        // A pause means by an instance what the list means by an entry.
        let other = lines.first().copied().unwrap_or("");
        assert_eq!(
            scope.covers(alertname, other),
            admits(instance, other, alertname)
        );
        assert!(scope.includes(&scope) && scope.meets(&scope));
    }
}
