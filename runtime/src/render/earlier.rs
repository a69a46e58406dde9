//! Earlier values, rendered: each worker keeps the rows of its keys as they were not long ago, and is asked for them through worker 0.
//!
//! ```text
//! questions (worker 0) --> earlier values (the key's worker) --> answers (worker 0)
//!    rows of groups and views --^         '--> checkpoints
//! ```
//!
//! A question is answered once its tick is done. A checkpoint has what was superseded by its tick: the rows of then come back with their groups.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc::Sender;

use arrow::array::RecordBatch;
use headwater_clocks::{Span, Tick};
use headwater_operators::changes::{Changes, Keys};
use headwater_operators::collection::{Past, Readable, RowBatch, Values};
use headwater_operators::exchange::Columns;
use headwater_operators::group::Piece;
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::keys;
use headwater_operators::ledger::SegmentError;
use headwater_operators::operator::RowsOf;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;

use super::rendering::{Rendering, Wiring};
use crate::base::failure::Failure;
use crate::base::id::{CheckpointNumber, GroupId, Id, RowsId};
use crate::checkpoint;
use crate::checkpoint::past::PastRow;
use crate::observe::earlier::Answer;
use crate::observe::status::ProcessStatus;
use crate::plan::side::Side;

/// The rows of a group or a view of which earlier ones are kept.
pub struct KeptRows<'scope> {
    pub rows: RowsOf<'scope, RowsId>,
    /// What they are of.
    pub state: Rc<RefCell<dyn Readable>>,
}

/// A question on its way to the worker that has its key.
#[derive(Clone, Serialize, Deserialize)]
struct Question {
    to: u64,
    number: u64,
    group: RowsId,
    key: Vec<u8>,
    tick: Tick,
}

/// An answer on its way to worker 0. `forgotten`: nothing of before this tick is kept any more.
#[derive(Clone, Serialize, Deserialize)]
struct Reply {
    number: u64,
    rows: Option<Columns>,
    forgotten: Option<Tick>,
}

/// Who waits for an answer, by the number of the question.
type Waiting = Rc<RefCell<BTreeMap<u64, Sender<Answer>>>>;

/// Keeps rows, and answers. `finished`: its frontier is empty at the end of the run.
pub fn render<'scope>(
    kept: Vec<KeptRows<'scope>>,
    finished: Stream<'scope, Tick, Vec<()>>,
    of: Rendering,
    wiring: &Wiring,
) -> Result<(), Failure> {
    if of.side == Side::Shadow || kept.is_empty() {
        return Ok(());
    }
    let (mut rows, mut all, mut saved) = (vec![], vec![], Saved::read(of)?);
    for KeptRows { rows: (id, of_rows), state } in kept {
        let mut keeping = Keeping::open(of, id, state)?;
        saved.remove(&keeping.id).into_iter().for_each(|saved| keeping.go_on(saved));
        of.shared.earlier.begins(keeping.id, keeping.since);
        rows.push((id, of_rows));
        all.push(keeping);
    }
    let waiting = Waiting::default();
    let questions = questions(finished, of, waiting.clone());
    let answers = keep((rows, all), questions, of, wiring);
    answers.sink(Exchange::new(|_: &Reply| 0), "answers", move |(input, _)| {
        input.for_each(|_, batch| {
            for Reply { number, rows, forgotten } in batch.drain(..) {
                let Some(asker) = waiting.borrow_mut().remove(&number) else { continue };
                let rows = rows.map(|columns| columns.0);
                // One that has gone away needs none.
                let _ = asker.send(forgotten.map_or(Answer::Rows(rows), Answer::Forgotten));
            }
        });
    });
    Ok(())
}

/// Worker 0 sends on what is asked, until the run ends.
fn questions<'scope>(
    finished: Stream<'scope, Tick, Vec<()>>,
    of: Rendering,
    waiting: Waiting,
) -> Stream<'scope, Tick, Vec<Question>> {
    let (scope, workers) = (finished.scope(), of.peer.peers);
    let mut builder = OperatorBuilder::new("questions".to_owned(), scope);
    let address = builder.operator_info().address;
    let wakes = scope.worker().sync_activator_for(address.to_vec());
    let mut asked = if of.peer.is_first() { of.shared.earlier.listen(wakes) } else { None };
    let mut finished = builder.new_input(finished, Pipeline);
    let (output, questions) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Question>>>::from(output);
    builder.build(move |mut capabilities| {
        let mut number = 0;
        move |frontiers| {
            finished.for_each(|_, _| ());
            if frontiers[0].frontier().is_empty() || asked.is_none() {
                asked = None;
                capabilities.clear();
            }
            let Some((asked, capability)) = asked.as_ref().zip(capabilities.first()) else { return };
            for question in asked.try_iter() {
                number += 1;
                waiting.borrow_mut().insert(number, question.answer);
                let to = keys::owner(keys::hash(&question.key), workers);
                let (group, key, tick) = (question.group, question.key, question.tick);
                output.activate().session(capability).give(Question { to, number, group, key, tick });
            }
        }
    });
    questions
}

/// Keeps what comes, and answers what is asked.
fn keep<'scope>(
    (rows, mut all): (Vec<RowsOf<'scope, RowsId>>, Vec<Keeping>),
    questions: Stream<'scope, Tick, Vec<Question>>,
    of: Rendering,
    wiring: &Wiring,
) -> Stream<'scope, Tick, Vec<Reply>> {
    let scope = questions.scope();
    let mut builder = OperatorBuilder::new("earlier values".to_owned(), scope);
    wiring.to_wake.borrow_mut().push(Rc::new(scope.activator_for(builder.operator_info().address)));
    let mut questions = builder.new_input(questions, Exchange::new(|asked: &Question| asked.to));
    let mut inputs: Vec<_> = rows.into_iter().map(|(_, rows)| builder.new_input(rows.stream, Pipeline)).collect();
    let (output, answers) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Reply>>>::from(output);
    let (checkpoint, windows, counts) = (wiring.checkpoint.clone(), wiring.windows.clone(), wiring.earlier.clone());
    checkpoint.borrow_mut().others += 1;
    let (store, of) = (of.shared.state.clone(), of.peer.of_files());
    builder.build(move |mut capabilities| {
        let (mut waiting, mut saved): (Vec<Question>, _) = (vec![], CheckpointNumber::NONE);
        move |frontiers| {
            questions.for_each(|_, batch| waiting.append(batch));
            for (keeping, input) in all.iter_mut().zip(&mut inputs) {
                input.for_each(|_, spans| {
                    spans.drain(..).filter_map(|span| span.inner).for_each(|batch| keeping.read(&batch));
                });
            }
            // Of each, all ticks before it are done.
            let done: Vec<Tick> =
                frontiers[1..].iter().map(|of| Tick::of_frontier(of.frontier()).unwrap_or(Tick::AFTER_ALL)).collect();
            let wanted = checkpoint.borrow().wanted.filter(|(number, t)| *number > saved && done.iter().all(|d| t < d));
            if let Some((number, t)) = wanted {
                saved = number;
                let pieces: Vec<_> = all.iter().map(|keeping| keeping.save(t)).collect();
                match checkpoint::lookups::write(&store, number, of, pieces) {
                    Ok(files) => checkpoint.borrow_mut().wrote_other(number, files),
                    Err(failure) => windows.borrow_mut().fault = Some(SegmentError(failure.message())),
                }
            }
            for (keeping, done) in all.iter_mut().zip(&done) {
                let is_known = |asked: &mut Question| asked.group == keeping.id && asked.tick < *done;
                let known: Vec<Question> = waiting.extract_if(.., is_known).collect();
                for told in known.iter().map(|asked| keeping.answer(asked)) {
                    if let Some(capability) = capabilities.first() {
                        output.activate().session(capability).give(told);
                    }
                }
                keeping.forget(*done);
                counts.borrow_mut().insert(keeping.id, keeping.past.len() as u64);
            }
            if frontiers[0].frontier().is_empty() {
                capabilities.clear();
            }
        }
    });
    answers
}

/// Tells how many rows are kept.
pub fn note_counters(status: &mut ProcessStatus, wiring: &Wiring) {
    for (id, rows) in wiring.earlier.borrow().iter() {
        if let Some(group) = status.groups.get_mut(Id::index(*id)) {
            group.earlier_rows = *rows;
        }
    }
}

/// What a worker keeps of the rows of a group or a view.
struct Keeping {
    id: RowsId,
    state: Rc<RefCell<dyn Readable>>,
    past: Past,
    /// How far back.
    length: Span,
    /// The first tick that can be read.
    since: Tick,
    codec: KeyCodec,
    changes: Changes,
    /// What its rows mean.
    meaning: String,
}

impl Keeping {
    fn open(of: Rendering, id: RowsId, state: Rc<RefCell<dyn Readable>>) -> Result<Keeping, Failure> {
        let (opened, plan) = (&of.shared.opened, &of.shared.start.plan);
        let (shape, name) = (opened.shape(id), opened.job.name_of(id));
        let schema = opened.group(id).map_or(&shape.schema, |group| &group.own_schema).clone();
        let types: Vec<_> = schema.fields()[..shape.keys].iter().map(|field| field.data_type().clone()).collect();
        let codec = KeyCodec::new(&types).map_err(|e| Failure::Running(format!("keys of {name}: {e}")))?;
        // What is worked out beside the rows is not there before it enters.
        let s = plan.s(id).filter(|_| plan.side_of(id) == Side::Live).unwrap_or(Tick::AFTER_ALL);
        state.borrow_mut().add_reader();
        Ok(Keeping {
            id,
            state,
            past: Past::shown_from(s, shape.windowed()),
            length: opened.job.history_of(id).unwrap_or(Span::ZERO),
            since: plan.floor.map_or(s, |floor| s.max(floor)),
            codec,
            changes: Changes::new(schema, shape.keys),
            meaning: of.shared.meanings[id].clone(),
        })
    }

    /// Has what a checkpoint has of rows of the same meaning.
    fn go_on(&mut self, saved: Saved) {
        if saved.meaning != self.meaning {
            return;
        }
        self.since = saved.since;
        for (key, place, row) in saved.rows {
            self.past.push(&key, place, row);
        }
    }

    fn read(&mut self, batch: &RowBatch) {
        let mut state = self.state.borrow_mut();
        self.past.read(batch, &state.keys());
        state.is_read();
    }

    fn answer(&mut self, asked: &Question) -> Reply {
        if asked.tick < self.since {
            return Reply { number: asked.number, rows: None, forgotten: Some(self.since) };
        }
        for (key, from, row) in self.past.at(&asked.key, asked.tick) {
            self.changes.push(key, row, from, 1);
        }
        let rows = self.changes.take(&Keys { codec: &self.codec, numbers: self.past.keys() });
        Reply { number: asked.number, rows: rows.map(Columns::from), forgotten: None }
    }

    /// `done`: all ticks before it are. At the end of a run that is all there will be.
    fn forget(&mut self, done: Tick) {
        let oldest = done.just_before() - self.length;
        if done < Tick::AFTER_ALL && oldest > self.since {
            self.since = oldest;
            self.past.forget(oldest);
        }
    }

    /// What is needed beside the rows of a tick to have those of before.
    fn save(&self, t: Tick) -> (checkpoint::lookups::Of, RecordBatch) {
        let about = (self.since.max(t - self.length), self.meaning.as_str());
        let rows = self.past.superseded_by(t);
        ((Piece::Earlier, self.id.number()), checkpoint::past::batch(Some(about), rows))
    }
}

/// A key, a place, and what was there from which tick on.
type SavedRow = (Vec<u8>, i64, (Tick, Option<Values>));

/// What a checkpoint has of a group or a view.
struct Saved {
    since: Tick,
    meaning: String,
    /// Of this worker's keys.
    rows: Vec<SavedRow>,
}

impl Saved {
    /// By group and view of now.
    fn read(of: Rendering) -> Result<BTreeMap<RowsId, Saved>, Failure> {
        let Rendering { shared, peer, .. } = of;
        let mut all: BTreeMap<RowsId, Saved> = BTreeMap::new();
        let Some(manifest) = shared.start.manifest().filter(|manifest| manifest.t.is_some()) else { return Ok(all) };
        let (plan, job) = (&shared.start.plan, &shared.opened.job);
        let now = |then: u32| match (then as usize).checked_sub(manifest.plan.groups.len()) {
            None => Some(plan.groups.find(|group| group.saved == Some(GroupId::from(then)))?.into()),
            Some(view) => {
                let name = &manifest.plan.views.get(Id::at(view))?.name;
                Some(job.rows_of(job.views.find(|view| view.name == *name)?))
            }
        };
        let owns = |key: &[u8]| peer.owns(key);
        let damaged = |e| Failure::Running(format!("what a checkpoint has of earlier values: {e}"));
        checkpoint::lookups::read(&shared.state, manifest, Piece::Earlier, |then, batch| {
            let Some(id) = now(then) else { return Ok(()) };
            let new = || Saved { since: Tick::BEFORE_ALL, meaning: String::new(), rows: vec![] };
            let saved = all.entry(id).or_insert_with(new);
            if let Some((since, meaning)) = checkpoint::past::about(batch).map_err(damaged)? {
                (saved.since, saved.meaning) = (saved.since.max(since), meaning);
            }
            for PastRow { key, place, from, row } in checkpoint::past::rows(batch, owns).map_err(damaged)? {
                saved.rows.push((key.to_vec(), place, (from, row)));
            }
            Ok(())
        })?;
        // What was superseded first is forgotten first.
        all.values_mut().for_each(|saved| saved.rows.sort_by_key(|(.., (from, _))| *from));
        Ok(all)
    }
}
