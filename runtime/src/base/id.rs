//! Numbers of a job's things, each kind of a type of its own: those that operators know too, and those of the rest.

use headwater_operators::ids;

pub use headwater_operators::id::{CheckpointNumber, ColumnSetId, GroupId, Id, IdVec, RowsId};

ids! {
    /// A source or a table of the job: first the sources, then the tables, each in the order of the file.
    SourceId
    /// A view of the job, or links: first the views, then the links, each in the order of the file.
    ViewId
    /// A sink of the job, in the order of the file.
    SinkId
    /// A node of a job's graph: a source, a group, a view, a sink, or the dead letters.
    NodeId
    /// A scan of a plan: a source as it is read from one seam.
    ScanId
    /// A worker of a run, among those of all processes.
    WorkerId
}

impl Default for WorkerId {
    fn default() -> WorkerId {
        WorkerId::FIRST
    }
}

impl WorkerId {
    /// The one that decides for all, and writes what has one writer.
    pub const FIRST: WorkerId = WorkerId(0);
}

/// A start of the job, counted in its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Generation(u64);

impl Generation {
    /// There was no start.
    pub const NONE: Generation = Generation(0);

    /// As files, names and stores have it.
    pub const fn of(number: u64) -> Generation {
        Generation(number)
    }

    /// As files, names and stores have it.
    pub const fn number(self) -> u64 {
        self.0
    }

    pub const fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose rows they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasRows {
    Group(GroupId),
    View(ViewId),
}

impl HasRows {
    /// Whose rows they are, in a job of so many groups.
    pub fn of(rows: RowsId, groups: usize) -> HasRows {
        match rows.index().checked_sub(groups) {
            None => HasRows::Group(GroupId::at(rows.index())),
            Some(view) => HasRows::View(ViewId::at(view)),
        }
    }

    /// `None`: it is a view.
    pub fn group(self) -> Option<GroupId> {
        match self {
            HasRows::Group(group) => Some(group),
            HasRows::View(_) => None,
        }
    }

    /// `None`: it is a group.
    pub fn view(self) -> Option<ViewId> {
        match self {
            HasRows::Group(_) => None,
            HasRows::View(view) => Some(view),
        }
    }
}

impl ViewId {
    /// What it is among all that has rows, in a job of so many groups.
    pub fn rows(self, groups: usize) -> RowsId {
        RowsId::at(groups + self.index())
    }
}
