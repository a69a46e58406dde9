//! Secrets: what must never be logged or shown, and how it is kept from sight.

use std::sync::{Mutex, PoisonError};

pub use headwater_connectors::secrets::mask;

/// Of every job that was loaded in this process.
static SECRETS: Mutex<Vec<String>> = Mutex::new(vec![]);

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
