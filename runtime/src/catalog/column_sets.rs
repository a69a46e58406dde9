//! The groups of a plan, opened: what the operators are made of.

use std::collections::BTreeMap;
use std::str::FromStr;

use arrow::datatypes::DataType;
use headwater_clocks::{EventTime, Span, Tick};
use headwater_operators::group;

use super::opened::Opened;
use super::reach::Reach;
use crate::base::failure::Failure;
use crate::base::id::{ColumnSetId, GroupId, IdVec, ScanId, SourceId};
use crate::job::Window;
use crate::plan::Plan;
use crate::plan::group::{PlannedColumnSet, PlannedGroup};
use crate::plan::side::Side;

/// The column sets of a run's groups, opened, as a side has them: those of the other never begin there.
pub struct ColumnSets {
    pub groups: IdVec<GroupId, IdVec<ColumnSetId, ColumnSet>>,
    pub side: Side,
}

pub struct ColumnSet {
    /// Whose events it takes: by source, of which scan.
    pub scans: BTreeMap<SourceId, ScanId>,
    /// Its `S`, whichever side it is on.
    pub s: Option<Tick>,
    pub reach: Reach,
    /// Its input expressions, by their number in the group; `None`: nobody asks for it any more, so it is null.
    pub inputs: Vec<(Option<usize>, DataType)>,
    pub plan: group::ColumnSet,
}

impl ColumnSets {
    pub fn open(opened: &Opened, plan: &Plan, side: Side) -> Result<ColumnSets, Failure> {
        let group = |(id, planned): (GroupId, &PlannedGroup)| {
            planned.sets.iter().map(|set| ColumnSet::open(opened, plan, (id, side), set)).collect()
        };
        let groups = plan.groups.pairs().map(group).collect::<Result<_, _>>()?;
        Ok(ColumnSets { groups, side })
    }

    /// The column sets of a scan, with their groups.
    pub fn of_scan(&self, scan: ScanId) -> impl Iterator<Item = (GroupId, &ColumnSet)> {
        let all = self.groups.pairs().flat_map(|(group, sets)| sets.iter().map(move |set| (group, set)));
        all.filter(move |(_, set)| set.scans.values().any(|of| *of == scan))
    }

    /// Rows up to this event time are out of the reach of every column set of a scan that has its seam at `s`; `None`: one reaches
    /// everything.
    pub fn floor(&self, opened: &Opened, scan: (SourceId, ScanId), s: Tick) -> Option<EventTime> {
        let (source, scan) = scan;
        // A record of a key is in force until the next one.
        if opened.job.sources[source].rows().is_some() {
            return None;
        }
        let floors: Option<Vec<EventTime>> = self.of_scan(scan).map(|(_, set)| set.floor(s)).collect();
        floors.map(|all| all.into_iter().min().unwrap_or(s.left(Span::ZERO)))
    }

    /// The plan of a group's state.
    pub fn plan(&self, opened: &Opened, group: GroupId) -> group::Plan {
        let mut sets = self.groups[group].iter().map(|set| set.plan.clone());
        let first = sets.next().expect("a group has a column set");
        let conf = &opened.job.groups[group];
        group::Plan {
            window: match conf.window {
                Window::Trailing => group::Window::Trailing,
                Window::Tumbling { size } => group::Window::Hopping { size, every: size },
                Window::Hopping { size, every } => group::Window::Hopping { size, every },
                Window::Calendar(calendar) => group::Window::Calendar(calendar),
                Window::Session { gap } => group::Window::Session { gap },
            },
            retain: conf.retain,
            lateness: opened.lateness(group),
            columns: first.columns,
            places: first.places,
            inputs: first.inputs,
            tick: opened.job.tick,
            start: first.start,
            added: sets.collect(),
            corrected: opened.is_corrected(group),
        }
    }
}

impl ColumnSet {
    /// Rows up to this event time, of a history with its seam at `s`, are out of its reach; `None`: none is.
    pub fn floor(&self, s: Tick) -> Option<EventTime> {
        self.reach.floor(self.begins(s))
    }

    /// `S` of its group, where that of what it reads is known.
    pub fn begins(&self, s: Tick) -> Tick {
        self.s.map_or(s, |of_all| of_all.max(s))
    }

    fn open(
        opened: &Opened,
        plan: &Plan,
        (group, side): (GroupId, Side),
        planned: &PlannedColumnSet,
    ) -> Result<ColumnSet, Failure> {
        let open = &opened.groups[group];
        let mut inputs = vec![];
        for (number, text) in planned.inputs.iter().enumerate() {
            let asking = planned.columns.iter().filter(|column| column.plan.input == Some(number));
            let expression = asking.filter_map(|column| column.index).find_map(|index| open.columns[index].input);
            let data_type = DataType::from_str(text)
                .map_err(|e| Failure::Running(format!("the state names a type that is none, {text}: {e}")))?;
            inputs.push((expression, data_type));
        }
        let lookers = opened.graph.looking_up(group).map(|group| reach_of(opened, group));
        let kept = planned.columns.iter().filter(|column| column.index.is_some());
        let s = plan.s_of(planned);
        let start = s.filter(|_| plan.side_of_set(planned) == side);
        // Its rows are looked up as of ticks before `S` as well.
        let start = start.map(|s| if opened.is_looked_up(group) { Tick::BEFORE_ALL } else { s });
        Ok(ColumnSet {
            scans: planned.scans.iter().map(|scan| (plan.scans[*scan].source, *scan)).collect(),
            s,
            reach: Reach::of(&opened.job.groups[group], kept.map(|column| column.plan.length)).looked_up_by(lookers),
            plan: group::ColumnSet {
                columns: planned.columns.iter().map(|column| column.plan.clone()).collect(),
                places: planned.columns.iter().map(|column| column.index).collect(),
                inputs: inputs.iter().map(|(_, data_type)| data_type.clone()).collect(),
                start: start.unwrap_or(Tick::AFTER_ALL),
            },
            inputs,
        })
    }
}

/// The reach of a group, with that of the groups that look up in it.
fn reach_of(opened: &Opened, group: GroupId) -> Reach {
    let lengths = opened.groups[group].columns.iter().map(|column| column.length);
    let lookers = opened.graph.looking_up(group).map(|group| reach_of(opened, group));
    Reach::of(&opened.job.groups[group], lengths).looked_up_by(lookers)
}
