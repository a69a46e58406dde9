//! The ledger's segments on local disk: files that are written once, read when their turn comes, and removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::types::UInt64Type;
use arrow::array::{RecordBatch, UInt64Array};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use headwater_operators::ledger::{SegmentError, Segments};

/// One group's segments on one worker.
pub struct SegmentFiles {
    dir: PathBuf,
    next: u64,
}

impl SegmentFiles {
    /// Begins with an empty directory: segments do not outlive their process.
    pub fn create(dir: &Path) -> std::io::Result<SegmentFiles> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir)?;
        Ok(SegmentFiles { dir: dir.to_owned(), next: 0 })
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.dir.join(format!("{segment}.arrow"))
    }
}

fn failed(doing: &str, path: &Path, cause: impl std::fmt::Display) -> SegmentError {
    SegmentError(format!("{doing} the ledger's segment {}: {cause}", path.display()))
}

impl Segments for SegmentFiles {
    fn write(&mut self, rows: &[u64]) -> Result<u64, SegmentError> {
        let path = self.path(self.next);
        let column: Arc<dyn arrow::array::Array> = Arc::new(UInt64Array::from_iter_values(rows.iter().copied()));
        let write = || -> Result<(), Box<dyn std::error::Error>> {
            let batch = RecordBatch::try_from_iter([("words", column)])?;
            let mut writer = FileWriter::try_new_buffered(fs::File::create(&path)?, &batch.schema())?;
            writer.write(&batch)?;
            writer.finish()?;
            Ok(())
        };
        write().map_err(|e| failed("writing", &path, e))?;
        self.next += 1;
        Ok(self.next - 1)
    }

    fn read(&mut self, segment: u64) -> Result<Vec<u64>, SegmentError> {
        let path = self.path(segment);
        let read = || -> Result<Vec<u64>, Box<dyn std::error::Error>> {
            let mut rows = vec![];
            for batch in FileReader::try_new_buffered(fs::File::open(&path)?, None)? {
                let batch = batch?;
                let words = batch.columns().first().and_then(|column| column.as_primitive_opt::<UInt64Type>());
                rows.extend_from_slice(words.ok_or("it is not what was written")?.values());
            }
            Ok(rows)
        };
        read().map_err(|e| failed("reading", &path, e))
    }

    fn remove(&mut self, segment: u64) {
        let path = self.path(segment);
        if let Err(e) = fs::remove_file(&path) {
            tracing::debug!("removing {}: {e}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = SegmentFiles::create(&dir.path().join("g")).unwrap();
        let (a, b) = (segments.write(&[1, 2, 3]).unwrap(), segments.write(&[u64::MAX]).unwrap());
        assert_eq!(segments.read(b).unwrap(), [u64::MAX]);
        assert_eq!(segments.read(a).unwrap(), [1, 2, 3]);
        segments.remove(a);
        assert!(segments.read(a).unwrap_err().to_string().contains("0.arrow"));
    }
}
