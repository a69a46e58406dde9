//! What is told to the operators of a worker's groups while they run, and what they show of themselves.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use headwater_clocks::{Eff, Tick};

use crate::group::{Counters, State};
use crate::id::{CheckpointNumber, GroupId};
use crate::ledger::SegmentError;

/// A group's state, shared by the operators that work on it: what makes its moves, what does them, and what reads its rows.
pub type SharedState = Rc<RefCell<State>>;

/// Is given (number, t, states by group): all ticks up to `t` are finished and told.
pub type Save = Box<dyn FnMut(CheckpointNumber, Tick, &[SharedState]) -> Result<(), SegmentError>>;

/// Shared with the operators.
#[derive(Default)]
pub struct WindowControl {
    /// By group, of this worker.
    pub counters: Vec<Counters>,
    /// What ended the operators: their frontiers stand from then on.
    pub fault: Option<SegmentError>,
    /// Whether whatever takes the rows has enough of them for now: then ticks wait.
    pub hold: Option<Box<dyn Fn() -> bool>>,
    /// The last tick of the run, once it is known: by then every group's rows have been asked for.
    pub last_tick: Option<Tick>,
    /// The newest full refresh that stores have asked for: its number, and the tick from which on every row is given once more.
    pub full_refresh: Option<(u64, Tick)>,
    /// (group, t, horizon): see `State::close_after`. Put here before the frontier passes `t`.
    pub horizons: Vec<(GroupId, Tick, Eff)>,
    /// Checkpoints to be taken: (number, t). Put here before the frontier passes `t`, where the operators stand until it is saved.
    pub checkpoints: VecDeque<(CheckpointNumber, Tick)>,
    /// By group: all of its ticks before it are made. A checkpoint is taken once those of all groups are behind it.
    pub lowers: Vec<Tick>,
    /// Takes a checkpoint of all groups.
    pub save: Option<Save>,
}

/// As the operators have it.
pub type SharedControl = Rc<RefCell<WindowControl>>;
