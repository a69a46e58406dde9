//! Which format a table has, by its name's ending.

use crate::{Error, Result};

/// How a table's file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// `.parquet`, `.pq`
    Parquet,
    /// `.arrow`, `.feather`, `.ipc`: an Arrow IPC file. One that is a stream is read too.
    Ipc,
}

impl TableFormat {
    /// The format of a path or URL.
    ///
    /// # Errors
    /// `Config`: no ending that is known.
    pub fn of(path: &str) -> Result<TableFormat> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        match ending.as_str() {
            "parquet" | "pq" => Ok(TableFormat::Parquet),
            "arrow" | "feather" | "ipc" => Ok(TableFormat::Ipc),
            "csv" | "jsonl" | "json" | "tsv" => Err(Error::Config(format!(
                "{path}: a table of text has no types: write it as Parquet (.parquet) or Arrow (.arrow) first"
            ))),
            _ => Err(Error::Config(format!(
                "{path}: its name's ending says no format: expected .parquet, or .arrow, .feather or .ipc"
            ))),
        }
    }
}
