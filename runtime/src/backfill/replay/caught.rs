//! What is caught of a replay: on its way from the workers, what labels ask for.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use arrow::array::types::{Int8Type, Int64Type};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_clocks::{EventTime, Span, Tick};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::{events, keys};

use super::super::admit::Reach;
use super::super::labels::AskedKeys;
use crate::base::failure::Failure;
use crate::base::id::RowsId;
use crate::catalog::opened::Opened;
use crate::render::caught::Caught;

/// The columns of changes that were caught: the key's bytes, the tick, 1 for a row that comes and -1 for one that goes, and the row.
pub mod change {
    pub const KEY: usize = 0;
    pub const TIME: usize = 1;
    pub const DIFF: usize = 2;
    pub const FIRST_COLUMN: usize = 3;
}

/// Of changes of a group or a view.
pub fn schema(opened: &Opened, rows: RowsId) -> SchemaRef {
    let field = |name, of| Arc::new(Field::new(name, of, false));
    let first =
        [field("_key", DataType::Binary), field("_time", DataType::Int64), field("_diff", DataType::Int8)].into_iter();
    Arc::new(Schema::new(first.chain(values(opened, rows)).collect::<Vec<_>>()))
}

/// The columns that changes of a group or a view have beside the key: derived ones are not among them.
pub fn values(opened: &Opened, rows: RowsId) -> Vec<Arc<Field>> {
    let keys = opened.shape(rows).keys;
    let schema = opened.group(rows).map_or(&opened.shape(rows).schema, |group| &group.own_schema);
    schema.fields()[keys..schema.fields().len() - 2].to_vec()
}

/// What of a group or a view is wanted.
pub struct Wanted {
    /// Its place among those that are.
    at: usize,
    codec: KeyCodec,
    schema: SchemaRef,
    asked: Arc<AskedKeys>,
    shards: usize,
    /// Of events.
    reach: Reach,
}

/// What was wanted, as (row, shard).
pub struct Sent {
    pub at: usize,
    pub batch: RecordBatch,
    pub picks: Vec<(u32, u32)>,
}

impl Wanted {
    /// `span`: the first and the last moment of a label.
    pub fn new(
        opened: &Opened,
        (at, rows): (usize, RowsId),
        (asked, shards): (Arc<AskedKeys>, usize),
        (first, last): (Tick, Tick),
    ) -> Result<Wanted, Failure> {
        let shape = opened.shape(rows);
        let types: Vec<DataType> =
            shape.schema.fields()[..shape.keys].iter().map(|field| field.data_type().clone()).collect();
        let failed = |e| Failure::Running(format!("keys of {}: {e}", shape.name));
        let group = opened.group(rows);
        let lengths =
            group.and_then(|group| group.columns.iter().map(|column| column.length).collect::<Option<Vec<_>>>());
        let longest = lengths.map(|all| all.into_iter().max().unwrap_or(Span::ZERO));
        Ok(Wanted {
            at,
            codec: KeyCodec::new(&types).map_err(failed)?,
            schema: schema(opened, rows),
            asked,
            shards,
            reach: Reach { after: longest.map(|longest| first.left(longest)), upto: last },
        })
    }

    /// Changes up to the last label.
    fn changes(&self, batch: &RecordBatch) -> Option<Sent> {
        let (keys, behind) = (self.codec.types().len(), batch.num_columns() - 2);
        let bytes = self.codec.encode(&batch.columns()[..keys]).expect("key columns keep their types");
        let times = batch.column(behind).as_primitive::<Int64Type>().values();
        debug_assert!(batch.column(behind + 1).as_primitive_opt::<Int8Type>().is_some());
        let picks = self.picks(&bytes, |row| Tick::from_us(times[row]) <= self.reach.upto);
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(bytes), batch.column(behind).clone(), batch.column(behind + 1).clone()];
        columns.extend_from_slice(&batch.columns()[keys..behind]);
        let changes = RecordBatch::try_new(self.schema.clone(), columns).expect("columns of its own schema");
        self.sent(changes, picks)
    }

    /// Events that some label's windows hold.
    fn events(&self, batch: &RecordBatch) -> Option<Sent> {
        let bytes = batch.column(events::KEY).as_binary::<i32>();
        let ts = batch.column(events::TS).as_primitive::<Int64Type>().values();
        let picks = self.picks(bytes, |row| self.reach.holds(EventTime::from_us(ts[row])));
        self.sent(batch.clone(), picks)
    }

    fn picks(&self, bytes: &BinaryArray, is_wanted: impl Fn(usize) -> bool) -> Vec<(u32, u32)> {
        let pick = |row: usize| {
            let hash = keys::hash(bytes.value(row));
            self.asked.may_have(hash).then(|| (row as u32, keys::owner(hash, self.shards) as u32))
        };
        (0..bytes.len()).filter(|row| is_wanted(*row)).filter_map(pick).collect()
    }

    /// Where few of many are wanted, the others are left where they are.
    fn sent(&self, batch: RecordBatch, picks: Vec<(u32, u32)>) -> Option<Sent> {
        if picks.is_empty() {
            return None;
        }
        if picks.len() > batch.num_rows() / 2 {
            return Some(Sent { at: self.at, batch, picks });
        }
        let rows: UInt32Array = picks.iter().map(|(row, _)| Some(*row)).collect();
        let batch = take_record_batch(&batch, &rows).expect("rows of its own");
        let picks = (0..).zip(picks).map(|(row, (_, shard))| (row, shard)).collect();
        Some(Sent { at: self.at, batch, picks })
    }
}

/// Sends what is wanted of a batch. Where nobody takes it any more, the replay is being stopped.
pub fn send(wanted: &Wanted, what: Caught, batch: &RecordBatch, to: &SyncSender<Option<Sent>>) {
    let sent = match what {
        Caught::Changes => wanted.changes(batch),
        Caught::Events => wanted.events(batch),
    };
    if let Some(sent) = sent {
        let _ = to.send(Some(sent));
    }
}
