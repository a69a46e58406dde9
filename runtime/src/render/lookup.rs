//! Lookups and replaced records, rendered: between the sources and the groups whose events are looked up, in tables or in the rows of other
//! groups, or replace one another.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use headwater_clocks::Tick;
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_operators::collection::Past;
use headwater_operators::events;
use headwater_operators::exchange::{Columns, Events, Routed};
use headwater_operators::group::Piece;
use headwater_operators::saved::Damaged;
use headwater_operators::table::Row;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{Operator, OutputBuilder};
use timely::dataflow::operators::vec::Map;
use timely::scheduling::Activator;

use super::nodes::Contents;
use super::rendering::{Rendering, SharedOrders, Wiring};
use super::rows_before::{self, Answers, Questions};
use crate::base::failure::Failure;
use crate::base::id::{CheckpointNumber, GroupId, Id, ScanId, SourceId, WorkerId};
use crate::base::peer::Peer;
use crate::catalog::opened::Opened;
use crate::checkpoint;
use crate::checkpoint::contribution::StateFile;
use crate::checkpoint::past::PastRow;
use crate::checkpoint::store::StateStore;
use crate::ingest::feed::{Fed, RoutedVersions, VersionsFrom};
use crate::ingest::looked_up::Raw;
use crate::ingest::lookups::{self, Content, Kind, LookUps, Made, Saved, batches, read_events};
use crate::job::LookIn;
use crate::observe::status::Board;

/// What has come and is not taken in yet.
enum Arrived {
    /// `true`: of a history.
    Versions(ScanId, RecordBatch, bool),
    Events(Rc<Raw>),
}

/// What the lookups of a level put out.
pub struct LookedUp<'scope> {
    pub events: Stream<'scope, Tick, Vec<Events>>,
    pub dead_letters: Stream<'scope, Tick, Vec<DeadLetter>>,
    /// Questions for rows of other groups.
    pub queries: Stream<'scope, Tick, Vec<Questions>>,
    /// What tables hold, where views read that: of the first level.
    pub contents: Contents<'scope>,
}

/// By level of the job's groups, the lookups that are of it; filled from the checkpoint that the run goes on from.
pub fn open(of: Rendering, wiring: &Wiring) -> Result<Vec<Option<LookUps>>, Failure> {
    let opened = &of.shared.opened;
    let levels = opened.groups.ids().map(|group| opened.graph.level(group) + 1).max().unwrap_or(1);
    let lookups = |level| LookUps::open(opened, &of.shared.start.plan, of.sets(), (level, of.peer));
    let mut all: Vec<Option<LookUps>> = (0..levels).map(lookups).collect();
    if all.iter().any(Option::is_some) {
        restore(of, &mut all, wiring)?;
    }
    Ok(all)
}

/// The lookups of a level, with `answers` to the questions of all levels. `replaced`: records that replace one another, where their keys are.
pub fn render<'scope>(
    (level, lookups): (usize, LookUps),
    (fed, replaced): (&Fed<'scope>, Stream<'scope, Tick, Vec<Rc<Raw>>>),
    answers: Stream<'scope, Tick, Vec<Answers>>,
    of: Rendering,
    wiring: &Wiring,
) -> LookedUp<'scope> {
    let scope = fed.events.scope();
    let mut builder = OperatorBuilder::new("lookups".to_owned(), scope);
    let activator = Rc::new(scope.activator_for(builder.operator_info().address));
    let again = activator.clone();
    let mut versions = builder.new_input(fed.versions.clone(), Exchange::new(|routed: &RoutedVersions| routed.to));
    let mut raw = builder.new_input(fed.raw.clone(), Pipeline);
    let mut replaced = builder.new_input(replaced, Pipeline);
    let (events, looked_up) = builder.new_output::<Vec<Events>>();
    let (letters, told) = builder.new_output::<Vec<DeadLetter>>();
    let (queries, asked) = builder.new_output::<Vec<Questions>>();
    let (contents, held) = builder.new_output::<Vec<Content>>();
    let outputs = Outputs {
        events: Output::from(events),
        letters: Output::from(letters),
        queries: Output::from(queries),
        contents: Output::from(contents),
        of: of.peer,
    };
    // What waits for an answer is held by a capability of its own: no answer makes anything that its question did not announce.
    let mut answers = builder.new_input_connection(answers, Exchange::new(|routed: &Answers| routed.to), []);
    wiring.to_wake.borrow_mut().push(activator);
    let mut here = Level {
        lookups,
        arrived: Arrivals::default(),
        outputs,
        asks_at_ticks: asks_at_ticks(&of.shared.opened, level),
        orders: wiring.lookup_orders(),
        saved: wiring.lookups_saved.clone(),
        board: of.shared.board.of(of.side),
        local: of.local(),
        again,
    };
    builder.build(move |mut capabilities| {
        move |frontiers| {
            versions.for_each(|sent, batch| {
                let versions = |routed: RoutedVersions| {
                    let (scan, from) = routed.of;
                    Arrived::Versions(scan, routed.columns.0, from == VersionsFrom::History)
                };
                here.arrived.at(sent.least()).extend(batch.drain(..).map(versions));
            });
            raw.for_each(|sent, batch| {
                let is_by_itself = |raw: &Rc<Raw>| raw.keys.is_none();
                here.arrived.at(sent.least()).extend(batch.drain(..).filter(is_by_itself).map(Arrived::Events));
            });
            replaced.for_each(|sent, batch| {
                here.arrived.at(sent.least()).extend(batch.drain(..).map(Arrived::Events));
            });
            answers.for_each(|_, batches| {
                let of_level = batches.drain(..).filter(|routed| routed.of.1 == level);
                of_level.for_each(|routed| take_answers(&mut here.lookups, &routed));
            });
            // When nothing comes any more, what is not done is left.
            let frontier = frontiers[..3].iter().map(|frontier| frontier.frontier().iter().next().copied());
            match frontier.collect::<Option<Vec<Tick>>>().and_then(|all| all.into_iter().min()) {
                Some(frontier) if !capabilities.is_empty() => here.advance(frontier, &mut capabilities),
                Some(_) => {}
                None => capabilities.clear(),
            }
        }
    });
    LookedUp { events: looked_up, dead_letters: told, queries: asked, contents: held }
}

/// The lookups of a level on this worker, and what they have to do with.
struct Level {
    lookups: LookUps,
    arrived: Arrivals,
    outputs: Outputs,
    asks_at_ticks: bool,
    orders: SharedOrders,
    saved: Rc<RefCell<BTreeMap<CheckpointNumber, Vec<Saved>>>>,
    board: Board,
    local: usize,
    /// Has it do more, once others had their turn.
    again: Rc<Activator>,
}

impl Level {
    /// Makes what can be made, where everything before `frontier` has come.
    fn advance(&mut self, frontier: Tick, capabilities: &mut [Capability<Tick>]) {
        for (t, horizons) in self.orders.borrow_mut().horizons.drain(..) {
            self.lookups.close_after(t, &horizons);
        }
        if frontier == Tick::BEFORE_ALL {
            return;
        }
        let done = frontier.just_before();
        loop {
            // What is sent after the tick of a checkpoint must not get into it.
            let checkpoint = self.orders.borrow().to_save.front().copied().filter(|(_, t)| *t <= done);
            let to = checkpoint.map_or(done, |(_, t)| t);
            self.arrived.take(to, &mut self.lookups);
            let (made, reached) = self.lookups.advance(to);
            made.tally.add_to(&mut self.board.worker(self.local));
            self.outputs.send(made, &mut self.lookups, capabilities);
            if let Some((number, _)) = checkpoint.filter(|_| reached == Some(to)) {
                self.saved.borrow_mut().entry(number).or_default().push(self.lookups.save(self.outputs.of));
                self.orders.borrow_mut().to_save.pop_front();
            }
            if let Some(reached) = reached {
                move_to(capabilities, reached, if self.asks_at_ticks { reached } else { to });
            }
            if reached < Some(to) {
                if !self.lookups.waits() {
                    self.again.activate();
                }
                break;
            }
            if checkpoint.is_none() {
                break;
            }
        }
        self.lookups.tell(&mut self.board.worker(self.local));
    }
}

/// What has come and is not taken in yet, by the time at which it was sent.
#[derive(Default)]
struct Arrivals(BTreeMap<Tick, Vec<Arrived>>);

impl Arrivals {
    fn at(&mut self, sent: Option<&Tick>) -> &mut Vec<Arrived> {
        self.0.entry(sent.copied().unwrap_or(Tick::BEFORE_ALL)).or_default()
    }

    /// Takes in what was sent up to a tick.
    fn take(&mut self, to: Tick, lookups: &mut LookUps) {
        while let Some(some) = self.0.first_entry().filter(|some| *some.key() <= to) {
            some.remove().into_iter().for_each(|one| take(lookups, one));
        }
    }
}

type Output<T> = OutputBuilder<Tick, CapacityContainerBuilder<Vec<T>>>;

/// What the lookups of a worker put out.
struct Outputs {
    events: Output<Events>,
    letters: Output<DeadLetter>,
    queries: Output<Questions>,
    contents: Output<Content>,
    of: Peer,
}

impl Outputs {
    /// Each with the capability of its own.
    fn send(&mut self, made: Made, lookups: &mut LookUps, capabilities: &[Capability<Tick>]) {
        let Made { events: made, dead_letters, contents: turned, .. } = made;
        let mut routed = vec![];
        for (of, batch) in made {
            let split = events::split(batch, self.of.peers).expect("events of a schema of ours");
            let routed_to = |(to, batch)| Events { to, of, columns: Columns::from(batch) };
            routed.extend(split.into_iter().map(routed_to));
        }
        if !routed.is_empty() {
            self.events.activate().session(&capabilities[0]).give_iterator(routed.into_iter());
        }
        let asked = rows_before::routed(lookups.take_queries(), self.of);
        if !asked.is_empty() {
            self.queries.activate().session(&capabilities[2]).give_iterator(asked.into_iter());
        }
        if !dead_letters.is_empty() {
            self.letters.activate().session(&capabilities[1]).give_iterator(dead_letters.into_iter());
        }
        if !turned.is_empty() {
            // What a history holds may come at a time before the first tick that its slice has passed.
            let at = *capabilities[3].time();
            let turned = turned.into_iter().map(|(row, tick, diff)| (row, tick.max(at), diff));
            self.contents.activate().session(&capabilities[3]).give_iterator(turned);
        }
    }
}

/// Every tick up to one is done, and all questions up to one are asked: of what has been read, unless some are asked at the event's tick.
fn move_to(capabilities: &mut [Capability<Tick>], reached: Tick, asked: Tick) {
    let next = reached.just_after();
    for (capability, next) in capabilities.iter_mut().zip([next, next, asked.just_after().max(next), next]) {
        if *capability.time() < next {
            capability.downgrade(&next);
        }
    }
}

/// Whether events of a level may ask for rows at their ticks, or after them.
fn asks_at_ticks(opened: &Opened, level: usize) -> bool {
    let of_level = opened.groups.ids().filter(|group| opened.graph.level(*group) == level);
    let mut lookups = of_level.flat_map(|group| &opened.groups[group].lookups);
    lookups.any(|lookup| matches!(lookup.of, LookIn::Features(_)) && !lookup.is_ahead)
}

fn take(lookups: &mut LookUps, arrived: Arrived) {
    match arrived {
        Arrived::Versions(scan, batch, of_history) => lookups.take_versions(scan, &batch, of_history),
        Arrived::Events(raw) => lookups.take_events(&raw),
    }
}

fn take_answers(lookups: &mut LookUps, routed: &Answers) {
    let (features, _) = routed.of;
    for (key, before, row) in rows_before::answers(routed) {
        let row = row.map(|values| Rc::new(Row { values: values.into(), undecoded: None }));
        lookups.take_answer(features, (key, before), row);
    }
}

/// Records that replace one another, where their keys are. Where there is one worker it takes them as they are.
pub fn replaced<'scope>(fed: &Fed<'scope>, of: Rendering) -> Stream<'scope, Tick, Vec<Rc<Raw>>> {
    let (opened, workers) = (of.shared.opened.clone(), of.peer.peers);
    if workers == 1 {
        return fed.raw.clone().flat_map(|raw| Some(raw).filter(|raw| raw.keys.is_some()));
    }
    let at_home = opened.clone();
    let sent = fed.raw.clone().flat_map(move |raw| {
        let source = raw.source;
        let routed = |(to, columns)| Routed { to, of: source, columns: Columns::from(columns) };
        let sent = if raw.keys.is_none() { vec![] } else { lookups::sent(&opened.sources[source], &raw, workers) };
        sent.into_iter().map(routed).collect::<Vec<Routed<SourceId>>>()
    });
    let scans = of.shared.start.plan.scans.len();
    // What several levels take is one record, so that what is wrong with it is told once.
    let received = move |routed: Routed<SourceId>| {
        let source = routed.of;
        lookups::received((source, &at_home.sources[source]), &routed.columns.0, scans)
    };
    let by_key = Exchange::new(|routed: &Routed<SourceId>| routed.to);
    sent.unary::<CapacityContainerBuilder<Vec<Rc<Raw>>>, _, _, _>(by_key, "replaced", move |_, _| {
        move |input, output| {
            input.for_each(|sent, batch| {
                output.session(&sent).give_iterator(batch.drain(..).flat_map(&received));
            });
        }
    })
}

/// Writes what lookups of a worker have put into a checkpoint, and the past rows that events may still come to ask for.
pub fn write(
    (opened, store): (&Opened, &StateStore),
    number: CheckpointNumber,
    of: (WorkerId, u32),
    saved: Vec<Saved>,
    past: &RefCell<BTreeMap<GroupId, Past>>,
) -> Result<Vec<StateFile>, Failure> {
    let named = |(kind, batch)| match kind {
        Kind::Versions(scan) => ((Piece::Versions, Id::number(scan)), batch),
        Kind::Events(source) => ((Piece::Held, Id::number(source)), batch),
        Kind::Replaced(source) => ((Piece::Replaced, Id::number(source)), batch),
    };
    let past = past.borrow();
    let is_asked_late = |(group, _): &(&GroupId, &Past)| !opened.asked_late(**group).is_empty();
    let past = past.iter().filter(is_asked_late);
    let past = past.map(|(group, past)| ((Piece::Past, group.number()), checkpoint::past::batch(None, past.iter())));
    checkpoint::lookups::write(store, number, of, batches(opened, saved).map(named).chain(past))
}

/// Goes on from the checkpoint that the run goes on from: every worker with all versions, and with its share of the events.
fn restore(of: Rendering, all: &mut [Option<LookUps>], wiring: &Wiring) -> Result<(), Failure> {
    let Rendering { shared, peer, .. } = of;
    let (start, opened) = (&shared.start, &shared.opened);
    let Some((from, t)) = start.from.as_ref().and_then(|from| Some((from, from.manifest.t?))) else { return Ok(()) };
    let (manifest, moved) = (&from.manifest, &from.moved);
    all.iter_mut().flatten().for_each(|lookups| lookups.begin_at(t, start.horizons()));
    let damaged = |e: Damaged| Failure::Running(format!("what a checkpoint has of lookups: {e}"));
    let mut rows = 0..;
    let mut mine = |batch: &RecordBatch| -> Vec<bool> {
        (0..batch.num_rows()).map(|_| rows.next().is_some_and(|row: usize| peer.is_dealt(row))).collect()
    };
    checkpoint::lookups::read(&shared.state, manifest, Piece::Versions, |scan, batch| {
        let tells = BooleanArray::from(mine(batch));
        let Some(scan) = moved.get(ScanId::from(scan)).copied().flatten() else { return Ok(()) };
        all.iter_mut().flatten().try_for_each(|lookups| lookups.load_versions(scan, batch, &tells)).map_err(damaged)
    })?;
    all.iter_mut().flatten().for_each(LookUps::settle);
    // The source of now that goes on with one of then.
    let source_now = |source: u32| {
        let is_of = |scan: &ScanId| Id::number(manifest.plan.scans[*scan].source) == source;
        let scan = manifest.plan.scans.ids().filter(is_of).find_map(|scan| moved[scan]);
        scan.map(|scan| start.plan.scans[scan].source)
    };
    checkpoint::lookups::read(&shared.state, manifest, Piece::Held, |source, batch| {
        let mine: UInt32Array = (0..).zip(mine(batch)).filter(|(_, mine)| *mine).map(|(row, _)| row).collect();
        let Some(source) = source_now(source) else { return Ok(()) };
        let kept = read_events(opened, source, batch, &mine, moved).map_err(damaged)?;
        all.iter_mut().flatten().for_each(|lookups| lookups.load_events(&start.plan, &kept));
        Ok(())
    })?;
    checkpoint::lookups::read(&shared.state, manifest, Piece::Replaced, |source, batch| {
        let Some(source) = source_now(source) else { return Ok(()) };
        let mine = lookups::owned(batch, peer).map_err(damaged)?;
        let kept = read_events(opened, source, batch, &mine, moved).map_err(damaged)?;
        all.iter_mut().flatten().for_each(|lookups| lookups.load_replaced(&start.plan, &kept));
        Ok(())
    })?;
    all.iter_mut().flatten().for_each(LookUps::settle_replaced);
    let owns = |key: &[u8]| peer.owns(key);
    let mut past = wiring.past.borrow_mut();
    checkpoint::lookups::read(&shared.state, manifest, Piece::Past, |group, batch| {
        let group = start.plan.groups.find(|planned| planned.saved == Some(GroupId::from(group)));
        let Some(group) = group.filter(|group| opened.is_looked_up(*group)) else { return Ok(()) };
        let past = past.entry(group).or_default();
        for PastRow { key, place, from, row } in checkpoint::past::rows(batch, owns).map_err(damaged)? {
            past.push(key, place, (from, row));
        }
        past.go_on();
        Ok(())
    })
}
