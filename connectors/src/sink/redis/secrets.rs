//! What of a Redis URL must never be shown.

use crate::secrets::mask;

/// The user and the password in a Redis URL, as written and decoded.
pub(super) fn of_url(url: &str) -> Vec<String> {
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

/// The URL without them.
pub(super) fn masked_url(url: &str) -> String {
    mask(url, &of_url(url))
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
