//! Ledger rows as they lie in segments: with keys and values where a row in memory has their numbers, so that whoever reads
//! them needs to know nothing of who wrote them.
//!
//! | column | what |
//! |---|---|
//! | `_ts` (int64) | event time, in microseconds |
//! | `_key` (binary) | the key's bytes |
//! | `_0`, `_1`, ... (uint64) | the row's other words: null flags, values, words of sketches |
//! | `_v0`, `_v1`, ... (binary) | values that words name by number; null where there is none |

use std::sync::Arc;

use arrow::array::types::{Int64Type, UInt64Type};
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};

use super::{Accumulators, HEAD_FLAGS};
use crate::keys::Interner;
use crate::saved::{Damaged, get, put};

impl Accumulators {
    /// The lanes that hold numbers of values, each with its synopsis.
    fn named_lanes(&self) -> Vec<(usize, usize)> {
        let named = |(k, lane): (usize, &Option<usize>)| Some((lane.as_ref().copied()?, k));
        let lanes = self.word_lanes.iter().enumerate().filter_map(named);
        lanes.filter(|(_, k)| self.synopses[*k].values().is_some()).collect()
    }

    /// Rows of the ledger for a segment.
    ///
    /// # Panics
    /// On rows that are not of this plan.
    pub fn pack(&self, rows: &[u64], keys: &Interner) -> RecordBatch {
        let named = self.named_lanes();
        let mut key_column = BinaryBuilder::new();
        rows.chunks_exact(self.lanes).for_each(|row| key_column.append_value(keys.key(row[1] as u32)));
        let lane = |lane: usize, word: fn(u64) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(rows.chunks_exact(self.lanes).map(|row| word(row[lane]))))
        };
        let ts = Int64Array::from_iter_values(rows.chunks_exact(self.lanes).map(|row| row[0] as i64));
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(ts), Arc::new(key_column.finish()), lane(1, |w| w >> HEAD_FLAGS)];
        let plain = (2..self.lanes).filter(|at| named.iter().all(|(other, _)| other != at));
        columns.extend(plain.map(|at| lane(at, |w| w)));
        for (at, synopsis) in &named {
            let values = self.synopses[*synopsis].values().expect("a lane of a synopsis that names values");
            let mut column = BinaryBuilder::new();
            let mut bytes = Vec::new();
            for row in rows.chunks_exact(self.lanes) {
                match row[*at].checked_sub(1) {
                    None => column.append_null(),
                    Some(number) => {
                        bytes.clear();
                        put(&mut bytes, values.value(number as u32));
                        column.append_value(&bytes);
                    }
                }
            }
            columns.push(Arc::new(column.finish()));
        }
        RecordBatch::try_new(self.packed_schema(named.len()), columns).expect("columns of one length")
    }

    fn packed_schema(&self, named: usize) -> Arc<Schema> {
        let field = |name: String, data_type, nullable| Field::new(name, data_type, nullable);
        let mut fields =
            vec![field("_ts".into(), DataType::Int64, false), field("_key".into(), DataType::Binary, false)];
        fields.extend((0..self.lanes - 1 - named).map(|i| field(format!("_{i}"), DataType::UInt64, false)));
        fields.extend((0..named).map(|i| field(format!("_v{i}"), DataType::Binary, true)));
        Arc::new(Schema::new(fields))
    }

    /// The rows of a segment, without those of keys that are not here.
    ///
    /// # Errors
    /// What is read is no segment of this plan.
    pub fn unpack(&self, batch: &RecordBatch, keys: &Interner) -> Result<Vec<u64>, Damaged> {
        let named = self.named_lanes();
        if batch.schema() != self.packed_schema(named.len()) {
            return Err(Damaged(format!("a segment of another plan: {:?}", batch.schema())));
        }
        let ts = batch.column(0).as_primitive::<Int64Type>();
        let key_column = batch.column(1).as_binary::<i32>();
        let plain: Vec<&UInt64Array> = batch.columns()[2..2 + self.lanes - 1 - named.len()]
            .iter()
            .map(|c| c.as_primitive::<UInt64Type>())
            .collect();
        let plain_lanes: Vec<usize> = (1..self.lanes).filter(|at| named.iter().all(|(other, _)| other != at)).collect();
        let mut rows = Vec::with_capacity(batch.num_rows() * self.lanes);
        for at in 0..batch.num_rows() {
            let Some(unit) = keys.find(key_column.value(at)) else { continue };
            let first = rows.len();
            rows.resize(first + self.lanes, 0);
            rows[first] = ts.value(at) as u64;
            for (column, lane) in plain.iter().zip(&plain_lanes) {
                rows[first + lane] = column.value(at);
            }
            rows[first + 1] = rows[first + 1] << HEAD_FLAGS | u64::from(unit);
            for ((lane, synopsis), column) in named.iter().zip(&batch.columns()[2 + plain.len()..]) {
                let column = column.as_binary::<i32>();
                if column.is_valid(at) {
                    let value = get(&mut column.value(at))?;
                    // Nobody holds it any more: there is nothing to take away.
                    let number = self.synopses[*synopsis].values().and_then(|values| values.find(&value));
                    rows[first + lane] = number.map_or(0, |number| u64::from(number) + 1);
                }
            }
        }
        Ok(rows)
    }
}
