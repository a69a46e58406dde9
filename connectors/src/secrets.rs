//! Secrets: how a text is shown without them.

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
/// let masked = headwater_connectors::secrets::mask("hunter2@host:17/7: hunters hunt", &secrets);
/// assert_eq!(masked, "***@host:17/7: hunters ***");
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
