//! When the rows of a collection changed last: what a checkpoint has of one that is computed anew.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use headwater_clocks::{Tick, Time};

use crate::saved::Damaged;

/// By key, the tick at which its row changed last.
#[derive(Default)]
pub struct Changed(HashMap<Box<[u8]>, Tick>);

impl Changed {
    /// Of this key; `None`: it had no row.
    pub fn at(&self, key: &[u8]) -> Option<Tick> {
        self.0.get(key).copied()
    }

    /// Takes in what was written down, of keys for which that holds.
    ///
    /// # Errors
    /// The batch has other columns.
    pub fn load(&mut self, batch: &RecordBatch, is_mine: impl Fn(&[u8]) -> bool) -> Result<(), Damaged> {
        let [keys, ticks] = batch.columns() else { return Err(Damaged("other columns".to_owned())) };
        let (Some(keys), Some(ticks)) = (keys.as_binary_opt::<i32>(), ticks.as_primitive_opt::<Int64Type>()) else {
            return Err(Damaged("columns of other types".to_owned()));
        };
        let rows = keys.iter().flatten().zip(ticks.values());
        self.0.extend(rows.filter(|(key, _)| is_mine(key)).map(|(key, tick)| (key.into(), Tick::from_us(*tick))));
        Ok(())
    }
}

/// Rows with their keys and ticks, as `load` takes them in.
pub(super) fn batch<'a>(rows: impl Iterator<Item = (&'a [u8], Tick)>) -> RecordBatch {
    let (keys, ticks): (Vec<&[u8]>, Vec<i64>) = rows.map(|(key, tick)| (key, tick.us())).unzip();
    let columns: Vec<ArrayRef> = vec![Arc::new(BinaryArray::from_vec(keys)), Arc::new(Int64Array::from(ticks))];
    let fields = vec![Field::new("_key", DataType::Binary, false), Field::new("_at", DataType::Int64, false)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of its own schema")
}
