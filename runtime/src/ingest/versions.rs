//! A table's records become versions of its rows: what is in force of which key from when on.
//!
//! ```text
//! from = max(ts, eff - lateness)      by eff where the table has no event time, or a removal has none
//!        the beginning of time        what a history holds of a table without event time
//! V    = up(max(eff, ts))             from which tick on it is known; a table without any time was always there
//! ```
//!
//! Versions go to every worker: each looks up what it reads itself.

use std::sync::Arc;

use arrow::array::types::{Int64Type, UInt8Type};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int64Array, RecordBatch, UInt8Array,
    UInt32Array,
};
use arrow::compute::{nullif, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_clocks::{Arrival, Eff, EventTime, Offset, Span, Tick, Time};
use headwater_connectors::format::text::row_text;
use headwater_connectors::{Payload, guarded};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::saved::Damaged;

use super::admit::Admitted;
use super::log_position::LogPositions;
use super::looked_up_by::is_long;
use super::shape::Batch;
use super::stamp::Reason;
use crate::base::id::{ScanId, SourceId};
use crate::catalog::computed::is_computed;
use crate::catalog::opened::{OpenTable, Opened};
use crate::job;

/// Versions of a scan's rows, as they go to the workers. See `schema`.
pub struct Versions {
    pub scan: ScanId,
    pub batch: RecordBatch,
    /// Those that came so late that they are in force later than they say.
    pub too_late: u64,
}

impl Versions {
    /// Where somebody else tells what is wrong with them.
    pub fn untold(self) -> Versions {
        Versions { batch: without_payload(&self.batch), ..self }
    }
}

/// The columns of a message.
mod column {
    pub const KEY: usize = 0;
    pub const FROM: usize = 1;
    pub const VISIBLE: usize = 2;
    pub const EFF: usize = 3;
    pub const TS: usize = 4;
    pub const PARTITION: usize = 5;
    pub const OFFSET: usize = 6;
    pub const REMOVES: usize = 7;
    pub const VALUES: usize = 8;
    pub const UNDECODED: usize = 9;
    pub const ARRIVAL: usize = 10;
    pub const PAYLOAD: usize = 11;
}

fn schema() -> SchemaRef {
    let field = |name: &str, of: DataType, nullable| Field::new(name, of, nullable);
    Arc::new(Schema::new(vec![
        field("_key", DataType::Binary, false),
        field("_from", DataType::Int64, false),
        field("_visible", DataType::Int64, false),
        field("_eff", DataType::Int64, true),
        field("_ts", DataType::Int64, true),
        field("_partition", DataType::Int64, true),
        field("_offset", DataType::Int64, true),
        field("_removes", DataType::UInt8, false),
        field("_values", DataType::Binary, false),
        field("_undecoded", DataType::Binary, true),
        field("_arrival", DataType::Int64, true),
        field("_payload", DataType::Binary, true),
    ]))
}

/// Makes versions of a table's records. One a thread.
pub struct VersionMaker {
    opened: Arc<Opened>,
    source: SourceId,
    keys: KeyCodec,
    values: KeyCodec,
}

impl VersionMaker {
    pub fn new(opened: &Arc<Opened>, source: SourceId) -> VersionMaker {
        let open = &opened.sources[source];
        let table = open.table.as_ref().expect("a table");
        let types: Vec<DataType> = value_types(opened, source);
        VersionMaker {
            opened: opened.clone(),
            source,
            keys: KeyCodec::new(&table.key_types).expect("key types were checked"),
            values: KeyCodec::new(&types).expect("every type of a column has an order"),
        }
    }

    /// The versions that a scan takes of a batch, and what is wrong with records that are none.
    pub fn make(
        &self,
        batch: Batch,
        admitted: &Admitted,
        positions: &LogPositions,
    ) -> (Vec<(usize, Reason)>, Option<Versions>) {
        let keys = self.key_columns(batch);
        let (mut refused, mut rows) = judged(&self.opened.job.sources[self.source], batch, admitted, &keys);
        let is_long = |row: &mut u32| keys.iter().any(|key| is_long(key, *row as usize));
        refused.extend(rows.extract_if(.., is_long).map(|row| (row as usize, Reason::LongKey)));
        let versions = (!rows.is_empty()).then(|| self.versions(batch, admitted, positions, &keys, rows));
        (refused, versions)
    }

    fn table(&self) -> &OpenTable {
        self.opened.sources[self.source].table.as_ref().expect("a table")
    }

    fn key_columns(&self, batch: Batch) -> Vec<ArrayRef> {
        self.table().key.iter().map(|place| batch.records.batch.column(*place).clone()).collect()
    }

    fn versions(
        &self,
        batch: Batch,
        admitted: &Admitted,
        positions: &LogPositions,
        keys: &[ArrayRef],
        rows: Vec<u32>,
    ) -> Versions {
        let (conf, open) = (&self.opened.job.sources[self.source], &self.opened.sources[self.source]);
        let lateness = conf.lateness;
        let (tick, of_history) = (self.opened.job.tick, !admitted.is_of_stream());
        let at = UInt32Array::from(rows.clone());
        let picked = |array: &ArrayRef| take(array, &at, None).expect("rows of its own");
        let keys: Vec<ArrayRef> = keys.iter().map(picked).collect();
        let table = self.table();
        let values: Vec<ArrayRef> = table.values.iter().map(|c| picked(batch.records.batch.column(*c))).collect();
        let mut too_late = 0;
        let (mut from, mut visible) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in &rows {
            let (stamped, eff) = (&batch.stamped[*row as usize], admitted.effs[*row as usize]);
            let since = match (stamped.ts, eff) {
                _ if of_history && open.event_time.is_none() => EventTime::BEFORE_ALL,
                (Some(ts), Some(eff)) => {
                    let least = eff.reaches_back(lateness);
                    too_late += u64::from(ts < least);
                    ts.max(least)
                }
                (None, Some(eff)) => eff.reaches_back(Span::ZERO),
                (_, None) => EventTime::BEFORE_ALL,
            };
            let known = eff.map_or(Tick::BEFORE_ALL, |eff| match stamped.ts {
                Some(ts) => Tick::visible(eff, ts, tick),
                None => Tick::up(eff, tick),
            });
            from.push(since.us());
            visible.push(known.max(admitted.least_of(*row as usize)).us());
        }
        let position = |row: &u32| positions.get(*row as usize);
        let places: Vec<_> = rows.iter().map(position).collect();
        let times = |of: &dyn Fn(usize) -> Option<i64>| -> ArrayRef {
            Arc::new(rows.iter().map(|row| of(*row as usize)).collect::<Int64Array>())
        };
        let removes: UInt8Array = rows.iter().map(|row| Some(u8::from(batch.stamped[*row as usize].removes))).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.keys.encode(&keys).expect("key columns keep their types")),
            Arc::new(Int64Array::from(from)),
            Arc::new(Int64Array::from(visible)),
            times(&|row| admitted.effs[row].map(Eff::us)),
            times(&|row| batch.stamped[row].ts.map(Time::us)),
            Arc::new(places.iter().map(|(partition, _)| *partition).collect::<Int64Array>()),
            Arc::new(places.iter().map(|(_, offset)| offset.map(Offset::number)).collect::<Int64Array>()),
            Arc::new(removes),
            Arc::new(self.encode_values(&values, rows.len())),
            Arc::new(undecoded(batch, &table.values, &rows)),
            times(&|row| batch.stamped[row].a.map(Time::us)),
            Arc::new(payloads(batch, &rows)),
        ];
        let batch = RecordBatch::try_new(schema(), columns).expect("columns of its own schema");
        Versions { scan: admitted.scan, batch, too_late }
    }

    fn encode_values(&self, values: &[ArrayRef], rows: usize) -> BinaryArray {
        match values {
            [] => BinaryArray::from_iter_values((0..rows).map(|_| b"")),
            _ => self.values.encode(values).expect("columns keep their types"),
        }
    }
}

/// Of the records that a scan takes of a batch, those that are dead letters of the source, and the others. `keys`: of their rows.
pub fn judged(
    conf: &job::Source,
    batch: Batch,
    admitted: &Admitted,
    keys: &[ArrayRef],
) -> (Vec<(usize, Reason)>, Vec<u32>) {
    let (mut refused, mut rows) = (vec![], vec![]);
    for (i, stamped) in batch.stamped.iter().enumerate().filter(|(i, _)| admitted.taken[*i]) {
        let unknown = admitted.effs[i].is_none() && !stamped.wrong_clock && !conf.is_timeless();
        let reason = match stamped.reason {
            Some(reason) if unknown && reason.yields_to_no_time() => Some(Reason::NullEventTime),
            Some(reason) => Some(reason),
            None if unknown => Some(Reason::NullEventTime),
            None if keys.iter().any(|key| key.is_null(i)) => Some(Reason::NullKey),
            None => None,
        };
        match reason {
            Some(reason) => refused.push((i, reason)),
            None => rows.push(i as u32),
        }
    }
    (refused, rows)
}

/// The types of the columns of a table that are looked up.
pub fn value_types(opened: &Opened, source: SourceId) -> Vec<DataType> {
    let open = &opened.sources[source];
    let values = open.table.as_ref().map_or(&[][..], |table| &table.values);
    values.iter().map(|place| open.wanted.schema.field(*place).data_type().clone()).collect()
}

/// By row, where a column that is looked up did not decode: which did not.
fn undecoded(batch: Batch, values: &[usize], rows: &[u32]) -> BinaryArray {
    let all: Vec<_> = values.iter().map(|column| batch.records.undecoded[*column].as_ref()).collect();
    let of_row = |row: &u32| {
        let failed =
            |column: &Option<&arrow::buffer::BooleanBuffer>| column.is_some_and(|all| all.value(*row as usize));
        all.iter().any(failed).then(|| all.iter().map(|column| u8::from(failed(column))).collect::<Vec<u8>>())
    };
    let mut builder = BinaryBuilder::new();
    rows.iter().for_each(|row| builder.append_option(of_row(row)));
    builder.finish()
}

/// What dead letters would quote: of rows of files, only where one may be told yet.
fn payloads(batch: Batch, rows: &[u32]) -> BinaryArray {
    let mut builder = BinaryBuilder::new();
    let fields = batch.records.batch.schema_ref().fields().iter().enumerate();
    let read: Vec<usize> = fields.filter(|(_, field)| !is_computed(field.name())).map(|(at, _)| at).collect();
    for row in rows {
        match &batch.records.payload {
            Payload::Raw(raw) => builder.append_value(raw.value(*row as usize)),
            Payload::Row => builder.append_value(row_text(&batch.records.batch, read.iter().copied(), *row as usize)),
        }
    }
    builder.finish()
}

/// A message without what only the worker that has read the records needs.
pub fn without_payload(batch: &RecordBatch) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    columns[column::PAYLOAD] = arrow::array::new_null_array(&DataType::Binary, batch.num_rows());
    RecordBatch::try_new(batch.schema(), columns).expect("columns of its own schema")
}

/// Versions of a table, as another process has sent them. `None`: they are none.
pub fn received(opened: &Opened, (scan, source): (ScanId, SourceId), batch: RecordBatch) -> Option<Versions> {
    if batch.schema_ref().fields() != schema().fields() {
        return None;
    }
    let (message, types) = (Message::open(&batch), value_types(opened, source));
    let flags = |row: usize| message.undecoded(row).is_none_or(|flags| flags.len() == types.len());
    let decode = || KeyCodec::new(&types)?.decode((0..message.len()).map(|row| message.values(row)));
    let is_whole = types.is_empty() || guarded(decode).is_ok_and(|values| values.is_ok());
    (is_whole && (0..message.len()).all(flags)).then_some(Versions { scan, batch, too_late: 0 })
}

/// A message, opened.
pub struct Message {
    batch: RecordBatch,
    keys: BinaryArray,
    numbers: Vec<Int64Array>,
    removes: UInt8Array,
    values: BinaryArray,
    undecoded: BinaryArray,
    payloads: BinaryArray,
}

impl Message {
    pub fn open(batch: &RecordBatch) -> Message {
        let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().clone();
        use column::*;
        Message {
            batch: batch.clone(),
            keys: batch.column(KEY).as_binary().clone(),
            numbers: [FROM, VISIBLE, EFF, TS, PARTITION, OFFSET, ARRIVAL].map(number).to_vec(),
            removes: batch.column(REMOVES).as_primitive::<UInt8Type>().clone(),
            values: batch.column(VALUES).as_binary().clone(),
            undecoded: batch.column(UNDECODED).as_binary().clone(),
            payloads: batch.column(PAYLOAD).as_binary().clone(),
        }
    }

    /// Some of its rows, as a message.
    pub fn rows(&self, rows: Vec<u32>) -> RecordBatch {
        take_record_batch(&self.batch, &UInt32Array::from(rows)).expect("rows of its own")
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    fn number(&self, column: usize, row: usize) -> Option<i64> {
        self.numbers[column].is_valid(row).then(|| self.numbers[column].value(row))
    }

    pub fn key(&self, row: usize) -> &[u8] {
        self.keys.value(row)
    }

    pub fn from(&self, row: usize) -> EventTime {
        EventTime::from_us(self.numbers[0].value(row))
    }

    pub fn visible(&self, row: usize) -> Tick {
        Tick::from_us(self.numbers[1].value(row))
    }

    pub fn eff(&self, row: usize) -> Option<Eff> {
        self.number(2, row).map(Eff::from_us)
    }

    pub fn ts(&self, row: usize) -> Option<EventTime> {
        self.number(3, row).map(EventTime::from_us)
    }

    /// The partition and the offset.
    pub fn position(&self, row: usize) -> (Option<i64>, Option<Offset>) {
        (self.number(4, row), self.number(5, row).map(Offset::at))
    }

    pub fn arrival(&self, row: usize) -> Option<Arrival> {
        self.number(6, row).map(Arrival::from_us)
    }

    pub fn removes(&self, row: usize) -> bool {
        self.removes.value(row) != 0
    }

    pub fn values(&self, row: usize) -> &[u8] {
        self.values.value(row)
    }

    pub fn undecoded(&self, row: usize) -> Option<Box<[bool]>> {
        let flags = self.undecoded.is_valid(row).then(|| self.undecoded.value(row))?;
        Some(flags.iter().map(|flag| *flag != 0).collect())
    }

    /// Where this worker has read it.
    pub fn payload(&self, row: usize) -> Option<&[u8]> {
        self.payloads.is_valid(row).then(|| self.payloads.value(row))
    }
}

/// Which records of a table remove their key's row, and for which that cannot be told.
pub fn removals(
    table: &OpenTable,
    batch: &RecordBatch,
    undecoded: &dyn Fn(&str) -> Option<arrow::buffer::BooleanBuffer>,
) -> (Vec<bool>, Vec<bool>) {
    let rows = batch.num_rows();
    let Some(deleted) = &table.deleted else { return (vec![false; rows], vec![false; rows]) };
    let evaluated = deleted.evaluate(batch, undecoded);
    let values: &BooleanArray = evaluated.values.as_boolean();
    let removes = (0..rows).map(|row| values.is_valid(row) && values.value(row)).collect();
    let failed = (0..rows).map(|row| evaluated.failed.as_ref().is_some_and(|failed| failed.value(row))).collect();
    (removes, failed)
}

/// One version that is in a table already.
pub struct Applied<'a> {
    pub key: &'a [u8],
    pub from: EventTime,
    pub eff: Eff,
    pub ts: Option<EventTime>,
    pub position: Option<(i64, Offset)>,
    pub removes: bool,
    pub values: &'a [u8],
    pub undecoded: Option<Vec<u8>>,
}

/// Versions that are in a table, as a message: they are there before any tick.
pub fn applied(all: &[Applied]) -> RecordBatch {
    let times =
        |of: &dyn Fn(&Applied) -> Option<i64>| -> ArrayRef { Arc::new(all.iter().map(of).collect::<Int64Array>()) };
    let mut undecoded = BinaryBuilder::new();
    all.iter().for_each(|one| undecoded.append_option(one.undecoded.as_ref()));
    let removes: UInt8Array = all.iter().map(|one| Some(u8::from(one.removes))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from_iter_values(all.iter().map(|one| one.key))),
        times(&|one| Some(one.from.us())),
        times(&|_| Some(i64::MIN)),
        times(&|one| Some(one.eff.us())),
        times(&|one| one.ts.map(Time::us)),
        times(&|one| one.position.map(|(partition, _)| partition)),
        times(&|one| one.position.map(|(_, offset)| offset.number())),
        Arc::new(removes),
        Arc::new(BinaryArray::from_iter_values(all.iter().map(|one| one.values))),
        Arc::new(undecoded.finish()),
        times(&|_| None),
        arrow::array::new_null_array(&DataType::Binary, all.len()),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns of its own schema")
}

/// A message that was read from a checkpoint. `tells`: the rows whose dead letters are this worker's to tell.
///
/// # Errors
/// It is none.
pub fn loaded(batch: &RecordBatch, tells: &BooleanArray) -> Result<RecordBatch, Damaged> {
    let damaged = |e: arrow::error::ArrowError| Damaged(e.to_string());
    let mut columns = batch.columns().to_vec();
    if let Some(payload) = columns.get_mut(column::PAYLOAD) {
        let others = arrow::compute::not(tells).map_err(damaged)?;
        *payload = nullif(payload, &others).map_err(damaged)?;
    }
    RecordBatch::try_new(schema(), columns).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::ingest::testing::open_job;

    const JOB: &str = r#"
name = "t"
[sources.e]
event_time = "ts"
schema = { ts = "timestamp", shop = "string" }
stream = { type = "jsonl", path = "e.jsonl" }
[tables.shops]
key = "shop"
event_time = "ts"
schema = { ts = "timestamp", shop = "string", city = "string" }
stream = { type = "jsonl", path = "shops.jsonl" }
[features.f]
source = "e"
key = "shop"
lookup.s = { table = "shops", on = "shop" }
columns = { c = { agg = "last", of = "s.city", window = "1h" } }
"#;

    #[test]
    fn what_another_process_sends_is_whole_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        ["e", "shops"].iter().for_each(|name| std::fs::write(dir.path().join(format!("{name}.jsonl")), "").unwrap());
        let opened = open_job(dir.path(), JOB);
        let table = opened.sources.ids().find(|source| opened.sources[*source].table.is_some()).unwrap();
        let cities: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["a city with a name of some length"]));
        let encoded = KeyCodec::new(&value_types(&opened, table)).unwrap().encode(&[cities]).unwrap();
        let one = |values: &[u8], undecoded: Option<Vec<u8>>| {
            let (from, eff) = (EventTime::from_us(1), Eff::from_us(1));
            let key = b"k";
            applied(&[Applied { key, from, eff, ts: None, position: None, removes: false, values, undecoded }])
        };
        let is_taken = |batch| received(&opened, (ScanId::at(0), table), batch).is_some();
        let values = encoded.value(0);
        assert!(is_taken(one(values, None)) && is_taken(one(values, Some(vec![1]))));
        assert!(!is_taken(one(values, Some(vec![]))), "no flag for its column");
        assert!(!is_taken(one(&values[..7], None)), "no such values");
        assert!(!is_taken(one(values, None).project(&[0, 1]).unwrap()), "no versions");
    }
}
