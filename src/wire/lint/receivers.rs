//! Receivers: which of them post to self-heal, which reach a person, and what is wrong with a webhook of ours.

use std::time::Duration;

use super::kinds::{
    FOLLOW_REDIRECTS, HIDDEN_URL, MAX_ALERTS, NO_RECEIVER, NO_TOKEN, OWN_PAYLOAD, POSTED_TWICE,
    REMOTE_WEBHOOK, SEND_RESOLVED, WEBHOOK_PROXY, WEBHOOK_TIMEOUT, WEBHOOK_TLS,
};
use super::yaml::{Entry, Node, Value};
use super::{Context, Report, nearest, span};
use crate::wire::duration::show;
use crate::wire::quote::quote;

/// A receiver.
#[derive(Debug)]
pub(super) struct Receiver<'a> {
    pub(super) name: &'a str,
    line: usize,
    /// The webhooks that lead to self-heal.
    ours: Vec<&'a Node>,
    /// Whether it tells anybody else.
    pub(super) others: bool,
    /// Whether it wakes somebody.
    pub(super) pages: bool,
    /// Whether a webhook's address cannot be seen.
    hidden: bool,
}

impl Receiver<'_> {
    pub(super) fn heals(&self) -> bool {
        !self.ours.is_empty()
    }
}

/// The integrations that call a person, rather than writing to one.
const PAGERS: [&str; 6] = [
    "pagerduty_configs",
    "opsgenie_configs",
    "victorops_configs",
    "incidentio_configs",
    "pushover_configs",
    "sns_configs",
];

/// All receivers; those that post to self-heal are known by the port, or by the name that was given.
pub(super) fn read<'a>(root: &'a Node, context: &Context<'_>) -> Vec<Receiver<'a>> {
    let nodes = root.items("receivers").iter();
    nodes.filter_map(|node| receiver(node, context)).collect()
}

fn receiver<'a>(node: &'a Node, context: &Context<'_>) -> Option<Receiver<'a>> {
    let name = node.text_of("name")?;
    let chosen = context.receiver.map(|receiver| receiver == name);
    let mut found = Receiver {
        name,
        line: node.line,
        ours: Vec::new(),
        others: false,
        pages: false,
        hidden: false,
    };
    for (key, entry) in node.map()? {
        let filled = matches!(&entry.node.value, Value::List(items) if !items.is_empty());
        if key.ends_with("_configs") && key != "webhook_configs" && filled {
            found.others = true;
            found.pages |= PAGERS.contains(&key.as_str());
        }
    }
    let webhooks: Vec<&Node> = node.items("webhook_configs").iter().map(|n| &**n).collect();
    let here = |webhook: &Node| Url::of(webhook).is_some_and(|url| url.port == context.port);
    let any_here = webhooks.iter().any(|webhook| here(webhook));
    for webhook in webhooks {
        // A receiver that was named by hand may be reached by another port: a relay, a container.
        let ours = match chosen {
            Some(chosen) => chosen && (here(webhook) || !any_here),
            None => here(webhook),
        };
        found.hidden |= Url::of(webhook).is_none();
        match ours {
            true => found.ours.push(webhook),
            false => found.others = true,
        }
    }
    Some(found)
}

/// The parts of a webhook's address that matter here.
struct Url<'a> {
    secure: bool,
    user: bool,
    host: &'a str,
    port: u16,
}

impl<'a> Url<'a> {
    /// `None` where it cannot be seen: in a file, a template, or cut out by amtool.
    fn of(webhook: &'a Node) -> Option<Url<'a>> {
        let text = webhook.text_of("url")?;
        let (scheme, rest) = text.split_once("://")?;
        let secure = scheme.eq_ignore_ascii_case("https");
        let authority = rest.split(['/', '?', '#']).next()?;
        if authority.is_empty() || authority.contains("{{") {
            return None;
        }
        let (user, place) = authority
            .rsplit_once('@')
            .map_or((false, authority), |(_, place)| (true, place));
        let usual = if secure { 443 } else { 80 };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (place, usual),
        };
        let host = host.strip_prefix('[').unwrap_or(host);
        let host = host.strip_suffix(']').unwrap_or(host);
        Some(Url {
            secure,
            user,
            host,
            port,
        })
    }

    fn is_loopback(&self) -> bool {
        let address = self.host.parse::<core::net::IpAddr>();
        self.host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback())
    }
}

/// What is wrong with the receivers of ours; whether there is one.
pub(super) fn lint(
    root: &Node,
    receivers: &[Receiver<'_>],
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> bool {
    let ours = || receivers.iter().filter(|receiver| receiver.heals());
    if ours().next().is_none() {
        missing(root, receivers, context, report);
        return false;
    }
    let global = root.get("global").and_then(|g| g.node.get("http_config"));
    for receiver in ours() {
        for webhook in &receiver.ours {
            let http = webhook.get("http_config").or(global);
            let webhook = Webhook {
                name: receiver.name,
                node: webhook,
                http,
            };
            webhook.payload(report);
            webhook.timing(context, report);
            webhook.way(context, report);
        }
        if let [_, second, ..] = receiver.ours.as_slice() {
            let what = format!("receiver {} has two webhooks", quote(receiver.name));
            report.add(&POSTED_TWICE, second.line, what);
        }
    }
    true
}

fn missing(
    root: &Node,
    receivers: &[Receiver<'_>],
    context: &Context<'_>,
    report: &mut Report<'_>,
) {
    let line = root.get("receivers").map_or(1, |entry| entry.line);
    let Some(name) = context.receiver else {
        let what = format!("no webhook posts to port {} (HEAL_PORT)", context.port);
        // One whose address stands in a file may well be it.
        match receivers.iter().find(|receiver| receiver.hidden) {
            Some(receiver) => {
                let mend = format!(
                    "if receiver {} is the one: --receiver NAME",
                    quote(receiver.name)
                );
                report.mend(&NO_RECEIVER, receiver.line, what, mend);
            }
            None => report.add(&NO_RECEIVER, line, what),
        }
        return;
    };
    match receivers.iter().find(|receiver| receiver.name == name) {
        Some(receiver) => {
            let what = format!("receiver {} has no webhook", quote(name));
            report.add(&NO_RECEIVER, receiver.line, what);
        }
        None => {
            let names = receivers.iter().map(|receiver| receiver.name);
            let what = format!("there is no receiver {}", quote(name));
            match nearest(name, names) {
                Some(other) => {
                    let mend = format!("did you mean {}?", quote(other));
                    report.mend(&NO_RECEIVER, line, what, mend);
                }
                None => report.add(&NO_RECEIVER, line, what),
            }
        }
    }
}

struct Webhook<'a> {
    name: &'a str,
    node: &'a Node,
    /// Its own `http_config`, which replaces the global one whole.
    http: Option<&'a Entry>,
}

impl Webhook<'_> {
    fn receiver(&self) -> String {
        format!("receiver {}", quote(self.name))
    }

    fn http(&self, key: &str) -> Option<&Entry> {
        self.http?.node.get(key)
    }

    /// What is in a request.
    fn payload(&self, report: &mut Report<'_>) {
        if let Some(entry) = self.node.get("max_alerts")
            && let Some(most) = entry.node.text()
            && most != "0"
        {
            report.add(
                &MAX_ALERTS,
                entry.line,
                format!("max_alerts: {}", quote(most)),
            );
        }
        if let Some(entry) = self.node.get("send_resolved")
            && self.node.flag("send_resolved") == Some(false)
        {
            report.add(
                &SEND_RESOLVED,
                entry.line,
                "send_resolved: false".to_owned(),
            );
        }
        if let Some(entry) = self.node.get("payload") {
            let what = format!("{} has a `payload`", self.receiver());
            report.add(&OWN_PAYLOAD, entry.line, what);
        }
    }

    /// How long a request may take.
    fn timing(&self, context: &Context<'_>, report: &mut Report<'_>) {
        let Some(entry) = self.node.get("timeout") else {
            return;
        };
        let Some(timeout) = entry.node.text().and_then(span::go) else {
            return;
        };
        let longest = longest_run(context);
        if timeout > Duration::ZERO && timeout < longest.1 {
            let what = format!(
                "timeout {}, and {} may take {}",
                show(timeout),
                longest.0,
                show(longest.1)
            );
            report.add(&WEBHOOK_TIMEOUT, entry.line, what);
        }
    }

    /// How a request gets here.
    fn way(&self, context: &Context<'_>, report: &mut Report<'_>) {
        let follows = self
            .http
            .is_none_or(|http| http.node.flag("follow_redirects") != Some(false));
        if follows {
            let line = self.http("follow_redirects").or(self.http);
            let what = format!("{} follows redirects", self.receiver());
            report.add(
                &FOLLOW_REDIRECTS,
                line.map_or(self.node.line, |entry| entry.line),
                what,
            );
        }
        // `proxy_from_environment`, and `no_proxy` in any form, leave loopback out (golang.org/x/net httpproxy).
        if let Some(proxy) = self.http("proxy_url")
            && self.http("no_proxy").is_none()
        {
            let what = format!("{} goes through a proxy", self.receiver());
            report.add(&WEBHOOK_PROXY, proxy.line, what);
        }
        let Some(url) = Url::of(self.node) else {
            let entry = self.node.get("url_file").or(self.node.get("url"));
            let line = entry.map_or(self.node.line, |entry| entry.line);
            let what = format!(
                "{} has an address that is not in this file",
                self.receiver()
            );
            report.add(&HIDDEN_URL, line, what);
            return;
        };
        let line = self
            .node
            .get("url")
            .map_or(self.node.line, |entry| entry.line);
        let credentials = ["authorization", "basic_auth", "oauth2"];
        if context.token && !url.user && credentials.iter().all(|key| self.http(key).is_none()) {
            let what = format!("{} sends no token", self.receiver());
            report.add(&NO_TOKEN, self.node.line, what);
        }
        if url.secure && url.is_loopback() && url.port == context.port {
            report.add(
                &WEBHOOK_TLS,
                line,
                format!("{} speaks TLS", self.receiver()),
            );
        }
        if !url.secure && !url.is_loopback() && !context.peers {
            let what = format!("{} posts to {}", self.receiver(), quote(url.host));
            report.add(&REMOTE_WEBHOOK, line, what);
        }
    }
}

/// Whose run may take longest here, and how long, its killing counted.
pub(super) fn longest_run(context: &Context<'_>) -> (String, Duration) {
    let handlers = context.handlers.as_deref().unwrap_or(&[]);
    let longest = handlers.iter().max_by_key(|handler| handler.limits.timeout);
    let (whose, timeout) = longest.map_or_else(
        || ("a handler".to_owned(), context.usual.timeout),
        |handler| (quote(&handler.name), handler.limits.timeout),
    );
    (whose, timeout.saturating_add(context.kill_grace))
}
