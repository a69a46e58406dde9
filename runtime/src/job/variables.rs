//! `${VAR}` and `${VAR:-default}`, read from the environment.

use crate::base::fault::At;

/// A text with its variables filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    pub text: String,
    /// What came out of `${...}`: secret, in some places.
    pub filled: Vec<String>,
    /// Where its first character stands, if it was typed as it is: without an escape or a variable.
    pub starts: Option<At>,
}

/// Fills in the variables of `text`. As in a shell, an empty variable takes its default too. Errors: a message for each
/// variable that cannot be filled in, with the text by which it starts (`${NAME`).
pub fn fill(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Text, Vec<(String, String)>> {
    let mut done = Text::default();
    let mut wrong = Vec::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("${") {
        done.text += before;
        let Some((inside, after)) = from.split_once('}') else {
            wrong.push(("${".into(), "`${` has no `}`: a variable is `${NAME}` or `${NAME:-default}`".into()));
            rest = "";
            break;
        };
        match value(inside, env) {
            Ok(value) => {
                done.text += &value;
                done.filled.push(value);
            }
            Err(message) => wrong.push((format!("${{{inside}"), message)),
        }
        rest = after;
    }
    done.text += rest;
    if wrong.is_empty() { Ok(done) } else { Err(wrong) }
}

fn value(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word) {
        return Err(format!("`{name}` is no name of a variable: expected `${{NAME}}` or `${{NAME:-default}}`"));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.into()),
        (None, None) => Err(format!(
            "the environment variable `{name}` is not set: set it, or give a default with `${{{name}:-...}}`"
        )),
    }
}
