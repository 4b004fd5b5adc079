//! Who may ask: the token that a request brings, and the users whose connections are taken. Addresses are
//! judged where they are seen, before a byte is read.

use crate::sys::accounts::Accounts;
use crate::sys::token;
use crate::wire::config::Config;
use crate::wire::http::{Head, Refusal, Status};
use crate::wire::token::Token;

/// Who may ask, once the configuration is known to be good. The default is everybody.
#[derive(Default)]
pub struct Access {
    /// The token that a request has to bring.
    pub token: Option<Token>,
    /// The users whose connections are taken, by number.
    pub users: Option<Vec<u32>>,
}

impl Access {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// What of it cannot be used, one sentence each: then nobody may ask.
    pub fn load(config: &Config) -> Result<Access, Vec<String>> {
        let mut problems = Vec::new();
        let token = config.token_file.as_ref().and_then(|path| {
            token::load(path)
                .map_err(|why| problems.push(format!("HEAL_TOKEN_FILE: {why}")))
                .ok()
        });
        let users = if config.allow_users.is_empty() {
            None
        } else {
            match users(&config.allow_users) {
                Ok(users) => Some(users),
                Err(why) => {
                    problems.push(format!("HEAL_ALLOW_USERS: {why}"));
                    None
                }
            }
        };
        if problems.is_empty() {
            Ok(Access { token, users })
        } else {
            Err(problems)
        }
    }

    /// Whether a request may be read on, by its head.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn admits(&self, head: &Head) -> Result<(), Refusal> {
        let open = head.path == "/-/healthy" && !head.method.notifies();
        match &self.token {
            Some(token) if !open && !token.accepts(head.authorization.as_deref()) => {
                let why = "the token is missing or wrong";
                Err(Refusal::new(Status::Unauthorized401, why))
            }
            _ => Ok(()),
        }
    }
}

fn users(names: &[String]) -> Result<Vec<u32>, String> {
    let accounts = Accounts::read().map_err(|error| format!("/etc/passwd: {error}"))?;
    names
        .iter()
        .map(|name| {
            accounts
                .uid(name)
                .ok_or_else(|| format!("no account {name} in /etc/passwd"))
        })
        .collect()
}
