//! Shaping: a source's records become a group's events. A list is exploded, where the group says so; then `where`, then keys,
//! then the inputs, whole columns at a time.
//!
//! ```text
//! once a group        the rows of any column set -> where -> whose keys are there -> keys
//! once a column set   its rows of these -> its inputs -> whose windows take them -> events
//! ```
//!
//! A record that fails is the group's dead letter; where only an input fails, it is null there and the event counts, so
//! that no column depends on another. What the group itself refuses, its first column set tells.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use headwater_clocks::{Eff, EventTime, Span, Tick, Time};
use headwater_connectors::Records;
use headwater_connectors::format::text::key_text;
use headwater_connectors::sink::KEY_TEXT_BYTES_MAX;
use headwater_expression::{Evaluated, bytes_of};
use headwater_operators::events;
use headwater_operators::key_codec::KeyCodec;

use super::admit::{Admitted, Origin};
use super::selection::{REPEATED_BYTES_MAX, Selection, indexes_of, is_in, is_true, pick, union};
use super::stamp::Stamped;
use crate::base::id::{ColumnSetId, GroupId, Id, IdVec, ScanId, SourceId};
use crate::catalog::column_sets::{ColumnSet, ColumnSets};
use crate::catalog::opened::{KeyColumn, OpenGroup, Opened};
use crate::catalog::reach::{Late, Reach, late};
use crate::catalog::view::View;
use crate::job::Window;
use crate::plan;

/// What the values of a part may have. Expressions may make a megabyte of each record, and an array of Arrow has room for no more than two
/// thousand of these.
const PART_BYTES_MAX: usize = 8 << 20;

/// A column set, what its scan has admitted, and the rows of it that the column set asks for.
type SetRows<'a> = (ColumnSetId, &'a Admitted, Cow<'a, [u32]>);

/// Shapes the events that a group has of one source. One a thread.
pub struct Shaper {
    opened: Arc<Opened>,
    pub group: GroupId,
    source: SourceId,
    codec: KeyCodec,
    lateness: Span,
    sets: IdVec<ColumnSetId, SetShaper>,
}

/// What one column set of the group asks for.
struct SetShaper {
    /// What it takes of the source; and all that it takes events of.
    scan: ScanId,
    scans: Vec<ScanId>,
    /// `S` of the group.
    s: Option<Tick>,
    reach: Reach,
    /// Its input expressions, by their number in the group; `None`: nobody asks for it any more, so it is null.
    inputs: Vec<(Option<usize>, DataType)>,
    schema: SchemaRef,
}

/// What a batch of records gives to one column set of the group.
pub struct SetEvents {
    pub set: ColumnSetId,
    /// The records that the events are of.
    pub rows: Vec<u32>,
    pub events: Option<RecordBatch>,
    pub refused: Refused,
}

/// The records of a batch that are some group's dead letters, by reason.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    pub expression: Vec<u32>,
    pub null_key: Vec<u32>,
    pub long_key: Vec<u32>,
    /// With how late they were, where that is why.
    pub late: Vec<(u32, Option<Span>)>,
}

impl Refused {
    /// Once a record, whatever comes of it.
    fn settle(&mut self) {
        self.expression.sort_unstable();
        self.expression.dedup();
        self.null_key.dedup();
        self.long_key.dedup();
        self.late.dedup();
    }
}

/// A batch of records, as every stage after the first sees it.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    pub records: &'a Records,
    /// By record.
    pub stamped: &'a [Stamped],
}

impl Shaper {
    /// Those of a source's groups.
    pub fn of_source(opened: &Arc<Opened>, sets: &ColumnSets, source: SourceId) -> Vec<Shaper> {
        opened.graph.groups_of(source).map(|group| Shaper::new(opened, (group, source), &sets.groups[group])).collect()
    }

    fn new(opened: &Arc<Opened>, (group, source): (GroupId, SourceId), sets: &IdVec<ColumnSetId, ColumnSet>) -> Shaper {
        let open = &opened.groups[group];
        let codec = KeyCodec::new(&open.key_types).expect("key types were checked");
        let set = |set: &ColumnSet| SetShaper {
            scan: set.scans[&source],
            scans: set.scans.values().copied().collect(),
            s: set.s,
            reach: set.reach,
            inputs: set.inputs.clone(),
            schema: events::schema(&set.plan.inputs, open.shape.windowed()),
        };
        let lateness = opened.lateness(group);
        Shaper { opened: opened.clone(), group, source, codec, lateness, sets: sets.iter().map(set).collect() }
    }

    /// Whether a column set of a scan may hold a record that the scan takes.
    pub fn reaches(&self, admitted: &Admitted, stamped: &Stamped) -> bool {
        self.sets.iter().any(|set| set.scan == admitted.scan && set.reaches(admitted.origin, stamped))
    }

    /// The same of one record.
    pub fn reaches_row(&self, scan: ScanId, origin: Origin, stamped: &Stamped) -> bool {
        self.sets.iter().any(|set| set.scan == scan && set.reaches(origin, stamped))
    }

    /// The records of a scan that a group which looks them up may hold. `None`: there are none.
    pub fn asked(&self, batch: Batch, admitted: &Admitted) -> Option<Vec<u32>> {
        let set = self.sets.iter().find(|set| set.scan == admitted.scan)?;
        Some(set.rows(admitted, batch.stamped).into_owned()).filter(|rows| !rows.is_empty())
    }

    /// The events of a batch, by column set, of the scans that have admitted records of it: in parts that are small, handed on one by one.
    /// `each` says whether to go on.
    pub fn shape(&self, batch: Batch, admitted: &[Admitted], each: &mut dyn FnMut(SetEvents) -> bool) -> bool {
        let seen = self.view().of(batch.records);
        self.shape_seen(Batch { records: &seen, ..batch }, admitted, each)
    }

    /// The same, of records as the group sees them.
    pub fn shape_seen(&self, batch: Batch, admitted: &[Admitted], each: &mut dyn FnMut(SetEvents) -> bool) -> bool {
        let of_set = |(id, set): (ColumnSetId, &SetShaper)| {
            let admitted = admitted.iter().find(|admitted| admitted.scan == set.scan)?;
            Some((id, admitted, set.rows(admitted, batch.stamped)))
        };
        let asked: Vec<_> = self.sets.pairs().filter_map(of_set).collect();
        if asked.iter().all(|(_, _, rows)| rows.is_empty()) {
            return true;
        }
        let rows = union(asked.iter().map(|(_, _, rows)| rows.as_ref()));
        let selection = Selection::of(batch.records, rows.into_owned());
        // Where elements look something up, each is a record already.
        let explode = self.group().explode.as_ref().filter(|_| self.group().lookups.is_empty());
        let Some(explode) = explode else { return self.halved(batch, &asked, selection, each) };
        let (mut parts, failed) = selection.exploded(batch.records, explode, REPEATED_BYTES_MAX);
        if let Some((set, _, rows)) = asked.first().filter(|(id, ..)| id.index() == 0 && !failed.is_empty()) {
            let expression = failed.into_iter().filter(|row| is_in(rows, *row)).collect();
            let refused = Refused { expression, ..Refused::default() };
            if !each(SetEvents { set: *set, rows: vec![], events: None, refused }) {
                return false;
            }
        }
        parts.all(|part| self.halved(batch, &asked, part, each))
    }

    /// As a whole, unless that is too much at once.
    fn halved(
        &self,
        batch: Batch,
        asked: &[SetRows],
        selection: Selection,
        each: &mut dyn FnMut(SetEvents) -> bool,
    ) -> bool {
        let rows = selection.rows.len() as u32;
        match self.shape_part(batch, asked, &selection) {
            Some(of_sets) => of_sets.into_iter().all(each),
            None => [0..rows / 2, rows / 2..rows].into_iter().all(|half| {
                let half: Vec<u32> = half.collect();
                self.halved(batch, asked, selection.at(&half), each)
            }),
        }
    }

    /// `None`: it is too much.
    fn shape_part(&self, batch: Batch, asked: &[SetRows], selection: &Selection) -> Option<Vec<SetEvents>> {
        let mut room = Room { bytes: PART_BYTES_MAX, is_of_one: selection.rows.len() <= 1 };
        let (kept, failed) = self.filter(batch.records, selection);
        let selection = kept.as_ref().unwrap_or(selection);
        let keys = self.keys(batch.records, selection, &mut room)?;
        let keyed = self.keyed(selection, &keys);
        let draft = |(id, admitted, rows): &SetRows| {
            let mut draft = self.draft(&self.sets[*id], batch, (selection, rows), admitted, &keyed, &mut room)?;
            if id.index() == 0 {
                draft.refused.expression.extend(failed.iter().chain(&keyed.broken).filter(|row| is_in(rows, **row)));
                draft.refused.null_key.extend(keyed.null.iter().filter(|row| is_in(rows, **row)));
                draft.refused.long_key.extend(keyed.long.iter().filter(|row| is_in(rows, **row)));
            } else {
                draft.refused.late.clear();
            }
            draft.refused.settle();
            Some(draft)
        };
        let drafts: Vec<Draft> = asked.iter().map(draft).collect::<Option<_>>()?;
        let indexes = union(drafts.iter().map(|draft| draft.indexes.as_slice())).into_owned();
        let keys = self.encode(&keys, selection.rows.len(), &indexes);
        let finish = |(draft, (id, admitted, _)): (Draft, &SetRows)| {
            let keys = pick(&keys, indexes_of(&indexes, &draft.indexes).map(UInt32Array::from).as_ref());
            let rows: Vec<u32> = draft.indexes.iter().map(|index| selection.rows[*index as usize]).collect();
            let events = self.events(&self.sets[*id], (&rows, batch.stamped, admitted), keys, draft.inputs);
            SetEvents { set: *id, rows, events, refused: draft.refused }
        };
        Some(drafts.into_iter().zip(asked).map(finish).collect())
    }

    /// What passes `where`, and the rows for which it failed. `None`: all of it.
    fn filter(&self, records: &Records, selection: &Selection) -> (Option<Selection>, Vec<u32>) {
        let Some(filter) = &self.group().filter else { return (None, vec![]) };
        let evaluated = filter.evaluate(&selection.batch, &|c| selection.undecoded(records, c));
        let failed = selection.rows_of(evaluated.failed.as_ref()).collect();
        let passes = evaluated.values.as_boolean();
        let kept: Vec<u32> = (0..selection.rows.len() as u32).filter(|i| is_true(passes, *i as usize)).collect();
        ((kept.len() < selection.rows.len()).then(|| selection.at(&kept)), failed)
    }

    /// The key columns. `None`: they are too much.
    fn keys(&self, records: &Records, selection: &Selection, room: &mut Room) -> Option<Vec<Evaluated>> {
        let mut key = |key: &KeyColumn| match key {
            KeyColumn::Read(name) => {
                let values = selection.batch.column_by_name(name).expect("what the group names is seen");
                room.take(Some(Evaluated { values: values.clone(), failed: selection.undecoded(records, name) }))
            }
            KeyColumn::Computed(sql) => {
                let undecoded = |c: &str| selection.undecoded(records, c);
                room.take(sql.evaluate_within(&selection.batch, &undecoded, room.bytes))
            }
        };
        self.group().keys.iter().map(&mut key).collect()
    }

    /// Whose keys are there, and short enough.
    fn keyed(&self, selection: &Selection, keys: &[Evaluated]) -> Keyed {
        let columns: Vec<&ArrayRef> = keys.iter().map(|key| &key.values).collect();
        let mut keyed = Keyed::default();
        let some_long = may_be_long(&columns);
        let all_decoded = keys.iter().all(|key| key.failed.is_none());
        if all_decoded && !some_long && columns.iter().all(|c| c.null_count() == 0) {
            return keyed;
        }
        let texts = some_long.then(|| self.key_batch(keys));
        let is_too_long =
            |i: usize| texts.as_ref().is_some_and(|batch| key_text(batch, 0..keys.len(), i).len() > KEY_TEXT_BYTES_MAX);
        let mut is_there = Vec::with_capacity(selection.rows.len());
        for (i, row) in selection.rows.iter().enumerate() {
            let is_broken = keys.iter().any(|key| key.failed.as_ref().is_some_and(|failed| failed.value(i)));
            let is_null = columns.iter().any(|c| c.is_null(i));
            let is_long = !is_broken && !is_null && is_too_long(i);
            if is_broken {
                keyed.broken.push(*row);
            } else if is_null {
                keyed.null.push(*row);
            } else if is_long {
                keyed.long.push(*row);
            }
            is_there.push(!is_broken && !is_null && !is_long);
        }
        keyed.is_there = Some(is_there);
        keyed
    }

    /// The key columns, as rows call them.
    fn key_batch(&self, keys: &[Evaluated]) -> RecordBatch {
        let fields = self.group().shape.schema.fields()[..keys.len()].iter();
        let schema = Schema::new(fields.map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>());
        let columns = keys.iter().map(|key| key.values.clone()).collect();
        RecordBatch::try_new(Arc::new(schema), columns).expect("key columns keep their types")
    }

    /// The inputs of a column set, for those of its rows whose keys are there and whose windows take them. `None`: they are too much.
    fn draft(
        &self,
        set: &SetShaper,
        batch: Batch,
        (selection, rows): (&Selection, &[u32]),
        admitted: &Admitted,
        keyed: &Keyed,
        room: &mut Room,
    ) -> Option<Draft> {
        let mut refused = Refused::default();
        let own = indexes_of(&selection.rows, rows);
        let narrowed = own.as_ref().map(|own| selection.at(own));
        let mine = narrowed.as_ref().unwrap_or(selection);
        let mut inputs = Vec::with_capacity(set.inputs.len());
        for (input, data_type) in &set.inputs {
            let Some(input) = input.map(|input| &self.group().inputs[input]) else {
                inputs.push(new_null_array(data_type, mine.rows.len()));
                continue;
            };
            let undecoded = |c: &str| mine.undecoded(batch.records, c);
            let evaluated = room.take(input.evaluate_within(&mine.batch, &undecoded, room.bytes))?;
            refused.expression.extend(mine.rows_of(evaluated.failed.as_ref()));
            inputs.push(evaluated.values);
        }
        let horizon = set.horizon(admitted);
        let index = |i: u32| own.as_ref().map_or(i, |own| own[i as usize]);
        let is_good = |i: &u32| {
            keyed.is_there.as_ref().is_none_or(|is_there| is_there[index(*i) as usize])
                && self.is_in_time(mine.rows[*i as usize], batch.stamped, (admitted, horizon), &mut refused.late)
        };
        let good: Vec<u32> = (0..mine.rows.len() as u32).filter(is_good).collect();
        if good.len() < mine.rows.len() {
            let good = UInt32Array::from(good.clone());
            inputs.iter_mut().for_each(|input| *input = take(input, &good, None).expect("rows of its own"));
        }
        Some(Draft { indexes: good.into_iter().map(index).collect(), inputs, refused })
    }

    /// Whether a window takes the event of a row. If none does, it is late.
    fn is_in_time(
        &self,
        row: u32,
        stamped: &[Stamped],
        (admitted, horizon): (&Admitted, Eff),
        refused: &mut Vec<(u32, Option<Span>)>,
    ) -> bool {
        if !self.group().shape.windowed() {
            return true;
        }
        let ts = event_time(&stamped[row as usize]);
        let eff = admitted.effs[row as usize].unwrap_or(Eff::BEFORE_ALL);
        match late(self.window(), self.lateness, ts, eff, horizon) {
            Late::Not => return true,
            Late::By(late) => refused.push((row, Some(late))),
            Late::Gone => refused.push((row, None)),
        }
        false
    }

    /// The keys of some places of a selection of so many rows.
    fn encode(&self, keys: &[Evaluated], rows: usize, indexes: &[u32]) -> ArrayRef {
        let at = (indexes.len() < rows).then(|| UInt32Array::from(indexes.to_vec()));
        let columns = keys.iter().map(|key| pick(&key.values, at.as_ref()));
        let columns: Vec<ArrayRef> = columns.collect();
        Arc::new(self.codec.encode(&columns).expect("key columns keep their types"))
    }

    fn events(
        &self,
        set: &SetShaper,
        (rows, stamped, admitted): (&[u32], &[Stamped], &Admitted),
        keys: ArrayRef,
        inputs: Vec<ArrayRef>,
    ) -> Option<RecordBatch> {
        if rows.is_empty() {
            return None;
        }
        let each = |of: &dyn Fn(usize) -> i64| Int64Array::from_iter_values(rows.iter().map(|row| of(*row as usize)));
        let open = self.group().shape.windowed().then(|| {
            let horizon = set.horizon(admitted);
            let passed = |row: usize| admitted.effs[row].unwrap_or(Eff::BEFORE_ALL).max(horizon);
            each(&|row| passed(row).reaches_back(self.lateness).us())
        });
        let (ts, visible) = (each(&|row| event_time(&stamped[row]).us()), each(&|row| admitted.visible[row].us()));
        let batch = events::batch(&set.schema, keys.as_binary().clone(), ts, visible, open, inputs);
        Some(batch.expect("columns of its own schema"))
    }

    fn group(&self) -> &OpenGroup {
        &self.opened.groups[self.group]
    }

    pub fn view(&self) -> &View {
        &self.group().views[&self.source]
    }

    fn window(&self) -> Window {
        self.opened.job.groups[self.group].window
    }
}

impl SetShaper {
    /// The events among the records that a scan has admitted which the column set's windows may hold.
    fn rows<'a>(&self, admitted: &'a Admitted, stamped: &[Stamped]) -> Cow<'a, [u32]> {
        match admitted.origin {
            Origin::Stream => Cow::Borrowed(&admitted.events),
            Origin::History { .. } => {
                let is_reached = |row: &u32| self.reaches(admitted.origin, &stamped[*row as usize]);
                Cow::Owned(admitted.events.iter().copied().filter(is_reached).collect())
            }
        }
    }

    /// Windows that closed before it are gone.
    fn horizon(&self, admitted: &Admitted) -> Eff {
        plan::horizon(&self.scans, &admitted.horizons).unwrap_or(Eff::BEFORE_ALL)
    }

    fn reaches(&self, origin: Origin, stamped: &Stamped) -> bool {
        match (origin, stamped.ts) {
            (Origin::History { s: Some(s) }, Some(ts)) => {
                self.reach.holds(ts, self.s.map_or(s, |of_all| of_all.max(s)))
            }
            _ => true,
        }
    }
}

/// How many bytes the values of a part may still have. One row alone may have more.
struct Room {
    bytes: usize,
    is_of_one: bool,
}

impl Room {
    fn take(&mut self, evaluated: Option<Evaluated>) -> Option<Evaluated> {
        let evaluated = evaluated?;
        let left = self.bytes.checked_sub(bytes_of(&evaluated.values));
        self.bytes = if self.is_of_one { left.unwrap_or(0) } else { left? };
        Some(evaluated)
    }
}

/// Which of the places of a selection have a key.
#[derive(Default)]
struct Keyed {
    /// `None`: every one has.
    is_there: Option<Vec<bool>>,
    /// The rows of the others: those that did not decode, those that are null, and those that are too long.
    broken: Vec<u32>,
    null: Vec<u32>,
    long: Vec<u32>,
}

/// Whether the JSON text of some key may be too long: a character takes six bytes there at most. Names, and what is no text, take
/// little.
fn may_be_long(columns: &[&ArrayRef]) -> bool {
    let texts = columns.iter().filter_map(|column| column.as_string_opt::<i32>());
    let longest = texts.map(|texts| texts.value_offsets().windows(2).map(|pair| (pair[1] - pair[0]) as usize).max());
    let longest: usize = longest.map(Option::unwrap_or_default).sum();
    longest * 6 > KEY_TEXT_BYTES_MAX / 2
}

/// The events of a column set, without their keys.
struct Draft {
    /// In the group's selection, ascending.
    indexes: Vec<u32>,
    inputs: Vec<ArrayRef>,
    refused: Refused,
}

/// The event time of a record that is an event.
fn event_time(stamped: &Stamped) -> EventTime {
    stamped.ts.expect("what is admitted as an event has an event time")
}

#[cfg(test)]
mod tests {
    use headwater_connectors::stream::Start;

    use super::*;
    use crate::ingest::pipeline::{Pipeline, Shaped, bytes_of_batch};
    use crate::ingest::testing::open_job;
    use crate::plan::Plan;
    use crate::plan::group::PlannedGroup;
    use crate::plan::scan::Scan;
    use crate::plan::side::Side;
    use headwater_clocks::{Arrival, Offset, WallClock};

    const JOB: &str = r#"
name = "t"
[sources.e]
event_time = "ts"
time_unit = "us"
schema = { ts = "int64", card = "string", x = "int64", y = "string" }
stream = { type = "jsonl", path = "*.jsonl" }
[features.f]
source = "e"
key = "card"
where = "100 / x > 1"
window = { tumbling = "1s" }
columns = { s = { agg = "sum", of = "x" }, m = { agg = "max", of = "100 / (x - 3)" }, l = { agg = "last", of = "y" } }
"#;

    /// Two column sets, each of a scan of its own.
    fn two_sets(opened: &Opened) -> ColumnSets {
        let scan = Scan { s: Some(Tick::from_us(0)), ..Scan::of(SourceId::at(0), String::new()) };
        let mut group = PlannedGroup::whole(opened, GroupId::at(0), &[ScanId::at(0)]);
        let mut second = group.first().clone();
        (second.scans, second.columns) = (vec![ScanId::at(1)], second.columns.split_off(1));
        group.sets[ColumnSetId::at(0)].columns.truncate(2);
        group.sets.push(second);
        let plan = Plan::of(WallClock::from_us(0), IdVec::filled(scan, 2), IdVec::from(vec![group]));
        ColumnSets::open(opened, &plan, Side::Live).unwrap()
    }

    const GROWING: &str = r#"
name = "t"
[sources.e]
event_time = "ts"
time_unit = "us"
schema = { ts = "int64", k = "string", l = "list<int64>" }
history = { type = "jsonl", path = "*.jsonl" }
[features.f]
source = "e"
key = "item"
explode = "l"
columns = { c = { agg = "last", of = "repeat(k, item)", window = "all" } }
[features.g]
source = "e"
key = "ts"
columns = { c = { agg = "last", of = "repeat(k, 3000)", window = "all" } }
"#;

    /// What is made of records of which each element gives up to some hundreds of kilobytes, and where these come from.
    fn growing(lines: &[String]) -> (Pipeline, Records, Vec<Stamped>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("1.jsonl"), lines.concat()).unwrap();
        let opened = Arc::new(open_job(dir.path(), GROWING));
        let source = &opened.sources[SourceId::at(0)];
        let history = source.history.as_ref().unwrap();
        let piece = history.pieces(&[]).unwrap().remove(0);
        let records = history.read(&piece, &source.history_wanted).unwrap().next().unwrap().unwrap();
        let scan = Scan { s: Some(Tick::from_us(0)), ..Scan::of(SourceId::at(0), String::new()) };
        let groups = opened.groups.ids().map(|group| PlannedGroup::whole(&opened, group, &[ScanId::at(0)]));
        let plan = Plan::of(WallClock::from_us(0), IdVec::filled(scan, 1), IdVec::from(groups.collect::<Vec<_>>()));
        let sets = ColumnSets::open(&opened, &plan, Side::Live).unwrap();
        let pipeline = Pipeline::new(&opened, &plan, &sets, SourceId::at(0));
        let stamp =
            |i: i64| Stamped { ts: Some(EventTime::from_us(i)), a: Some(Arrival::from_us(i)), ..Stamped::default() };
        let stamped = (0..records.len() as i64).map(stamp).collect();
        (pipeline, records, stamped, dir)
    }

    #[test]
    fn what_grows_is_made_in_parts() {
        let line = |i: usize| {
            let items = (0..i % 50).map(|n| (n * 100).to_string()).collect::<Vec<_>>().join(",");
            format!("{{\"ts\":{i},\"k\":\"{i:0100}\",\"l\":[{items}]}}\n")
        };
        let lines: Vec<String> = (0..100).map(line).collect();
        let (pipeline, records, stamped, _dir) = growing(&lines);
        let batch = Batch { records: &records, stamped: &stamped };
        let rows: Vec<u32> = (0..100).collect();
        let admitted = [Admitted::chosen(ScanId::at(0), &rows, &stamped, Tick::from_us(0))];
        let positions = pipeline.log_positions(&records);
        assert!(pipeline.shape_within(batch, &positions, &admitted, 16 << 20).is_none(), "it is some hundreds of MiB");
        let shaped = pipeline.shape(batch, &positions, &admitted);
        let all: usize = shaped.events.iter().map(|(_, events)| bytes_of_batch(events)).sum();
        assert!(all > 200 << 20, "{all}");
        assert!(shaped.bytes() >= all);
        let largest = shaped.events.iter().map(|(_, events)| bytes_of_batch(events)).max();
        assert!(largest <= Some(PART_BYTES_MAX + (1 << 20)), "{largest:?}");
        // Record by record it is the same.
        for group in [0, 1] {
            let of_group = |shaped: &Shaped| {
                let mine = shaped.events.iter().filter(|((id, _), _)| id.index() == group);
                mine.flat_map(|(_, events)| (0..events.num_rows()).map(|row| events.slice(row, 1))).collect::<Vec<_>>()
            };
            let alone = rows.iter().flat_map(|row| {
                let admitted = [Admitted::chosen(ScanId::at(0), &[*row], &stamped, Tick::from_us(0))];
                of_group(&pipeline.shape(batch, &positions, &admitted))
            });
            assert!(alone.eq(of_group(&shaped)), "{group}");
        }
    }

    #[test]
    fn parts_together_are_as_each_alone() {
        let dir = tempfile::tempdir().unwrap();
        // It passes or does not; a key that is null or none; `where` or an input that fails; a window that is closed.
        let keys = [r#""a""#, "null", "7", r#""b""#];
        let line = |i: usize| format!(r#"{{"ts":{},"card":{},"x":{},"y":"{i}"}}"#, i * 9_999, keys[i % 4], i % 7);
        std::fs::write(dir.path().join("1.jsonl"), (0..200).map(|i| line(i) + "\n").collect::<String>()).unwrap();
        let opened = Arc::new(open_job(dir.path(), JOB));
        let source = &opened.sources[SourceId::at(0)];
        let stream = source.stream.as_ref().unwrap();
        stream.bounds().unwrap();
        let mut reader = stream.reader(&[Start { partition: 0, offset: Offset::at(0) }], &source.wanted).unwrap();
        let records = reader.poll(0, 1 << 20).unwrap().unwrap();
        let stamp = |i: i64| {
            let (ts, a) = (EventTime::from_us(i * 9_999), Arrival::from_us(i * 20_000));
            Stamped { ts: Some(ts), a: Some(a), ..Stamped::default() }
        };
        let stamped: Vec<Stamped> = (0..200).map(stamp).collect();
        let batch = Batch { records: &records, stamped: &stamped };
        let shapers = Shaper::of_source(&opened, &two_sets(&opened), SourceId::at(0));
        let rows = |keep: fn(u32) -> bool| (0..200).filter(|row| keep(*row)).collect::<Vec<u32>>();
        for (first, second) in [
            (rows(|_| true), rows(|_| true)),
            (rows(|row| row < 150), rows(|row| row >= 50)),
            (rows(|row| row % 3 == 0), rows(|row| row % 5 == 0)),
            (rows(|_| true), vec![]),
        ] {
            let admitted =
                |scan, rows: &[u32]| Admitted::chosen(ScanId::at(scan), rows, &stamped, Tick::from_us(scan as i64));
            let shape = |admitted: &[Admitted]| {
                let mut all = vec![];
                shapers[0].shape(batch, admitted, &mut |of_set| {
                    all.push(of_set);
                    true
                });
                all
            };
            let together = shape(&[admitted(0, &first), admitted(1, &second)]);
            let mut alone = shape(&[admitted(0, &first)]);
            alone.extend(shape(&[admitted(1, &second)]));
            let told = |all: &[SetEvents]| {
                let one = |of: &SetEvents| format!("{:?} {:?} {:?}", of.set, of.events, of.refused);
                all.iter().filter(|of| of.events.is_some()).map(one).collect::<Vec<_>>()
            };
            assert_eq!(told(&together), told(&alone));
            assert!(together[0].events.as_ref().is_some_and(|events| events.num_rows() > 5));
            let Refused { expression, null_key, late, .. } = &together[0].refused;
            assert!(!expression.is_empty() && !null_key.is_empty() && !late.is_empty(), "{:?}", together[0].refused);
        }
    }
}
