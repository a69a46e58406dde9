//! Lookups and replaced records, rendered: between the sources and the groups whose events are looked up in tables, or replace one another.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_operators::events;
use headwater_operators::exchange::{Columns, Routed};
use headwater_operators::group::Piece;
use headwater_operators::saved::Damaged;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Map;

use super::nodes::Contents;
use super::rendering::{Rendering, Wiring};
use crate::base::failure::Failure;
use crate::base::id::{Id, ScanId, SourceId};
use crate::checkpoint;
use crate::checkpoint::contribution::StateFile;
use crate::checkpoint::store::StateStore;
use crate::ingest::feed::{Fed, OF_HISTORY};
use crate::ingest::looked_up::Raw;
use crate::ingest::lookups::{self, Content, Kind, LookUps, Made, Saved};

/// What has come and is not taken in yet.
enum Arrived {
    /// `true`: of a history.
    Versions(ScanId, RecordBatch, bool),
    Events(Rc<RefCell<Option<Raw>>>),
    /// Of a source: records that replace one another, of another worker.
    Replaced(SourceId, RecordBatch),
}

/// What the feed has put out, with the events that are looked up among the others.
pub fn render<'scope>(
    fed: Fed<'scope>,
    of: Rendering,
    wiring: &Wiring,
) -> Result<(Fed<'scope>, Option<Contents<'scope>>), Failure> {
    let Some(mut lookups) = LookUps::open(&of.shared.opened, &of.shared.start.plan, of.sets(), (of.worker, of.workers))
    else {
        return Ok((fed, None));
    };
    restore(of, &mut lookups)?;
    let scope = fed.events.scope();
    let mut builder = OperatorBuilder::new("lookups".to_owned(), scope);
    let activator = Rc::new(scope.activator_for(builder.operator_info().address));
    let again = activator.clone();
    let mut versions = builder.new_input(fed.versions.clone(), Exchange::new(|routed: &Routed| routed.to));
    let mut raw = builder.new_input(fed.raw.clone(), Pipeline);
    let replaced = by_key(&fed, of);
    let mut replaced = builder.new_input(replaced, Exchange::new(|routed: &Routed| routed.to));
    let (events, looked_up) = builder.new_output::<Vec<Routed>>();
    let (letters, told) = builder.new_output::<Vec<DeadLetter>>();
    let (contents, held) = builder.new_output::<Vec<Content>>();
    let (mut events, mut letters) = (OutputBuilder::from(events), OutputBuilder::from(letters));
    let mut contents = OutputBuilder::from(contents);
    let (worker, workers) = (of.worker, of.workers);
    let (board, local) = (of.shared.board.of(of.side), of.local());
    wiring.to_wake.borrow_mut().push(activator);
    let wiring = wiring.clone();
    builder.build(move |mut capabilities| {
        let mut arrived: BTreeMap<i64, Vec<Arrived>> = BTreeMap::new();
        move |frontiers| {
            versions.for_each_stamp(|sent, batches| {
                let all = arrived.entry(sent.least().copied().unwrap_or(i64::MIN)).or_default();
                all.extend(batches.flat_map(|batch| batch.drain(..)).map(|routed| {
                    Arrived::Versions(ScanId::from(routed.group), routed.columns.0, routed.set == OF_HISTORY)
                }));
            });
            raw.for_each_stamp(|sent, batches| {
                let all = arrived.entry(sent.least().copied().unwrap_or(i64::MIN)).or_default();
                all.extend(batches.flat_map(|batch| batch.drain(..)).map(Arrived::Events));
            });
            replaced.for_each_stamp(|sent, batches| {
                let all = arrived.entry(sent.least().copied().unwrap_or(i64::MIN)).or_default();
                let replaced = |routed: Routed| Arrived::Replaced(SourceId::from(routed.group), routed.columns.0);
                all.extend(batches.flat_map(|batch| batch.drain(..)).map(replaced));
            });
            let frontier = frontiers.iter().map(|frontier| frontier.frontier().iter().next().copied());
            // When nothing comes any more, what is not done is left.
            let Some(frontier) = frontier.collect::<Option<Vec<i64>>>().and_then(|all| all.into_iter().min()) else {
                capabilities.clear();
                return;
            };
            if capabilities.is_empty() {
                return;
            }
            for (t, horizons) in wiring.lookups.borrow_mut().drain(..) {
                lookups.close_after(t, &horizons);
            }
            let Some(done) = frontier.checked_sub(1) else { return };
            loop {
                // What is sent after the tick of a checkpoint must not get into it.
                let checkpoint = wiring.lookups_to_save.borrow().front().copied().filter(|(_, t)| *t <= done);
                let to = checkpoint.map_or(done, |(_, t)| t);
                while let Some(some) = arrived.first_entry().filter(|some| *some.key() <= to) {
                    some.remove().into_iter().for_each(|one| take(&mut lookups, one));
                }
                let (Made { events: made, dead_letters, tally, contents: turned }, reached) = lookups.advance(to);
                let mut routed = vec![];
                for ((group, set), batch) in made {
                    let split = events::split(batch, workers).expect("events of a schema of ours");
                    let (group, set) = (group.number(), set.number());
                    let routed_to = |(to, batch)| Routed { to, group, set, columns: Columns::from(batch) };
                    routed.extend(split.into_iter().map(routed_to));
                }
                if !routed.is_empty() {
                    events.activate().session(&capabilities[0]).give_iterator(routed.into_iter());
                }
                if !dead_letters.is_empty() {
                    letters.activate().session(&capabilities[1]).give_iterator(dead_letters.into_iter());
                }
                if !turned.is_empty() {
                    // What a history holds may come at a time before the first tick that its slice has passed.
                    let at = *capabilities[2].time();
                    let turned = turned.into_iter().map(|(row, tick, diff)| (row, tick.max(at), diff));
                    contents.activate().session(&capabilities[2]).give_iterator(turned);
                }
                tally.add_to(&mut board.worker(local));
                if let Some((number, _)) = checkpoint.filter(|_| reached == to) {
                    wiring.lookups_saved.borrow_mut().insert(number, lookups.save((worker, workers)));
                    wiring.lookups_to_save.borrow_mut().pop_front();
                }
                let next = reached.saturating_add(1);
                capabilities.iter_mut().filter(|c| *c.time() < next).for_each(|c| c.downgrade(&next));
                if reached < to {
                    again.activate();
                    break;
                }
                if checkpoint.is_none() {
                    break;
                }
            }
            lookups.tell(&mut board.worker(local));
        }
    });
    let events = scope.concatenate([fed.events.clone(), looked_up]);
    let dead_letters = scope.concatenate([fed.dead_letters.clone(), told]);
    Ok((Fed { events, dead_letters, ..fed }, Some(held)))
}

fn take(lookups: &mut LookUps, arrived: Arrived) {
    match arrived {
        Arrived::Versions(scan, batch, of_history) => lookups.take_versions(scan, &batch, of_history),
        Arrived::Events(raw) => raw.borrow_mut().take().into_iter().for_each(|raw| lookups.take_events(raw)),
        Arrived::Replaced(source, batch) => lookups.take_sent(source, &batch),
    }
}

/// Records that replace one another, on their way to the worker that has their key. Where there is one worker it takes them as they are.
fn by_key<'scope>(fed: &Fed<'scope>, of: Rendering) -> Stream<'scope, i64, Vec<Routed>> {
    let (opened, workers) = (of.shared.opened.clone(), of.workers);
    fed.raw.clone().flat_map(move |raw| {
        let is_sent = workers > 1 && raw.borrow().as_ref().is_some_and(|raw| raw.keys.is_some());
        let Some(raw) = is_sent.then(|| raw.borrow_mut().take()).flatten() else { return vec![] };
        let source = raw.source;
        let routed = |(to, columns)| Routed { to, group: source.number(), set: 0, columns: Columns::from(columns) };
        lookups::sent(&opened.sources[source], raw, workers).into_iter().map(routed).collect()
    })
}

/// Writes what lookups of a worker have put into a checkpoint.
pub fn write(store: &StateStore, number: u64, of: (u32, u32), saved: Saved) -> Result<Vec<StateFile>, Failure> {
    let named = |(kind, batch)| match kind {
        Kind::Versions(scan) => ((Piece::Versions, Id::number(scan)), batch),
        Kind::Events(source) => ((Piece::Held, Id::number(source)), batch),
        Kind::Replaced(source) => ((Piece::Replaced, Id::number(source)), batch),
    };
    let saved: Vec<_> = saved.into_iter().map(named).collect();
    checkpoint::lookups::write(store, number, of, &saved)
}

/// Goes on from the checkpoint that the run goes on from: every worker with all versions, and with its share of the events.
fn restore(of: Rendering, held: &mut LookUps) -> Result<(), Failure> {
    let Rendering { shared, worker, workers, .. } = of;
    let start = &shared.start;
    let Some((from, t)) = start.from.as_ref().and_then(|from| Some((from, from.manifest.t?))) else { return Ok(()) };
    let (manifest, moved) = (&from.manifest, &from.moved);
    held.begin_at(t, start.horizons());
    let damaged = |e: Damaged| Failure::Running(format!("what a checkpoint has of lookups: {e}"));
    let mut rows = 0..;
    let mut mine = |batch: &RecordBatch| -> Vec<bool> {
        (0..batch.num_rows()).map(|_| rows.next().is_some_and(|row: usize| row % workers == worker)).collect()
    };
    checkpoint::lookups::read(&shared.state, manifest, Piece::Versions, |scan, batch| {
        let tells = BooleanArray::from(mine(batch));
        let Some(scan) = moved.get(ScanId::from(scan)).copied().flatten() else { return Ok(()) };
        held.load_versions(scan, batch, &tells).map_err(damaged)
    })?;
    held.settle();
    // The source of now that goes on with one of then.
    let source_now = |source: u32| {
        let is_of = |scan: &ScanId| Id::number(manifest.plan.scans[*scan].source) == source;
        let scan = manifest.plan.scans.ids().filter(is_of).find_map(|scan| moved[scan]);
        scan.map(|scan| start.plan.scans[scan].source)
    };
    checkpoint::lookups::read(&shared.state, manifest, Piece::Held, |source, batch| {
        let mine: UInt32Array = (0..).zip(mine(batch)).filter(|(_, mine)| *mine).map(|(row, _)| row).collect();
        let Some(source) = source_now(source) else { return Ok(()) };
        held.load_events((&start.plan, source), batch, &mine, moved).map_err(damaged)
    })?;
    checkpoint::lookups::read(&shared.state, manifest, Piece::Replaced, |source, batch| {
        let Some(source) = source_now(source) else { return Ok(()) };
        let mine = lookups::owned(batch, (worker, workers)).map_err(damaged)?;
        held.load_replaced(source, batch, &mine, moved).map_err(damaged)
    })?;
    held.settle_replaced();
    Ok(())
}
