//! What the tests of passes over a history share: files, and a source opened over them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;
use headwater_connectors::Wanted;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::base::id::IdVec;
use crate::catalog;
use crate::catalog::opened::Opened;
use crate::job::parse::parse;

/// A job with the one source `events`, of which `source` is the text.
pub fn open(dir: &Path, source: &str) -> Opened {
    let text = format!(
        "name = \"t\"\n[sources.events]\n{source}\n[features.all]\nsource = \"events\"\nkey = \"card\"\n\
         columns = {{ n = {{ agg = \"count\", window = \"all\" }} }}\n"
    );
    open_job(dir, &text)
}

pub fn open_job(dir: &Path, text: &str) -> Opened {
    let (job, _) = parse("job.toml", dir, text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
    catalog::open::open(job, &IdVec::new(), &Default::default()).unwrap_or_else(|e| panic!("{e}"))
}

pub fn write_parquet(path: &Path, columns: &[(&str, ArrayRef)], rows_a_group: usize) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, c)| (*n, c.clone(), true))).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows_a_group)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub fn wanted_of_nothing() -> Wanted {
    Wanted { schema: Arc::new(Schema::empty()), time_unit_ns: 1_000_000 }
}
