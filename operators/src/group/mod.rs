//! A group on one worker: events in, changes out, tick by tick.
//!
//! Three kinds of windows, one file each, decide which units an event counts in, and when a unit changes without one:
//!
//! | | a unit is | it changes without an event when | it is forgotten when |
//! |---|---|---|---|
//! | `trailing` | a key | an event grows old | no event is inside |
//! | `hopping` (and tumbling) | a key and a start | | no event can come, and its row has left the store |
//! | `session` | a session | | the same |

mod checkpoint;
mod hopping;
mod journal;
mod parts;
mod pending;
mod plan;
mod published;
mod session;
mod touched;
mod trailing;
mod units;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::AddAssign;
use std::rc::Rc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

pub use checkpoint::{CheckpointError, Each, NamedValues, Piece, Resumed};
pub use journal::Journal;
pub use plan::{Part, Plan, Window};
pub use published::Outputs;

use crate::key_codec::KeyCodec;
use crate::keys::Interner;
use crate::ledger::{SegmentError, Segments};
use crate::limits::Limits;
use crate::value::Datum;
use hopping::Hopping;
use parts::Parts;
use pending::{Events, Pending};
use published::{Bounds, Published, Row};
use session::Sessions;
use touched::Touched;
use trailing::Trailing;

/// One group's part that lies on one worker.
///
/// ```
/// use headwater_operators::key_codec::KeyCodec;
/// use headwater_operators::ledger::InMemory;
/// use headwater_operators::limits::Limits;
/// use headwater_operators::accumulators::{ColumnPlan, result_types};
/// use headwater_operators::group::{Outputs, Plan, State};
/// use headwater_operators::{changes, events};
/// use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
/// use arrow::datatypes::{DataType, Int64Type};
/// use std::sync::Arc;
///
/// // tx = count over 10us, by a text
/// let tx = ColumnPlan { name: "tx".into(), aggregate: "count".parse()?, input: None, length: Some(10) };
/// let plan = Plan::trailing(vec![tx], vec![], 1, 0);
/// let columns = [("tx".to_owned(), result_types(&plan.columns, &plan.inputs)[0].clone())];
/// let schema = changes::schema(&[("card".to_owned(), DataType::Utf8)], false, &columns);
/// let codec = KeyCodec::new(&[DataType::Utf8])?;
/// let card: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
/// let key = codec.encode(&[card])?;
/// let outputs = Outputs { changes: true, rows_from: None };
/// let limits = Limits::with_ledger_bytes(1 << 20);
/// let mut state = State::new(&plan, codec, schema, outputs, Box::new(InMemory::default()), limits);
///
/// let time = Int64Array::from(vec![3]); // it happens at 3, and is visible at once
/// let batch = events::batch(&events::schema(&[], false), key, time.clone(), time, None, vec![])?;
/// state.insert(&batch, i64::MIN)?;
/// assert_eq!(state.advance(20, 1000)?, 20);
/// let changes = state.take_changes().expect("a row that came at tick 3 and went at 13");
/// assert_eq!(changes["_time"].as_primitive::<Int64Type>().values(), &[3, 13]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct State {
    shared: Shared,
    windows: Windows,
    codec: KeyCodec,
    pending: Pending,
    /// Every tick up to here is finished. Before `start`: nothing is.
    done: Option<i64>,
    /// Up to there everything was published before.
    floor: Option<i64>,
    /// Whether no row was published before.
    fresh: bool,
    /// Other columns are shown than before, or all: at `floor` every row is looked at.
    renewed: bool,
    /// Whoever is told changes begins anew: at `floor` every row is told.
    anew: bool,
    /// Nobody is shown any row.
    hidden: bool,
    /// How long after `floor` parts enter.
    enters_after: i64,
    resumed: Vec<Option<Resumed>>,
    /// (t, horizon): once all ticks up to `t` are finished, no event with an `eff` before `horizon` comes any more.
    horizons: VecDeque<(i64, i64)>,
    events: u64,
}

enum Windows {
    Trailing(Box<Trailing>),
    Hopping(Hopping),
    Sessions(Sessions),
}

/// What all kinds of windows work on.
struct Shared {
    start: i64,
    keys: Interner,
    /// By key, how many units name it, and keys that none names any more. Not of trailing groups.
    holders: Vec<u32>,
    unheld: Vec<u32>,
    parts: Parts,
    touched: Touched,
    published: Published,
    values: Vec<Datum>,
    too_old: u64,
    unfit_sums: u64,
    dropped: u64,
}

/// What a state has seen and holds. Whoever adds a number here adds it below; then it is summed, and told of a running job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Rows that the store has.
    pub rows: u64,
    /// Keys of which something is kept.
    pub keys: u64,
    /// Events taken in.
    pub events: u64,
    /// Rows that came, went or became another, ever.
    pub changes: u64,
    /// Events that were too old for every window when they became visible, or whose windows had left before the first tick.
    pub too_old: u64,
    /// Sums that did not fit their type, once for each row that could not show one.
    pub unfit_sums: u64,
    /// Windows that can still change; in a trailing group there are none.
    pub open_windows: u64,
    /// Windows that were closed, or in a trailing group keys that were forgotten, ever.
    pub dropped: u64,
    /// Bytes of the ledger in memory.
    pub ledger_bytes: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        let Counters { rows, keys, events, changes, too_old, unfit_sums, open_windows, dropped, ledger_bytes } = other;
        self.rows += rows;
        self.keys += keys;
        self.events += events;
        self.changes += changes;
        self.too_old += too_old;
        self.unfit_sums += unfit_sums;
        self.open_windows += open_windows;
        self.dropped += dropped;
        self.ledger_bytes += ledger_bytes;
    }
}

impl Shared {
    /// Makes room for units with numbers below `bound`.
    fn make_room(&mut self, bound: usize) {
        if bound > self.parts.units() {
            let units = bound.next_power_of_two().max(1024);
            self.parts.grow(units);
            self.published.grow(units);
            self.touched.grow(units);
        }
    }

    /// Takes an event into a unit that keeps all it gets.
    fn arrive_whole(&mut self, unit: u32, events: &Events, at: usize, now: i64, row: &mut Vec<u64>) {
        let accumulators = self.parts.whole();
        accumulators.ledger_row(unit, events.ts.value(at), &events.inputs, at, row);
        accumulators.arrive(0, now, row, &events.inputs, at);
        self.touched.add(unit);
    }

    /// Publishes a unit's row as it is.
    fn publish(&mut self, unit: u32, key: u32, bounds: Option<Bounds>, stored: bool, tick: i64) {
        self.unfit_sums += self.parts.row(unit as usize, tick, &mut self.values);
        self.published.publish(unit, Some(Row { key, bounds, values: &self.values, stored }), tick);
    }

    fn hold_key(&mut self, key: u32) {
        self.holders.resize(self.holders.len().max(self.keys.bound()), 0);
        self.holders[key as usize] += 1;
    }

    fn release_key(&mut self, key: u32) {
        let holders = &mut self.holders[key as usize];
        *holders -= 1;
        if *holders == 0 {
            self.unheld.push(key);
        }
    }

    /// Gives back the numbers of keys that no unit names. No change names them any more.
    fn give_back_keys(&mut self) {
        self.unheld.sort_unstable();
        self.unheld.dedup();
        for key in self.unheld.drain(..).filter(|key| self.holders[*key as usize] == 0) {
            self.keys.free(key);
        }
    }
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
        let parts = Parts::new(plan);
        let segments = Rc::new(RefCell::new(segments));
        let windows = match plan.window {
            Window::Trailing => Windows::Trailing(Box::new(Trailing::new(plan.tick, &parts, &segments, limits))),
            Window::Hopping { size, every } => Windows::Hopping(Hopping::new(plan, size, every)),
            Window::Session { gap } => Windows::Sessions(Sessions::new(plan, gap)),
        };
        let columns = parts.columns();
        let shared = Shared {
            start: plan.start,
            keys: Interner::new(limits.freed_key_bytes),
            holders: vec![],
            unheld: vec![],
            parts,
            touched: Touched::default(),
            published: Published::new(schema, codec.types().len(), columns, outputs),
            values: vec![],
            too_old: 0,
            unfit_sums: 0,
            dropped: 0,
        };
        let (pending, horizons) = (Pending::default(), VecDeque::new());
        State {
            shared,
            windows,
            codec,
            pending,
            done: None,
            floor: None,
            fresh: true,
            renewed: false,
            anew: false,
            hidden: false,
            enters_after: 0,
            resumed: vec![],
            horizons,
            events: 0,
        }
    }

    fn windowed(&self) -> bool {
        !matches!(self.windows, Windows::Trailing(_))
    }

    /// Nobody will be shown any row of it: its parts are worked out, for a state that goes on from what it saves. Called before
    /// anything else.
    pub fn hide(&mut self) {
        self.hidden = true;
    }

    /// Tells every row as one that comes, at the tick up to which everything was published before. Called before `resume`.
    pub fn tell_anew(&mut self) {
        self.anew = true;
    }

    /// What is new enters no earlier than a tick after everything that was published: at that tick a row may have changed already.
    pub fn enter_later(&mut self, tick: i64) {
        self.enters_after = tick;
    }

    /// Every tick up to here is finished; `None`: none is.
    pub fn done(&self) -> Option<i64> {
        self.done
    }

    /// Takes events (see `events`) that become visible after every finished tick, in any order. `sent`: the dataflow time at
    /// which they were sent.
    ///
    /// # Errors
    /// A segment of the ledger could not be written.
    pub fn insert(&mut self, batch: &RecordBatch, sent: i64) -> Result<(), SegmentError> {
        self.insert_into(0, batch, sent)
    }

    /// Takes events of a part: see `insert`.
    ///
    /// # Errors
    /// A segment of the ledger could not be written.
    pub fn insert_into(&mut self, part: usize, batch: &RecordBatch, sent: i64) -> Result<(), SegmentError> {
        self.events += batch.num_rows() as u64;
        let events = Events::open(batch, self.windowed());
        let start = self.shared.parts.start(part);
        let begun = self.shared.parts.has_begun(part);
        let waits = |v: &i64| begun || *v > start;
        // Before the first tick there is nothing to publish, so history is taken in as it comes.
        let (later, now): (Vec<u32>, Vec<u32>) =
            (0..events.len() as u32).partition(|at| waits(&events.visible.values()[*at as usize]));
        match &mut self.windows {
            Windows::Trailing(windows) => windows.arrive_at_start(&mut self.shared, part, &events, &now)?,
            Windows::Hopping(windows) => {
                now.iter().for_each(|at| _ = windows.arrive(&mut self.shared, &events, *at as usize, start));
            }
            Windows::Sessions(windows) => {
                now.iter().for_each(|at| windows.arrive(&mut self.shared, &events, *at as usize, start));
            }
        }
        self.pending.add(part, events, later, sent);
        Ok(())
    }

    /// Takes in what was pending when a state was saved.
    fn insert_later(&mut self, part: usize, batch: &RecordBatch) {
        let events = Events::open(batch, self.windowed());
        let all = (0..events.len() as u32).collect();
        self.pending.add(part, events, all, i64::MIN);
    }

    /// Finishes ticks up to `to`, in order, until about `budget` events have come or gone, or rows have; a tick is always
    /// finished as a whole. Returns the last tick up to
    /// which all is finished: `to`, or one before it when the budget is spent. What is finished by `to` is told by the next
    /// `take_changes` and `take_rows`. `to` never falls.
    ///
    /// # Errors
    /// A segment of the ledger could not be read or written.
    pub fn advance(&mut self, to: i64, mut budget: usize) -> Result<i64, SegmentError> {
        let renewal = self.floor.filter(|floor| self.renewed && *floor <= to);
        if to < self.shared.parts.first_start() || self.done.is_some_and(|done| done >= to) && renewal.is_none() {
            return Ok(to);
        }
        self.give_back();
        self.pending.sort();
        while let Some(tick) = self.next_tick().filter(|tick| *tick <= to) {
            if let Some(done) = self.done.filter(|_| budget == 0) {
                return Ok(done);
            }
            budget = budget.saturating_sub(self.tick(tick)?);
            self.done = Some(tick);
        }
        self.done = Some(to);
        self.close(to);
        Ok(to)
    }

    /// Once all ticks up to `t` are finished, no event with an `eff` before `horizon` comes any more. Both rise.
    pub fn close_after(&mut self, t: i64, horizon: i64) {
        if self.windowed() {
            self.horizons.push_back((t, horizon));
        }
    }

    fn close(&mut self, done: i64) {
        let mut reached = None;
        while let Some((_, horizon)) = self.horizons.front().filter(|(t, _)| *t <= done) {
            reached = Some(*horizon);
            self.horizons.pop_front();
        }
        let Some(horizon) = reached else { return };
        match &mut self.windows {
            Windows::Trailing(_) => {}
            Windows::Hopping(windows) => windows.close(&mut self.shared, horizon),
            Windows::Sessions(windows) => windows.close(&mut self.shared, horizon),
        }
    }

    fn next_tick(&self) -> Option<i64> {
        let due = match &self.windows {
            Windows::Trailing(windows) => windows.next_due(),
            Windows::Hopping(windows) => windows.next_due(),
            Windows::Sessions(windows) => windows.next_due(),
        };
        let renewal = self.floor.filter(|_| self.renewed);
        let parts =
            self.shared.parts.next_to_begin().into_iter().chain(self.shared.parts.next_to_enter(self.enters_from()));
        self.pending.next().into_iter().chain(due).chain(renewal).chain(parts).min()
    }

    /// One tick: what grows old goes, what becomes visible comes, and every unit that was touched is finished.
    fn tick(&mut self, tick: i64) -> Result<usize, SegmentError> {
        self.shared.parts.begin(tick);
        let renewal = self.renewed && self.floor == Some(tick);
        self.renewed &= !renewal;
        if self.shared.parts.enter(tick, self.enters_from()) || renewal {
            self.look_at_all();
        }
        let shared = &mut self.shared;
        let mut moved = match &mut self.windows {
            Windows::Trailing(windows) => windows.expire(shared, tick)?,
            Windows::Hopping(windows) => windows.expire(shared, tick),
            Windows::Sessions(windows) => windows.expire(shared, tick),
        };
        while let Some((part, events, at)) = self.pending.pop(tick) {
            moved += 1;
            match &mut self.windows {
                Windows::Trailing(windows) => windows.arrive(shared, part, &events, at, tick)?,
                // An event may be in many windows, and each makes a row.
                Windows::Hopping(windows) => moved += windows.arrive(shared, &events, at, tick),
                Windows::Sessions(windows) => windows.arrive(shared, &events, at, tick),
            }
        }
        self.finish(tick);
        if renewal && (self.fresh || self.anew) {
            self.shared.published.announce(tick, !self.fresh);
        }
        Ok(moved)
    }

    /// Up to where rows were published without the parts that enter.
    fn enters_from(&self) -> Option<i64> {
        let floor = self.floor.filter(|_| !self.fresh).map(|floor| floor.saturating_add(self.enters_after));
        if self.hidden { Some(i64::MAX) } else { floor }
    }

    /// Every key's row may have become another. Units of other groups are touched when they get something.
    fn look_at_all(&mut self) {
        if !self.windowed() {
            (0..self.shared.keys.bound() as u32).for_each(|key| self.shared.touched.add(key));
        }
    }

    /// Publishes the rows of all touched units.
    fn finish(&mut self, tick: i64) {
        let shared = &mut self.shared;
        if let (Windows::Trailing(_), Some(_)) =
            (&self.windows, self.floor.filter(|floor| tick < *floor && !self.fresh))
        {
            // Nobody is shown what changes now.
            shared.touched.take().into_iter().for_each(|key| shared.parts.forget(key as usize, tick));
            return;
        }
        for unit in shared.touched.take() {
            match &mut self.windows {
                Windows::Trailing(windows) => windows.finish(shared, unit, tick),
                Windows::Hopping(windows) => windows.finish(shared, unit, tick),
                Windows::Sessions(windows) => windows.finish(shared, unit, tick),
            }
        }
    }

    /// Gives numbers back, unless a change that was not taken yet may name them.
    fn give_back(&mut self) {
        if self.shared.published.has_untaken() {
            return;
        }
        match &mut self.windows {
            Windows::Trailing(windows) => windows.give_back(&mut self.shared),
            Windows::Hopping(_) | Windows::Sessions(_) => self.shared.give_back_keys(),
        }
    }

    /// The changes since the last call (see `changes`), in order of tick; of a unit's change the row that goes comes first.
    pub fn take_changes(&mut self) -> Option<RecordBatch> {
        self.shared.published.take_changes(&self.codec, &self.shared.keys)
    }

    /// The newest rows of the units that changed since the last call: of every unit at the first tick that asks for rows,
    /// which is `rows_by` at the latest. As changes, where `_time` is the tick at which the row changed last; a row that went
    /// has a `_diff` of -1 and nulls.
    pub fn take_rows(&mut self, rows_by: i64) -> Option<RecordBatch> {
        self.shared.published.take_rows(self.done?, rows_by, &self.codec, &self.shared.keys)
    }

    /// The store has every row that was loaded, and needs to be given no others than those that change.
    pub fn spare_image(&mut self) {
        self.shared.published.spare_image();
    }

    /// From this tick on every row is given once more.
    pub fn begin_image(&mut self, from: i64) {
        self.shared.published.begin_image(from);
    }

    /// What it has seen so far and holds now.
    pub fn counters(&self) -> Counters {
        let shared = &self.shared;
        let (open_windows, ledger_bytes) = match &self.windows {
            Windows::Trailing(windows) => (0, windows.ledger_bytes()),
            Windows::Hopping(windows) => (windows.open_units(), 0),
            Windows::Sessions(windows) => (windows.open_units(), 0),
        };
        Counters {
            events: self.events,
            too_old: shared.too_old,
            unfit_sums: shared.unfit_sums,
            keys: shared.keys.len() as u64,
            open_windows,
            dropped: shared.dropped,
            rows: shared.published.rows,
            changes: shared.published.changed,
            ledger_bytes,
        }
    }
}
