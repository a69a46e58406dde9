//! The columns of records, as they are decoded one by one: values, what did not decode, and which records were malformed.

use std::sync::Arc;

use arrow::array::{BooleanBufferBuilder, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Schema, SchemaRef};

use super::Decoded;
use super::column::Column;
use super::value::{Leniency, Reading, Value};
use crate::Wanted;

/// What every decoder ends in. A record is a value for each column and an `end`, or it is `malformed`.
pub(super) struct Builder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// By column: the records that did not decode.
    undecoded: Vec<Vec<usize>>,
    malformed: Vec<usize>,
    records: usize,
}

impl Builder {
    pub fn new(wanted: &Wanted, leniency: Leniency) -> Builder {
        let fields = wanted.schema.fields();
        let reading = Reading { time_unit_ns: wanted.time_unit_ns, leniency };
        Builder {
            // A missing field is null, whatever the schema promises.
            schema: Arc::new(Schema::new(
                fields.iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
            )),
            columns: fields.iter().map(|f| Column::new(f.data_type(), &reading)).collect(),
            undecoded: vec![Vec::new(); fields.len()],
            malformed: Vec::new(),
            records: 0,
        }
    }

    /// The value of a column in the record that is being read. `None`: no column takes it.
    pub fn push(&mut self, column: usize, value: Option<Value>) {
        let column_of = &mut self.columns[column];
        let decoded = match value {
            Some(value) => column_of.push(value),
            None => {
                column_of.push_null();
                false
            }
        };
        if !decoded {
            self.undecoded[column].push(self.records);
        }
    }

    /// Every column has its value.
    pub fn end(&mut self) {
        self.records += 1;
    }

    /// A record without any value.
    pub fn malformed(&mut self) {
        self.malformed.push(self.records);
        self.columns.iter_mut().for_each(Column::push_null);
        self.records += 1;
    }

    /// The records since the last `finish`.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Hands over what was pushed, and starts anew.
    pub fn finish(&mut self) -> Decoded {
        let records = std::mem::take(&mut self.records);
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(records));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .unwrap_or_else(|e| panic!("columns that are not as their schema: {e}"));
        Decoded {
            batch,
            undecoded: self.undecoded.iter_mut().map(|rows| bits(rows, records)).collect(),
            malformed: bits(&mut self.malformed, records),
            removals: vec![],
        }
    }
}

/// The rows as bits of `len`, and none if there are none.
fn bits(rows: &mut Vec<usize>, len: usize) -> Option<BooleanBuffer> {
    if rows.is_empty() {
        return None;
    }
    let mut bits = BooleanBufferBuilder::new(len);
    bits.append_n(len, false);
    rows.drain(..).for_each(|row| bits.set_bit(row, true));
    Some(bits.finish())
}
