//! Alertmanager's configuration: who gets the alerts that self-heal gets, and whether self-heal gets them.

use std::time::Duration;

use super::kinds::{
    DEFAULT_HEALER, DEFAULT_NOBODY, MUTED_TIMES, NO_ROUTE, NOBODY_ELSE, OTHER_FILE, PAGED_FIRST,
    POSTED_TWICE, SHARED_DELAY, UNREACHABLE,
};
use super::matchers::{Matcher, follow};
use super::receivers::{self, Receiver};
use super::routes::{Route, Tree};
use super::rules::Alert;
use super::yaml::Document;
use super::{Context, Report, inhibit, times};
use crate::wire::duration::show;
use crate::wire::quote::quote;

/// Where an alert goes.
#[derive(Debug)]
pub(super) struct Routing {
    tree: Tree,
    /// The receivers that post to self-heal.
    healing: Vec<String>,
}

/// Whether an alert reaches self-heal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaches {
    Surely,
    Perhaps,
    Never,
}

impl Routing {
    /// For an alert of which these things are known.
    pub(super) fn reaches(&self, facts: &[Matcher]) -> Reaches {
        let Some(hits) = self.tree.reach(facts) else {
            return Reaches::Perhaps;
        };
        let mut healing = hits.iter().filter(|hit| {
            let route = self.tree.route(hit.route);
            route.is_some_and(|route| self.healing.contains(&route.receiver.value))
        });
        match healing.clone().any(|hit| hit.sure) {
            true => Reaches::Surely,
            false if healing.next().is_some() => Reaches::Perhaps,
            false => Reaches::Never,
        }
    }
}

/// Everything about one configuration; where alerts go, if that can be told.
pub(super) fn lint(
    document: &Document,
    alerts: &[Alert<'_>],
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Option<Routing> {
    let root = &document.root;
    let Some(route) = root.get("route") else {
        let what = "no `route`: no configuration of Alertmanager".to_owned();
        report.add(&OTHER_FILE, 1, what);
        return None;
    };
    let receivers = receivers::read(root, context);
    if !receivers::lint(root, &receivers, context, report) {
        return None;
    }
    let mut house = House {
        tree: Tree::read(route),
        receivers: &receivers,
        context,
        healing: Vec::new(),
    };
    house.healing = house.healing();
    house.default_route(report);
    if house.healing.is_empty() {
        let ours = receivers.iter().find(|receiver| receiver.heals());
        let name = quote(ours.map_or("", |receiver| receiver.name));
        report.add(
            &NO_ROUTE,
            route.line,
            format!("no route has receiver {name}"),
        );
        return None;
    }
    for index in &house.healing {
        house.healers_route(*index, alerts, report);
    }
    let targets: Vec<Vec<Matcher>> = house
        .healing
        .iter()
        .map(|index| house.tree.facts(*index))
        .collect();
    inhibit::lint(root, &targets, alerts, report);
    let healing = receivers
        .iter()
        .filter(|receiver| receiver.heals())
        .map(|receiver| receiver.name.to_owned())
        .collect();
    Some(Routing {
        tree: house.tree,
        healing,
    })
}

/// Routes of ours that are looked at: each is compared with every other one.
const MOST: usize = 100;

struct House<'a> {
    tree: Tree,
    receivers: &'a [Receiver<'a>],
    context: &'a Context<'a>,
    /// The routes that lead to self-heal.
    healing: Vec<usize>,
}

impl House<'_> {
    fn receiver(&self, route: &Route) -> Option<&Receiver<'_>> {
        let name = &route.receiver.value;
        self.receivers.iter().find(|receiver| receiver.name == name)
    }

    /// The routes that lead to self-heal.
    fn healing(&self) -> Vec<usize> {
        let heals = |route: &Route| self.receiver(route).is_some_and(Receiver::heals);
        let routes = self.tree.routes();
        routes
            .filter(|(_, route)| heals(route))
            .map(|(index, _)| index)
            .take(MOST)
            .collect()
    }

    /// What no other route takes.
    fn default_route(&self, report: &mut Report<'_>) {
        let reached = self.tree.reach(&[]).unwrap_or_default();
        let Some(root) = self
            .tree
            .route(0)
            .filter(|_| reached.iter().any(|hit| hit.route == 0))
        else {
            return;
        };
        let Some(receiver) = self.receiver(root) else {
            return;
        };
        let line = self.tree.place(&root.receiver, 0, &[]);
        let what = format!("receiver {} of the default route", quote(receiver.name));
        if receiver.heals() {
            report.add(&DEFAULT_HEALER, line, what);
        } else if !receiver.others {
            report.add(&DEFAULT_NOBODY, line, format!("{what} has no integration"));
        }
    }

    /// One route that leads to self-heal.
    fn healers_route(&self, index: usize, alerts: &[Alert<'_>], report: &mut Report<'_>) {
        let Some(route) = self.tree.route(index) else {
            return;
        };
        let facts = self.tree.facts(index);
        if let Some(line) = route.times {
            report.add(
                &MUTED_TIMES,
                line,
                "the route to self-heal has time intervals".to_owned(),
            );
        }
        let place = times::Place {
            tree: &self.tree,
            index,
            healing: &self.healing,
        };
        times::lint(route, &place, &facts, alerts, self.context, report);
        let Some(hits) = self.tree.reach_by(&facts, index) else {
            return;
        };
        if !hits.iter().any(|hit| hit.route == index) {
            // A route with routes below it may be there for those alone.
            if route.children.is_empty() {
                self.unreachable(route, &hits, report);
            }
            return;
        }
        let others = hits.iter().filter(|hit| hit.route != index);
        let mut heard = self.receiver(route).is_some_and(|receiver| receiver.others);
        for hit in others {
            let Some(other) = self.tree.route(hit.route) else {
                continue;
            };
            let Some(receiver) = self.receiver(other) else {
                continue;
            };
            heard |= receiver.others;
            if receiver.heals() && hit.sure && hit.route < index {
                let what = format!("the route of line {} takes the same alerts", other.line);
                report.add(&POSTED_TWICE, route.line, what);
            }
            if receiver.others && hit.sure {
                self.peoples_route((hit.route, other), receiver, route, &facts, report);
            }
        }
        if !heard && index != 0 {
            let what = format!("receiver {} alone gets them", quote(&route.receiver.value));
            report.add(&NOBODY_ELSE, route.line, what);
        }
    }

    fn unreachable(&self, route: &Route, hits: &[super::routes::Hit], report: &mut Report<'_>) {
        let earlier = hits
            .iter()
            .filter(|hit| hit.sure)
            .find_map(|hit| self.tree.route(hit.route));
        let what = match earlier {
            Some(earlier) => format!("the route of line {} has its alerts", earlier.line),
            None => "earlier routes have its alerts".to_owned(),
        };
        report.add(&UNREACHABLE, route.line, what);
    }

    /// A route to people beside one of ours: whether it gives a run the time that it takes.
    fn peoples_route(
        &self,
        (index, other): (usize, &Route),
        receiver: &Receiver<'_>,
        ours: &Route,
        facts: &[Matcher],
        report: &mut Report<'_>,
    ) {
        let (whose, run) = self.longest_run(facts);
        let over = ours.group_wait.value.saturating_add(run);
        let wait = other.group_wait.value;
        let line = self.tree.place(&other.group_wait, index, &[]);
        if receiver.pages && wait < over {
            let what = format!(
                "receiver {} is told after {}, and {whose} may be at it for {}",
                quote(receiver.name),
                show(wait),
                show(over)
            );
            report.add(&PAGED_FIRST, line, what);
        }
        if wait >= over && !other.group_by.value.keeps("instance") {
            let what = format!(
                "group_wait {} for receiver {}",
                show(wait),
                quote(receiver.name)
            );
            let line = self.tree.place(&other.group_by, index, &[]);
            report.add(&SHARED_DELAY, line, what);
        }
    }

    /// The longest run of a handler whose alerts may be in a route.
    fn longest_run(&self, facts: &[Matcher]) -> (String, Duration) {
        let mut context = self.context.clone();
        if let Some(handlers) = &mut context.handlers {
            handlers.retain(|handler| {
                let named = [Matcher::is("alertname", &handler.name)];
                let about: Vec<Matcher> = facts
                    .iter()
                    .filter(|fact| fact.label == "alertname")
                    .cloned()
                    .collect();
                follow(&about, &named) != Some(false)
            });
        }
        receivers::longest_run(&context)
    }
}
