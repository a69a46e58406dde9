//! A group's state on one worker. What drives it asks for the moves of some ticks (`advance`), and has them done (`apply`).

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use headwater_clocks::{Eff, Span, Tick};

use super::counters::Counters;
use super::dense::Dense;
use super::events::Events;
use super::fixed::Fixed;
use super::hopping::Hopping;
use super::ledgers::{Journal, Ledgers};
use super::pending::Pending;
use super::plan::{Plan, Window};
use super::saved::Resumed;
use super::session::Sessions;
use super::trailing::Trailing;
use super::windows::{Room, Windows};
use crate::changes::{Changes, Keys};
use crate::collection::{Changelog, Contents, Newest, Readable, Reset};
use crate::key_codec::KeyCodec;
use crate::ledger::{SegmentError, Segments};
use crate::limits::Limits;

/// What a group's sinks ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outputs {
    /// A changelog: every change at every tick.
    pub changes: bool,
    /// A store: from this tick on the newest row of each unit that changed, beginning with every row there is.
    pub rows_from: Option<Tick>,
}

/// One group's part that lies on one worker.
pub struct State {
    pub(super) dense: Dense,
    pub(super) windows: Box<dyn Windows>,
    /// Of a trailing group.
    pub(super) ledgers: Ledgers,
    pub(super) pending: Pending,
    pub(super) windowed: bool,
    pub(super) corrected: bool,
    codec: KeyCodec,
    schema: SchemaRef,
    outputs: Outputs,
    /// Something is built on its rows.
    contents: bool,
    /// Somebody keeps its rows as they were at every tick.
    kept: bool,
    /// The moves of every tick up to here are made. Before the first tick: of none.
    pub(super) done: Option<Tick>,
    /// Up to there everything was published before.
    pub(super) floor: Option<Tick>,
    /// Whether no row was published before.
    pub(super) fresh: bool,
    /// Other columns are shown than before, or all: at `floor` every row is looked at.
    pub(super) refreshed: bool,
    /// Changelogs begin anew: at `floor` every row is told.
    pub(super) changelog_reset: bool,
    /// The store has every row that was loaded.
    skip_refresh: bool,
    /// Nobody is shown any row.
    pub(super) shadow: bool,
    /// Its rows are there from the beginning, and shown from this tick on.
    shown_from: Option<Tick>,
    /// How long after `floor` column sets enter.
    enters_after: Span,
    pub(super) resumed: Vec<Option<Resumed>>,
    /// (t, horizon): once all ticks up to `t` are finished, no event with an `eff` before `horizon` comes any more.
    pub(super) horizons: VecDeque<(Tick, Eff)>,
    events: u64,
    corrections: u64,
    /// Who reads its rows, and who has still to do with what was made last: whoever does the moves, and the readers.
    readers: usize,
    pub(super) busy: usize,
}

impl State {
    /// `schema`: of the changes, see `changes::schema`.
    pub fn new(
        plan: &Plan,
        codec: KeyCodec,
        schema: SchemaRef,
        outputs: Outputs,
        segments: Box<dyn Segments>,
        limits: Limits,
    ) -> State {
        let dense = Dense::new(plan, limits);
        let mut ledgers = Ledgers::default();
        let windows: Box<dyn Windows> = match plan.window {
            Window::Trailing => {
                ledgers = Ledgers::new(plan.tick, &dense.sets, segments, limits);
                Box::new(Trailing::default())
            }
            Window::Hopping { size, every } => Box::new(Hopping::new(plan, Fixed::Even { size, every })),
            Window::Calendar(calendar) => Box::new(Hopping::new(plan, Fixed::Calendar(calendar))),
            Window::Session { gap } => Box::new(Sessions::new(plan, gap)),
        };
        State {
            dense,
            windows,
            ledgers,
            pending: Pending::default(),
            windowed: plan.window != Window::Trailing,
            corrected: plan.corrected,
            codec,
            schema,
            outputs,
            contents: false,
            kept: false,
            done: None,
            floor: None,
            fresh: true,
            refreshed: false,
            changelog_reset: false,
            skip_refresh: false,
            shadow: false,
            shown_from: None,
            enters_after: Span::ZERO,
            resumed: vec![],
            horizons: VecDeque::new(),
            events: 0,
            corrections: 0,
            readers: 0,
            busy: 0,
        }
    }

    /// Nobody will be shown any row of it: its column sets are worked out, for a state that goes on from what it saves. Called before
    /// anything else.
    pub fn set_shadow(&mut self) {
        self.shadow = true;
    }

    /// Somebody looks at the rows of every tick, those before the one from which on they are shown among them. Called before anything else.
    pub fn show_from(&mut self, tick: Tick) {
        self.shown_from = Some(tick);
    }

    /// Tells every row as one that comes, at the tick up to which everything was published before. Called before `resume`.
    pub fn reset_changelog(&mut self) {
        self.changelog_reset = true;
    }

    /// What is new enters no earlier than a tick after everything that was published: at that tick a row may have changed already.
    pub fn enter_later(&mut self, tick: Span) {
        self.enters_after = tick;
    }

    /// The store has every row that was loaded, and needs to be given no others than those that change.
    pub fn skip_refresh(&mut self) {
        self.skip_refresh = true;
    }

    /// Something is built on its rows, and reads what a store would have at every tick.
    pub fn share_contents(&mut self) {
        self.contents = true;
    }

    /// Somebody keeps its rows as they were at every tick.
    pub fn keep_every_tick(&mut self) {
        self.kept = true;
    }

    /// From now on what goes into the ledgers is written into a journal, which `save` leaves complete.
    pub fn keep_journal(&mut self, journal: Box<dyn Journal>) {
        self.ledgers.keep_journal(journal);
    }

    /// The moves of every tick up to here are made; `None`: of none.
    pub fn done(&self) -> Option<Tick> {
        self.done
    }

    /// Takes events (see `events`) of a column set that become visible after every finished tick, in any order; but one that is taken back
    /// behind the one that it was. `sent`: the dataflow time
    /// at which they were sent. What is there before the set's first tick is loaded as a checkpoint is: there is nothing to publish yet.
    ///
    /// # Errors
    /// A segment of the ledger could not be written.
    pub fn insert(&mut self, set: usize, batch: &RecordBatch, sent: Tick) -> Result<(), SegmentError> {
        let events = Events::of(batch, self.windowed, self.corrected);
        let coming = events.coming();
        self.events += coming as u64;
        self.corrections += (events.len() - coming) as u64;
        let start = self.dense.sets.start(set);
        let begun = self.dense.sets.has_begun(set);
        let waits = |at: u32| begun || events.visible(at as usize) > start;
        let (later, now): (Vec<u32>, Vec<u32>) = (0..events.len() as u32).partition(|at| waits(*at));
        let mut room = Room { dense: &mut self.dense, ledgers: &mut self.ledgers, set };
        self.windows.arrive_at_start(&mut room, &events, &now, start)?;
        self.pending.add(set, events, later, sent);
        Ok(())
    }

    /// Takes in what was pending when a state was saved.
    pub(super) fn insert_later(&mut self, set: usize, batch: &RecordBatch) {
        let events = Events::of(batch, self.windowed, self.corrected);
        let all = (0..events.len() as u32).collect();
        self.pending.add(set, events, all, Tick::BEFORE_ALL);
    }

    /// Once all ticks up to `t` are finished, no event with an `eff` before `horizon` comes any more. Both rise.
    pub fn close_after(&mut self, t: Tick, horizon: Eff) {
        if self.windowed {
            self.horizons.push_back((t, horizon));
        }
    }

    /// Up to where rows were published without the column sets that enter.
    pub(super) fn enters_from(&self) -> Option<Tick> {
        let floor = self.floor.filter(|_| !self.fresh).map(|floor| floor + self.enters_after);
        if self.shadow { Some(Tick::AFTER_ALL) } else { floor }
    }

    /// Where changelogs begin anew.
    fn reset(&self) -> Option<Reset> {
        if let Some(at) = self.shown_from.filter(|from| self.floor.is_none_or(|floor| floor < *from)) {
            return Some(Reset { at, all: false });
        }
        let at = self.floor.filter(|_| self.fresh || self.changelog_reset)?;
        Some(Reset { at, all: !self.fresh })
    }

    /// From this tick on every change of a row is told at its tick. `AFTER_ALL`: only the newest ones are.
    pub(super) fn every_tick_from(&self) -> Tick {
        if self.contents || self.kept || self.shown_from.is_some() {
            return Tick::BEFORE_ALL;
        }
        if self.outputs.changes { self.reset().map_or(Tick::BEFORE_ALL, |reset| reset.at) } else { Tick::AFTER_ALL }
    }

    /// A reader for changelogs, if there is one. Asked for once everything is loaded.
    pub fn changelog(&self) -> Option<Changelog> {
        self.outputs.changes.then(|| Changelog::new(self.no_changes(), self.reset()))
    }

    /// A reader for stores, if there is one. Asked for once everything is loaded.
    pub fn newest(&self) -> Option<Newest> {
        let from = self.outputs.rows_from?;
        let mut newest = Newest::new(self.no_changes(), self.windowed, from, self.skip_refresh);
        self.shown_from.into_iter().for_each(|tick| newest.show_from(tick));
        Some(newest)
    }

    /// A reader for what is built on its rows, if there is anything. Asked for once everything is loaded.
    pub fn contents(&self) -> Option<Contents> {
        let mut contents = self.contents.then(|| Contents::new(self.no_changes()))?;
        self.shown_from.into_iter().for_each(|tick| contents.show_from(tick));
        Some(contents)
    }

    fn no_changes(&self) -> Changes {
        Changes::new(self.schema.clone(), self.codec.types().len())
    }

    /// What was made last is done; `told`: and is to be read.
    pub(super) fn is_done(&mut self, told: bool) {
        self.busy = if told { self.readers } else { 0 };
    }

    /// Whether what was made last is not done yet, or not read by all.
    pub fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// What it has seen so far and holds now.
    pub fn counters(&self) -> Counters {
        let dense = &self.dense;
        Counters {
            events: self.events,
            corrections: self.corrections,
            too_old: dense.too_old,
            unfit_sums: dense.unfit_sums,
            keys: dense.keys.len() as u64,
            open_windows: self.windows.open_units(),
            dropped: dense.dropped,
            rows: dense.rows.stored,
            changes: dense.rows.changes,
            ledger_bytes: self.ledgers.bytes(),
        }
    }
}

impl Readable for State {
    fn keys(&self) -> Keys<'_> {
        Keys { codec: &self.codec, numbers: &self.dense.keys }
    }

    fn add_reader(&mut self) {
        self.readers += 1;
    }

    fn is_read(&mut self) {
        self.busy -= 1;
    }
}
