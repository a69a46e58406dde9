//! A part of a job: some of its groups and views with all that they are made of, and nothing that is written.

use std::collections::BTreeSet;

use super::{Group, Job, LookIn, Lookup, View};
use crate::base::id::{GroupId, HasRows, Id, IdVec, RowsId, SourceId, ViewId};

/// What of a job is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobPart {
    pub sources: BTreeSet<SourceId>,
    pub groups: BTreeSet<GroupId>,
    pub views: BTreeSet<ViewId>,
}

impl JobPart {
    /// What the rows of a group or a view are known by in the part. `job`: the whole.
    pub fn rows(&self, job: &Job, rows: RowsId) -> RowsId {
        match job.owner(rows) {
            HasRows::Group(group) => GroupId::at(place(&self.groups, group)).into(),
            HasRows::View(view) => ViewId::at(place(&self.views, view)).rows(self.groups.len()),
        }
    }

    /// The source of the whole that is one of the part.
    pub fn source(&self, in_part: SourceId) -> SourceId {
        *self.sources.iter().nth(in_part.index()).expect("a source of the part")
    }
}

/// Ids of a part count what is kept.
fn place<I: Id + Ord>(kept: &BTreeSet<I>, id: I) -> usize {
    kept.range(..id).count()
}

impl Job {
    /// What is kept, under ids of its own. What that names has to be kept, too.
    pub(crate) fn only(&self, kept: &JobPart) -> Job {
        let source = |id: &SourceId| SourceId::at(place(&kept.sources, *id));
        let lookup = |lookup: &Lookup| Lookup {
            of: match lookup.of {
                LookIn::Table(table) => LookIn::Table(source(&table)),
                LookIn::Features(group) => LookIn::Features(GroupId::at(place(&kept.groups, group))),
            },
            ..lookup.clone()
        };
        let group = |id: &GroupId| {
            let group = &self.groups[*id];
            Group {
                sources: group.sources.iter().map(source).collect(),
                lookups: group.lookups.iter().map(lookup).collect(),
                history: None,
                ..group.clone()
            }
        };
        let mut job = Job {
            sources: kept.sources.iter().map(|id| self.sources[*id].clone()).collect(),
            groups: kept.groups.iter().map(group).collect(),
            views: kept.views.iter().map(|id| View { history: None, ..self.views[*id].clone() }).collect(),
            sinks: IdVec::new(),
            serve_log: None,
            warnings: vec![],
            ..self.clone()
        };
        job.state.admissions_keep = None;
        job
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::job::parse::parse;

    const JOB: &str = r#"
name = "t"
sources.a = { event_time = "ts", schema = { ts = "int64", card = "string" }, stream = { type = "jsonl", path = "a.jsonl" } }
sources.b = { event_time = "ts", schema = { ts = "int64", card = "string" }, stream = { type = "jsonl", path = "b.jsonl" } }
features.x = { source = "a", key = "card", columns = { n = { agg = "count", window = "1h" } } }
features.y = { source = "b", key = "card", columns = { n = { agg = "count", window = "1h" } } }
features.z = { source = "b", key = "card", lookup.h = { features = "y", on = "card" }, columns = { n = { agg = "count", of = "h.n", window = "1h" } } }
views.v = { key = "card", sql = "SELECT card, n FROM x" }
views.w = { key = "card", sql = "SELECT card, n FROM z" }
"#;

    #[test]
    fn ids_are_those_of_the_part() {
        let (job, _) = parse("job.toml", Path::new("/"), JOB, &|_| None).unwrap();
        let ids = |all: &[usize]| all.iter().map(|at| GroupId::at(*at)).collect();
        let kept = JobPart { sources: [SourceId::at(1)].into(), groups: ids(&[1, 2]), views: [ViewId::at(1)].into() };
        let part = job.only(&kept);
        assert_eq!(part.all_rows().map(|rows| part.name_of(rows)).collect::<Vec<_>>(), ["y", "z", "w"]);
        let z = &part.groups[GroupId::at(1)];
        assert_eq!(z.sources, [SourceId::at(0)]);
        assert_eq!(z.lookups[0].features(), Some(GroupId::at(0)));
        let of_part: Vec<RowsId> = [1, 2, 4].map(|rows| kept.rows(&job, RowsId::at(rows))).into();
        assert_eq!(of_part, [0, 1, 2].map(RowsId::at));
        assert_eq!(kept.source(SourceId::at(0)), SourceId::at(1));
        assert!(part.sinks.is_empty() && part.sources.len() == 1);
    }
}
