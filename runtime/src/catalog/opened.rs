//! What opening a job gives: its sources, with the columns that are read of them, and its groups, compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use headwater_connectors::Wanted;
use headwater_connectors::history::History;
use headwater_connectors::sink::GroupShape;
use headwater_connectors::stream::Stream;
use headwater_expression::Expression;
use headwater_operators::accumulators::ColumnPlan;

use super::computed::Computed;
use super::derived::DerivedColumns;
use super::graph::Graph;
use super::input::Input;
use super::view::View;
use crate::base::id::{GroupId, IdVec, SourceId};
use crate::base::time::Span;
use crate::job::Job;

pub struct Opened {
    pub job: Job,
    pub graph: Graph,
    pub sources: IdVec<SourceId, Source>,
    pub groups: IdVec<GroupId, OpenGroup>,
}

impl Opened {
    /// Whether anything is followed.
    pub fn has_stream(&self) -> bool {
        self.job.sources.iter().any(|source| source.stream.is_some())
    }

    /// The names of the sources whose events a group has.
    pub fn sources_of(&self, group: GroupId) -> String {
        let names: Vec<&str> =
            self.graph.sources_of(group).map(|source| self.job.sources[source].name.as_str()).collect();
        names.join(" and ")
    }

    /// How late an event may be for a group's windows: the largest lateness of what it reads.
    pub fn lateness(&self, group: GroupId) -> Span {
        let all = self.graph.sources_of(group).map(|source| self.job.sources[source].lateness_us);
        Span::from_us(all.max().unwrap_or(0))
    }
}

pub struct Source {
    pub history: Option<Arc<dyn History>>,
    pub stream: Option<Arc<dyn Stream>>,
    /// Every column.
    pub schema: SchemaRef,
    /// The columns that the job uses: of stream records; and of history rows, which have the seam's columns at the end.
    pub wanted: Wanted,
    pub history_wanted: Wanted,
    /// Places in `wanted`.
    pub event_time: usize,
    pub arrival_time: Option<usize>,
    /// A seam by offset: the places of partition and offset in `history_wanted`.
    pub seam_columns: Option<(usize, usize)>,
    /// A seam by id: its place in `wanted`.
    pub id_column: Option<usize>,
    /// Columns of `wanted` that are worked out of others.
    pub computed: Option<Arc<Computed>>,
}

impl Source {
    /// The columns that say when an event was: one, or those that its SQL names.
    pub fn event_time_columns(&self) -> impl Iterator<Item = &str> {
        let name = self.wanted.schema.field(self.event_time).name();
        let computed = self.computed.as_ref().and_then(|computed| computed.column(name));
        let own = computed.is_none().then_some(name);
        own.into_iter().chain(computed.into_iter().flat_map(Expression::columns)).map(String::as_str)
    }

    /// Places of the columns, besides its times, without which a record of the stream is malformed.
    pub fn stream_own(&self) -> Vec<usize> {
        self.id_column.into_iter().collect()
    }

    /// The same of a row of the history.
    pub fn history_own(&self) -> Vec<usize> {
        self.seam_columns.into_iter().flat_map(|(p, o)| [p, o]).chain(self.id_column).collect()
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
    /// Each distinct `of` and `where` of a column.
    pub inputs: Vec<Input>,
    pub columns: Vec<ColumnPlan>,
    pub derived: DerivedColumns,
    /// Of the changes as the group makes them: without derived columns.
    pub own_schema: SchemaRef,
    /// Of the rows as sinks have them.
    pub shape: GroupShape,
}
