//! CSV records to columns: RFC 4180, strict, and only of what is used.
//!
//! ```text
//! columns: card_id, amount, note      wanted: amount float64, card_id utf8      null = ""
//!
//! record                    amount    card_id
//! c1,12.5,                  12.5      c1
//! "c,1","12.5","say ""hi""" 12.5      c,1          quotes say nothing of a type
//! c1,,x                     null      c1
//! c1,12€,x                  (null)    c1           a field does not decode
//! c1,12.5                   (null)    (null)       malformed: two fields for three columns
//! c1,1"2,x                  (null)    (null)       malformed: a quote inside
//! ```
//!
//! A record is malformed if it is not UTF-8, has another number of fields than there are columns, or breaks the rules of RFC 4180: a
//! quote inside a field without quotes, something between a closing quote and the delimiter, a quote that is not closed, a line break
//! outside quotes. One line break may end it. Nothing is trimmed.
//!
//! A field is null where its text is `null`, in quotes or not. Else its column's type says what it has to be, as strictly as JSON: a
//! number is written as JSON has it (no `+1`, `01`, `.5` or ` 1`), and text is what it is.

pub(crate) mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::builder::Builder;
use super::value::{Leniency, Value};
use super::{Decoded, Decoder, Format, FormatKind, Message, looks};
use crate::records::path_of;
use crate::settings::{Kind, Settings};
use crate::{Error, Result, Wanted};
use scan::{Field, fields};

/// CSV as a kind of format.
pub static CSV: &CsvKind = &CsvKind;

/// See [`CSV`].
#[derive(Debug)]
pub struct CsvKind;

impl Kind for CsvKind {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn keys(&self) -> Vec<&'static str> {
        vec!["columns", "null", "delimiter"]
    }
}

impl FormatKind for CsvKind {
    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn Format> {
        if !settings.has("columns") {
            settings
                .missing("columns", "name the fields of a record in their order, like columns = [\"card_id\", \"ts\"]");
        }
        let columns = columns(settings).unwrap_or_default();
        Arc::new(Csv { dialect: Dialect::read(settings), columns })
    }
}

/// What fields are called that nobody needs.
const UNNAMED: &str = "_";

/// The names of the fields, where the job gives them.
pub(crate) fn columns(settings: &mut dyn Settings) -> Option<Vec<String>> {
    let names = settings.list("columns")?;
    for (n, name) in names.iter().enumerate() {
        if name.text != UNNAMED && names[..n].iter().any(|earlier| earlier.text == name.text) {
            settings.error(name.at, format!("`columns` names `{}` twice", name.text));
        }
    }
    Some(names.into_iter().map(|name| name.text).collect())
}

/// How fields are told apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dialect {
    /// Between two fields.
    pub delimiter: u8,
    /// The text that is null.
    pub null: String,
}

impl Dialect {
    pub fn read(settings: &mut dyn Settings) -> Dialect {
        let null = settings.any_text("null").map(|text| text.text).unwrap_or_default();
        let Some(text) = settings.any_text("delimiter") else { return Dialect { delimiter: b',', null } };
        let delimiter = match *text.text.as_bytes() {
            [byte] if byte.is_ascii() && !b"\"\r\n".contains(&byte) => byte,
            _ => {
                let expected = "expected one ASCII character, and no quote or line break, like \";\"";
                settings.error(text.at, format!("`delimiter`: {expected}"));
                b','
            }
        };
        Dialect { delimiter, null }
    }
}

/// Records of the columns that the job names.
#[derive(Debug)]
struct Csv {
    dialect: Dialect,
    columns: Vec<String>,
}

impl Format for Csv {
    fn decoder(&self, wanted: &Wanted) -> Result<Box<dyn Decoder>> {
        let decoder = CsvDecoder::new(&self.dialect, &self.columns, wanted);
        Ok(Box::new(decoder.map_err(|name| Error::Config(format!("`columns` names {name:?} twice")))?))
    }

    fn listed(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn looks(&self, value: &[u8]) -> Option<String> {
        if let Some(look) = looks::of_bytes(value) {
            return Some(look.of_record());
        }
        let Ok(text) = std::str::from_utf8(without_line_break(value)) else {
            return Some("it is no text in UTF-8".into());
        };
        if text.starts_with("{\"") {
            return Some("it looks like JSON: say format = \"json\"".into());
        }
        let first = text.lines().next().unwrap_or_default();
        let count = |delimiter| {
            let mut found = vec![];
            fields(first, delimiter, &mut found).map(|()| found.len())
        };
        if names(first.as_bytes(), &self.dialect).is_ok_and(|names| names == self.columns) {
            let place = if first.len() == text.len() { "it is" } else { "before it stands" };
            return Some(format!("{place} a header line: `columns` says the names, so send records alone"));
        }
        let (has, width) = (count(self.dialect.delimiter)?, self.columns.len());
        let mut others = [b',', b';', b'\t', b'|'].into_iter().filter(|other| *other != self.dialect.delimiter);
        match others.find(|other| width > 1 && count(*other) == Some(width)) {
            _ if has == width && first.len() < text.len() => Some("it has several lines, and a record is one".into()),
            _ if has == width => None,
            Some(other) => {
                let other = char::from(other).to_string();
                Some(format!("its fields are parted by {other:?}: say delimiter = {other:?}"))
            }
            None => Some(format!("it has {has} fields, and `columns` names {width}")),
        }
    }
}

/// Decodes CSV records to the wanted columns.
pub struct CsvDecoder {
    dialect: Dialect,
    /// How many fields a record has.
    width: usize,
    /// By wanted column: its field, and how that is written. `None`: records do not have it.
    columns: Vec<Option<(usize, Spelling)>>,
    builder: Builder,
    /// Where this record's fields lie.
    fields: Vec<Field>,
    /// A field without its quotes; kept for its memory.
    plain: String,
}

/// What a field's text has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::format) enum Spelling {
    Text,
    Word,
    Number,
}

impl CsvDecoder {
    /// Of records whose fields are called so, with commas between them, and null where they are empty.
    ///
    /// # Errors
    /// The name of a wanted column that is there twice.
    pub fn of_columns(names: &[String], wanted: &Wanted) -> Result<CsvDecoder, String> {
        CsvDecoder::new(&Dialect { delimiter: b',', null: String::new() }, names, wanted)
    }

    /// The error is the name of a wanted column that is there twice. A column that is not there is null.
    pub(crate) fn new(dialect: &Dialect, names: &[String], wanted: &Wanted) -> Result<CsvDecoder, String> {
        let index = |field: &Arc<arrow::datatypes::Field>| {
            // Nothing is nested here: dots of a path are dots of a name.
            let wanted = path_of(field).names().join(".");
            let mut indexes = names.iter().enumerate().filter(|(_, name)| **name == wanted).map(|(at, _)| at);
            match (indexes.next(), indexes.next()) {
                (_, Some(_)) => Err(field.name().clone()),
                (at, None) => Ok(at.map(|at| (at, Spelling::of(field.data_type())))),
            }
        };
        Ok(CsvDecoder {
            dialect: dialect.clone(),
            width: names.len(),
            columns: wanted.schema.fields().iter().map(index).collect::<Result<_, _>>()?,
            builder: Builder::new(wanted, Leniency::default()),
            fields: Vec::new(),
            plain: String::new(),
        })
    }
}

impl Decoder for CsvDecoder {
    fn push(&mut self, message: &Message) {
        let text = simdutf8::basic::from_utf8(without_line_break(message.value)).ok();
        let whole = text.filter(|text| {
            fields(text, self.dialect.delimiter, &mut self.fields).is_some() && self.fields.len() == self.width
        });
        let Some(text) = whole else { return self.builder.malformed() };
        for (column, index) in self.columns.iter().enumerate() {
            let value = index.map_or(Value::Null, |(at, spelling)| {
                let field = self.fields[at].text(text, &mut self.plain);
                if field == self.dialect.null { Value::Null } else { spelling.value(field) }
            });
            self.builder.push(column, Some(value));
        }
        self.builder.end();
    }

    fn len(&self) -> usize {
        self.builder.len()
    }

    fn finish(&mut self) -> Decoded {
        self.builder.finish()
    }
}

impl Spelling {
    pub fn of(data_type: &DataType) -> Spelling {
        match data_type {
            DataType::Utf8 | DataType::Date32 => Spelling::Text,
            DataType::Boolean => Spelling::Word,
            _ => Spelling::Number,
        }
    }

    /// What is no number or word stays a text, as which floats have their specials and times their RFC 3339.
    pub fn value(self, field: &str) -> Value<'_> {
        match (self, field) {
            (Spelling::Word, "true") => Value::Bool(true),
            (Spelling::Word, "false") => Value::Bool(false),
            (Spelling::Number, _) => Value::number(field).unwrap_or(Value::Text(field)),
            (Spelling::Text | Spelling::Word, _) => Value::Text(field),
        }
    }
}

/// The names that a file's header gives to its columns.
pub(crate) fn names(header: &[u8], dialect: &Dialect) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(without_line_break(header)).map_err(|_| "its header is not UTF-8".to_owned())?;
    let (mut found, mut plain) = (Vec::new(), String::new());
    fields(text, dialect.delimiter, &mut found).ok_or("its header breaks the rules of CSV")?;
    Ok(found.iter().map(|field| field.text(text, &mut plain).to_owned()).collect())
}

/// A record without the one line break that may end it.
pub(crate) fn without_line_break(record: &[u8]) -> &[u8] {
    let line = record.strip_suffix(b"\n").unwrap_or(record);
    line.strip_suffix(b"\r").unwrap_or(line)
}
