//! The shared secret that a sender shows in `Authorization`, as a bearer token or as the password of
//! basic authentication. Only its hash is kept; it is never shown, and never compared byte by byte.

use std::hint::black_box;

use super::{base64, records};

/// A secret, by its hash. It has no `Debug` or `Display`, so that no log line can carry it.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Shorter ones could be guessed at the rate of a loopback connection.
    pub const SHORTEST: usize = 16;
    /// Longer ones would crowd the limit on a request's head.
    pub const LONGEST: usize = 4096;

    /// The token in `text`, surrounding white space apart.
    ///
    /// # Errors
    /// What is wrong with it, without showing it: empty, too short, too long, or not printable ASCII in
    /// one word (RFC 6750 section 2.1 allows no more; a second line is a second token, or a slip).
    pub fn new(text: &[u8]) -> Result<Token, String> {
        let secret = text.trim_ascii();
        if secret.is_empty() {
            return Err(format!("it is empty; {HINT}"));
        }
        if !secret.iter().all(u8::is_ascii_graphic) {
            return Err(format!(
                "it must be one word of printable ASCII on one line; {HINT}"
            ));
        }
        if secret.len() < Token::SHORTEST {
            return Err(format!(
                "it has {} characters, fewer than {}; {HINT}",
                secret.len(),
                Token::SHORTEST
            ));
        }
        if secret.len() > Token::LONGEST {
            return Err(format!(
                "it has more than {} characters; {HINT}",
                Token::LONGEST
            ));
        }
        Ok(Token(hash(secret)))
    }

    /// Whether the value of an `Authorization` header, if there is one, proves that the sender knows the
    /// token: `Bearer TOKEN` (RFC 6750 section 2.1) or `Basic` with any user and the token as password
    /// (RFC 7617 section 2). Schemes are compared without regard to case (RFC 9110 section 11.1).
    pub fn accepts(&self, authorization: Option<&str>) -> bool {
        let Some((scheme, credentials)) = authorization.and_then(|value| value.split_once(' '))
        else {
            return false;
        };
        let credentials = credentials.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("bearer") {
            self.equals(credentials.as_bytes())
        } else if scheme.eq_ignore_ascii_case("basic") {
            base64::decode(credentials).is_some_and(|pair| {
                // The user ends at the first colon; a password may hold more of them.
                let mut halves = pair.splitn(2, |byte| *byte == b':');
                halves.next();
                halves.next().is_some_and(|password| self.equals(password))
            })
        } else {
            false
        }
    }

    /// Compares hashes, every byte of them: neither the length nor a common beginning shows in the time.
    fn equals(&self, presented: &[u8]) -> bool {
        let difference = self
            .0
            .iter()
            .zip(hash(presented))
            .fold(0, |seen, (ours, theirs)| black_box(seen | (ours ^ theirs)));
        black_box(difference) == 0
    }
}

const HINT: &str = "make one with: openssl rand -hex 32";

fn hash(bytes: &[u8]) -> [u8; 32] {
    records::digest(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef:0123";

    fn token() -> Token {
        Token::new(format!(" {SECRET}\r\n").as_bytes())
            .ok()
            .unwrap()
    }

    #[test]
    fn the_token_opens_as_bearer_and_as_password() {
        for good in [
            format!("Bearer {SECRET}"),
            format!("bearer  {SECRET} "),
            // user:0123456789abcdef:0123
            "Basic dXNlcjowMTIzNDU2Nzg5YWJjZGVmOjAxMjM=".to_owned(),
            // :0123456789abcdef:0123
            "BASIC OjAxMjM0NTY3ODlhYmNkZWY6MDEyMw==".to_owned(),
        ] {
            assert!(token().accepts(Some(&good)), "{good}");
        }
    }

    #[test]
    fn nothing_else_opens() {
        assert!(!token().accepts(None));
        for bad in [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            SECRET.to_owned(),
            format!("Bearer {SECRET}0"),
            format!("Bearer {}", &SECRET[1..]),
            format!("Bearer {}", SECRET.to_uppercase()),
            format!("Bearer\t{SECRET}"),
            format!("Digest {SECRET}"),
            format!("Basic {SECRET}"),
            // the secret as user, and alone without a colon before it
            "Basic MDEyMzQ1Njc4OWFiY2RlZjowMTIzOg==".to_owned(),
            "Basic MDEyMzQ1Njc4OWFiY2RlZg==".to_owned(),
        ] {
            assert!(!token().accepts(Some(&bad)), "{bad}");
        }
    }

    #[test]
    fn unusable_tokens_are_refused_without_being_shown() {
        for (bad, why) in [
            ("", "empty"),
            (" \n", "empty"),
            ("hunter2", "7 characters"),
            ("0123456789abcdef 0123456789abcdef", "one word"),
            ("0123456789abcdef\n0123456789abcdef", "one line"),
            ("0123456789abcdefé", "ASCII"),
            (&"x".repeat(4097), "more than 4096"),
        ] {
            let said = Token::new(bad.as_bytes()).err().unwrap();
            assert!(said.contains(why) && said.contains("openssl"), "{said}");
            assert!(!said.contains("hunter2") && !said.contains("0123456789"));
        }
        assert!(Token::new("x".repeat(16).as_bytes()).is_ok());
        assert!(Token::new("x".repeat(4096).as_bytes()).is_ok());
    }
}
