//! Secrets: what must never be logged or shown, and how it is kept from sight.

pub use headwater_connectors::secrets::mask;

/// Secrets, and how they are written in JSON and in debug output: with escapes.
pub fn with_escapes(secrets: &[String]) -> Vec<String> {
    let escaped = secrets.iter().map(|secret| secret.escape_debug().to_string());
    secrets.iter().cloned().chain(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_however_they_are_written() {
        let secrets = ["hunter2".into(), "hunt".into(), "7".into()];
        assert_eq!(mask("hunter2@host:17/7: hunters hunt", &secrets), "***@host:17/7: hunters ***");
        let secrets = with_escapes(&["pass\"word".into()]);
        assert_eq!(mask(r#"as is: pass"word, escaped: pass\"word"#, &secrets), "as is: ***, escaped: ***");
    }
}
