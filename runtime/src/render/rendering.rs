//! One rendering of the job's graph, and what its operators share while it runs.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use headwater_clocks::{Eff, Tick};
use headwater_connectors::Error;
use headwater_operators::collection::Past;
use headwater_operators::control::SharedControl;
use headwater_operators::relational::published::Published;

use super::caught::{Catch, Caught};
use super::shared::Shared;
use crate::base::id::{CheckpointNumber, GroupId, Id, IdVec, RowsId, ScanId};
use crate::base::peer::Peer;
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::graph::Kind;
use crate::checkpoint::in_progress::CheckpointInProgress;
use crate::ingest::lookups::Saved;
use crate::plan::side::Side;
use crate::sink::lines::ToWake;

/// The graph as one side of a worker has it. Most runs have one side; a shadow is the graph once more, without its sinks.
#[derive(Clone, Copy)]
pub struct Rendering<'a> {
    pub shared: &'a Shared,
    pub side: Side,
    pub peer: Peer,
}

impl<'a> Rendering<'a> {
    pub fn has(self, node: Kind) -> bool {
        match node {
            Kind::Sink(_) => self.side == Side::Live,
            Kind::DeadLetters => self.shared.catch.is_none(),
            Kind::Source(_) | Kind::Group(_) | Kind::View(_) => true,
        }
    }

    /// Whether every change of the rows of a group or a view is asked for.
    pub fn tells_changes(self, rows: RowsId) -> bool {
        let (opened, catch) = (&self.shared.opened, &self.shared.catch);
        let caught = |catch: &Catch| catch.what == Caught::Changes && catch.of.contains(&rows);
        let mut sinks = opened.graph.sinks_of(rows).filter(|sink| self.has(Kind::Sink(*sink)));
        catch.as_ref().is_some_and(caught) || sinks.any(|sink| opened.job.sinks[sink].to.lines().is_some())
    }

    pub fn sets(self) -> &'a Arc<ColumnSets> {
        &self.shared.sets[self.side as usize]
    }

    /// The worker's number within its process.
    pub fn local(self) -> usize {
        self.peer.worker.index() % self.shared.local_workers
    }
}

/// The horizons of scans once all ticks up to one are done.
pub type HorizonsAt = (Tick, IdVec<ScanId, Eff>);

/// What is counted of a view: its rows, sums that do not fit their type, and of links what is linked to too many.
pub type ViewCounts = (Rc<RefCell<Published>>, Rc<RefCell<u64>>, Rc<Cell<i64>>);

#[derive(Clone, Default)]
pub struct Wiring {
    /// What ended a source.
    pub faults: Rc<RefCell<Option<Error>>>,
    pub windows: SharedControl,
    pub checkpoint: Rc<RefCell<CheckpointInProgress>>,
    /// Rows that came with a null since a derived column failed, by group; and those of views, since an expression did.
    pub derived_failures: Rc<RefCell<IdVec<RowsId, u64>>>,
    /// The rows of views.
    pub views: Rc<RefCell<Vec<(RowsId, ViewCounts)>>>,
    pub to_wake: ToWake,
    /// What is told to each operator that has to do with lookups; and by checkpoint what they have put into it.
    pub lookups: Rc<RefCell<Vec<SharedOrders>>>,
    pub lookups_saved: Rc<RefCell<BTreeMap<CheckpointNumber, Vec<Saved>>>>,
    /// By group, its rows as they were: of those in which others look up.
    pub past: Rc<RefCell<BTreeMap<GroupId, Past>>>,
    /// How many rows are kept of each group and view of which earlier ones can be read, those of now among them.
    pub earlier: Rc<RefCell<BTreeMap<RowsId, u64>>>,
}

/// What is told to lookups.
#[derive(Default)]
pub struct LookupOrders {
    /// Once all ticks up to `t` are done, nothing with an `eff` before the horizons comes any more.
    pub horizons: Vec<HorizonsAt>,
    /// (number, t): checkpoints in which they are to be.
    pub to_save: VecDeque<(CheckpointNumber, Tick)>,
}

pub type SharedOrders = Rc<RefCell<LookupOrders>>;

impl Wiring {
    /// For one more that has to do with lookups.
    pub fn lookup_orders(&self) -> SharedOrders {
        let orders = SharedOrders::default();
        self.lookups.borrow_mut().push(orders.clone());
        orders
    }
}
