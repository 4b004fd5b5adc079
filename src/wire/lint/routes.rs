//! The tree of routes as Alertmanager walks it: what a route inherits, and which routes an alert of which only some
//! labels are known reaches, surely or perhaps.

use std::cell::Cell;
use std::time::Duration;

use super::matchers::{self, Matcher, follow};
use super::span;
use super::yaml::{Entry, Node};

/// Larger trees are not looked at further.
const MOST_ROUTES: usize = 2_000;

/// Comparisons of matchers for one configuration; above it nothing more is known.
const MOST_STEPS: u64 = 100_000_000;

/// Something a route says, or inherits, or has by default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    /// The route that says it, and in which line; `None` for a default.
    at: Option<(usize, usize)>,
}

/// What makes a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GroupBy {
    /// `...`: all labels.
    All,
    Labels(Vec<String>),
}

impl GroupBy {
    pub(super) fn keeps(&self, label: &str) -> bool {
        match self {
            GroupBy::All => true,
            GroupBy::Labels(labels) => labels.iter().any(|other| other == label),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) line: usize,
    parent: Option<usize>,
    pub(super) children: Vec<usize>,
    /// `None` where they could not be read.
    matchers: Option<Vec<Matcher>>,
    continues: bool,
    pub(super) receiver: Setting<String>,
    pub(super) group_by: Setting<GroupBy>,
    pub(super) group_wait: Setting<Duration>,
    pub(super) group_interval: Setting<Duration>,
    pub(super) repeat_interval: Setting<Duration>,
    /// The line of its mute or active times; they are not inherited.
    pub(super) times: Option<usize>,
}

/// A route that an alert reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) route: usize,
    /// Whatever its unknown labels are.
    pub(super) sure: bool,
}

/// All routes, the default route first, in the order of the file.
#[derive(Debug)]
pub(super) struct Tree {
    routes: Vec<Route>,
    steps: Cell<u64>,
}

impl Tree {
    /// The tree below this `route:`.
    pub(super) fn read(root: &Entry) -> Tree {
        let mut tree = Tree {
            routes: Vec::new(),
            steps: Cell::new(MOST_STEPS),
        };
        let defaults = Route {
            line: root.line,
            parent: None,
            children: Vec::new(),
            matchers: Some(Vec::new()),
            continues: false,
            receiver: default(String::new()),
            group_by: default(GroupBy::Labels(Vec::new())),
            group_wait: default(Duration::from_secs(30)),
            group_interval: default(Duration::from_secs(5 * 60)),
            repeat_interval: default(Duration::from_secs(4 * 60 * 60)),
            times: None,
        };
        tree.add(&root.node, &defaults, None, root.line);
        tree
    }

    fn add(&mut self, node: &Node, above: &Route, parent: Option<usize>, line: usize) {
        if self.routes.len() >= MOST_ROUTES {
            return;
        }
        let index = self.routes.len();
        let said = Said(node, index);
        let route = Route {
            line,
            parent,
            children: Vec::new(),
            matchers: matchers::of(node, "match", "match_re", "matchers"),
            continues: node.flag("continue").unwrap_or(false),
            receiver: said.of("receiver", text).unwrap_or(above.receiver.clone()),
            group_by: said
                .of("group_by", group_by)
                .unwrap_or(above.group_by.clone()),
            group_wait: said.of("group_wait", time).unwrap_or(above.group_wait),
            group_interval: said
                .of("group_interval", time)
                .unwrap_or(above.group_interval),
            repeat_interval: said
                .of("repeat_interval", time)
                .unwrap_or(above.repeat_interval),
            times: ["mute_time_intervals", "active_time_intervals"]
                .iter()
                .find_map(|key| Some(node.get(key)?.line)),
        };
        self.routes.push(route.clone());
        if let Some(parent) = parent.and_then(|parent| self.routes.get_mut(parent)) {
            parent.children.push(index);
        }
        for child in node.items("routes") {
            self.add(child, &route, Some(index), child.line);
        }
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = (usize, &Route)> {
        self.routes.iter().enumerate()
    }

    pub(super) fn route(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }

    /// What is true of every alert in this route.
    pub(super) fn facts(&self, index: usize) -> Vec<Matcher> {
        let mut facts = Vec::new();
        let mut at = self.routes.get(index);
        while let Some(route) = at {
            facts.extend(route.matchers.iter().flatten().cloned());
            at = route.parent.and_then(|parent| self.routes.get(parent));
        }
        facts
    }

    /// The line where a setting of a route is to be mended: its own, if the route, or one of `with`, says it; else
    /// that of the topmost of `with` that is to have one of its own.
    pub(super) fn place<T>(&self, setting: &Setting<T>, index: usize, with: &[usize]) -> usize {
        if let Some((route, line)) = setting.at
            && (route == index || with.contains(&route))
        {
            return line;
        }
        let parent = |index: usize| self.routes.get(index)?.parent;
        let mut at = index;
        while let Some(above) = parent(at).filter(|above| with.contains(above)) {
            at = above;
        }
        self.routes.get(at).map_or(1, |route| route.line)
    }

    /// The routes that an alert reaches of which these things are known, in the order of the walk; `None` where it
    /// would take too long to tell.
    pub(super) fn reach(&self, facts: &[Matcher]) -> Option<Vec<Hit>> {
        self.reach_by(facts, 0)
    }

    /// The same for an alert that is known to get as far as the route `towards`: no earlier one kept it.
    pub(super) fn reach_by(&self, facts: &[Matcher], towards: usize) -> Option<Vec<Hit>> {
        let mut walk = Walk {
            tree: self,
            facts,
            towards,
            hits: Vec::new(),
        };
        walk.visit(0, true);
        (self.steps.get() > 0).then_some(walk.hits)
    }
}

struct Walk<'a> {
    tree: &'a Tree,
    facts: &'a [Matcher],
    towards: usize,
    hits: Vec<Hit>,
}

impl Walk<'_> {
    /// dispatch/route.go `Match`, with a third answer: whether the route, or one below it, takes the alert.
    fn visit(&mut self, index: usize, sure: bool) -> Option<bool> {
        let tree = self.tree;
        let Some(route) = tree.routes.get(index) else {
            return Some(false);
        };
        let matched = match &route.matchers {
            Some(matchers) => {
                let cost = 1 + matchers.len() as u64 * self.facts.len() as u64;
                tree.steps.set(tree.steps.get().saturating_sub(cost));
                follow(matchers, self.facts)
            }
            None => None,
        };
        if matched == Some(false) || tree.steps.get() == 0 {
            return Some(false);
        }
        let sure = sure && matched == Some(true);
        let mut open = sure;
        let mut below = Some(false);
        for (nth, child) in route.children.iter().enumerate() {
            let taken = self.visit(*child, open);
            below = match (below, taken) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
            let last = !tree.routes.get(*child).is_some_and(|child| child.continues);
            // Routes stand in the order of the walk, each before those below it.
            let next = route.children.get(nth + 1);
            let passed = next.is_some_and(|next| *next <= self.towards);
            match taken {
                Some(true) if last => break,
                // Perhaps the walk ended here.
                None if last && !passed => open = false,
                _ => {}
            }
        }
        if below != Some(true) {
            let sure = sure && below == Some(false);
            self.hits.push(Hit { route: index, sure });
        }
        matched
    }
}

fn default<T>(value: T) -> Setting<T> {
    Setting { value, at: None }
}

/// What the node of a route says itself.
struct Said<'a>(&'a Node, usize);

impl Said<'_> {
    fn of<T>(&self, key: &str, read: fn(&Node) -> Option<T>) -> Option<Setting<T>> {
        let entry = self.0.get(key)?;
        Some(Setting {
            value: read(&entry.node)?,
            at: Some((self.1, entry.line)),
        })
    }
}

fn text(node: &Node) -> Option<String> {
    Some(node.text()?.to_owned()).filter(|text| !text.is_empty())
}

fn time(node: &Node) -> Option<Duration> {
    span::prometheus(node.text()?)
}

/// An empty list is inherited like none (config.go fills `GroupBy` item by item).
fn group_by(node: &Node) -> Option<GroupBy> {
    let super::yaml::Value::List(items) = &node.value else {
        return None;
    };
    let labels: Vec<String> = items
        .iter()
        .filter_map(|item| Some(item.text()?.to_owned()))
        .collect();
    match labels.iter().any(|label| label == "...") {
        true => Some(GroupBy::All),
        false if labels.is_empty() => None,
        false => Some(GroupBy::Labels(labels)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::lint::yaml;

    fn tree(text: &str) -> Tree {
        let document = yaml::read(text).unwrap();
        Tree::read(document.root.get("route").unwrap())
    }

    /// The receivers an alert with these labels reaches; `?` behind those that depend on others.
    fn reached(tree: &Tree, labels: &[(&str, &str)]) -> Vec<String> {
        let facts: Vec<Matcher> = labels.iter().map(|(k, v)| Matcher::is(k, v)).collect();
        let hits = tree.reach(&facts).unwrap();
        let show = |hit: &Hit| {
            let receiver = &tree.route(hit.route).unwrap().receiver.value;
            format!("{receiver}{}", if hit.sure { "" } else { "?" })
        };
        hits.iter().map(show).collect()
    }

    const TREE: &str = r#"
route:
  receiver: root
  group_by: [a]
  group_wait: 1m
  routes:
    - matchers: ['heal="true"']
      receiver: people
      group_by: ['...']
      continue: true
    - match: {heal: "true"}
      receiver: healer
      routes:
        - match_re: {severity: 'info|none'}
          receiver: quiet
          group_by: []
    - matchers: [severity="page"]
      receiver: pager
"#;

    #[test]
    fn an_alert_reaches_what_alertmanager_would_send_it_to() {
        let tree = tree(TREE);
        for (labels, want) in [
            (
                &[("heal", "true"), ("severity", "page")][..],
                "people healer",
            ),
            (&[("heal", "true"), ("severity", "info")], "people quiet"),
            (&[("heal", "true")], "people quiet? healer?"),
            (&[("heal", "no"), ("severity", "page")], "pager"),
            (&[("heal", "no"), ("severity", "x")], "root"),
            // `people` goes on whatever it does; whether anything was taken is open.
            (&[], "people? quiet? healer? pager? root?"),
        ] {
            assert_eq!(reached(&tree, labels).join(" "), want, "{labels:?}");
        }
    }

    #[test]
    fn a_route_has_what_it_inherits() {
        let tree = tree(TREE);
        let by_receiver = |name: &str| {
            let mut routes = tree.routes().map(|(_, route)| route);
            routes.find(|route| route.receiver.value == name).unwrap()
        };
        assert_eq!(by_receiver("people").group_by.value, GroupBy::All);
        let quiet = by_receiver("quiet");
        assert_eq!(quiet.group_by.value, GroupBy::Labels(vec!["a".to_owned()]));
        assert_eq!(quiet.group_wait.value, Duration::from_secs(60));
        assert_eq!(quiet.group_wait.at, Some((0, 5)));
        // Its own route is to say it, or the one above that is of the same kind.
        assert_eq!(tree.place(&quiet.group_wait, 3, &[]), 14);
        assert_eq!(tree.place(&quiet.group_wait, 3, &[2, 3]), 11);
        assert_eq!(tree.place(&quiet.group_wait, 3, &[0]), 5);
        assert_eq!(quiet.repeat_interval.value, Duration::from_secs(4 * 3600));
        assert_eq!(tree.facts(3).len(), 2);
    }

    #[test]
    fn whoever_got_there_was_not_kept_before() {
        let tree = tree(
            "route:\n  receiver: root\n  routes:\n  - {matchers: [a=b], receiver: x}\n  - {matchers: [c=d], receiver: y}\n",
        );
        let facts = tree.facts(2);
        let sure =
            |hits: Option<Vec<Hit>>| hits.unwrap().iter().any(|hit| hit.route == 2 && hit.sure);
        assert!(!sure(tree.reach(&facts)));
        assert!(sure(tree.reach_by(&facts, 2)));
    }
}
