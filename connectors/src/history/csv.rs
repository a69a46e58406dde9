//! CSV as a kind of history: a record is a line, or several where quotes hold line breaks. The first record of each file names its
//! columns, unless the job does.
//!
//! A column of the schema that a file does not have is null there; one that the schema does not have is not looked at. A wanted column that
//! a file has twice is an error.

use std::sync::Arc;

use super::text::{self, Framing, Layout};
use super::{History, HistoryConfig, HistoryKind, Pinned};
use crate::format::csv::scan::CsvFraming;
use crate::format::csv::{self, CsvDecoder, Dialect};
use crate::format::{Decoder, looks};
use crate::settings::{Kind, Settings};
use crate::{Result, Wanted};

/// CSV as a kind of history.
pub static CSV: &CsvKind = &CsvKind;

/// See [`CSV`].
#[derive(Debug)]
pub struct CsvKind;

impl Kind for CsvKind {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn keys(&self) -> Vec<&'static str> {
        [vec!["path"], csv::CSV.keys()].concat()
    }
}

impl HistoryKind for CsvKind {
    fn title(&self) -> &'static str {
        "CSV"
    }

    fn gives_columns(&self) -> bool {
        false
    }

    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn HistoryConfig> {
        let path = super::path(settings);
        Arc::new(Csv { path, layout: CsvLayout { columns: csv::columns(settings), dialect: Dialect::read(settings) } })
    }
}

#[derive(Debug)]
struct Csv {
    path: String,
    layout: CsvLayout,
}

impl HistoryConfig for Csv {
    fn path(&self) -> &str {
        &self.path
    }

    fn listed(&self) -> Option<&[String]> {
        self.layout.columns.as_deref()
    }

    fn open(&self, pinned: Option<&Pinned>) -> Result<Arc<dyn History>> {
        Ok(Arc::new(text::open(&self.path, pinned, self.layout.clone())?))
    }
}

#[derive(Clone, Debug)]
struct CsvLayout {
    /// `None`: each file has a header.
    columns: Option<Vec<String>>,
    dialect: Dialect,
}

impl Layout for CsvLayout {
    fn framing(&self) -> Box<dyn Framing> {
        Box::new(CsvFraming::new(self.dialect.delimiter))
    }

    fn has_header(&self) -> bool {
        self.columns.is_none()
    }

    fn is_other(&self, start: &[u8]) -> Option<String> {
        let is_json = self.columns.is_none() && start.starts_with(b"{\"");
        let json = || is_json.then(|| "it is JSON, and no header of CSV: that is type = \"jsonl\"".to_owned());
        looks::of_bytes(start).map(looks::Look::of_lines).or_else(json)
    }

    fn decoder(&self, header: Option<&[u8]>, wanted: &Wanted) -> Result<Box<dyn Decoder>, String> {
        let names = match (&self.columns, header) {
            (Some(columns), _) => columns.clone(),
            (None, Some(header)) => csv::names(header, &self.dialect)?,
            // A file without a byte has no record either.
            (None, None) => vec![],
        };
        let decoder = CsvDecoder::new(&self.dialect, &names, wanted);
        Ok(Box::new(decoder.map_err(|name| format!("it has two columns {name:?}"))?))
    }
}

impl Framing for CsvFraming {
    fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        CsvFraming::next(self, bytes)
    }
}

#[cfg(test)]
mod tests;
