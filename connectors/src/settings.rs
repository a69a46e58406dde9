//! What a kind of source or sink reads of the job: one section, key by key, in whatever spelling it was written.
//!
//! ```text
//! [sinks.online]                     kind.name() "redis"      chosen by `type`
//! type = "redis"                     kind.keys() ["url"]      other keys of the section are the user's fault
//! url  = "redis://localhost"         kind.read(settings)      asks for "url", and tells every fault at its place
//! ```
//!
//! Reading is pure: nothing is opened and nobody is asked. Whatever is wrong is told through [`Settings`], all of it at once; the kind
//! goes on with something in its stead, since a job with a fault never starts.

use std::fmt::Debug;
use std::path::PathBuf;

use headwater_clocks::Span;

/// A kind of history, stream, format or sink, by the name that a job gives it.
pub trait Kind: Debug + Sync {
    /// As `type` (of a format: `format`) says it: `kafka`.
    fn name(&self) -> &'static str;

    /// The keys of its section that it reads.
    fn keys(&self) -> Vec<&'static str>;
}

/// A place in what the user wrote: 1-based line and column (in characters). Line 0 is the whole of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// 0: the job itself; else the number of a file that it names.
    pub file: u16,
    /// From 1; 0 where no line is meant.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// A text that the user wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// With variables filled in.
    pub text: String,
    /// Where it stands.
    pub at: At,
    /// What came out of the environment: secret, in some places.
    pub filled: Vec<String>,
}

/// A key whose name the user chose, and its value as text.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Names within names are joined by dots.
    pub name: String,
    /// Where the name stands.
    pub at: At,
    /// The value: a string as it is, numbers and booleans as they are written.
    pub value: Text,
}

/// A section of a job, while a kind reads it. A value of a wrong type is told, and then as good as absent.
pub trait Settings {
    /// How messages name the section: ``sink `online` ``.
    fn what(&self) -> String;

    /// Where it begins.
    fn at(&self) -> At;

    /// Whether the key is given, whatever its value.
    fn has(&self, key: &str) -> bool;

    /// Tells a fault.
    fn error(&mut self, at: At, message: String);

    /// Tells that a key is missing which has to be there; `hint`: what to write.
    fn missing(&mut self, key: &str, hint: &str);

    /// This text must never be shown or logged.
    fn secret(&mut self, text: &str);

    /// A string, also an empty one.
    fn any_text(&mut self, key: &str) -> Option<Text>;

    /// A string that says something.
    fn text(&mut self, key: &str) -> Option<Text>;

    /// A list of strings, at least one.
    fn list(&mut self, key: &str) -> Option<Vec<Text>>;

    /// An integer in `least..=most`.
    fn integer(&mut self, key: &str, least: i64, most: i64) -> Option<i64>;

    /// True or false; false where it is not given.
    fn flag(&mut self, key: &str) -> bool;

    /// A duration, as in `"1h30m"`, of at least `least` (none, or a microsecond where nothing is not enough).
    fn duration(&mut self, key: &str, least: Span) -> Option<Span>;

    /// A table of its own, which may have these keys and no others: `read` is given it, where it is there.
    fn section(&mut self, key: &str, keys: &[&str], read: &mut dyn FnMut(&mut dyn Settings));

    /// An absolute local path.
    fn path(&mut self, key: &str) -> Option<PathBuf>;

    /// A pattern for files: an absolute local path or an object store's URL. What a URL takes from the environment is secret.
    fn glob(&mut self, key: &str) -> Option<String>;

    /// A table whose keys are names that the user chose, of tables within tables the innermost values.
    fn properties(&mut self, key: &str) -> Vec<Property>;

    /// Which of several kinds a key names: its place among `choices`. Keys of the section that go with other choices alone are told.
    fn choose(&mut self, tag: &'static str, default: Option<&'static str>, choices: &[Choice]) -> Option<usize>;

    /// A string that has to be there; where it is not, that is told, and an empty one stands for it.
    fn required(&mut self, key: &str, hint: &str) -> Text {
        if !self.has(key) {
            self.missing(key, hint);
        }
        self.text(key).unwrap_or(Text { at: self.at(), ..Text::default() })
    }
}

/// One of several, and the keys that go with it.
#[derive(Clone, Debug)]
pub struct Choice {
    /// As the user names it.
    pub name: &'static str,
    /// Without the key that names the choice itself.
    pub keys: Vec<&'static str>,
}

/// What a source reads or a sink writes, as far as two of them must not meet in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `what`: what kind of place, as messages name it (`topic`); `place`: which one, whatever else is said of it.
    At {
        /// `topic`, `file`, `store`.
        what: &'static str,
        /// Equal for equal places.
        place: String,
    },
    /// There is one of its kind in a job, as messages name it (`embedded store`).
    Sole(&'static str),
}

impl Endpoint {
    /// A local file, by its absolute path.
    pub fn of_file(path: &std::path::Path) -> Endpoint {
        Endpoint::At { what: FILE, place: path.display().to_string() }
    }

    /// Its path, where it is a local file.
    pub fn file(&self) -> Option<&str> {
        match self {
            Endpoint::At { what: FILE, place } => Some(place),
            Endpoint::At { .. } | Endpoint::Sole(_) => None,
        }
    }
}

const FILE: &str = "file";

/// A list of kinds as choices.
pub fn choices<'k, K: Kind + ?Sized + 'k>(kinds: impl IntoIterator<Item = &'k K>) -> Vec<Choice> {
    kinds.into_iter().map(|kind| Choice { name: kind.name(), keys: kind.keys() }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::format::FORMATS;
    use crate::history::HISTORIES;
    use crate::sink::SINKS;
    use crate::stream::STREAMS;

    /// A kind that is in a list is told to users.
    #[test]
    fn kinds_have_names_of_their_own_and_are_documented() {
        let docs = include_str!("../../docs/jobs.md");
        let check = |list: &str, kinds: Vec<Choice>| {
            let names: BTreeSet<&str> = kinds.iter().map(|kind| kind.name).collect();
            assert_eq!(names.len(), kinds.len(), "{list} have one name twice");
            for word in kinds.iter().flat_map(|kind| [kind.name].into_iter().chain(kind.keys.iter().copied())) {
                let told = docs.contains(&format!("`{word}`")) || docs.contains(&format!(".{word}]`"));
                assert!(told, "docs/jobs.md says nothing of `{word}`, of {list}");
            }
        };
        check("histories", choices(HISTORIES.iter().copied()));
        check("streams", choices(STREAMS.iter().copied()));
        check("formats", choices(FORMATS.iter().copied()));
        check("sinks", choices(SINKS.iter().copied()));
    }
}
