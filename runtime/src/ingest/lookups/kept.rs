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
use crate::base::id::{Id, IdVec, ScanId, SourceId};
use crate::catalog::computed::is_computed;
use crate::catalog::opened::Source;

/// What a group has of an event.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    pub group: u32,
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

/// Events of one source.
pub fn write(source: &Source, kept: &[Kept]) -> RecordBatch {
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
    if kept.iter().flat_map(|kept| &kept.found).any(|found| !found.is_empty()) {
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
    let column = |name: &str| batch.column_by_name(name).cloned().ok_or_else(|| Damaged(format!("no column {name}")));
    let times = |name: &str| -> Result<Vec<Option<i64>>, Damaged> {
        let all = column(name)?;
        let all = all.as_primitive_opt::<Int64Type>().ok_or_else(|| Damaged(format!("{name} is no time")))?;
        Ok(all.iter().collect())
    };
    let bytes = |name: &str| -> Result<BinaryArray, Damaged> {
        column(name)?.as_binary_opt::<i32>().cloned().ok_or_else(|| Damaged(format!("{name} is no bytes")))
    };
    let (ts, arrivals, effs, visible) = (times("_ts")?, times("_arrival")?, times("_eff")?, times("_visible")?);
    let (partitions, offsets) = (times("_partition")?, times("_offset")?);
    let (holdings, undecoded, payloads) = (bytes("_groups")?, bytes("_undecoded")?, bytes("_payload")?);
    let found = batch.column_by_name(FOUND).map(|_| bytes(FOUND)).transpose()?;
    let flags = |name: &str| -> Result<UInt8Array, Damaged> {
        let all = column(name)?;
        all.as_primitive_opt::<UInt8Type>().cloned().ok_or_else(|| Damaged(format!("{name} are no flags")))
    };
    let (told, of_history, horizons) = (flags("_told")?, flags("_of_history")?, bytes("_horizons")?);
    let scans = column("_scan")?;
    let scans = scans.as_primitive_opt::<UInt32Type>().ok_or_else(|| Damaged("_scan is no number".to_owned()))?.clone();
    let keys = batch.column_by_name("_key").map(|_| bytes("_key")).transpose()?;
    let removes = batch.column_by_name("_removes").map(|_| flags("_removes")).transpose()?;
    let head = HEAD + 2 * usize::from(keys.is_some());
    let saved_names: Vec<&String> = batch.schema_ref().fields().iter().skip(head).map(|field| field.name()).collect();
    let mut columns: Vec<ArrayRef> = vec![];
    let mut places = vec![];
    for field in source.wanted.schema.fields() {
        let place = saved_names.iter().position(|name| **name == named(field.name()));
        places.push(place);
        // What only a new group names no event of an old one asks for.
        columns.push(match place {
            Some(place) => loaded(batch.column(head + place), field.data_type())?,
            None => new_null_array(field.data_type(), batch.num_rows()),
        });
    }
    let schema = source.wanted.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let all = RecordBatch::try_new(Arc::new(Schema::new(schema.collect::<Vec<_>>())), columns);
    let all = all.map_err(|e| Damaged(e.to_string()))?;
    let failed = |place: &Option<usize>| {
        let at = |row: usize| {
            undecoded.is_valid(row) && place.is_some_and(|place| undecoded.value(row).get(place) == Some(&1))
        };
        let flags: BooleanBuffer = (0..batch.num_rows()).map(at).collect();
        (flags.count_set_bits() > 0).then_some(flags)
    };
    // One batch for each scan, from a history or a stream: what gathers rows looks at that.
    let mut parts: BTreeMap<(ScanId, bool, &[u8]), Vec<usize>> = BTreeMap::new();
    for row in 0..batch.num_rows() {
        if let Some(scan) = moved.get(ScanId::from(scans.value(row))).copied().flatten() {
            parts.entry((scan, of_history.value(row) == 1, horizons.value(row))).or_default().push(row);
        }
    }
    let mut kept = vec![];
    for ((scan, of_history, mut horizons), rows) in parts {
        let before: Vec<Eff> = get(&mut horizons)?;
        let known = moved.iter().zip(before).filter_map(|(now, horizon)| Some(((*now)?, horizon)));
        let known: BTreeMap<ScanId, Eff> = known.collect();
        let len = known.keys().map(|scan| scan.index() + 1).max().unwrap_or(0);
        let mut horizons = IdVec::filled(Eff::BEFORE_ALL, len);
        known.into_iter().for_each(|(scan, horizon)| horizons[scan] = horizon);
        let at: UInt32Array = rows.iter().map(|row| Some(*row as u32)).collect();
        let of_rows = |all: Option<BooleanBuffer>| all.map(|all| rows.iter().map(|row| all.value(*row)).collect());
        let batch = take_record_batch(&all, &at).map_err(|e| Damaged(e.to_string()))?;
        let undecoded = places.iter().map(|place| of_rows(failed(place))).collect();
        let payload = Payload::Raw(rows.iter().map(|row| Some(payloads.value(*row))).collect());
        let records = Records { payload, ..Records::of_rows(batch, undecoded) };
        let stamped = |row: &usize| Stamped {
            ts: ts[*row].map(EventTime::from_us),
            a: arrivals[*row].map(Arrival::from_us),
            removes: removes.as_ref().is_some_and(|removes| removes.value(*row) == 1),
            ..Stamped::default()
        };
        let raw = Rc::new(Raw {
            source: id,
            scan,
            of_history,
            records,
            stamped: rows.iter().map(stamped).collect(),
            effs: rows.iter().map(|row| effs[*row].map(Eff::from_us)).collect(),
            visible: rows.iter().map(|row| visible[*row].map_or(Tick::BEFORE_ALL, Tick::from_us)).collect(),
            positions: rows.iter().map(|row| (partitions[*row], offsets[*row].map(Offset::at))).collect(),
            told: Told::each(rows.iter().map(|row| told.value(*row))),
            horizons,
            asked: vec![],
            keys: keys.as_ref().map(|keys| rows.iter().map(|row| Some(keys.value(*row))).collect()),
        });
        for (at, row) in (0..).zip(&rows) {
            let holdings: Vec<Holding> = get(&mut holdings.value(*row))?;
            let found = match &found {
                Some(found) => get(&mut found.value(*row))?,
                None => holdings.iter().map(|_| vec![]).collect(),
            };
            kept.push(Kept { row: (raw.clone(), at), holdings, found });
        }
    }
    Ok(kept)
}
