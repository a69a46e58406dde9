//! What of a job is a secret, and how a job shows itself without it.

use std::collections::BTreeMap;
use std::fmt;

use super::{Job, Kafka, SinkTo};
use crate::base::secrets::mask;

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
