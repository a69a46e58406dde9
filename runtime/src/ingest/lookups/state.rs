//! What the lookups of a worker hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use headwater_clocks::{Eff, Span, Tick};

use super::super::looked_up::RawRow;
use super::asking::Asking;
use super::contents::Content;
use super::draft::Draft;
use super::group::{GroupState, Windows};
use super::picked::Answers;
use super::replaced::{ReplacedState, RowKey};
use super::runs::Runs;
use super::table::Tables;
use crate::base::id::{GroupId, IdVec, ScanId};
use crate::catalog::opened::Opened;

/// The lookups of a worker, on one side of a run.
pub struct LookUps {
    pub(super) opened: Arc<Opened>,
    pub(super) tick: Span,
    pub(super) tables: Tables,
    pub(super) replaced: Replaced,
    /// By scan of a source whose events replace one another: the windows of all groups that read it, whatever their level.
    pub(super) readers: BTreeMap<ScanId, Vec<Windows>>,
    pub(super) groups: BTreeMap<GroupId, GroupState>,
    /// By group, how many events were past taking back when they were replaced.
    pub(super) passed_over: BTreeMap<GroupId, u64>,
    /// The events that come, by the tick at which they are looked up.
    pub(super) waiting: Runs<Tick, Waits>,
    pub(super) answers: Answers,
    /// Ticks whose versions are there, and that wait for answers.
    pub(super) doing: Option<Doing>,
    /// What is to be made of ticks that are done.
    pub(super) draft: Draft,
    /// What tables held at the checkpoint that the run goes on from, until it is told.
    pub(super) loaded: Vec<Content>,
    /// Every tick up to here is done.
    pub(super) done: Tick,
    /// (t, horizons): once all ticks up to `t` are done, nothing with an `eff` before them comes any more.
    pub(super) horizons: VecDeque<(Tick, IdVec<ScanId, Eff>)>,
    pub(super) horizon: IdVec<ScanId, Eff>,
}

/// By scan of a source whose events replace one another.
pub(super) type Replaced = BTreeMap<ScanId, ReplacedState>;

/// Ticks that are being done.
pub(super) struct Doing {
    pub(super) from: Tick,
    pub(super) upto: Tick,
    /// Whether of the last one some events come later.
    pub(super) is_cut: bool,
    /// The events that come in the place of others.
    pub(super) coming: Vec<Coming>,
    /// The held events that versions of the first concern.
    pub(super) dirty: BTreeMap<GroupId, BTreeSet<u32>>,
    /// The events that come.
    pub(super) rows: BTreeMap<GroupId, Vec<(Rc<Asking>, usize)>>,
}

/// Events of one scan that come to a group in the place of others, and the keys of their records.
pub(super) struct Coming {
    pub(super) scan: ScanId,
    pub(super) group: GroupId,
    pub(super) keys: Vec<RowKey>,
    pub(super) asking: Asking,
}

/// An event that comes to a group.
pub(super) struct Waits {
    pub(super) group: GroupId,
    pub(super) asking: Rc<Asking>,
    pub(super) event: u32,
}

impl Waits {
    pub(super) fn row(&self) -> &RawRow {
        &self.asking.rows[self.event as usize]
    }
}
