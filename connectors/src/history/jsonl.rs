//! JSON lines as a kind of history: a record is a line, which only `\n` ends. A blank line is a record, and malformed.

use std::sync::Arc;

use super::text::{self, Framing, Layout, LineFraming};
use super::{History, HistoryConfig, HistoryKind, Pinned};
use crate::format::json::{JSON, Json};
use crate::format::{Decoder, looks};
use crate::settings::{Kind, Settings};
use crate::{Result, Wanted};

/// JSON lines as a kind of history.
pub static JSONL: &JsonlKind = &JsonlKind;

/// See [`JSONL`].
#[derive(Debug)]
pub struct JsonlKind;

impl Kind for JsonlKind {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn keys(&self) -> Vec<&'static str> {
        [vec!["path"], JSON.keys()].concat()
    }
}

impl HistoryKind for JsonlKind {
    fn title(&self) -> &'static str {
        "JSON lines"
    }

    fn gives_columns(&self) -> bool {
        false
    }

    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn HistoryConfig> {
        let path = super::path(settings);
        Arc::new(Jsonl { path, layout: JsonlLayout { format: Json::read_options(settings) } })
    }
}

/// The files that a pattern names, with nothing else set.
#[cfg(test)]
pub(super) fn of_path(path: &str) -> Arc<dyn HistoryConfig> {
    Arc::new(Jsonl { path: path.into(), layout: JsonlLayout::default() })
}

#[derive(Debug)]
struct Jsonl {
    path: String,
    layout: JsonlLayout,
}

impl HistoryConfig for Jsonl {
    fn path(&self) -> &str {
        &self.path
    }

    fn open(&self, pinned: Option<&Pinned>) -> Result<Arc<dyn History>> {
        Ok(Arc::new(text::open(&self.path, pinned, self.layout.clone())?))
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct JsonlLayout {
    format: Json,
}

impl Layout for JsonlLayout {
    fn framing(&self) -> Box<dyn Framing> {
        Box::new(LineFraming)
    }

    fn has_header(&self) -> bool {
        false
    }

    fn is_other(&self, start: &[u8]) -> Option<String> {
        looks::no_json_lines(start)
    }

    fn decoder(&self, _: Option<&[u8]>, wanted: &Wanted) -> Result<Box<dyn Decoder>, String> {
        Ok(Box::new(self.format.json_decoder(wanted)))
    }
}
