//! Lookups: a group's events with what they look up, as that was known at each tick.
//!
//! ```text
//! event      ts 10:20, V 10:20, of m1       m1: rate 2 from 09:00, known from 09:00; rate 3 from 10:15, known from 10:40
//! arrival    +1 at 10:20 with rate 2        -1 at 10:40 with rate 2        +1 at 10:40 with rate 3
//! event      +1 with rate 3
//! ```
//!
//! In hindsight an event looks up what is known in the end, and nothing is ever taken back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Int8Array, Int64Array, RecordBatch, UInt32Array, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use headwater_clocks::{Tick, Time};
use headwater_connectors::Records;
use headwater_expression::{ROWS_MAX, in_parts};
use headwater_operators::events;
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::probe::Enter;

use super::tables::{PastTable, Tables};
use crate::base::failure::Failure;
use crate::base::id::{GroupId, SourceId};
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::opened::{OpenLookup, Opened};
use crate::ingest::admit::Admitted;
use crate::ingest::dead_letters::{REASONS, Tally, reason_bit};
use crate::ingest::looked_up::{Raw, RawRow, gather, take_records, with_column};
use crate::ingest::looked_up_by::{LookedUpBy, looked_up_by};
use crate::ingest::selection::{Elements, REPEATED_BYTES_MAX, parted, row_bytes};
use crate::ingest::shape::{Batch, Refused, Shaper};
use crate::job::LookIn;

/// Whether events of a group may be taken back.
pub fn takes_back(opened: &Opened, group: GroupId, enter: Enter) -> bool {
    enter == Enter::Visible && !opened.groups[group].lookups.is_empty()
}

/// The schema of a group's events.
pub fn schema(opened: &Opened, group: GroupId, enter: Enter) -> SchemaRef {
    let inputs: Vec<DataType> = opened.groups[group].inputs.iter().map(|input| input.data_type().clone()).collect();
    match takes_back(opened, group, enter) {
        true => events::corrected_schema(&inputs, false),
        false => events::schema(&inputs, false),
    }
}

/// # Panics
/// On a lookup in a group: a backfill of such a group is refused.
fn table_of(lookup: &OpenLookup) -> SourceId {
    match lookup.of {
        LookIn::Table(table) => table,
        LookIn::Features(_) => unreachable!("a backfill of a group that looks up in a group is refused"),
    }
}

/// What groups look up. One a thread.
pub struct LookUps<'t> {
    opened: Arc<Opened>,
    tables: &'t Tables,
    enter: Enter,
    groups: BTreeMap<(GroupId, SourceId), Looking>,
}

/// How a group looks up events of one of its sources.
struct Looking {
    shaper: Shaper,
    /// By lookup: of the keys of its table.
    keys: Vec<KeyCodec>,
    schema: SchemaRef,
}

impl<'t> LookUps<'t> {
    pub fn new(opened: &Arc<Opened>, sets: &ColumnSets, tables: &'t Tables, enter: Enter) -> LookUps<'t> {
        let mut groups = BTreeMap::new();
        let looking = |group: &GroupId| !opened.groups[*group].lookups.is_empty();
        // Those that are not asked for have no column set.
        let asked = opened.groups.ids().filter(looking).filter(|group| sets.groups[*group].iter().next().is_some());
        for group in asked {
            for source in opened.graph.events_of(group) {
                let shapers = Shaper::of_source(opened, sets, source);
                let shaper = shapers.into_iter().find(|shaper| shaper.group == group);
                let keys = opened.groups[group].lookups.iter().map(|lookup| {
                    let table = opened.sources[table_of(lookup)].table.as_ref().expect("a table");
                    KeyCodec::new(&table.key_types).expect("key types were checked")
                });
                let schema = schema(opened, group, enter);
                let shaper = shaper.expect("a group of the source");
                groups.insert((group, source), Looking { shaper, keys: keys.collect(), schema });
            }
        }
        LookUps { opened: opened.clone(), tables, enter, groups }
    }

    /// The events of every group that asks for them, handed on in parts that are small.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn events(&self, raw: Raw, tally: &mut Tally, each: &mut Collect) -> Result<(), Failure> {
        let raw = Rc::new(raw);
        let mut asked = raw.asked.iter().filter(|(_, rows)| !rows.is_empty());
        asked.try_for_each(|(group, rows)| self.of_group(*group, (&raw, rows), tally, each))
    }

    fn of_group(
        &self,
        group: GroupId,
        (raw, rows): (&Rc<Raw>, &[u32]),
        tally: &mut Tally,
        each: &mut Collect,
    ) -> Result<(), Failure> {
        let looking = &self.groups[&(group, raw.source)];
        let columns = self.opened.sources[raw.source].wanted.schema.fields().len();
        let all: Vec<RawRow> = rows.iter().map(|row| (raw.clone(), *row)).collect();
        let records = looking.shaper.view().of(&gather(&all, columns)).into_owned();
        let mut making = Making { group, looking, raw, refused: RefusedRows::new(), each };
        match &self.opened.groups[group].explode {
            None => {
                let seen = rows.iter().map(|row| Seen::of(raw, *row)).collect();
                self.look_up_from(0, (records, seen), &mut making)?;
            }
            // Each element of a list looks up for itself.
            Some(explode) => {
                let (mut parts, failed) = Elements::of(&records, explode, REPEATED_BYTES_MAX);
                for at in failed {
                    *making.refused.entry(rows[at as usize]).or_default() |= reason_bit("expression");
                }
                parts.try_for_each(|Elements { records, of }| {
                    let seen = of.iter().map(|at| Seen::of(raw, rows[*at as usize])).collect();
                    self.look_up_from(0, (records, seen), &mut making)
                })?;
            }
        }
        tell_refused(&making.refused, (group, raw), tally);
        Ok(())
    }

    /// Some records, or some elements, do the lookup of this number and those behind it, and become events. They are taken
    /// with what they look up in parts of some MiB: one long text of a table may be looked up by all of them, and a record that looks up
    /// many versions is there as often.
    fn look_up_from(&self, at: usize, (records, seen): (Records, Vec<Seen>), to: &mut Making) -> Result<(), Failure> {
        let Some(lookup) = self.opened.groups[to.group].lookups.get(at) else { return to.shape(&records, &seen) };
        let keys = Keys::of(lookup, &to.looking.keys[at], &records);
        let table = self.tables.of_source(table_of(lookup));
        let parts = self.look_up(&keys, table, (to.raw, seen));
        let bytes = |at: usize| {
            let of_pick = |row: u32| lookup.columns.iter().map(move |column| table.bytes(column.value, row)).sum();
            let of_record = records.batch.columns().iter().map(|column| row_bytes(column, parts.of[at] as usize));
            of_record.sum::<usize>() + parts.picks[at].map_or(0, of_pick)
        };
        for some in parted(parts.of.len(), REPEATED_BYTES_MAX, bytes) {
            let part = parts.slice(some);
            let records = extend(take_records(&records, &part.of), lookup, table, &part, &keys);
            self.look_up_from(at + 1, (records, part.seen), to)?;
        }
        Ok(())
    }

    /// What each event looks up, where that is another row from some tick on in parts.
    fn look_up(&self, keys: &Keys, table: &PastTable, (raw, seen): (&Raw, Vec<Seen>)) -> Parts {
        let mut parts = Parts::default();
        for (at, Seen { row, ticks }) in seen.into_iter().enumerate() {
            let mut part = |ticks: Range<Tick>, pick: Option<u32>| {
                parts.of.push(at as u32);
                parts.seen.push(Seen { row, ticks });
                parts.picks.push(pick);
            };
            match (keys.get(at), self.enter) {
                (None, _) => part(ticks, None),
                (Some(key), Enter::Visible) => table.past.seen(key, raw.ts(row), ticks, part),
                (Some(key), Enter::Happened) => part(ticks, table.past.last(key, raw.ts(row))),
            }
        }
        parts
    }
}

/// A record, as it is seen at some ticks.
#[derive(Clone)]
struct Seen {
    row: u32,
    ticks: Range<Tick>,
}

impl Seen {
    fn of(raw: &Raw, row: u32) -> Seen {
        Seen { row, ticks: raw.visible[row as usize]..Tick::AFTER_ALL }
    }
}

/// Records in parts, each with a row of a table.
#[derive(Default)]
struct Parts {
    /// Which they are parts of.
    of: Vec<u32>,
    seen: Vec<Seen>,
    picks: Vec<Option<u32>>,
}

impl Parts {
    fn slice(&self, some: Range<usize>) -> Parts {
        let (of, picks) = (self.of[some.clone()].to_vec(), self.picks[some.clone()].to_vec());
        Parts { of, seen: self.seen[some].to_vec(), picks }
    }
}

/// By what some records look up: in parts of `ROWS_MAX`.
struct Keys {
    parts: Vec<KeysOfPart>,
}

struct KeysOfPart {
    keys: BinaryArray,
    is_null: Vec<bool>,
    failed: Option<BooleanBuffer>,
}

impl KeysOfPart {
    fn of(lookup: &OpenLookup, codec: &KeyCodec, records: &Records) -> KeysOfPart {
        let LookedUpBy { columns, failed } = looked_up_by(lookup, codec.types(), records);
        let is_null = (0..records.len()).map(|row| columns.iter().any(|column| column.is_null(row))).collect();
        KeysOfPart { keys: codec.encode(&columns).expect("columns of the key's types"), is_null, failed }
    }

    fn has_failed(&self, row: usize) -> bool {
        self.failed.as_ref().is_some_and(|failed| failed.value(row))
    }
}

impl Keys {
    fn of(lookup: &OpenLookup, codec: &KeyCodec, records: &Records) -> Keys {
        let parts = in_parts(records.len()).map(|rows| records.slice(rows.start, rows.len()));
        Keys { parts: parts.map(|part| KeysOfPart::of(lookup, codec, &part)).collect() }
    }

    fn part(&self, row: usize) -> (&KeysOfPart, usize) {
        (&self.parts[row / ROWS_MAX], row % ROWS_MAX)
    }

    /// `None`: it is null, or failed.
    fn get(&self, row: usize) -> Option<&[u8]> {
        let (part, row) = self.part(row);
        (!part.is_null[row] && !part.has_failed(row)).then(|| part.keys.value(row))
    }

    fn has_failed(&self, row: usize) -> bool {
        let (part, row) = self.part(row);
        part.has_failed(row)
    }
}

/// Records with what they look up, by column that is named.
fn extend(records: Records, lookup: &OpenLookup, table: &PastTable, parts: &Parts, keys: &Keys) -> Records {
    let picks = UInt32Array::from(parts.picks.clone());
    lookup.columns.iter().fold(records, |records, column| {
        let values = &table.values[column.value];
        let values = match values.is_empty() {
            true => new_null_array(&column.data_type, picks.len()),
            false => take(values, &picks, None).expect("rows of the table"),
        };
        let undecoded = table.undecoded[column.value].as_ref();
        let failed = |(of, pick): (&u32, &Option<u32>)| {
            keys.has_failed(*of as usize)
                || undecoded.zip(*pick).is_some_and(|(undecoded, pick)| undecoded.value(pick as usize))
        };
        let failed: BooleanBuffer = parts.of.iter().zip(&parts.picks).map(failed).collect();
        with_column(records, &column.name, values, Some(BooleanArray::new(failed, None)))
    })
}

/// Takes some events of a group.
pub type Collect<'c> = dyn FnMut(GroupId, RecordBatch) -> Result<(), Failure> + 'c;

/// Events of a group are made.
struct Making<'m, 'c> {
    group: GroupId,
    looking: &'m Looking,
    raw: &'m Raw,
    refused: RefusedRows,
    each: &'m mut Collect<'c>,
}

impl Making<'_, '_> {
    /// Of some records with what they look up.
    fn shape(&mut self, records: &Records, seen: &[Seen]) -> Result<(), Failure> {
        let Making { group, looking, raw, refused, each } = self;
        let stamped: Vec<_> = seen.iter().map(|seen| raw.stamped[seen.row as usize]).collect();
        let mut admitted = Admitted::none(raw.scan, seen.len());
        admitted.taken = vec![true; seen.len()];
        admitted.events = (0..seen.len() as u32).collect();
        // In the place of the tick each has the number of its record.
        admitted.visible = (0..seen.len() as i64).map(Tick::from_us).collect();
        let mut outcome = Ok(());
        looking.shaper.shape_seen(Batch { records, stamped: &stamped }, &[admitted], &mut |of_set| {
            note_refused(of_set.refused, seen, refused);
            if let Some(events) = of_set.events {
                outcome = each(*group, looking.dated(&events, seen));
            }
            outcome.is_ok()
        });
        outcome
    }
}

impl Looking {
    /// Events with the ticks at which they come, and at which those go that do.
    fn dated(&self, events: &RecordBatch, seen: &[Seen]) -> RecordBatch {
        let numbers = events.column(events::VISIBLE).as_primitive::<Int64Type>().values();
        let ticks = |at: u32| &seen[numbers[at as usize] as usize].ticks;
        let all = 0..events.num_rows() as u32;
        let going: Vec<u32> = all.clone().filter(|at| ticks(*at).end < Tick::AFTER_ALL).collect();
        let visible = all.clone().map(|at| ticks(at).start).chain(going.iter().map(|at| ticks(*at).end));
        let visible = Arc::new(Int64Array::from_iter_values(visible.map(Time::us)));
        let diffs: Int8Array = all.clone().map(|_| 1).chain(going.iter().map(|_| -1)).map(Some).collect();
        let whole = match going.is_empty() {
            true => events.clone(),
            false => {
                let picks = UInt32Array::from_iter_values(all.chain(going));
                take_record_batch(events, &picks).expect("rows of its own")
            }
        };
        let mut columns = whole.columns().to_vec();
        columns[events::VISIBLE] = visible;
        if self.schema.fields().len() > columns.len() {
            columns.push(Arc::new(diffs));
        }
        RecordBatch::try_new(self.schema.clone(), columns).expect("columns of its own schema")
    }
}

/// By record: the reasons for which it is refused, of however many parts of it they are true.
type RefusedRows = BTreeMap<u32, u8>;

fn note_refused(refused: Refused, seen: &[Seen], by_row: &mut RefusedRows) {
    let Refused { expression, null_key, long_key, late: _ } = refused;
    for (reason, parts) in [("expression", expression), ("null key", null_key), ("long key", long_key)] {
        for part in parts {
            *by_row.entry(seen[part as usize].row).or_default() |= reason_bit(reason);
        }
    }
}

/// Counts what is refused: a record once for each reason.
fn tell_refused(by_row: &RefusedRows, (group, raw): (GroupId, &Raw), tally: &mut Tally) {
    for (row, reasons) in by_row {
        let told = &raw.told[*row as usize];
        for (at, reason) in REASONS.iter().enumerate().filter(|(at, _)| reasons & 1 << at != 0) {
            tally.refused_by(group, reason);
            if told.add(1 << at) {
                tally.refused(raw.source, reason);
            }
        }
    }
}
