//! Lookups in a checkpoint: versions of tables, and events that wait or are held. Nothing in it names a number of a worker, so any number of
//! workers reads it.
//!
//! | piece | a row is | written by |
//! |---|---|---|
//! | `versions`, of a scan | a version that is in force | the worker that its key's hash says |
//! | | one that is still to come | the worker that has read it |
//! | `held`, of a source | an event, and the groups that hold it or wait for it | the worker that has it |
//! | `replaced`, of a source | of events that replace one another, a record that is in force, or is still to come | the worker that its key's hash says |
//!
//! What an event looks up in a table is not written: it follows from the versions. What it looks up in the rows of a group is: these rows are
//! others by now.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::types::{Int32Type, Int64Type, UInt8Type, UInt32Type};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int32Array, Int64Array, ListArray, RecordBatch, StructArray,
    UInt8Array, UInt32Array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, OffsetBuffer};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use headwater_clocks::{Arrival, Eff, EventTime, Offset, Span, Tick, Time};
use headwater_connectors::format::text::row_text;
use headwater_connectors::{Payload, Records};
use headwater_operators::saved::{Damaged, get, put};
use serde::{Deserialize, Serialize};

use super::super::looked_up::{Raw, RawRow, Told, gather};
use super::super::stamp::Stamped;
use crate::base::id::{GroupId, Id, IdVec, ScanId, SourceId};
use crate::catalog::computed::is_computed;
use crate::catalog::opened::Source;

/// What a group has of an event.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    pub group: GroupId,
    pub state: HeldState,
    /// What is wrong with it, where that is not told yet; of late ones by how much.
    pub suspected: Option<(u8, Option<Span>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum HeldState {
    /// Its tick is still to come.
    Waiting,
    Held,
    /// No version changes it any more, and what is wrong with it is to be told.
    Settled,
}

/// An event with what groups have of it.
pub struct Kept {
    pub row: RawRow,
    pub holdings: Vec<Holding>,
    /// By holding.
    pub found: Vec<FoundRows>,
}

/// By lookup, of those in groups: the key, and the values of its row if there was one. Empty where there is no such lookup.
pub type FoundRows = Vec<Option<(Vec<u8>, Option<Vec<u8>>)>>;

/// What events look up in rows of groups.
const FOUND: &str = "_rows";

const HEAD: usize = 13;

/// Whether some events look up in rows of groups.
pub fn find(kept: &[Kept]) -> bool {
    kept.iter().flat_map(|kept| &kept.found).any(|found| !found.is_empty())
}

/// Some events of one source. `find`: whether some of all that are written look up in rows of groups.
pub fn write(source: &Source, kept: &[Kept], find: bool) -> RecordBatch {
    let rows: Vec<RawRow> = kept.iter().map(|kept| kept.row.clone()).collect();
    let columns = source.wanted.schema.fields().len();
    let records = gather(&rows, columns);
    let times = |of: &dyn Fn(&Raw, usize) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(|(raw, row)| of(raw, *row as usize)).collect::<Int64Array>())
    };
    let bytes = |of: &dyn Fn(usize) -> Option<Vec<u8>>| -> ArrayRef {
        let mut builder = BinaryBuilder::new();
        (0..rows.len()).for_each(|at| builder.append_option(of(at)));
        Arc::new(builder.finish())
    };
    let holdings = |at: usize| {
        let mut out = vec![];
        put(&mut out, &kept[at].holdings);
        Some(out)
    };
    let undecoded = |at: usize| {
        let failed = |all: &Option<BooleanBuffer>| all.as_ref().is_some_and(|all| all.value(at));
        let any = records.undecoded.iter().any(failed);
        any.then(|| records.undecoded.iter().map(|all| u8::from(failed(all))).collect())
    };
    let flags = |of: &dyn Fn(&Raw, usize) -> u8| -> ArrayRef {
        Arc::new(rows.iter().map(|(raw, row)| Some(of(raw, *row as usize))).collect::<UInt8Array>())
    };
    let scans: UInt32Array = rows.iter().map(|(raw, _)| Some(raw.scan.number())).collect();
    let head: [(&str, ArrayRef); HEAD] = [
        ("_groups", bytes(&holdings)),
        ("_scan", Arc::new(scans)),
        ("_ts", times(&|raw, row| raw.stamped[row].ts.map(Time::us))),
        ("_arrival", times(&|raw, row| raw.stamped[row].a.map(Time::us))),
        ("_eff", times(&|raw, row| raw.effs[row].map(Time::us))),
        ("_visible", times(&|raw, row| Some(raw.visible[row].us()))),
        ("_partition", times(&|raw, row| raw.positions[row].0)),
        ("_offset", times(&|raw, row| raw.positions[row].1.map(Offset::number))),
        ("_told", flags(&|raw, row| raw.told[row].reasons())),
        ("_of_history", flags(&|raw, _| u8::from(raw.of_history))),
        ("_horizons", bytes(&|at| Some(horizons(&rows[at].0)))),
        ("_undecoded", bytes(&undecoded)),
        ("_payload", bytes(&|at| Some(payload(&rows[at])))),
    ];
    let keys: Option<BinaryArray> =
        rows.iter().map(|(raw, row)| Some(raw.keys.as_ref()?.value(*row as usize))).map(|key| key.map(Some)).collect();
    // Only where records replace one another.
    let of_keys = keys.filter(|_| !rows.is_empty()).map(|keys| -> [(&str, ArrayRef); 2] {
        let removes = flags(&|raw, row| u8::from(raw.stamped[row].removes));
        [("_key", Arc::new(keys)), ("_removes", removes)]
    });
    let head: Vec<(&str, ArrayRef)> = head.into_iter().chain(of_keys.into_iter().flatten()).collect();
    let mut fields: Vec<Field> =
        head.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let mut arrays: Vec<ArrayRef> = head.into_iter().map(|(_, array)| array).collect();
    for (field, array) in source.wanted.schema.fields().iter().zip(records.batch.columns()) {
        let array = numbers_of_elements(array).unwrap_or_else(|| array.clone());
        fields.push(Field::new(named(field.name()), array.data_type().clone(), true));
        arrays.push(array);
    }
    if find {
        let found = bytes(&|at| {
            let mut out = vec![];
            put(&mut out, &kept[at].found);
            Some(out)
        });
        fields.push(Field::new(FOUND, found.data_type().clone(), true));
        arrays.push(found);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length")
}

/// A column of a source, in a file.
fn named(path: &str) -> String {
    format!("of {path}")
}

/// Whether lists have elements of which nothing is read but that they are there. No file can hold such.
fn is_of_nothing(data_type: &DataType) -> bool {
    let DataType::List(element) = data_type else { return false };
    matches!(element.data_type(), DataType::Struct(fields) if fields.is_empty())
}

/// How many elements such lists have.
fn numbers_of_elements(array: &ArrayRef) -> Option<ArrayRef> {
    let lists = array.as_list_opt::<i32>().filter(|lists| is_of_nothing(lists.data_type()))?;
    let number = |at: usize| lists.is_valid(at).then(|| lists.value_length(at));
    Some(Arc::new((0..lists.len()).map(number).collect::<Int32Array>()))
}

/// A column as it was, of that type.
fn loaded(saved: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Damaged> {
    let (DataType::List(element), true) = (wanted, is_of_nothing(wanted)) else {
        return cast(saved, wanted).map_err(|e| Damaged(e.to_string()));
    };
    let numbers = saved.as_primitive_opt::<Int32Type>().ok_or_else(|| Damaged("no numbers of elements".to_owned()))?;
    let lengths: Vec<usize> = numbers.iter().map(|number| number.unwrap_or(0).max(0) as usize).collect();
    let elements = StructArray::new_empty_fields(lengths.iter().sum(), None);
    let offsets = OffsetBuffer::from_lengths(lengths);
    let lists = ListArray::try_new(element.clone(), offsets, Arc::new(elements), numbers.nulls().cloned());
    Ok(Arc::new(lists.map_err(|e| Damaged(e.to_string()))?))
}

fn horizons(raw: &Raw) -> Vec<u8> {
    let mut out = vec![];
    put(&mut out, &raw.horizons.iter().copied().collect::<Vec<Eff>>());
    out
}

/// What a dead letter of an event quotes.
pub fn payload((raw, row): &RawRow) -> Vec<u8> {
    match &raw.records.payload {
        Payload::Raw(all) => all.value(*row as usize).to_vec(),
        Payload::Row => {
            let fields = raw.records.batch.schema_ref().fields().iter().enumerate();
            let read = fields.filter(|(_, field)| !is_computed(field.name())).map(|(at, _)| at);
            row_text(&raw.records.batch, read, *row as usize).into_bytes()
        }
    }
}

/// Reads events of a source back, those of these rows. `moved`: by scan of then the one that goes on with it.
pub fn read(
    (id, source): (SourceId, &Source),
    batch: &RecordBatch,
    rows: &UInt32Array,
    moved: &IdVec<ScanId, Option<ScanId>>,
) -> Result<Vec<Kept>, Damaged> {
    let batch = take_record_batch(batch, rows).map_err(|e| Damaged(e.to_string()))?;
    let head = Head::of(&batch)?;
    let read = ReadColumns::of(source, &batch, &head)?;
    let mut kept = vec![];
    for ((scan, of_history, horizons), rows) in head.parts(moved) {
        let raw = Raw {
            source: id,
            scan,
            of_history,
            records: read.records(&head, &rows)?,
            stamped: rows.iter().map(|row| head.stamped(*row)).collect(),
            effs: rows.iter().map(|row| time(&head.effs, *row, Eff::from_us)).collect(),
            visible: rows
                .iter()
                .map(|row| time(&head.visible, *row, Tick::from_us).unwrap_or(Tick::BEFORE_ALL))
                .collect(),
            positions: rows.iter().map(|row| head.position(*row)).collect(),
            told: Told::each(rows.iter().map(|row| head.told.value(*row))),
            horizons: known_horizons(horizons, moved)?,
            asked: vec![],
            keys: head.keys.as_ref().map(|keys| rows.iter().map(|row| Some(keys.value(*row))).collect()),
        };
        let raw = Rc::new(raw);
        for (at, row) in (0..).zip(&rows) {
            let (holdings, found) = head.holdings(*row)?;
            kept.push(Kept { row: (raw.clone(), at), holdings, found });
        }
    }
    Ok(kept)
}

/// What is saved of each event beside the columns that were read.
struct Head<'b> {
    ts: Int64Array,
    arrivals: Int64Array,
    effs: Int64Array,
    visible: Int64Array,
    partitions: Int64Array,
    offsets: Int64Array,
    told: UInt8Array,
    of_history: UInt8Array,
    scans: &'b UInt32Array,
    horizons: &'b BinaryArray,
    holdings: &'b BinaryArray,
    found: Option<&'b BinaryArray>,
    undecoded: &'b BinaryArray,
    payloads: &'b BinaryArray,
    /// Of records that replace one another.
    keys: Option<&'b BinaryArray>,
    removes: Option<UInt8Array>,
}

/// Events of a scan, of a history or of a stream, which were read when windows before these horizons were closed; and their rows. What gathers
/// rows looks at that.
type Parts<'b> = BTreeMap<(ScanId, bool, &'b [u8]), Vec<usize>>;

impl<'b> Head<'b> {
    fn of(batch: &'b RecordBatch) -> Result<Head<'b>, Damaged> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| Damaged(format!("no column {name}")));
        let times = |name: &str| -> Result<Int64Array, Damaged> {
            let all = column(name)?.as_primitive_opt::<Int64Type>();
            all.cloned().ok_or_else(|| Damaged(format!("{name} is no time")))
        };
        let bytes = |name: &str| -> Result<&'b BinaryArray, Damaged> {
            column(name)?.as_binary_opt::<i32>().ok_or_else(|| Damaged(format!("{name} is no bytes")))
        };
        let flags = |name: &str| -> Result<UInt8Array, Damaged> {
            let all = column(name)?.as_primitive_opt::<UInt8Type>();
            all.cloned().ok_or_else(|| Damaged(format!("{name} are no flags")))
        };
        let is_there = |name: &str| batch.column_by_name(name).is_some();
        let scans = column("_scan")?.as_primitive_opt::<UInt32Type>();
        Ok(Head {
            ts: times("_ts")?,
            arrivals: times("_arrival")?,
            effs: times("_eff")?,
            visible: times("_visible")?,
            partitions: times("_partition")?,
            offsets: times("_offset")?,
            told: flags("_told")?,
            of_history: flags("_of_history")?,
            scans: scans.ok_or_else(|| Damaged("_scan is no number".to_owned()))?,
            horizons: bytes("_horizons")?,
            holdings: bytes("_groups")?,
            found: is_there(FOUND).then(|| bytes(FOUND)).transpose()?,
            undecoded: bytes("_undecoded")?,
            payloads: bytes("_payload")?,
            keys: is_there("_key").then(|| bytes("_key")).transpose()?,
            removes: is_there("_removes").then(|| flags("_removes")).transpose()?,
        })
    }

    /// How many columns it has.
    fn columns(&self) -> usize {
        HEAD + 2 * usize::from(self.keys.is_some())
    }

    fn parts(&self, moved: &IdVec<ScanId, Option<ScanId>>) -> Parts<'b> {
        let mut parts = Parts::new();
        for row in 0..self.scans.len() {
            if let Some(scan) = moved.get(ScanId::from(self.scans.value(row))).copied().flatten() {
                let part = (scan, self.of_history.value(row) == 1, self.horizons.value(row));
                parts.entry(part).or_default().push(row);
            }
        }
        parts
    }

    fn stamped(&self, row: usize) -> Stamped {
        Stamped {
            ts: time(&self.ts, row, EventTime::from_us),
            a: time(&self.arrivals, row, Arrival::from_us),
            removes: self.removes.as_ref().is_some_and(|removes| removes.value(row) == 1),
            ..Stamped::default()
        }
    }

    fn position(&self, row: usize) -> (Option<i64>, Option<Offset>) {
        (time(&self.partitions, row, |partition| partition), time(&self.offsets, row, Offset::at))
    }

    fn holdings(&self, row: usize) -> Result<(Vec<Holding>, Vec<FoundRows>), Damaged> {
        let holdings: Vec<Holding> = get(&mut self.holdings.value(row))?;
        let found = match self.found {
            Some(found) => get(&mut found.value(row))?,
            None => holdings.iter().map(|_| vec![]).collect(),
        };
        Ok((holdings, found))
    }
}

/// The columns of a source, as they were read.
struct ReadColumns {
    all: RecordBatch,
    /// By column: its place among those that were saved. `None`: only a new group asks for it, which names no event of an old one.
    places: Vec<Option<usize>>,
}

impl ReadColumns {
    fn of(source: &Source, batch: &RecordBatch, head: &Head) -> Result<ReadColumns, Damaged> {
        let saved = batch.schema_ref().fields().iter().skip(head.columns());
        let saved: Vec<&String> = saved.map(|field| field.name()).collect();
        let (mut columns, mut places) = (vec![], vec![]);
        for field in source.wanted.schema.fields() {
            let place = saved.iter().position(|name| **name == named(field.name()));
            places.push(place);
            columns.push(match place {
                Some(place) => loaded(batch.column(head.columns() + place), field.data_type())?,
                None => new_null_array(field.data_type(), batch.num_rows()),
            });
        }
        let schema = source.wanted.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let all = RecordBatch::try_new(Arc::new(Schema::new(schema.collect::<Vec<_>>())), columns);
        Ok(ReadColumns { all: all.map_err(|e| Damaged(e.to_string()))?, places })
    }

    /// Some rows, with what a dead letter of each quotes.
    fn records(&self, head: &Head, rows: &[usize]) -> Result<Records, Damaged> {
        let at: UInt32Array = rows.iter().map(|row| Some(*row as u32)).collect();
        let batch = take_record_batch(&self.all, &at).map_err(|e| Damaged(e.to_string()))?;
        let failed = |place: Option<usize>, row: usize| {
            let flag = head.undecoded.is_valid(row).then(|| head.undecoded.value(row).get(place?).copied()).flatten();
            flag == Some(1)
        };
        let undecoded = |place: &Option<usize>| {
            let flags: BooleanBuffer = rows.iter().map(|row| failed(*place, *row)).collect();
            (flags.count_set_bits() > 0).then_some(flags)
        };
        let undecoded = self.places.iter().map(undecoded).collect();
        let payload = Payload::Raw(rows.iter().map(|row| Some(head.payloads.value(*row))).collect());
        Ok(Records { payload, ..Records::of_rows(batch, undecoded) })
    }
}

fn time<T>(all: &Int64Array, row: usize, from_us: impl Fn(i64) -> T) -> Option<T> {
    all.is_valid(row).then(|| from_us(all.value(row)))
}

/// Horizons as they were saved, by scan of now.
fn known_horizons(mut saved: &[u8], moved: &IdVec<ScanId, Option<ScanId>>) -> Result<IdVec<ScanId, Eff>, Damaged> {
    let before: Vec<Eff> = get(&mut saved)?;
    let known = moved.iter().zip(before).filter_map(|(now, horizon)| Some(((*now)?, horizon)));
    let known: BTreeMap<ScanId, Eff> = known.collect();
    let len = known.keys().map(|scan| scan.index() + 1).max().unwrap_or(0);
    let mut horizons = IdVec::filled(Eff::BEFORE_ALL, len);
    known.into_iter().for_each(|(scan, horizon)| horizons[scan] = horizon);
    Ok(horizons)
}
