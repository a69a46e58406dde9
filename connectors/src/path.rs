//! Where a column lies: its name, or the names that lead into a nested one.
//!
//! ```text
//! payload.user.id        the field `id` of the field `user` of the column `payload`
//! "a.b".c                the field `c` of the column `a.b`: a name that has a dot is quoted, a quote inside doubled
//! ```

use std::fmt;

/// At least one name, the outermost first. Its text is what a job writes; of two texts of one path, the one with fewer quotes.
///
/// ```
/// use headwater_connectors::Path;
///
/// let path = Path::parse("payload.\"user.id\".x").unwrap();
/// assert_eq!(path.names(), ["payload", "user.id", "x"]);
/// assert_eq!(path.to_string(), "payload.\"user.id\".x");
/// assert_eq!(Path::of(["a.b"]).to_string(), "\"a.b\"");
/// assert_eq!(Path::parse("a..b"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<String>);

impl Path {
    /// The path of these names.
    pub fn of<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Path {
        Path(names.into_iter().map(Into::into).collect())
    }

    /// The path that a text says; `None`: a name is empty, or its quotes are broken.
    pub fn parse(text: &str) -> Option<Path> {
        let (mut names, mut rest) = (vec![], text);
        loop {
            let (name, after) = first_name(rest)?;
            names.push(name);
            match after.strip_prefix('.') {
                Some(more) => rest = more,
                None => return after.is_empty().then_some(Path(names)),
            }
        }
    }

    /// From the outermost to the innermost.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The innermost name.
    pub fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// Whether it leads into a column.
    pub fn is_nested(&self) -> bool {
        self.0.len() > 1
    }
}

/// A name at the start of a text, and what follows it.
fn first_name(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let (name, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    loop {
        let (inside, after) = rest.split_once('"')?;
        name.push_str(inside);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return (!name.is_empty()).then_some((name, after)),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            let dot = if at > 0 { "." } else { "" };
            match name.contains(['.', '"']) {
                true => write!(f, "{dot}\"{}\"", name.replace('"', "\"\""))?,
                false => write!(f, "{dot}{name}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_names() {
        let rows: &[(&str, &[&str], &str)] = &[
            ("ts", &["ts"], "ts"),
            ("odd name", &["odd name"], "odd name"),
            ("a.b.c", &["a", "b", "c"], "a.b.c"),
            ("\"a\".b", &["a", "b"], "a.b"),
            ("\"a.b\"", &["a.b"], "\"a.b\""),
            ("x.\"a\"\"b\"", &["x", "a\"b"], "x.\"a\"\"b\""),
            ("a\"b", &["a\"b"], "\"a\"\"b\""),
        ];
        for (text, names, shown) in rows {
            let path = Path::parse(text).unwrap();
            assert_eq!(path.names(), *names, "{text}");
            assert_eq!(path.to_string(), *shown);
            assert_eq!(Path::parse(shown), Some(path));
        }
        for broken in ["", ".", "a.", ".a", "a..b", "\"a", "\"\"", "\"a\"b", "a.\"b\"c"] {
            assert_eq!(Path::parse(broken), None, "{broken}");
        }
    }
}
