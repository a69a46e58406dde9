//! Groups, rendered: what a worker keeps for them, filled from the checkpoint that the run goes on from and written to the next ones,
//! and the windows that make rows of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use headwater_clocks::{Span, Tick};
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_operators::control::{Save, SharedState, WindowControl};
use headwater_operators::exchange::RowChanges;
use headwater_operators::group::{Outputs, State};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::ledger::SegmentError;
use headwater_operators::limits::Limits;
use headwater_operators::operator;
use timely::dataflow::Stream;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::operators::{Concatenate, ConnectLoop, Feedback, Probe};

use super::caught::{self, Caught};
use super::earlier::KeptRows;
use super::nodes::Contents;
use super::rendering::{Rendering, Wiring};
use super::{lookup, rows_before};
use crate::base::failure::Failure;
use crate::base::id::{ColumnSetId, GroupId, Id, IdVec, RowsId};
use crate::catalog::column_sets::ColumnSet;
use crate::catalog::graph::Kind;
use crate::checkpoint::journal::GroupJournal;
use crate::checkpoint::store::LEDGER;
use crate::checkpoint::{self, generations};
use crate::ingest::feed::Fed;
use crate::observe::status::ProcessStatus;
use crate::plan::mode::Mode;
use crate::plan::side::Side;
use crate::sink::segments::SegmentFiles;

/// Bytes of the ledgers of one worker that may stay in memory.
const LEDGER_BYTES_MAX: usize = 64 << 20;

/// What groups have put out. A frontier of `f` says that the ticks before `f` are finished.
pub struct GroupStreams<'scope> {
    /// Every change at every tick, of the groups that a changelog asks for.
    pub changes: Stream<'scope, Tick, Vec<RowChanges>>,
    /// Newest rows, of the groups that a store asks for.
    pub rows: Stream<'scope, Tick, Vec<RowChanges>>,
    /// What stores have at every tick, of the groups that views read; without derived columns.
    pub contents: Stream<'scope, Tick, Vec<RowChanges>>,
    /// Nothing, of all groups.
    pub finished: Stream<'scope, Tick, Vec<()>>,
    /// The rows of which earlier ones are kept.
    pub kept: Vec<KeptRows<'scope>>,
}

/// What groups have put out, dead letters, and what tables hold, where views read that.
type Rendered<'scope> = (GroupStreams<'scope>, Stream<'scope, Tick, Vec<DeadLetter>>, Option<Contents<'scope>>);

/// What is made of what the feed has put out, and its dead letters with those of lookups. Groups of one level look up in the rows of those
/// below. `states`: as `open` gives them; `finished`: follows how far all of them are.
pub fn render<'scope>(
    fed: &Fed<'scope>,
    states: &IdVec<GroupId, SharedState>,
    (of, wiring): (Rendering, &Wiring),
    finished: &ProbeHandle<Tick>,
) -> Result<Rendered<'scope>, Failure> {
    let (opened, scope) = (&of.shared.opened, fed.events.scope());
    let all: Vec<SharedState> = states.iter().cloned().collect();
    let looped = opened.looks_back().then(|| scope.feedback(Span::from_us(1)));
    let (asked, answers) = looped.map_or_else(|| (None, empty(scope)), |(asked, answers)| (Some(asked), answers));
    let (mut rows, mut queries) = (vec![], vec![]);
    let (mut dead_letters, mut contents, mut caught_events) = (vec![fed.dead_letters.clone()], None, vec![]);
    let mut replaced = None;
    for (level, lookups) in lookup::open(of, wiring)?.into_iter().enumerate() {
        let mut events = if level == 0 { vec![fed.events.clone()] } else { vec![] };
        if let Some(lookups) = lookups {
            let replaced = replaced.get_or_insert_with(|| lookup::replaced(fed, of)).clone();
            let found = lookup::render((level, lookups), (fed, replaced), answers.clone(), of, wiring);
            events.push(found.events);
            dead_letters.push(found.dead_letters);
            queries.push((level, found.queries));
            contents = contents.or(Some(found.contents));
        }
        let of_level = opened.groups.ids().filter(|group| opened.graph.level(*group) == level);
        let of_level: Vec<GroupId> = of_level.collect();
        let events = if events.len() == 1 { events.pop() } else { None }.unwrap_or_else(|| scope.concatenate(events));
        if let Some(catch) = of.shared.catch.as_ref().filter(|catch| catch.what == Caught::Events) {
            caught_events.push(caught::render(events.clone(), |(group, _)| RowsId::from(*group), catch.clone()));
        }
        let (of_level, activator) = operator::rows(events, &of_level, &all, &wiring.windows);
        rows.extend(of_level);
        wiring.to_wake.borrow_mut().push(activator);
    }
    rows.sort_by_key(|(group, _)| *group);
    if let Some(asked) = asked {
        rows_before::render(scope, of, wiring, (&rows, states), queries).connect_loop(asked);
    }
    let is_kept = |id: &GroupId| opened.job.history_of(*id).is_some();
    let kept = rows
        .iter()
        .filter(|(group, _)| is_kept(group))
        .map(|(group, rows)| KeptRows { rows: (RowsId::from(*group), rows.clone()), state: states[*group].clone() });
    let kept = kept.collect();
    let out = operator::outputs(scope, &rows, &all, &wiring.windows);
    wiring.to_wake.borrow_mut().extend(out.activators);
    let mut done = out.finished.probe_with(finished);
    if !caught_events.is_empty() {
        done = scope.concatenate(caught_events.into_iter().chain([done]));
    }
    let made = GroupStreams { changes: out.changes, rows: out.rows, contents: out.contents, finished: done, kept };
    Ok((made, scope.concatenate(dead_letters), contents))
}

/// Opens what this worker keeps for each group, and has it saved in checkpoints.
pub fn open(of: Rendering, wiring: &Wiring) -> Result<IdVec<GroupId, SharedState>, Failure> {
    let journals: IdVec<GroupId, _> = of.sets().groups.pairs().map(|(id, sets)| journal(of, id, sets)).collect();
    let state = |(id, journal)| Ok(Rc::new(RefCell::new(state(of, id, journal)?)));
    let states = journals.pairs().map(state).collect::<Result<_, Failure>>()?;
    wiring.windows.borrow_mut().save = Some(save(of, journals, wiring));
    Ok(states)
}

/// What is kept for a group.
fn state(of: Rendering, id: GroupId, journal: &GroupJournal) -> Result<State, Failure> {
    let Rendering { shared, side, peer } = of;
    let (job, plan) = (&shared.opened.job, &shared.start.plan);
    let (group, open) = (&job.groups[id], &shared.opened.groups[id]);
    let of_worker = match side {
        Side::Live => format!("worker-{}", peer.worker.number()),
        Side::Shadow => format!("worker-{}-beside", peer.worker.number()),
    };
    let dir = job.state.local.join(LEDGER).join(&of_worker).join(&group.name);
    let segments = SegmentFiles::create(&dir)
        .map_err(|e| Failure::Running(format!("creating the ledger's directory {}: {e}", dir.display())))?;
    let codec = KeyCodec::new(&open.key_types).map_err(|e| Failure::Running(format!("keys of {}: {e}", group.name)))?;
    let limits = Limits::with_ledger_bytes(LEDGER_BYTES_MAX / job.groups.len());
    let (planned, schema) = (of.sets().plan(&shared.opened, id), open.own_schema.clone());
    let mut state = State::new(&planned, codec, schema, outputs(of, id), Box::new(segments), limits);
    if side == Side::Shadow {
        state.set_shadow();
    }
    if shared.opened.is_looked_up(id) {
        state.show_from(plan.s(id).unwrap_or(Tick::AFTER_ALL));
    }
    if plan.changelog_reset {
        state.reset_changelog();
    }
    if shared.mode == Mode::Follow {
        state.enter_later(job.tick);
    }
    if side == Side::Live && shared.opened.graph.is_viewed(Kind::Group(id)) {
        state.share_contents();
    }
    if side == Side::Live && job.history_of(id).is_some() {
        state.keep_every_tick();
    }
    if shared.opened.has_stream() && shared.catch.is_none() {
        state.keep_journal(Box::new(journal.clone()));
    }
    restore(of, id, (&mut state, journal))?;
    if plan.skip_refresh {
        state.skip_refresh();
    }
    Ok(state)
}

/// What the sinks of a group ask for.
fn outputs(of: Rendering, id: GroupId) -> Outputs {
    let opened = &of.shared.opened;
    let mut sinks =
        opened.graph.sinks_of(id).filter(|sink| of.has(Kind::Sink(*sink))).map(|sink| &opened.job.sinks[sink]);
    Outputs {
        changes: of.tells_changes(id.into()),
        rows_from: sinks.any(|sink| sink.to.store().is_some()).then_some(of.shared.start.plan.rows_from[id.into()]),
    }
}

/// Fills a group's state with what it held at the checkpoint that the run goes on from.
fn restore(of: Rendering, group: GroupId, (state, journal): (&mut State, &GroupJournal)) -> Result<(), Failure> {
    let Rendering { shared, side, peer } = of;
    let plan = &shared.start.plan;
    let Some(manifest) = shared.start.manifest() else { return Ok(()) };
    let mut resumed = plan.resumed(group, side).unwrap_or_else(|| vec![None; plan.groups[group].sets.len()]);
    if shared.opened.is_looked_up(group) {
        // It had begun before its rows are shown.
        let done = manifest.t;
        resumed.iter_mut().flatten().for_each(|set| set.done = set.done.or(done));
    }
    let failed = |e: SegmentError| Failure::Running(e.to_string());
    // A shadow has published nothing.
    let floor = plan.floor.filter(|_| side == Side::Live);
    state.resume(floor, &resumed, plan.groups[group].dropped_columns).map_err(failed)?;
    let Some(saved) = plan.groups[group].saved else { return Ok(()) };
    checkpoint::state::read(&shared.state, manifest, saved, (state, journal), |key| peer.owns(key))?;
    let saved_at = plan.done(plan.groups[group].first()).or(manifest.t).filter(|_| plan.side_of(group) == side);
    if let Some((t, horizon)) = saved_at.zip(plan.horizon(group, &shared.start.horizons())) {
        state.close_after(t, horizon - shared.opened.grace(group));
    }
    Ok(())
}

/// The journal of a group's ledgers.
fn journal(of: Rendering, id: GroupId, sets: &IdVec<ColumnSetId, ColumnSet>) -> GroupJournal {
    let longest = |set: &ColumnSet| set.plan.columns.iter().filter_map(|column| column.length).max();
    let longest: Vec<Span> = sets.iter().map(|set| longest(set).unwrap_or(Span::ZERO)).collect();
    let generation = generations::of_number(of.shared.start.plan.checkpoints);
    GroupJournal::new(of.shared.state.clone(), generation, id, of.peer, &longest)
}

/// Writes this worker's files of checkpoints.
fn save(of: Rendering, journals: IdVec<GroupId, GroupJournal>, wiring: &Wiring) -> Save {
    let (checkpoint, lookups) = (wiring.checkpoint.clone(), wiring.lookups_saved.clone());
    let (opened, past) = (of.shared.opened.clone(), wiring.past.clone());
    let (store, (worker, workers)) = (of.shared.state.clone(), of.peer.of_files());
    Box::new(move |number, t, states| {
        let begun = Instant::now();
        let mut files = vec![];
        for ((group, journal), state) in journals.pairs().zip(states) {
            let state = &mut state.borrow_mut();
            let written = checkpoint::state::write(&store, number, (group, worker, workers), state, journal, t);
            files.extend(written.map_err(|e| SegmentError(e.message()))?);
        }
        if let Some(saved) = lookups.borrow_mut().remove(&number) {
            let written = lookup::write((&opened, &store), number, (worker, workers), saved, &past);
            files.extend(written.map_err(|e| SegmentError(e.message()))?);
        }
        checkpoint.borrow_mut().wrote(number, files, begun.elapsed());
        Ok(())
    })
}

/// Tells what groups count.
pub fn note_counters(status: &mut ProcessStatus, windows: &WindowControl, derived_failures: &IdVec<RowsId, u64>) {
    for (group, counters) in status.groups.iter_mut().zip(&windows.counters) {
        group.counts = *counters;
    }
    for (group, failures) in status.groups.iter_mut().zip(derived_failures) {
        group.derived_failures = *failures;
    }
}
