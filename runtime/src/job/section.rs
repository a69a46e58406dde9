//! A section: one table of the job file, read key by key. Unknown, missing and mistyped keys become faults.

use std::path::Path;

use headwater_clocks::Span;
use headwater_connectors::settings::Choice;

use super::nearest::expected;
use super::raw::{Entry, Kind, Node, Table};
use super::syntax::Torn;
use super::variables::Text;
use super::{Named, duration};
use crate::base::fault::{At, Faults};

/// The shortest length of time that is one.
pub const SOME: Span = Span::from_us(1);

/// What the reading of a job gathers, and what it needs everywhere.
pub struct Context<'a> {
    /// The job file's directory, absolute.
    pub dir: &'a Path,
    pub torn: Torn,
    pub faults: Faults,
    pub secrets: Vec<String>,
}

impl Context<'_> {
    pub fn error(&mut self, at: At, message: impl Into<String>) {
        self.faults.error(at, message);
    }

    pub fn warning(&mut self, at: At, message: impl Into<String>) {
        self.faults.warning(at, message);
    }
}

pub struct Section<'a> {
    /// How messages name it: ``source `tx` ``.
    pub what: String,
    /// The key that holds it.
    pub at: At,
    table: &'a Table,
}

/// A section whose keys depend on one of them (`type`, `by`).
pub struct Choices<'a> {
    pub tag: &'static str,
    /// Taken where the tag is not given.
    pub default: Option<&'static str>,
    pub choices: &'a [Choice],
    /// Keys that go with every choice.
    pub common: &'a [&'static str],
}

impl Choices<'_> {
    /// Every key that the section may have.
    fn keys(&self) -> Vec<&'static str> {
        let mut keys: Vec<&'static str> = Vec::new();
        let all = self.choices.iter().flat_map(|choice| &choice.keys).chain(self.common).chain([&self.tag]);
        all.for_each(|key| keys.extend((!keys.contains(key)).then_some(*key)));
        keys
    }
}

impl<'a> Section<'a> {
    /// Opens a table that may hold these keys and no others.
    pub fn open(cx: &mut Context, what: String, entry: &'a Entry, known: &[&str]) -> Option<Section<'a>> {
        let section = Section::any(cx, what, entry)?;
        section.refuse_unknown(cx, known);
        Some(section)
    }

    /// Opens a table whose keys are names that the user chose.
    pub fn any(cx: &mut Context, what: String, entry: &'a Entry) -> Option<Section<'a>> {
        match &entry.value.kind {
            Kind::Table(table) => Some(Section { what, at: entry.at, table }),
            Kind::Broken => None,
            other => {
                cx.error(entry.value.at, format!("{what} must be a table, not {}", other.describe()));
                None
            }
        }
    }

    /// An empty section for one that could not be opened.
    pub fn stand_in(entry: &Entry, table: &'a Table) -> Section<'a> {
        Section { what: format!("`{}`", entry.name), at: entry.at, table }
    }

    pub fn root(cx: &mut Context, table: &'a Table, known: &[&str]) -> Section<'a> {
        let section = Section { what: "the job".into(), at: At { line: 1, column: 1, file: 0 }, table };
        section.refuse_unknown(cx, known);
        section
    }

    /// Opens a table with choices, and tells which one was taken, by its place among them (`None`: a fault).
    pub fn choose(
        cx: &mut Context,
        what: String,
        entry: &'a Entry,
        choices: &Choices,
    ) -> Option<(Section<'a>, Option<usize>)> {
        let section = Section::any(cx, what, entry)?;
        let chosen = section.choice(cx, choices);
        section.refuse_unknown(cx, &choices.keys());
        Some((section, chosen))
    }

    /// Which of the choices the section names. Keys that go with others alone are told.
    pub fn choice(&self, cx: &mut Context, choices: &Choices) -> Option<usize> {
        let tag = choices.tag;
        let names = || choices.choices.iter().map(|choice| choice.name);
        let chosen = match self.get(tag) {
            None if choices.default.is_some() => names().position(|name| Some(name) == choices.default),
            None => {
                let hint = expected("", names());
                self.missing(cx, tag, &hint);
                None
            }
            Some(entry) => string(cx, tag, &entry.value).and_then(|text| {
                let found = names().position(|name| name == text.text);
                if found.is_none() {
                    let hint = expected(&text.text, names());
                    cx.error(entry.value.at, format!("unknown `{tag}` `{}` of {}: {hint}", text.text, self.what));
                }
                found
            }),
        };
        if let Some(chosen) = chosen {
            self.refuse_unchosen(cx, choices, &choices.choices[chosen]);
        }
        chosen
    }

    fn refuse_unchosen(&self, cx: &mut Context, choices: &Choices, chosen: &Choice) {
        for entry in self.entries() {
            let name = entry.name.as_str();
            let with = || choices.choices.iter().filter(|choice| choice.keys.contains(&name));
            let is_common = choices.common.contains(&name) || name == choices.tag;
            if with().next().is_some() && !is_common && !chosen.keys.contains(&name) {
                let with: Vec<String> = with().map(|choice| format!("{} = \"{}\"", choices.tag, choice.name)).collect();
                let (with, what, chosen) = (with.join(" or "), &self.what, chosen.name);
                let message = format!("`{name}` goes with {with} only, and {what} has {} = \"{chosen}\"", choices.tag);
                cx.error(entry.at, message);
            }
        }
    }

    fn refuse_unknown(&self, cx: &mut Context, known: &[&str]) {
        for entry in self.entries().filter(|entry| !known.contains(&entry.name.as_str())) {
            let hint = expected(&entry.name, known.iter().copied());
            cx.error(entry.at, format!("unknown key `{}` in {}: {hint}", entry.name, self.what));
        }
    }

    pub fn entries(&self) -> impl Iterator<Item = &'a Entry> + use<'a> {
        self.table.entries.iter()
    }

    pub fn get(&self, key: &str) -> Option<&'a Entry> {
        self.table.get(key)
    }

    /// Tells that a key is missing, unless wrong syntax may have swallowed it.
    pub fn missing(&self, cx: &mut Context, key: &str, hint: &str) {
        if !cx.torn.table(self.at) {
            cx.error(self.at, format!("{} has no `{key}`: {hint}", self.what));
        }
    }

    pub fn text(&self, cx: &mut Context, key: &str) -> Option<(&'a Text, At)> {
        let entry = self.get(key)?;
        Some((string(cx, key, &entry.value)?, entry.value.at))
    }

    pub fn named(&self, cx: &mut Context, key: &str) -> Option<Named> {
        self.text(cx, key).map(|(text, at)| Named { text: text.text.clone(), at })
    }

    /// A key that must be there; where it is not, an empty text stands for it.
    pub fn required(&self, cx: &mut Context, key: &str, hint: &str) -> Named {
        if self.get(key).is_none() {
            self.missing(cx, key, hint);
        }
        self.named(cx, key).unwrap_or(Named { text: String::new(), at: self.at })
    }

    /// A duration of at least `least` ([`Span::ZERO`] or [`SOME`]: whether nothing is enough).
    pub fn duration(&self, cx: &mut Context, key: &str, least: Span) -> Option<Span> {
        duration_of(cx, key, &self.get(key)?.value, least)
    }

    pub fn flag(&self, cx: &mut Context, key: &str) -> bool {
        match self.get(key).map(|entry| &entry.value) {
            None | Some(Node { kind: Kind::Broken, .. }) => false,
            Some(Node { kind: Kind::Boolean(flag), .. }) => *flag,
            Some(Node { at, kind }) => {
                cx.error(*at, format!("`{key}` must be true or false, not {}", kind.describe()));
                false
            }
        }
    }

    /// An integer in `least..=most`.
    pub fn integer(&self, cx: &mut Context, key: &str, least: i64, most: i64) -> Option<i64> {
        let Node { at, kind } = &self.get(key)?.value;
        let found = match kind {
            Kind::Integer(integer) if (least..=most).contains(integer) => return Some(*integer),
            Kind::Integer(integer) => integer.to_string(),
            Kind::Broken => return None,
            other => other.describe().into(),
        };
        let most = if most == i64::MAX { "or more".into() } else { format!("to {most}") };
        cx.error(*at, format!("`{key}` must be an integer of {least} {most}, not {found}"));
        None
    }

    /// A list of strings; `None` where the key is missing or wrong.
    pub fn list(&self, cx: &mut Context, key: &str) -> Option<Vec<Named>> {
        let Node { at, kind } = &self.get(key)?.value;
        match kind {
            Kind::Array(nodes) if nodes.is_empty() => {
                cx.error(*at, format!("`{key}` is empty: expected at least one"));
                None
            }
            Kind::Array(nodes) => {
                let of_key = format!("an entry of `{key}`");
                let named = |node: &Node| Some(Named { text: text(cx, &of_key, node)?.text.clone(), at: node.at });
                Some(nodes.iter().filter_map(named).collect())
            }
            Kind::Broken => None,
            other => {
                cx.error(*at, format!("`{key}` must be a list of strings, not {}", other.describe()));
                None
            }
        }
    }
}

/// Tells it where a name has other characters than letters, digits, underscores and `also`.
pub fn name_is_plain(cx: &mut Context, kind: &str, name: &str, at: At, also: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || also.contains(c);
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain);
    if !fits && !name.is_empty() {
        let pattern = format!("[A-Za-z][A-Za-z0-9_{also}]*");
        cx.error(at, format!("`{name}` is no name for a {kind}: expected {pattern}, a letter first"));
    }
}

/// A string that says something.
pub fn string<'a>(cx: &mut Context, key: &str, node: &'a Node) -> Option<&'a Text> {
    text(cx, &format!("`{key}`"), node)
}

fn text<'a>(cx: &mut Context, what: &str, node: &'a Node) -> Option<&'a Text> {
    let text = any_text(cx, what, node)?;
    if text.text.trim().is_empty() {
        cx.error(node.at, format!("{what} is empty"));
        return None;
    }
    Some(text)
}

/// A string, also an empty one. `what`: how messages name it.
pub fn any_text<'a>(cx: &mut Context, what: &str, node: &'a Node) -> Option<&'a Text> {
    match &node.kind {
        Kind::String(text) => Some(text),
        Kind::Broken => None,
        other => {
            cx.error(node.at, format!("{what} must be a string, not {}", other.describe()));
            None
        }
    }
}

pub fn duration_of(cx: &mut Context, key: &str, node: &Node, least: Span) -> Option<Span> {
    let text = match &node.kind {
        Kind::String(text) => &text.text,
        Kind::Broken => return None,
        other => {
            let found = other.describe();
            cx.error(node.at, format!("`{key}` must be a duration in quotes, like \"30s\" or \"1h30m\", not {found}"));
            return None;
        }
    };
    match duration::parse(text) {
        Ok(span) if span >= least => Some(span),
        Ok(_) => {
            cx.error(node.at, format!("`{key}` must be longer than 0: at least {}", duration::display(least)));
            None
        }
        Err(message) => {
            cx.error(node.at, format!("`{key}`: {message}"));
            None
        }
    }
}
