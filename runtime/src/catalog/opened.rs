//! What opening a job gives: its sources, with the columns that are read of them, and its groups, compiled.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use headwater_connectors::Wanted;
use headwater_connectors::history::History;
use headwater_connectors::sink::GroupShape;
use headwater_connectors::stream::Stream;
use headwater_expression::Expression;
use headwater_operators::accumulators::ColumnPlan;

use super::graph::Graph;
use crate::base::id::{GroupId, IdVec, SourceId};
use crate::base::time::Span;
use crate::job::{self, Job};

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

    /// The source that a group's expressions are over, as it is written and opened.
    pub fn source_of(&self, group: GroupId) -> (&job::Source, &Source) {
        let id = self.graph.source_of(group);
        (&self.job.sources[id], &self.sources[id])
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
}

impl Source {
    /// Places of the columns, besides its times, without which a record of the stream is malformed.
    pub fn stream_own(&self) -> Vec<usize> {
        self.id_column.into_iter().collect()
    }

    /// The same of a row of the history.
    pub fn history_own(&self) -> Vec<usize> {
        self.seam_columns.into_iter().flat_map(|(p, o)| [p, o]).chain(self.id_column).collect()
    }
}

pub struct OpenGroup {
    pub filter: Option<Expression>,
    /// Places of the key columns in the source's `wanted`.
    pub keys: Vec<usize>,
    pub key_types: Vec<DataType>,
    /// Each distinct `of`.
    pub inputs: Vec<Expression>,
    pub columns: Vec<ColumnPlan>,
    pub shape: GroupShape,
}
