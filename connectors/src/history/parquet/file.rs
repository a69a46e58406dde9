//! A pinned file with its footer: what it says of its columns, and what lies at a path.

use arrow::datatypes::{DataType, Field};

use super::fetch::{Fetch, damaged};
use super::footer::Footer;
use super::part::Part;
use super::{merge, schema, statistics};
use crate::history::Range;
use crate::records::path_of;
use crate::{Error, Result};

pub(super) struct ParquetFile {
    pub fetch: Fetch,
    pub footer: Footer,
}

impl ParquetFile {
    pub fn path(&self) -> &str {
        &self.fetch.pinned.path
    }

    /// What lies at a path; `None`: there is none, and all is null.
    pub fn part(&self, path: &crate::Path, wanted: Option<&DataType>) -> Result<Option<Part>> {
        self.footer.part(path, wanted).map_err(|why| damaged(self.path(), why))
    }

    pub fn wanted(&self, field: &Field) -> Result<Option<Part>> {
        let (name, wanted) = (field.name(), field.data_type());
        let told = |why: String| Error::Config(format!("column {name:?} {why}"));
        let Some(column) = self.part(&path_of(field), Some(wanted))? else { return Ok(None) };
        let found = schema::seen_as(column.data_type());
        match found.is_nested() || merge::widest(&found, wanted).is_some_and(|widest| widest == *wanted) {
            true => Ok(Some(column)),
            false => Err(told(format!("is {found} in {}, and {wanted} is wanted", self.path()))),
        }
    }

    pub fn range(&self, row_group: usize, part: Option<&Part>) -> Option<Range> {
        let group = self.footer.metadata.row_group(row_group);
        let Some(part) = part else {
            return Some(Range { bounds: None, nulls: group.num_rows().max(0) as u64 });
        };
        statistics::range(group.column(part.value()?), group.num_rows(), part.data_type())
    }
}
