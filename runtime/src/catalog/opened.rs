//! What opening a job gives: its sources, with the columns that are read of them, and its groups, compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use headwater_clocks::Span;
use headwater_connectors::Wanted;
use headwater_connectors::format::Pins;
use headwater_connectors::history::History;
use headwater_connectors::sink::GroupShape;
use headwater_connectors::stream::Stream;
use headwater_expression::Expression;
use headwater_expression::relation::Query;
use headwater_operators::accumulators::ColumnPlan;

use super::computed::Computed;
use super::derived::DerivedColumns;
use super::graph::{Graph, Kind};
use super::input::Input;
use super::links::OpenLinks;
use super::view::View;
use crate::base::id::{GroupId, HasRows, IdVec, RowsId, SourceId, ViewId};
use crate::job::{Job, LookIn, Lookup, Window};

pub struct Opened {
    pub job: Job,
    pub graph: Graph,
    pub sources: IdVec<SourceId, Source>,
    pub groups: IdVec<GroupId, OpenGroup>,
    pub views: IdVec<ViewId, OpenView>,
}

impl Opened {
    /// Whether anything is followed.
    pub fn has_stream(&self) -> bool {
        self.job.sources.iter().any(|source| source.stream.is_some())
    }

    /// What its streams have pinned.
    pub fn pins(&self) -> Pins {
        let pins = self.sources.iter().filter_map(|source| source.stream.as_ref()?.pin());
        pins.map(|(of, text)| (of.to_owned(), text.to_owned())).collect()
    }

    /// Whether the events of some group are held on their way to it, since they are looked up, or replaced; or a view has what a table holds.
    pub fn holds_events(&self) -> bool {
        let of_group = |group| self.graph.events_of(group).any(|source| self.is_held(group, source));
        self.groups.ids().any(of_group) || self.graph.viewed_tables().next().is_some()
    }

    /// The same, or something is remembered of a table that nobody asks: whose partition its keys are.
    pub fn remembers_records(&self) -> bool {
        let is_unasked = |source: SourceId| {
            let conf = &self.job.sources[source];
            conf.table.is_some() && conf.stream.is_some() && self.graph.groups_of(source).next().is_none()
        };
        self.holds_events() || self.job.sources.ids().any(is_unasked)
    }

    /// Whether the events that a group has of a source are held.
    pub fn is_held(&self, group: GroupId, source: SourceId) -> bool {
        !self.job.groups[group].lookups.is_empty() || self.job.sources[source].replaced.is_some()
    }

    /// The group whose rows they are; `None`: they are a view's.
    pub fn group(&self, rows: RowsId) -> Option<&OpenGroup> {
        self.job.owner(rows).group().map(|group| &self.groups[group])
    }

    /// Of the rows of a group or a view, as sinks have them.
    pub fn shape(&self, rows: impl Into<RowsId>) -> &GroupShape {
        match self.job.owner(rows.into()) {
            HasRows::Group(group) => &self.groups[group].shape,
            HasRows::View(view) => &self.views[view].shape,
        }
    }

    /// Changes of a group with its derived columns, a few rows at a time; a view's as they are. What fails is counted on the way to sinks.
    pub fn with_derived(&self, rows: RowsId, batch: &RecordBatch) -> Vec<RecordBatch> {
        match self.group(rows).filter(|group| !group.derived.is_empty()) {
            Some(group) => group.derived.add_to(batch, &group.shape.schema).0,
            None => vec![batch.clone()],
        }
    }

    /// Whether any group looks up in the rows of another. Then what a history holds is taken in tick by tick, as a run from its beginning would
    /// have seen it.
    pub fn looks_back(&self) -> bool {
        self.job.groups.iter().flat_map(|group| &group.lookups).any(|lookup| lookup.features().is_some())
    }

    /// By which tables events may come to ask for other rows of a group than they had, long after their ticks.
    pub fn asked_late(&self, group: GroupId) -> Vec<SourceId> {
        let late = |id: &GroupId| {
            let asks = |lookup: &OpenLookup| lookup.of == LookIn::Features(group) && lookup.is_corrected;
            self.groups[*id].lookups.iter().any(asks)
        };
        let lookers = self.graph.looking_up(group).filter(late);
        lookers.flat_map(|id| self.job.groups[id].lookups.iter().filter_map(Lookup::table)).collect()
    }

    /// Whether others look up in a group's rows.
    pub fn is_looked_up(&self, group: GroupId) -> bool {
        self.graph.looking_up(group).next().is_some()
    }

    /// The names of the sources whose events a group has.
    pub fn sources_of(&self, group: GroupId) -> String {
        let names: Vec<&str> =
            self.graph.events_of(group).map(|source| self.job.sources[source].name.as_str()).collect();
        names.join(" and ")
    }

    /// The names of what a view reads.
    pub fn names_read_by(&self, view: ViewId) -> Vec<&str> {
        let name = |kind: Kind| match kind {
            Kind::Source(table) => Some(self.job.sources[table].name.as_str()),
            Kind::Group(group) => Some(self.job.groups[group].name.as_str()),
            Kind::View(other) => Some(self.job.views[other].name.as_str()),
            Kind::Sink(_) | Kind::DeadLetters => None,
        };
        self.graph.read_by(view).filter_map(name).collect()
    }

    /// Whether a group's events may be taken back. Those of sessions are looked up where nothing comes late, and a row just before never
    /// changes.
    pub fn is_corrected(&self, group: GroupId) -> bool {
        let has_table = self.job.groups[group].lookups.iter().any(|lookup| lookup.table().is_some());
        let is_session = matches!(self.job.groups[group].window, Window::Session { .. });
        (has_table || self.is_replaced(group)) && !is_session
    }

    /// Whether a group has events that are replaced.
    pub fn is_replaced(&self, group: GroupId) -> bool {
        self.graph.events_of(group).any(|source| self.job.sources[source].replaced.is_some())
    }

    /// How much longer than others a group's windows are kept: what replaces an event may have come before they close, and become visible
    /// after that.
    pub fn grace(&self, group: GroupId) -> Span {
        let sources = self.graph.events_of(group).map(|source| &self.job.sources[source]);
        let limit = sources.filter(|source| source.replaced.is_some()).map(|source| source.future_limit).max();
        limit.map_or(Span::ZERO, |limit| limit + self.job.tick + Span::from_us(1))
    }

    /// How late an event may be for a group's windows: the largest lateness of what it reads.
    pub fn lateness(&self, group: GroupId) -> Span {
        let windowed = self.job.groups[group].window != Window::Trailing;
        // No correction of what is looked up is refused.
        let tables = self.job.groups[group].lookups.iter().filter_map(Lookup::table).filter(|_| windowed);
        let all = self.graph.events_of(group).chain(tables).map(|source| self.job.sources[source].lateness);
        all.max().unwrap_or(Span::ZERO)
    }
}

pub struct Source {
    pub history: Option<Arc<dyn History>>,
    pub stream: Option<Arc<dyn Stream>>,
    /// Every column.
    pub schema: SchemaRef,
    /// The columns that the job uses of stream records.
    pub wanted: Wanted,
    /// The same of history rows, which have the seam's columns at the end.
    pub history_wanted: Wanted,
    /// Places in `wanted`. Only a table may be without an event time.
    pub event_time: Option<usize>,
    pub arrival_time: Option<usize>,
    /// A seam by offset: the places of partition and offset in `history_wanted`.
    pub seam_columns: Option<(usize, usize)>,
    /// A seam by id: its place in `wanted`.
    pub id_column: Option<usize>,
    /// Columns of `wanted` that are worked out of others.
    pub computed: Option<Arc<Computed>>,
    pub table: Option<OpenTable>,
    /// Of a source whose events replace one another; nothing is looked up there.
    pub replaced: Option<OpenTable>,
}

/// What records say of the row of their key. Places are in `wanted`.
pub struct OpenTable {
    pub key: Vec<usize>,
    pub key_types: Vec<DataType>,
    pub deleted: Option<Expression>,
    /// The columns that are looked up.
    pub values: Vec<usize>,
}

impl Source {
    /// The columns that say when an event was: one, or those that its SQL names.
    pub fn event_time_columns(&self) -> impl Iterator<Item = &str> {
        let name = self.event_time.map(|place| self.wanted.schema.field(place).name());
        let computed = name.and_then(|name| self.computed.as_ref()?.column(name));
        let own = name.filter(|_| computed.is_none());
        own.into_iter().chain(computed.into_iter().flat_map(Expression::columns)).map(String::as_str)
    }

    /// Whether its records have times.
    pub fn has_times(&self) -> bool {
        self.event_time.is_some() || self.arrival_time.is_some()
    }

    /// Places of the columns, besides its times, without which a record of the stream is malformed.
    pub fn stream_own(&self) -> Vec<usize> {
        self.id_column.into_iter().chain(self.row_key()).collect()
    }

    /// The same of a row of the history.
    pub fn history_own(&self) -> Vec<usize> {
        let seam = self.seam_columns.into_iter().flat_map(|(p, o)| [p, o]);
        seam.chain(self.id_column).chain(self.row_key()).collect()
    }

    /// What its records say of the row of their key, where they have one.
    pub fn rows(&self) -> Option<&OpenTable> {
        self.table.as_ref().or(self.replaced.as_ref())
    }

    /// Places of that key.
    pub fn row_key(&self) -> Vec<usize> {
        self.rows().map(|rows| rows.key.clone()).unwrap_or_default()
    }
}

/// Where a column of a key comes from.
pub enum KeyColumn {
    /// A column as it is read, by its path.
    Read(String),
    /// SQL; or a column that is not as it is read.
    Computed(Expression),
}

impl KeyColumn {
    /// The SQL, if it is any.
    pub fn computed(&self) -> Option<&Expression> {
        if let KeyColumn::Computed(sql) = self { Some(sql) } else { None }
    }
}

/// A list whose elements are events. It is read once for itself and once for each field, so that one that does not decode harms no other.
pub struct Explode {
    /// The place in the source's `wanted` that says how many elements there are.
    pub column: usize,
    pub fields: Vec<ElementField>,
    /// The columns beside the list that the group names: no other is repeated.
    pub beside: Vec<String>,
}

/// A field of an element.
pub struct ElementField {
    /// Its path, as expressions have it.
    pub name: String,
    /// Its place in the source's `wanted`: a list of elements with this field alone.
    pub column: usize,
    /// Its names inside an element.
    pub names: Vec<String>,
}

/// What the events of a group look up.
pub struct OpenLookup {
    pub of: LookIn,
    /// By column of the key there.
    pub on: Vec<Expression>,
    pub columns: Vec<LookedUp>,
    /// `on` names nothing that is looked up.
    pub is_ahead: bool,
    /// What `on` names may be another than it was, since a version of a table came late.
    pub is_corrected: bool,
}

/// A column that is looked up.
pub struct LookedUp {
    /// As expressions call it, by its path.
    pub name: String,
    /// Its place among the values that are looked up there.
    pub value: usize,
    pub data_type: DataType,
}

impl OpenGroup {
    /// The types of the columns of its rows that other groups look up.
    pub fn looked_up_types(&self) -> Vec<DataType> {
        let of = |name: &String| match self.shape.schema.field_with_name(name) {
            Ok(field) => field.data_type().clone(),
            // That there is a row.
            Err(_) => DataType::Boolean,
        };
        self.looked_up.iter().map(of).collect()
    }
}

pub struct OpenGroup {
    /// The columns that its expressions are over: those of all its sources.
    pub schema: SchemaRef,
    /// How it sees the records of each source.
    pub views: BTreeMap<SourceId, View>,
    pub filter: Option<Expression>,
    pub keys: Vec<KeyColumn>,
    pub key_types: Vec<DataType>,
    /// The list of which each element is an event. Such a group has one source.
    pub explode: Option<Explode>,
    pub lookups: Vec<OpenLookup>,
    /// Each distinct `of` and `where` of a column.
    pub inputs: Vec<Input>,
    pub columns: Vec<ColumnPlan>,
    pub derived: DerivedColumns,
    /// The columns of its rows that other groups look up, by name.
    pub looked_up: Vec<String>,
    /// Of the changes as the group makes them: without derived columns.
    pub own_schema: SchemaRef,
    /// Of the rows as sinks have them.
    pub shape: GroupShape,
}

/// A view, opened.
pub struct OpenView {
    pub query: Query,
    /// What the collections of its query are.
    pub reads: Vec<Kind>,
    /// Places among the columns of the query: those of its key, in their order, and then all others.
    pub columns: Vec<usize>,
    /// Where its rows are links of those of the query.
    pub links: Option<OpenLinks>,
    /// Of the rows as sinks have them.
    pub shape: GroupShape,
}
