//! Rows that were deleted by their position: files of Parquet with a path and a row's number in each row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use roaring::RoaringTreemap;

use super::manifest::{DataFile, DeleteFile, local};
use crate::history::lake::found;
use crate::history::parquet::open_pinned;
use crate::history::parquet::store::Stores;
use crate::history::{History, Pinned};
use crate::{Error, Result, Wanted};

/// By data file: the rows that were deleted, and when.
#[derive(Default)]
pub(super) struct Deletes(HashMap<String, Vec<(i64, RoaringTreemap)>>);

impl Deletes {
    /// # Errors
    /// `Changed`, `World`: a file is another one by now, cannot be read, or names no row.
    pub fn read(stores: &mut Stores, files: &[DeleteFile]) -> Result<Deletes> {
        let mut deletes = Deletes::default();
        for file in files {
            deletes.add(stores, file)?;
        }
        Ok(deletes)
    }

    fn add(&mut self, stores: &mut Stores, file: &DeleteFile) -> Result<()> {
        let pinned = Pinned::of(vec![found(stores, &file.path)?]);
        let history = open_pinned(stores.clone(), pinned)?;
        let fields = [("file_path", DataType::Utf8), ("pos", DataType::Int64)];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec();
        let wanted = Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: 1 };
        let mut found: HashMap<String, RoaringTreemap> = HashMap::new();
        for piece in history.pieces(&[])? {
            for records in history.read(&piece, &wanted)? {
                let batch = records?.batch;
                let (paths, rows) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
                for at in 0..batch.num_rows() {
                    let row = rows.is_valid(at).then(|| rows.value(at)).and_then(|row| u64::try_from(row).ok());
                    let Some(row) = row.filter(|_| paths.is_valid(at)) else {
                        let why = "a deleted row has no path, or no number";
                        return Err(Error::world(format!("reading {}", file.path), why));
                    };
                    found.entry(local(paths.value(at))).or_default().insert(row);
                }
            }
        }
        found.into_iter().for_each(|(path, rows)| self.0.entry(path).or_default().push((file.sequence, rows)));
        Ok(())
    }

    /// The rows that a file does not have any more: one that came after a delete has nothing of it.
    pub fn of(&self, file: &DataFile) -> Option<Arc<RoaringTreemap>> {
        let of_path = self.0.get(&file.path)?.iter().filter(|(sequence, _)| file.sequence <= *sequence);
        let rows = of_path.fold(RoaringTreemap::new(), |all, (_, rows)| all | rows);
        (!rows.is_empty()).then(|| Arc::new(rows))
    }
}
