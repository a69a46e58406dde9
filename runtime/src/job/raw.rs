//! Raw: the job as typed in a file, or as it was built (`build`): a tree of tables and values in the file's order, each with its place. Variables are filled
//! in.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::syntax::{self, Torn};
use super::variables::{self, Text};
use crate::base::fault::{At, Faults};

#[derive(Clone, Debug)]
pub struct Node {
    pub at: At,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    String(Text),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
    /// Already told as a fault: whoever needs it says no more.
    Broken,
}

impl Kind {
    /// For messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Kind::String(_) => "a string",
            Kind::Integer(_) => "an integer",
            Kind::Float(_) => "a float",
            Kind::Boolean(_) => "a boolean",
            Kind::Datetime(_) => "a date or time",
            Kind::Array(_) => "a list",
            Kind::Table(_) => "a table",
            Kind::Broken => "nothing",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Table {
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    /// The key's place.
    pub at: At,
    pub value: Node,
}

impl Table {
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// A job as it was read.
pub struct Raw {
    pub root: Table,
    pub torn: Torn,
}

/// Reads a job file. Faults are collected; the tree holds what could be read.
pub fn read(text: &str, env: &dyn Fn(&str) -> Option<String>, faults: &mut Faults) -> Raw {
    let (mended, torn) = syntax::mend(text, faults);
    let (root, _) = DeTable::parse_recoverable(&mended);
    let root = TableParser { text, env, faults }.table(root.get_ref());
    Raw { root, torn }
}

struct TableParser<'a> {
    text: &'a str,
    env: &'a dyn Fn(&str) -> Option<String>,
    faults: &'a mut Faults,
}

impl TableParser<'_> {
    fn table(&mut self, table: &DeTable<'_>) -> Table {
        let mut sorted: Vec<_> = table.iter().collect();
        sorted.sort_by_key(|(key, _)| key.span().start);
        let entries = sorted.into_iter().map(|(key, value)| Entry {
            name: key.get_ref().to_string(),
            at: self.at(key.span().start),
            value: self.node(value),
        });
        Table { entries: entries.collect() }
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>) -> Node {
        let at = self.at(value.span().start);
        let kind = match value.get_ref() {
            DeValue::String(text) => self.string(text, value.span()),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Kind::Integer(integer),
                Err(_) => self.broken(at, "the integer does not fit into 64 bits".into()),
            },
            DeValue::Float(float) => match float.as_str().parse() {
                Ok(float) => Kind::Float(float),
                Err(_) => self.broken(at, "this is no float".into()),
            },
            DeValue::Boolean(boolean) => Kind::Boolean(*boolean),
            DeValue::Datetime(datetime) => Kind::Datetime(datetime.to_string()),
            DeValue::Array(array) => Kind::Array(array.iter().map(|value| self.node(value)).collect()),
            DeValue::Table(table) => Kind::Table(self.table(table)),
        };
        Node { at, kind }
    }

    fn string(&mut self, text: &str, span: std::ops::Range<usize>) -> Kind {
        match variables::fill(text, self.env) {
            Ok(text) => Kind::String(Text { starts: self.starts(&text.text, span), ..text }),
            Err(wrong) => {
                let mut from = span.start;
                for (starts, message) in wrong {
                    // Found in the text as typed, unless escapes hide it: then the string as a whole is the place.
                    let found = self.text.get(from..span.end).and_then(|typed| typed.find(&starts));
                    from += found.unwrap_or(0);
                    let at = self.at(from);
                    self.faults.error(at, message);
                    from += found.map_or(0, |_| starts.len());
                }
                Kind::Broken
            }
        }
    }

    /// Where the text between the quotes begins, if it is typed as it is.
    fn starts(&self, text: &str, span: std::ops::Range<usize>) -> Option<At> {
        let typed = self.text.get(span.clone())?;
        let quotes = if typed.starts_with("\"\"\"") || typed.starts_with("'''") { 3 } else { 1 };
        let inside = typed.get(quotes..typed.len().checked_sub(quotes)?)?;
        let newline = ["\r\n", "\n"].iter().find(|newline| quotes == 3 && inside.starts_with(**newline));
        let skipped = newline.map_or(0, |newline| newline.len());
        (inside[skipped..] == *text).then(|| self.at(span.start + quotes + skipped))
    }

    fn broken(&mut self, at: At, message: String) -> Kind {
        self.faults.error(at, message);
        Kind::Broken
    }

    fn at(&self, offset: usize) -> At {
        syntax::at(self.text, offset)
    }
}
