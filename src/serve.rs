//! One connection: bytes, a request, a notification, a verdict for each alert, a response. The answer says exactly one
//! thing: settled, or ask again. Everything it answers for is done and durable before it; what only counts it comes behind
//! it, and before the connection ends.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use crate::deliver;
use crate::heal::{self, Asked, Healer};
use crate::judge::AlertName;
use crate::paging;
use crate::ready;
use crate::scrape;
use crate::sys::connection::{self, Connection, Read, Unread};
use crate::sys::log::Log;
use crate::sys::peer::{self, Peer};
use crate::sys::signals::{self, Signals};
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::{handler, identity, inherited, settings};
use crate::wire::config::{self, Config};
use crate::wire::counters::Counters;
use crate::wire::exposition;
use crate::wire::http::{self, Head, Method, Progress, Reader, Refusal, Request, Response, Status};
use crate::wire::notification::{self, Notification};
use crate::wire::report;

pub mod access;

use access::Access;

/// Wrong usage or configuration, as tinyssh and qmail have it.
pub const MISUSED: u8 = 100;

/// The machine failed.
pub const BROKEN: u8 = 111;

/// The name of this version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why root does not serve.
pub const NOT_AS_ROOT: &str =
    "refuses to serve as root: run it as an account of its own, or set HEAL_ALLOW_ROOT=yes";

/// Bytes read at once: a page, as most requests are smaller.
const CHUNK: usize = 4 * 1024;

/// Serves the connection on fds 0 and 1. To be called first thing in the process, which then ends.
pub fn serve() -> ExitCode {
    if signals::child_ignored().unwrap_or(false) {
        // The ending of a handler would be lost (wait(2), ECHILD): the same program again, with SIGCHLD as it should be.
        return match signals::start_over() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(BROKEN),
        };
    }
    let stderr = !connection::stderr_is_connection();
    let mut log = Log::early(stderr);
    match prepare() {
        Ok((connection, signals)) => Session::open(connection, signals, stderr).run(),
        Err(error) => {
            log.error("not_served", &[("error", &error.to_string())]);
            ExitCode::from(BROKEN)
        }
    }
}

/// Inherited descriptors are closed before any of ours is opened.
fn prepare() -> std::io::Result<(Connection, Signals)> {
    inherited::close_inherited()?;
    let signals = Signals::block()?;
    handler::setup_process()?;
    Ok((Connection::inherited()?, signals))
}

struct Session {
    connection: Connection,
    signals: Signals,
    log: Log,
    config: Config,
    /// What is wrong with the configuration: then nothing is judged.
    problems: Vec<String>,
    access: Access,
    peer: Peer,
    deadline: Instant,
    /// What happened, by alertname; `None` is what no handler's name can label.
    counted: BTreeMap<Option<AlertName>, Counters>,
}

/// A response, and what the client may have sent that nobody read.
struct Reply {
    head: Option<Head>,
    response: Response,
    refused: Option<Refusal>,
    unread: Unread,
}

impl Session {
    fn open(connection: Connection, signals: Signals, stderr: bool) -> Session {
        let mut problems = Vec::new();
        let config = match settings::load() {
            Ok(config) => {
                // Before anything is opened: a log that root makes is one that the healer cannot write.
                if identity::is_root() && !config.allow_root {
                    problems.push(NOT_AS_ROOT.to_owned());
                }
                config
            }
            Err(found) => {
                problems = found;
                config::defaults()
            }
        };
        let mut log = if problems.is_empty() {
            Log::open(&config.log_dir, stderr, config.syslog)
        } else {
            Log::early(stderr)
        };
        let access = Access::load(&config).unwrap_or_else(|mut found| {
            problems.append(&mut found);
            Access::default()
        });
        for problem in &problems {
            log.error("misconfigured", &[("problem", problem)]);
        }
        let peer = connection.peer();
        let deadline = Instant::now() + config.request_timeout;
        Session {
            connection,
            signals,
            log,
            config,
            problems,
            access,
            peer,
            deadline,
            counted: BTreeMap::new(),
        }
    }

    fn run(mut self) -> ExitCode {
        let reply = self.reply();
        let exit = if self.problems.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(MISUSED)
        };
        let Some(reply) = reply else { return exit };
        let deadline = Instant::now() + self.config.request_timeout;
        let head = reply.head.as_ref();
        let head_only = head.is_some_and(|head| head.method == Method::Head);
        let bytes = reply.response.to_bytes(head_only);
        if let Err(error) = self.connection.write(&bytes, deadline) {
            let peer = self.peer.to_string();
            self.log.info(
                "answer_not_read",
                &[("peer", &peer), ("error", &error.to_string())],
            );
        }
        let code = reply.response.status.code();
        self.tell_request(head, code, reply.refused.as_ref());
        self.save_counts(code);
        self.connection.finish(reply.unread);
        if self.problems.is_empty() {
            // Only now, with nobody waiting for a byte of this process any more.
            deliver::in_passing(&self.config, &mut self.log, &mut self.signals);
        }
        exit
    }

    /// The reply, and everything that it answers for; `None` where nothing was asked.
    fn reply(&mut self) -> Option<Reply> {
        let (head, asked) = match self.refuse_peer() {
            Some(refusal) => (None, Err(refusal)),
            None => self.receive()?,
        };
        let (response, refused, unread) = match asked {
            Ok(request) => (self.answer(&request), None, Unread::Nothing),
            Err(refusal) => (Response::error(&refusal), Some(refusal), Unread::Rest),
        };
        Some(Reply {
            head,
            response,
            refused,
            unread,
        })
    }

    /// Writes what was counted. With a wrong configuration nobody knows where.
    fn save_counts(&mut self, code: u16) {
        if !self.problems.is_empty() {
            return;
        }
        let failures = self.log.failures.len() as u64;
        let host = self.counted.entry(None).or_default();
        Counters::bump(&mut host.requests, &code.to_string());
        host.channel_failures += failures;
        let counted = std::mem::take(&mut self.counted);
        heal::save_counters(&self.config, &mut self.log, counted);
    }

    /// One line for each request but a scrape that went well.
    fn tell_request(&mut self, head: Option<&Head>, code: u16, refused: Option<&Refusal>) {
        if code == 200 && head.is_some_and(|head| !head.method.notifies()) {
            return;
        }
        let (peer, code_word) = (self.peer.to_string(), code.to_string());
        let mut values = vec![
            ("peer", peer.as_str()),
            ("path", head.map_or("", |head| head.path.as_str())),
            ("code", &code_word),
        ];
        values.extend(refused.map(|refusal| ("reason", refusal.reason.as_ref())));
        if code < 400 {
            self.log.info("request", &values);
        } else {
            self.log.warn("request", &values);
        }
    }

    /// Judges the peer before a byte of it is read. With a wrong configuration nobody knows who is listed: asking again
    /// is right then, and a 4xx would be taken for an answer.
    fn refuse_peer(&mut self) -> Option<Refusal> {
        let refuse = |why: &'static str| Some(Refusal::new(Status::Forbidden403, why));
        if !peer::permitted(&self.peer, &self.config.allow_peers) {
            if !self.problems.is_empty() {
                let why = "the configuration is wrong; nothing is run";
                return Some(Refusal::new(Status::ServiceUnavailable503, why));
            }
            if let Peer::Unsaid(_) = self.peer {
                let why = "the kernel does not say who asks (HEAL_ALLOW_PEERS)";
                return Some(Refusal::new(Status::ServiceUnavailable503, why));
            }
            return refuse("this address may not ask (HEAL_ALLOW_PEERS)");
        }
        let users = self.access.users.as_ref()?;
        match self.connection.owner() {
            Ok(Some(uid)) if users.contains(&uid) => None,
            Ok(Some(_)) => refuse("this user may not ask (HEAL_ALLOW_USERS)"),
            Ok(None) => refuse("no local user can be told of this connection (HEAL_ALLOW_USERS)"),
            Err(error) => {
                self.log
                    .error("peer_owner_unknown", &[("error", &error.to_string())]);
                let why = "the kernel does not say whose connection this is (HEAL_ALLOW_USERS)";
                Some(Refusal::new(Status::ServiceUnavailable503, why))
            }
        }
    }

    /// The request's head, as far as it came, and the request or why it is refused; `None` where nothing was asked.
    fn receive(&mut self) -> Option<(Option<Head>, Result<Request, Refusal>)> {
        let access = &self.access;
        let misconfigured = self.misconfigured();
        let gate = |head: &Head| {
            access.admits(head)?;
            match &misconfigured {
                Some(refusal) if head.method.notifies() => Err(refusal.clone()),
                _ => Ok(()),
            }
        };
        let limits = http::Limits {
            max_body: self.config.max_body,
        };
        let mut reader = Reader::new(limits, gate);
        let mut chunk = vec![0; CHUNK];
        let refusal = loop {
            let bytes = match self.connection.read(&mut chunk, self.deadline) {
                Ok(Read::Bytes(n)) => chunk.get(..n).unwrap_or_default(),
                Ok(Read::End) => break reader.end()?,
                Ok(Read::TimedOut) => {
                    let why = "the request did not come in time";
                    break Refusal::new(Status::RequestTimeout408, why);
                }
                Ok(Read::Reset) | Err(_) => return None,
            };
            match reader.feed(bytes) {
                Ok(Progress::NeedMore) => {}
                Ok(Progress::SendContinue) => {
                    self.connection.write(http::CONTINUE, self.deadline).ok()?;
                }
                Ok(Progress::Done(request)) => {
                    return Some((Some(request.head.clone()), Ok(request)));
                }
                Err(refusal) => break refusal,
            }
        };
        Some((reader.head().cloned(), Err(refusal)))
    }

    fn answer(&mut self, request: &Request) -> Response {
        if request.head.method.notifies() {
            return self.notified(&request.body);
        }
        match request.head.path.as_str() {
            "/-/healthy" => Response::new(Status::Ok200, http::JSON, report::healthy()),
            "/-/ready" => self.ready(),
            "/metrics" => self.metrics(),
            _ => Response::error(&Refusal::new(
                Status::NotFound404,
                "GET answers at /metrics, /-/healthy and /-/ready",
            )),
        }
    }

    fn ready(&mut self) -> Response {
        let mut problems = self.problems.clone();
        if problems.is_empty() {
            problems = ready::problems(&self.config, &mut self.log);
        }
        let status = if problems.is_empty() {
            Status::Ok200
        } else {
            Status::ServiceUnavailable503
        };
        Response::new(status, http::JSON, report::ready(&problems))
    }

    fn metrics(&mut self) -> Response {
        if let Some(refusal) = self.misconfigured() {
            return Response::error(&refusal);
        }
        let text = Store::open(&self.config.state_dir)
            .map_err(|error| error.to_string())
            .and_then(|store| scrape::exposition(&self.config, &store, VERSION));
        match text {
            Ok(text) => Response::new(Status::Ok200, exposition::CONTENT_TYPE, text),
            Err(why) => Response::error(&Refusal::new(Status::ServiceUnavailable503, why)),
        }
    }

    fn misconfigured(&self) -> Option<Refusal> {
        let first = self.problems.first()?;
        let more = match self.problems.len() - 1 {
            0 => String::new(),
            n => format!(" (and {n} more: GET /-/ready)"),
        };
        let why = format!("nothing is run: {first}{more}");
        Some(Refusal::new(Status::ServiceUnavailable503, why))
    }

    fn notified(&mut self, body: &[u8]) -> Response {
        let notification = match notification::parse(body) {
            Ok(notification) => notification,
            Err(why) => return Response::error(&Refusal::new(Status::BadRequest400, why)),
        };
        for warning in &notification.warnings {
            self.log.warn("payload", &[("warning", warning)]);
        }
        if notification.truncated > 0 {
            let values = [
                ("alerts", &*notification.truncated.to_string()),
                ("group_key", &notification.group_key),
                (
                    "detail",
                    "the sender cut alerts off and never delivers them: set max_alerts: 0",
                ),
            ];
            self.log.error("truncated", &values);
        }
        let allowed = ready::allow_list(&self.config);
        match &allowed {
            Ok(list) => {
                for problem in ready::unread_lines(&self.config, list) {
                    self.log.warn("allow_list", &[("problem", &problem)]);
                }
            }
            Err(why) => self
                .log
                .error("allow_list", &[("problem", &why.to_string())]),
        }
        let mut store = Store::open(&self.config.state_dir);
        let told = self.tell_group(&mut store, &notification);
        let peer = self.peer.to_string();
        let (log, signals) = (&mut self.log, &mut self.signals);
        let healer = Healer::new(
            &self.config,
            allowed,
            &notification,
            store,
            log,
            signals,
            Asked {
                peer,
                ..Asked::default()
            },
        );
        let mut healer = match healer {
            Ok(healer) => healer,
            Err(error) => {
                let why = format!("cannot read /proc: {error}");
                return Response::error(&Refusal::new(Status::ServiceUnavailable503, why));
            }
        };
        let reports: Vec<_> = notification
            .alerts
            .iter()
            .map(|posted| healer.heal(posted))
            .collect();
        self.counted = healer.counted();
        if notification.truncated > 0 {
            self.counted.entry(None).or_default().truncated = notification.truncated;
        }
        let settled = told && reports.iter().all(|report| report.verdict.settled());
        let status = if settled || self.config.unsettled_status == 200 {
            Status::Ok200
        } else {
            Status::ServiceUnavailable503
        };
        Response::new(
            status,
            http::JSON,
            report::body(&reports, notification.truncated),
        )
    }
}

impl Session {
    /// Whether a group that was cut off has been told of, or need not be: else the sender has to ask again.
    fn tell_group(
        &mut self,
        store: &mut Result<Store, StateError>,
        notification: &Notification,
    ) -> bool {
        let told = match store {
            Ok(store) => paging::group(&self.config, store, &mut self.log, notification),
            Err(_) if notification.truncated == 0 => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = &told {
            self.log.error("group_not_told", &[("error", why)]);
        }
        told.is_ok()
    }
}
