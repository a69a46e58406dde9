//! The graph of a job: sources, what is made of their events, and where that goes. Each node stands behind all that it reads.
//!
//! ```text
//! payments ---> card_activity ---> redis
//!     \    \--> owner_activity --> changelog
//!      \-------------------------> dead letters
//! ```
//!
//! Views read the rows of groups, tables and other views. Who reads what is asked here and nowhere else. What holds for a node follows from
//! what it reads:
//!
//! | of a node | is, of what it reads |
//! |---|---|
//! | `S`, at which its rows begin | the largest (`Plan::s`) |
//! | lateness | the largest (`Opened::lateness`) |
//! | horizon: windows that closed before it are gone | the smallest (`Plan::horizon`) |
//!
//! A checkpoint has of a source how far it was read, of a group its state, of lines (a changelog, the dead letters) where they
//! were left. A store has its marks itself.

use std::collections::BTreeSet;

use crate::base::id::{GroupId, HasRows, IdVec, NodeId, RowsId, SinkId, SourceId, ViewId};
use crate::job::{Group, Job, LookIn, Lookup};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// In an order in which each stands behind its inputs.
    nodes: IdVec<NodeId, Node>,
    sources: IdVec<SourceId, NodeId>,
    groups: IdVec<GroupId, NodeId>,
    views: IdVec<ViewId, NodeId>,
    sinks: IdVec<SinkId, NodeId>,
    /// Sources whose records are versions of rows, and no events.
    tables: Vec<SourceId>,
    /// By group: how many it looks up through, one behind the other.
    levels: IdVec<GroupId, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    /// Ascending.
    pub inputs: Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Events, or versions of a table's rows.
    Source(SourceId),
    /// A row for each key of the events, or for each of its windows.
    Group(GroupId),
    /// Rows made of the rows of others.
    View(ViewId),
    /// Rows of groups and views, or changes of them.
    Sink(SinkId),
    /// Records that are no events, or not for every group.
    DeadLetters,
}

impl Graph {
    /// `reads`: by view, what its rows are made of: groups, tables, and views, in no circles.
    pub fn of(job: &Job, reads: &IdVec<ViewId, Vec<Kind>>) -> Graph {
        let mut nodes = IdVec::new();
        let mut add = |kind, mut inputs: Vec<NodeId>| {
            inputs.sort_unstable();
            inputs.dedup();
            nodes.push(Node { kind, inputs })
        };
        let sources: IdVec<_, _> = job.sources.ids().map(|id| add(Kind::Source(id), vec![])).collect();
        let levels = levels(&job.groups);
        let mut of_groups: IdVec<GroupId, Option<NodeId>> = IdVec::filled(None, job.groups.len());
        for id in in_order(&levels) {
            let group = &job.groups[id];
            let looked_up = |lookup: &Lookup| match lookup.of {
                LookIn::Table(table) => sources[table],
                LookIn::Features(group) => of_groups[group].expect("a group stands behind those that it looks up in"),
            };
            let own = group.sources.iter().map(|source| sources[*source]);
            of_groups[id] = Some(add(Kind::Group(id), own.chain(group.lookups.iter().map(looked_up)).collect()));
        }
        let groups: IdVec<GroupId, NodeId> = of_groups.into_iter().flatten().collect();
        let mut known: IdVec<ViewId, Option<NodeId>> = IdVec::filled(None, job.views.len());
        while let Some((view, inputs)) = next_view(reads, &known, (&sources, &groups)) {
            known[view] = Some(add(Kind::View(view), inputs));
        }
        // What goes in a circle is told, and read by nobody.
        let views: IdVec<ViewId, NodeId> =
            known.pairs().map(|(view, node)| node.unwrap_or_else(|| add(Kind::View(view), vec![]))).collect();
        let node = |rows: RowsId| match job.owner(rows) {
            HasRows::Group(group) => groups[group],
            HasRows::View(view) => views[view],
        };
        let of_sink = |sink: &crate::job::Sink| sink.rows.iter().map(|rows| node(*rows)).collect();
        let sinks = job.sinks.pairs().map(|(id, sink)| add(Kind::Sink(id), of_sink(sink))).collect();
        add(Kind::DeadLetters, sources.iter().copied().collect());
        let tables = job.sources.pairs().filter(|(_, source)| source.table.is_some()).map(|(id, _)| id).collect();
        Graph { nodes, sources, groups, views, sinks, tables, levels }
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Whose events a group takes.
    pub fn events_of(&self, group: GroupId) -> impl Iterator<Item = SourceId> + Clone {
        self.sources_of(group).filter(|source| !self.tables.contains(source))
    }

    /// What a group reads itself: whose events it takes, and the tables in which it looks them up.
    pub fn sources_of(&self, group: GroupId) -> impl Iterator<Item = SourceId> + Clone {
        self.inputs(self.groups[group]).filter_map(Kind::source)
    }

    /// The groups in whose rows a group looks something up.
    pub fn looked_up_by(&self, group: GroupId) -> impl Iterator<Item = GroupId> + Clone {
        self.inputs(self.groups[group]).filter_map(Kind::group)
    }

    /// The groups that look something up in the rows of one.
    pub fn looking_up(&self, group: GroupId) -> impl Iterator<Item = GroupId> + Clone {
        self.readers(self.groups[group]).filter_map(Kind::group)
    }

    /// What a group reads, itself or through the groups that it looks up in; ascending.
    pub fn all_sources_of(&self, group: GroupId) -> Vec<SourceId> {
        let through = self.looked_up_by(group).flat_map(|group| self.all_sources_of(group));
        let mut all: Vec<SourceId> = self.sources_of(group).chain(through).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// How many groups a group looks up through, one behind the other.
    pub fn level(&self, group: GroupId) -> usize {
        self.levels[group]
    }

    /// The groups in an order in which each stands behind those that it looks up in.
    pub fn groups_in_order(&self) -> Vec<GroupId> {
        in_order(&self.levels)
    }

    /// Who takes a source's events, or looks up in it.
    pub fn groups_of(&self, source: SourceId) -> impl Iterator<Item = GroupId> + Clone {
        in_order_of_job(self.readers(self.sources[source]))
    }

    /// Whose rows go to a sink: groups, and behind them views.
    pub fn rows_in(&self, sink: SinkId) -> impl Iterator<Item = RowsId> + Clone + use<> {
        let groups = self.groups.len();
        let number = move |kind| match kind {
            Kind::Group(group) => Some(RowsId::from(group)),
            Kind::View(view) => Some(view.rows(groups)),
            Kind::Source(_) | Kind::Sink(_) | Kind::DeadLetters => None,
        };
        let mut all: Vec<RowsId> = self.inputs(self.sinks[sink]).filter_map(number).collect();
        all.sort_unstable();
        all.into_iter()
    }

    /// Where the rows of a group or a view go.
    pub fn sinks_of(&self, rows: impl Into<RowsId>) -> impl Iterator<Item = SinkId> + Clone {
        let node = match HasRows::of(rows.into(), self.groups.len()) {
            HasRows::Group(group) => self.groups[group],
            HasRows::View(view) => self.views[view],
        };
        self.readers(node).filter_map(Kind::sink)
    }

    /// What the rows of a view are made of.
    pub fn read_by(&self, view: ViewId) -> impl Iterator<Item = Kind> + Clone {
        self.inputs(self.views[view])
    }

    /// Whether a view is made of these rows.
    pub fn is_viewed(&self, of: Kind) -> bool {
        let node = match of {
            Kind::Source(source) => self.sources[source],
            Kind::Group(group) => self.groups[group],
            Kind::View(view) => self.views[view],
            Kind::Sink(_) | Kind::DeadLetters => return false,
        };
        self.readers(node).any(|kind| matches!(kind, Kind::View(_)))
    }

    /// Tables of which a view has the contents.
    pub fn viewed_tables(&self) -> impl Iterator<Item = SourceId> + '_ {
        self.tables.iter().copied().filter(|table| self.is_viewed(Kind::Source(*table)))
    }

    /// The groups and tables that a view is made of, over however many others.
    pub fn behind(&self, view: ViewId) -> BTreeSet<Kind> {
        let direct = self.read_by(view);
        let over = direct
            .clone()
            .filter_map(|kind| if let Kind::View(other) = kind { Some(self.behind(other)) } else { None });
        direct.filter(|kind| !matches!(kind, Kind::View(_))).chain(over.flatten()).collect()
    }

    fn inputs(&self, node: NodeId) -> impl Iterator<Item = Kind> + Clone {
        self.nodes[node].inputs.iter().map(|input| self.nodes[*input].kind)
    }

    fn readers(&self, node: NodeId) -> impl Iterator<Item = Kind> + Clone {
        self.nodes.iter().filter(move |reader| reader.inputs.contains(&node)).map(|reader| reader.kind)
    }
}

/// By group its level: 0 where it looks up in none, else past those in which it does. There are no circles.
fn levels(groups: &IdVec<GroupId, Group>) -> IdVec<GroupId, usize> {
    let mut levels = IdVec::filled(0, groups.len());
    for _ in groups.ids() {
        for (id, group) in groups.pairs() {
            let below = group.lookups.iter().filter_map(Lookup::features).map(|group| levels[group] + 1);
            levels[id] = below.max().unwrap_or(0);
        }
    }
    levels
}

fn in_order_of_job(nodes: impl Iterator<Item = Kind>) -> std::vec::IntoIter<GroupId> {
    let mut groups: Vec<GroupId> = nodes.filter_map(Kind::group).collect();
    groups.sort_unstable();
    groups.into_iter()
}

fn in_order(levels: &IdVec<GroupId, usize>) -> Vec<GroupId> {
    let mut all: Vec<GroupId> = levels.ids().collect();
    all.sort_by_key(|group| levels[*group]);
    all
}

/// The first view that is not known yet and reads nothing that is not, with what it reads.
fn next_view(
    reads: &IdVec<ViewId, Vec<Kind>>,
    known: &IdVec<ViewId, Option<NodeId>>,
    (sources, groups): (&IdVec<SourceId, NodeId>, &IdVec<GroupId, NodeId>),
) -> Option<(ViewId, Vec<NodeId>)> {
    let node = |kind: &Kind| match kind {
        Kind::Source(source) => Some(sources[*source]),
        Kind::Group(group) => Some(groups[*group]),
        Kind::View(view) => known[*view],
        Kind::Sink(_) | Kind::DeadLetters => None,
    };
    let inputs = |view: ViewId| reads[view].iter().map(node).collect::<Option<Vec<NodeId>>>();
    known.ids().filter(|view| known[*view].is_none()).find_map(|view| Some((view, inputs(view)?)))
}

impl Kind {
    fn source(self) -> Option<SourceId> {
        if let Kind::Source(id) = self { Some(id) } else { None }
    }

    fn group(self) -> Option<GroupId> {
        if let Kind::Group(id) = self { Some(id) } else { None }
    }

    fn sink(self) -> Option<SinkId> {
        if let Kind::Sink(id) = self { Some(id) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::id::Id;
    use crate::job::parse::parse;

    const JOB: &str = r#"
name = "t"
sources.a = { event_time = "ts", schema = { ts = "int64", card = "string" }, stream = { type = "jsonl", path = "a.jsonl" } }
sources.b = { event_time = "ts", schema = { ts = "int64", card = "string" }, stream = { type = "jsonl", path = "b.jsonl" } }
features.x = { source = "b", key = "card", columns = { n = { agg = "count", window = "1h" } } }
features.y = { source = "a", key = "card", columns = { n = { agg = "count", window = "1h" } } }
features.z = { source = "b", key = "card", columns = { n = { agg = "count", window = "1h" } } }
sinks.rows = { type = "embedded" }
sinks.some = { type = "jsonl", path = "changes.jsonl", features = ["z", "x"] }
"#;

    #[test]
    fn each_stands_behind_what_it_reads() {
        let (job, _) = parse("job.toml", Path::new("/"), JOB, &|_| None).unwrap();
        let graph = Graph::of(&job, &IdVec::new());
        for (id, node) in graph.nodes.pairs() {
            assert!(node.inputs.iter().all(|input| *input < id), "{node:?}");
        }
        let names = |ids: &mut dyn Iterator<Item = RowsId>| ids.map(|id| job.name_of(id)).collect::<String>();
        let of_sources: Vec<String> =
            job.sources.ids().map(|id| names(&mut graph.groups_of(id).map(RowsId::from))).collect();
        assert_eq!(of_sources, ["y", "xz"]);
        let of_sinks: Vec<String> = job.sinks.ids().map(|id| names(&mut graph.rows_in(id))).collect();
        assert_eq!(of_sinks, ["xyz", "xz"]);
        let (first, second) = (GroupId::at(0), GroupId::at(1));
        assert_eq!(graph.sources_of(first).collect::<Vec<_>>(), [SourceId::at(1)]);
        assert_eq!([graph.sinks_of(first).count(), graph.sinks_of(second).count()], [2, 1]);
    }
}
