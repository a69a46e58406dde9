//! Secrets: what must never be logged or shown, and how it is kept from sight.

use std::sync::{Mutex, PoisonError};

/// Of every job that was loaded in this process.
static SECRETS: Mutex<Vec<String>> = Mutex::new(vec![]);

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
/// assert_eq!(headwater::base::secrets::mask("hunter2@host:17/7: hunters hunt", &secrets), "***@host:17/7: hunters ***");
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

/// From here on these are shown by no log line and by no `masked` text.
pub fn hide(secrets: &[String]) {
    // In JSON and in debug output a secret is written with escapes.
    let escaped = secrets.iter().map(|secret| secret.escape_debug().to_string());
    let mut hidden = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    hidden.extend(secrets.iter().cloned().chain(escaped));
    hidden.sort();
    hidden.dedup();
}

/// The text without the secrets of the jobs that were loaded.
pub fn masked(text: &str) -> String {
    mask(text, &SECRETS.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_however_they_are_written() {
        hide(&["pass\"word".into()]);
        assert_eq!(masked(r#"as is: pass"word, escaped: pass\"word"#), "as is: ***, escaped: ***");
    }
}
