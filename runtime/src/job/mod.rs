//! The job: what a user asked for, typed. Raw (as typed, `raw`) -> validated (pure, all faults at once, `validate`) ->
//! opened (schemas and expressions known, `catalog::open`). Nothing downstream knows how a job was written.

use headwater_clocks::{MatchTime, Span};

pub mod build;
pub(crate) mod columns;
pub(crate) mod duration;
pub(crate) mod raw;
pub(crate) mod secrets;
pub(crate) mod validate;
pub(crate) mod view;

pub(crate) mod instant;
pub(crate) mod nearest;
pub(crate) mod only;
#[cfg(test)]
pub(crate) mod parse;
mod paths;
mod section;
mod settings;
mod sql;
mod syntax;
#[cfg(test)]
mod tests;
mod variables;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::DataType;
use headwater_connectors::history::{self, HistoryConfig, HistoryKind, Pinned};
use headwater_connectors::settings::Endpoint;
use headwater_connectors::sink::lines::LinesConfig;
use headwater_connectors::sink::{Home, SinkConfig};
use headwater_connectors::stream::StreamConfig;
use headwater_operators::aggregate::Aggregate;
use headwater_operators::group::{Calendar, Fixed};

use crate::base::fault::{At, Fault, Faults, Places};
use crate::base::id::{GroupId, HasRows, Id, IdVec, RowsId, SinkId, SourceId, ViewId};
use view::Of;

/// A validated job. Its debug output shows no secret.
#[derive(Clone)]
pub struct Job {
    pub(crate) name: String,
    /// What the places of its parts are in.
    pub(crate) places: Places,
    /// What is odd about it.
    pub(crate) warnings: Vec<Fault>,
    /// The job file's directory, absolute: relative paths start here. They are already joined with it below.
    pub(crate) dir: PathBuf,
    /// The distance of its ticks.
    pub(crate) tick: Span,
    pub(crate) stall_limit: Span,
    pub(crate) idle_limit: Span,
    /// Those of events, then tables.
    pub(crate) sources: IdVec<SourceId, Source>,
    /// In the order of the file: it is the order of the changelog.
    pub(crate) groups: IdVec<GroupId, Group>,
    /// Views, then links, each in the order of the file; behind the groups in the changelog.
    pub(crate) views: IdVec<ViewId, View>,
    pub(crate) sinks: IdVec<SinkId, Sink>,
    pub(crate) dead_letters: Arc<dyn LinesConfig>,
    /// `[dead_letters]`, where there is one.
    pub(crate) dead_letters_at: At,
    pub(crate) state: State,
    pub(crate) serve_log: Option<ServeLog>,
    /// What must never be shown: the text of every secret of the job.
    pub(crate) secrets: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub name: String,
    pub at: At,
    /// Every source of events has one; a table may do without.
    pub event_time: Option<Named>,
    pub arrival_time: Option<Named>,
    pub lateness: Span,
    pub future_limit: Span,
    pub time_unit: TimeUnit,
    /// `[sources.NAME.schema]`, where no file says the columns: by name, or by path.
    pub schema: Option<Vec<(Named, DataType)>>,
    pub history: Option<History>,
    pub stream: Option<Stream>,
    pub seam: Seam,
    /// Its records are versions of a table's rows, and no events.
    pub table: Option<Table>,
    /// Its records are events that replace one another: each is all that is known of its key.
    pub replaced: Option<Table>,
    pub about: About,
}

/// What records say of the row of their key: of a table, or of events that replace one another.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub key: Vec<Named>,
    pub changes: Changes,
    /// SQL: a record for which it is true removes its key's row.
    pub deleted: Option<Named>,
}

/// What a record of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changes {
    /// The whole row.
    Upsert,
    /// An envelope of Debezium, which has it inside.
    Debezium,
}

impl Changes {
    pub const ALL: [Changes; 2] = [Changes::Upsert, Changes::Debezium];

    /// As a job names it.
    pub fn name(self) -> &'static str {
        match self {
            Changes::Upsert => "upsert",
            Changes::Debezium => "debezium",
        }
    }

    pub fn named(name: &str) -> Option<Changes> {
        Changes::ALL.into_iter().find(|known| known.name() == name)
    }
}

impl Source {
    /// What its records say of the row of their key, where they have one.
    pub fn rows(&self) -> Option<&Table> {
        self.table.as_ref().or(self.replaced.as_ref())
    }
}

/// What people should know of something. It changes no meaning.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub description: Option<String>,
    pub owner: Option<String>,
    pub tags: Vec<String>,
}

/// A name or expression as the user wrote it, with its place in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    pub text: String,
    pub at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
}

impl TimeUnit {
    /// In nanoseconds.
    pub fn ns(self) -> i64 {
        match self {
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1_000,
            TimeUnit::Nanosecond => 1,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct History {
    pub at: At,
    pub kind: &'static dyn HistoryKind,
    pub config: Arc<dyn HistoryConfig>,
    pub complete_until: Option<MatchTime>,
    /// Directories that are columns.
    pub partitions: Vec<(Named, DataType)>,
}

impl History {
    /// Finds its files, or takes those that were pinned.
    ///
    /// # Errors
    /// As of [`HistoryConfig::open`](history::HistoryConfig::open).
    pub fn open(
        &self,
        pinned: Option<&Pinned>,
        time_unit: TimeUnit,
    ) -> headwater_connectors::Result<Arc<dyn history::History>> {
        let history = self.config.open(pinned)?;
        if self.partitions.is_empty() {
            return Ok(history);
        }
        let columns = self.partitions.iter().map(|(name, data_type)| (name.text.clone(), data_type.clone()));
        history::partitioned(history, &columns.collect::<Vec<_>>(), time_unit.ns())
    }
}

impl Source {
    /// How messages name it.
    pub fn describe(&self) -> String {
        format!("{} `{}`", if self.table.is_some() { "table" } else { "source" }, self.name)
    }

    /// Whether it reads what lies at a place.
    pub(crate) fn reads(&self, place: &Endpoint) -> bool {
        self.history.as_ref().is_some_and(|history| history.config.reads(place))
            || self.stream.as_ref().is_some_and(|stream| stream.config.reads(place))
    }

    /// Whether nothing of it has any time: then it has been there for ever.
    pub fn is_timeless(&self) -> bool {
        self.event_time.is_none() && self.arrival_time.is_none() && self.stream.is_none()
    }

    /// Directories of its history that are columns.
    pub fn partitions(&self) -> Vec<(Named, DataType)> {
        self.history.as_ref().map(|history| history.partitions.clone()).unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub at: At,
    pub config: Arc<dyn StreamConfig>,
}

#[derive(Clone, Debug)]
pub(crate) struct Seam {
    pub at: At,
    pub by: SeamBy,
    pub allow_gap: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum SeamBy {
    Offset { partition: Named, offset: Named },
    Time,
    Id { id: Named, overlap: Span },
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub name: String,
    /// Whose events it has: at least one, ascending.
    pub sources: Vec<SourceId>,
    pub key: Vec<Key>,
    /// A list: an event counts once for each of its elements.
    pub explode: Option<Named>,
    /// What its events look up, in their order.
    pub lookups: Vec<Lookup>,
    pub filter: Option<Named>,
    pub window: Window,
    /// Windowed groups: how long past its end a row stays in the store.
    pub retain: Span,
    /// How far back its rows can be read.
    pub history: Option<Span>,
    pub columns: Vec<Column>,
    /// They follow from the columns, in the row behind them.
    pub derived: Vec<Derived>,
    pub about: About,
}

impl Group {
    /// The lookup of which a name of an expression is.
    pub fn lookup_of(&self, text: &str) -> Option<&Lookup> {
        let path = headwater_connectors::Path::parse(text)?;
        self.lookups.iter().find(|lookup| path.names()[0] == lookup.name)
    }
}

/// What the events of a group look up.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    /// As expressions call it.
    pub name: String,
    pub at: At,
    pub of: LookIn,
    /// By column of the key there: a column of the event, or SQL over it and what was looked up before.
    pub on: Vec<Named>,
}

/// In the row that a lookup in a group finds: that it is there, true, in a column of a name that no column has.
pub(crate) const IS_THERE: &str = "_there";

/// Where a lookup finds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookIn {
    /// The version of a row that is in force at the event's time.
    Table(SourceId),
    /// The row of a trailing group just before the event.
    Features(GroupId),
}

impl Lookup {
    pub fn table(&self) -> Option<SourceId> {
        if let LookIn::Table(table) = self.of { Some(table) } else { None }
    }

    pub fn features(&self) -> Option<GroupId> {
        if let LookIn::Features(group) = self.of { Some(group) } else { None }
    }
}

/// Rows that are a function of other rows, at every tick.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub name: String,
    pub at: At,
    /// Its columns that tell its rows apart.
    pub key: Vec<Named>,
    pub of: Of,
    /// How far back its rows can be read.
    pub history: Option<Span>,
    pub about: About,
}

/// A column of a group's key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    /// As rows have it.
    pub name: String,
    /// The column, or the SQL, that it is.
    pub of: Named,
    pub is_sql: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// Trailing and lifetime: each column has a length of its own.
    Trailing,
    Tumbling {
        size: Span,
    },
    Hopping {
        size: Span,
        every: Span,
    },
    /// Whole days of a zone: those that meet are tumbling, the others hopping.
    Calendar(Calendar),
    Session {
        gap: Span,
    },
}

impl Window {
    /// Where the windows lie, of those whose places are known beforehand.
    pub fn fixed(self) -> Option<Fixed> {
        match self {
            Window::Trailing | Window::Session { .. } => None,
            Window::Tumbling { size } => Some(Fixed::Even { size, every: size }),
            Window::Hopping { size, every } => Some(Fixed::Even { size, every }),
            Window::Calendar(calendar) => Some(Fixed::Calendar(calendar)),
        }
    }
}

/// One column of the row: a list of windows is already one column each.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub name: String,
    /// The column's name in the file: the same for all columns of one list of windows.
    pub at: At,
    pub agg: Aggregate,
    pub of: Option<Named>,
    /// Its own `where`, beside the group's.
    pub filter: Option<Named>,
    /// Trailing groups: the length; `None` is `all`. Unused in windowed groups.
    pub length: Option<Span>,
    pub about: About,
}

/// A column that is SQL over the row's key and columns.
#[derive(Clone, Debug)]
pub(crate) struct Derived {
    pub name: String,
    pub at: At,
    pub of: Named,
    pub about: About,
}

#[derive(Clone, Debug)]
pub(crate) struct Sink {
    pub name: String,
    pub at: At,
    pub to: SinkConfig,
    /// Of groups and views, ascending.
    pub rows: Vec<RowsId>,
}

impl Job {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a state may have pinned what the columns of a stream are.
    pub(crate) fn has_pins(&self) -> bool {
        self.sources.iter().any(|source| source.stream.as_ref().is_some_and(|stream| stream.config.gives_columns()))
    }

    /// What the rows of a view are known by.
    pub(crate) fn rows_of(&self, view: ViewId) -> RowsId {
        view.rows(self.groups.len())
    }

    /// Whose rows they are.
    pub(crate) fn owner(&self, rows: impl Into<RowsId>) -> HasRows {
        HasRows::of(rows.into(), self.groups.len())
    }

    /// The group whose rows they are; `None`: they are a view's.
    pub(crate) fn group(&self, rows: RowsId) -> Option<&Group> {
        self.owner(rows).group().map(|group| &self.groups[group])
    }

    /// All rows: those of groups, then those of views.
    pub(crate) fn all_rows(&self) -> impl Iterator<Item = RowsId> + Clone + use<> {
        (0..self.groups.len() + self.views.len()).map(RowsId::at)
    }

    /// How far back the rows of a group or a view can be read; `None`: only those of now can.
    pub(crate) fn history_of(&self, rows: impl Into<RowsId>) -> Option<Span> {
        match self.owner(rows) {
            HasRows::Group(group) => self.groups[group].history,
            HasRows::View(view) => self.views[view].history,
        }
    }

    /// How the job calls it.
    pub(crate) fn name_of(&self, rows: impl Into<RowsId>) -> &str {
        match self.owner(rows) {
            HasRows::Group(group) => &self.groups[group].name,
            HasRows::View(view) => &self.views[view].name,
        }
    }

    /// What is odd about it, and no error.
    pub fn warnings(&self) -> Faults {
        Faults { places: self.places.clone(), faults: self.warnings.clone() }
    }
}

/// Where it is written down what was served.
#[derive(Clone, Debug)]
pub(crate) struct ServeLog {
    /// An absolute local path or an object-store URL.
    pub path: String,
    /// Of how many of the keys, up to 1.
    pub sample: f64,
    /// How long what was served may wait to be written.
    pub roll_every: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub at: At,
    /// An absolute local path or an object-store URL.
    pub path: String,
    /// Always local: the endpoint file and the ledger; and what sinks keep there unless the job says otherwise.
    pub local: PathBuf,
    pub checkpoint_every: Span,
    /// For how long it is known which records were admitted late, and when; `None`: that is not written down.
    pub admissions_keep: Option<Span>,
}

impl State {
    /// What sinks need of it.
    pub fn home(&self) -> Home {
        Home { dir: self.local.clone(), is_remote: paths::is_url(&self.path) }
    }
}
