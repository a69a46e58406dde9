//! Secrets: what of a job must never be logged or shown, and how it is kept from sight.

use std::collections::BTreeMap;
use std::fmt;

use super::{Job, Kafka, SinkTo};

/// Below this many characters a secret hides nothing, and masking it would blot out half of every text: the `0` of a
/// database's number.
const LEAST: usize = 3;

/// Below this many it is masked only where it stands alone.
const SHORT: usize = 5;

/// `text` with each occurrence of a secret replaced by `***`: the longest that is there first. A secret of three or four
/// characters is one only where it stands alone, a shorter one never.
///
/// ```
/// let secrets = ["hunter2".into(), "hunt".into(), "7".into()];
/// assert_eq!(headwater::job::mask("hunter2@host:17/7: hunters hunt", &secrets), "***@host:17/7: hunters ***");
/// ```
pub fn mask(text: &str, secrets: &[String]) -> String {
    let mut secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    secrets.retain(|secret| secret.chars().count() >= LEAST);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(first) = text[from..].chars().next() {
        match secrets.iter().find(|secret| is_here(text, from, secret)) {
            Some(secret) => {
                masked += "***";
                from += secret.len();
            }
            None => {
                masked.push(first);
                from += first.len_utf8();
            }
        }
    }
    masked
}

fn is_here(text: &str, from: usize, secret: &str) -> bool {
    let word = |c: char| c.is_alphanumeric();
    text[from..].starts_with(secret)
        && (secret.chars().count() >= SHORT
            || !text[..from].ends_with(word) && !text[from + secret.len()..].starts_with(word))
}

/// Whether a librdkafka property is a secret by its name.
pub fn is_secret_property(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passphrase", "secret", "private.key.pem", "jaas"].iter().any(|part| name.contains(part))
        || ["ssl.key.pem", "ssl_key", "sasl.oauthbearer.config"].contains(&name.as_str())
}

/// The user and the password in a Redis URL, as written and decoded.
pub fn of_redis_url(url: &str) -> Vec<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let login = authority.rsplit_once('@').map_or("", |(login, _)| login);
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    // Every Redis knows a user `default`: a name that hides nothing, and that logs are full of.
    let user = if user == "default" { "" } else { user };
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let asked = query.split('&').filter_map(|pair| pair.split_once('='));
    let asked = asked.filter(|(name, _)| ["user", "pass"].contains(name)).map(|(_, value)| value);
    let written: Vec<&str> = [user, password].into_iter().chain(asked).filter(|part| !part.is_empty()).collect();
    let mut secrets: Vec<String> = written.iter().map(|part| part.to_string()).collect();
    secrets.extend(written.iter().map(|part| decode_percent(part)));
    secrets
}

fn decode_percent(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut n = 0;
    while n < bytes.len() {
        let hex = text.get(n + 1..n + 3).filter(|_| bytes[n] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(hex.unwrap_or(bytes[n]));
        n += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A debug text escapes: a PEM's line breaks are `\n` there.
        let escaped = self.secrets.iter().map(|secret| secret.escape_debug().to_string());
        let secrets: Vec<String> = self.secrets.iter().cloned().chain(escaped).collect();
        let shown = |value: &dyn fmt::Debug| mask(&format!("{value:?}"), &secrets);
        f.debug_struct("Job")
            .field("name", &self.name)
            .field("file", &self.file)
            .field("tick_us", &self.tick_us)
            .field("stall_limit_us", &self.stall_limit_us)
            .field("idle_limit_us", &self.idle_limit_us)
            .field("sources", &format_args!("{}", shown(&self.sources)))
            .field("groups", &self.groups)
            .field("sinks", &format_args!("{}", shown(&self.sinks)))
            .field("dead_letters", &format_args!("{}", shown(&self.dead_letters)))
            .field("state", &format_args!("{}", shown(&self.state)))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<&str, &str> = self.properties.keys().map(|name| (name.as_str(), "***")).collect();
        f.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("properties", &properties)
            .finish()
    }
}

impl fmt::Debug for SinkTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SinkTo::Redis { url } => f.debug_struct("Redis").field("url", &mask(url, &of_redis_url(url))).finish(),
            SinkTo::Embedded => f.write_str("Embedded"),
            SinkTo::Changes(to) => f.debug_tuple("Changes").field(to).finish(),
        }
    }
}
