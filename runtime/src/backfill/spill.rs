//! What does not stay in memory: batches in one file, which has no name, so that nothing is left of it however the process ends.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, OnceLock, PoisonError};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;

use super::encoded::{decode, encode};
use super::scratch::SpillDir;
use crate::base::failure::Failure;

/// Made when it is first needed.
pub struct Spill {
    dir: SpillDir,
    file: OnceLock<File>,
    /// Its length; whoever appends holds it.
    length: Mutex<u64>,
}

/// Where a batch lies.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    start: u64,
    bytes: usize,
    rows: usize,
}

impl Place {
    pub fn bytes(self) -> usize {
        self.bytes
    }

    pub fn rows(self) -> usize {
        self.rows
    }
}

impl Spill {
    pub fn new(dir: SpillDir) -> Spill {
        Spill { dir, file: OnceLock::new(), length: Mutex::new(0) }
    }

    pub fn dir(&self) -> &SpillDir {
        &self.dir
    }

    /// Appends batches; one without rows takes no place.
    pub fn write(&self, batches: impl Iterator<Item = RecordBatch>) -> Result<Vec<Option<Place>>, Failure> {
        let (mut bytes, mut places) = (vec![], vec![]);
        for batch in batches {
            let start = bytes.len();
            if batch.num_rows() > 0 {
                encode(&batch, &mut bytes).map_err(|e| self.failed("writing", e))?;
            }
            places.push((batch.num_rows() > 0).then_some((start, bytes.len() - start, batch.num_rows())));
        }
        let mut length = self.length.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = self.file()?;
        file.write_all(&bytes).map_err(|e| self.failed("writing", e))?;
        let first = *length;
        *length += bytes.len() as u64;
        let place = |(start, bytes, rows)| Place { start: first + start as u64, bytes, rows };
        Ok(places.into_iter().map(|at| at.map(place)).collect())
    }

    pub fn read(&self, place: Place) -> Result<RecordBatch, Failure> {
        let mut bytes = vec![0; place.bytes];
        self.file()?.read_exact_at(&mut bytes, place.start).map_err(|e| self.failed("reading", e))?;
        let batch = decode(Buffer::from(bytes)).map_err(|e| self.failed("reading", e))?;
        batch.ok_or_else(|| self.failed("reading", "a batch is not whole"))
    }

    /// How much was written, ever.
    pub fn bytes(&self) -> u64 {
        *self.length.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> Result<&File, Failure> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        self.dir.make()?;
        let path = self.dir.path().join(format!("spill-{}", std::process::id()));
        let opened = File::options().read(true).append(true).create_new(true).open(&path);
        let file = opened.map_err(|e| self.failed("making a file", e))?;
        std::fs::remove_file(&path).map_err(|e| self.failed("making a file", e))?;
        Ok(self.file.get_or_init(|| file))
    }

    fn failed(&self, doing: &str, cause: impl std::fmt::Display) -> Failure {
        Failure::Running(format!(
            "{doing} in {}, where what does not fit into memory lies: {cause}",
            self.dir.path().display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn what_was_written_and_nothing_left() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("backfill");
        let spill = Spill::new(SpillDir::own(inside.clone()));
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
        let batch = RecordBatch::try_from_iter([("x", column), ("y", texts)]).unwrap();
        let parts = || [batch.slice(0, 2), batch.slice(2, 0), batch.slice(2, 1)].into_iter();
        for _ in 0..3 {
            let places = spill.write(parts()).unwrap();
            assert!(places[1].is_none());
            for (place, part) in places.into_iter().zip(parts()).filter_map(|(place, part)| Some((place?, part))) {
                assert_eq!(spill.read(place).unwrap(), part);
            }
        }
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 0, "the file has no name");
        assert!(spill.bytes() > 0);
        drop(spill);
        assert!(!inside.exists());
    }
}
