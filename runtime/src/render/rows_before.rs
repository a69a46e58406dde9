//! Rows just before events, rendered: the workers that have a group's rows are asked for them by those that have read the events.
//!
//! ```text
//! lookups --(key, tick)--> the key's worker: past rows --(key, tick, row)--> lookups
//! ```
//!
//! A question is answered once all ticks before its own are done. What nobody can ask for any more is forgotten.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Schema;
use headwater_clocks::{Eff, Span, Tick, Time};
use headwater_expression::ROWS_MAX;
use headwater_operators::collection::{Past, Readable, RowBatch, Values};
use headwater_operators::control::SharedState;
use headwater_operators::exchange::{Columns, Routed};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::keys;
use headwater_operators::operator::RowsOf;
use headwater_operators::value::Column;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};

use super::rendering::{Rendering, SharedOrders, Wiring};
use crate::base::id::{GroupId, Id, IdVec, ScanId, WorkerId};
use crate::base::peer::Peer;
use crate::catalog::opened::{OpenGroup, Opened};
use crate::ingest::lookups::{Corrects, Query};
use crate::job::IS_THERE;

/// Questions of the lookups of a level.
pub type Queries<'scope> = (usize, Stream<'scope, Tick, Vec<Questions>>);
/// Questions for rows of a group, with the worker that asks.
pub type Questions = Routed<(GroupId, WorkerId)>;
/// Answers of a group, with the level that has asked.
pub type Answers = Routed<(GroupId, usize)>;

/// Questions as they go to the workers of their keys.
pub fn routed(queries: Vec<Query>, peer: Peer) -> Vec<Questions> {
    let mut by_target: BTreeMap<(u64, GroupId), Vec<Query>> = BTreeMap::new();
    for query in queries {
        let owner = keys::owner(keys::hash(&query.key), peer.peers);
        by_target.entry((owner, query.features)).or_default().push(query);
    }
    let one = |((to, group), queries): ((u64, GroupId), Vec<Query>)| {
        let columns: [(&str, ArrayRef); 2] = [
            ("_key", Arc::new(BinaryArray::from_iter_values(queries.iter().map(|query| &query.key)))),
            ("_before", Arc::new(queries.iter().map(|query| Some(query.before.us())).collect::<Int64Array>())),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
        Questions { to, of: (group, peer.worker), columns: Columns::from(batch) }
    };
    by_target.into_iter().map(one).collect()
}

/// Of an answer: by question the key, the tick, and the row if there is one.
pub fn answers(routed: &Answers) -> impl Iterator<Item = (&[u8], Tick, Option<&[u8]>)> {
    let batch = &routed.columns.0;
    let (keys, before) = (batch.column(0).as_binary::<i32>(), batch.column(1).as_primitive::<Int64Type>());
    let rows = batch.column(2).as_binary::<i32>();
    let row = |at: usize| rows.is_valid(at).then(|| rows.value(at));
    (0..batch.num_rows()).map(move |at| (keys.value(at), Tick::from_us(before.value(at)), row(at)))
}

/// The answers, to the workers that have asked. `rows`: of all groups.
pub fn render<'scope>(
    scope: Scope<'scope, Tick>,
    of: Rendering,
    wiring: &Wiring,
    (rows, states): (&[RowsOf<'scope>], &IdVec<GroupId, SharedState>),
    queries: Vec<Queries<'scope>>,
) -> Stream<'scope, Tick, Vec<Answers>> {
    let (opened, plan) = (of.shared.opened.clone(), &of.shared.start.plan);
    let mut builder = OperatorBuilder::new("rows before".to_owned(), scope);
    let (levels, streams): (Vec<usize>, Vec<_>) = queries.into_iter().unzip();
    let mut asked: Vec<_> = streams
        .into_iter()
        .map(|stream| builder.new_input(stream, Exchange::new(|routed: &Questions| routed.to)))
        .collect();
    let looked_up = rows.iter().filter(|(group, _)| opened.is_looked_up(*group));
    let (mut sources, mut answering) = (vec![], vec![]);
    for (group, rows) in looked_up {
        let id = *group;
        let state = states[id].clone();
        state.borrow_mut().add_reader();
        sources.push(builder.new_input(rows.stream.clone(), Pipeline));
        let scans = opened.asked_late(id).into_iter().map(|table| plan.first_scan(table));
        let corrects = scans.map(|scan| (scan, Corrects::of(&opened, plan, scan))).collect();
        answering.push(Answering { id, state, waiting: BTreeMap::new(), corrects });
    }
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Answers>>>::from(output);
    let past = wiring.past.clone();
    answering.iter().for_each(|of| _ = past.borrow_mut().entry(of.id).or_default());
    let (orders, tick) = (wiring.lookup_orders(), opened.job.tick);
    let scans = plan.scans.len();
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut horizon = Horizon { orders, now: IdVec::filled(Eff::BEFORE_ALL, scans) };
        move |frontiers| {
            let mut past = past.borrow_mut();
            for (level, input) in levels.iter().zip(&mut asked) {
                input.for_each(|sent, batches| {
                    let Some(capability) = sent.retain_least(0).map(Rc::new) else { return };
                    for routed in batches.drain(..) {
                        let of_group = answering.iter_mut().find(|of| of.id == routed.of.0);
                        of_group.expect("a group that is looked up").ask(*level, &routed, &capability);
                    }
                });
            }
            for (of, input) in answering.iter_mut().zip(&mut sources) {
                let past = past.get_mut(&of.id).expect("every group that is looked up has a past");
                input.for_each(|_, spans| {
                    for batch in spans.drain(..).filter_map(|span| span.inner) {
                        of.read(past, &batch);
                    }
                });
            }
            let first = |at: usize| frontiers[at].frontier().first().copied().unwrap_or(Tick::AFTER_ALL);
            // No question comes any more that was sent before it.
            let asked_from = (0..levels.len()).map(first).min().unwrap_or(Tick::AFTER_ALL);
            let horizons = horizon.at(asked_from);
            for (at, of) in answering.iter_mut().enumerate() {
                let past = past.get_mut(&of.id).expect("every group that is looked up has a past");
                let done = first(levels.len() + at);
                for (capability, routed) in of.answer(past, done, tick, &opened) {
                    output.activate().session(&*capability).give(routed);
                }
                past.forget(of.asked_from(asked_from, horizons));
            }
        }
    });
    stream
}

/// What is asked of one group.
struct Answering {
    id: GroupId,
    state: SharedState,
    /// By the tick before which.
    waiting: BTreeMap<Tick, Vec<Waiting>>,
    /// The tables by whose versions events that have had their ticks may come to ask for other rows.
    corrects: Vec<(ScanId, Corrects)>,
}

/// A question.
struct Waiting {
    key: Vec<u8>,
    worker: WorkerId,
    level: usize,
    capability: Rc<Capability<Tick>>,
}

impl Answering {
    fn ask(&mut self, level: usize, routed: &Questions, capability: &Rc<Capability<Tick>>) {
        let batch = &routed.columns.0;
        let (keys, before) = (batch.column(0).as_binary::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        for (key, before) in keys.iter().zip(before.values()) {
            let key = key.unwrap_or_default().to_vec();
            let waiting = Waiting { key, worker: routed.of.1, level, capability: capability.clone() };
            self.waiting.entry(Tick::from_us(*before)).or_default().push(waiting);
        }
    }

    fn read(&mut self, past: &mut Past, batch: &RowBatch) {
        let mut state = self.state.borrow_mut();
        past.read(batch, &state.keys());
        state.is_read();
    }

    /// The answers that are known. `done`: ticks before it are.
    fn answer(&mut self, past: &Past, done: Tick, tick: Span, opened: &Opened) -> Vec<(Rc<Capability<Tick>>, Answers)> {
        let is_known = |before: Tick| before - tick < done;
        let mut known: Vec<(Tick, Waiting)> = vec![];
        while let Some(entry) = self.waiting.first_entry().filter(|entry| is_known(*entry.key())) {
            let before = *entry.key();
            known.extend(entry.remove().into_iter().map(|waiting| (before, waiting)));
        }
        let target = |(_, waiting): &(Tick, Waiting)| (waiting.worker, waiting.level, *waiting.capability.time());
        known.sort_by_key(target);
        let parts = known.chunk_by(|a, b| target(a) == target(b)).flat_map(|same| same.chunks(ROWS_MAX));
        parts.map(|part| (part[0].1.capability.clone(), self.routed(past, part, opened))).collect()
    }

    fn routed(&self, past: &Past, part: &[(Tick, Waiting)], opened: &Opened) -> Answers {
        let found: Vec<Option<&Values>> = part.iter().map(|(before, of)| past.before(&of.key, *before)).collect();
        let there: Vec<(&[u8], &Values)> =
            part.iter().zip(&found).filter_map(|((_, of), row)| Some((&of.key[..], (*row)?))).collect();
        let encoded = encode(&opened.groups[self.id], &there);
        let mut rows = encoded.iter();
        let rows: BinaryArray = found.iter().map(|row| row.and_then(|_| rows.next().flatten())).collect();
        let columns: [(&str, ArrayRef); 3] = [
            ("_key", Arc::new(BinaryArray::from_iter_values(part.iter().map(|(_, of)| &of.key)))),
            ("_before", Arc::new(part.iter().map(|(before, _)| Some(before.us())).collect::<Int64Array>())),
            ("_row", Arc::new(rows)),
        ];
        let columns = columns.map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
        let (_, first) = &part[0];
        Answers { to: first.worker.number().into(), of: (self.id, first.level), columns: Columns::from(batch) }
    }

    /// Nobody asks for what was superseded up to it: questions that wait, those that come, and those of events that are corrected.
    fn asked_from(&self, coming: Tick, horizons: &IdVec<ScanId, Eff>) -> Tick {
        let waiting = self.waiting.keys().next().copied().unwrap_or(Tick::AFTER_ALL);
        let late =
            self.corrects.iter().map(|(scan, corrects)| corrects.from(horizons[*scan], coming.just_before())).min();
        // An event has its tick no earlier than its own time.
        let late = late.map_or(Tick::AFTER_ALL, |ts| Tick::leaving(ts, Span::ZERO));
        coming.min(waiting).min(late).just_before()
    }
}

/// The horizons that all lookups have heard of.
struct Horizon {
    orders: SharedOrders,
    now: IdVec<ScanId, Eff>,
}

impl Horizon {
    /// Where every tick before one is done by all.
    fn at(&mut self, tick: Tick) -> &IdVec<ScanId, Eff> {
        let mut orders = self.orders.borrow_mut();
        orders.to_save.clear();
        let heard = orders.horizons.iter().take_while(|(t, _)| *t < tick).count();
        if let Some((_, horizons)) = orders.horizons.drain(..heard).next_back() {
            self.now = horizons;
        }
        &self.now
    }
}

/// The columns of rows that others look up, as bytes. `rows`: each with its key, at most `ROWS_MAX`.
fn encode(group: &OpenGroup, rows: &[(&[u8], &Values)]) -> BinaryArray {
    if rows.is_empty() || group.looked_up.is_empty() {
        return BinaryArray::from_iter_values(rows.iter().map(|_| b""));
    }
    let fields = group.own_schema.fields();
    let own = group.key_types.len()..fields.len() - 2;
    let codec = KeyCodec::new(&group.key_types).expect("key types were checked");
    let mut columns: Vec<ArrayRef> = codec.decode(rows.iter().map(|(key, _)| *key)).expect("keys that were encoded");
    for (at, field) in fields[own.clone()].iter().enumerate() {
        let mut column = Column::new(field.data_type());
        rows.iter().for_each(|(_, values)| column.push(&values[at]));
        columns.push(column.finish());
    }
    let schema = Schema::new(fields[..own.end].to_vec());
    let batch = RecordBatch::try_new(Arc::new(schema), columns).expect("columns of the schema's types");
    let (derived, _) = group.derived.of(&batch);
    let names: Vec<String> = group.derived.fields().map(|(name, _)| name).collect();
    let column = |name: &String| -> ArrayRef {
        match batch.column_by_name(name) {
            Some(own) => own.clone(),
            None if name == IS_THERE => Arc::new(BooleanArray::from(vec![true; rows.len()])),
            None => {
                let at = names.iter().position(|derived| derived == name);
                derived[at.expect("a column of the row")].clone()
            }
        }
    };
    let columns: Vec<ArrayRef> = group.looked_up.iter().map(column).collect();
    let codec = KeyCodec::new(&group.looked_up_types()).expect("every type of a column has an order");
    codec.encode(&columns).expect("columns of their types")
}
