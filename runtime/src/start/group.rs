//! The groups of a job, planned.

use super::canonical::data_type;
use super::identity;
use crate::base::id::{ColumnSetId, GroupId, IdVec, ScanId};
use crate::catalog::opened::Opened;
use crate::plan::group::{PlannedColumn, PlannedColumnSet, PlannedGroup};

impl PlannedColumnSet {
    /// Some columns of a group of the job. `scans`: of each of its sources, in their order.
    pub fn of(opened: &Opened, group: GroupId, scans: &[ScanId], columns: &[usize]) -> PlannedColumnSet {
        let open = &opened.groups[group];
        let mut inputs: Vec<usize> = vec![];
        let planned = columns.iter().map(|column| {
            let mut plan = open.columns[*column].clone();
            plan.input = plan.input.map(|input| {
                inputs.iter().position(|known| *known == input).unwrap_or_else(|| {
                    inputs.push(input);
                    inputs.len() - 1
                })
            });
            PlannedColumn { identity: identity::of_column(opened, group, *column), plan, index: Some(*column) }
        });
        let columns = planned.collect();
        let inputs = inputs.iter().map(|input| data_type(open.inputs[*input].data_type())).collect();
        PlannedColumnSet { scans: scans.to_vec(), columns, inputs, saved: None }
    }
}

impl PlannedGroup {
    /// A group of the job, all of whose columns begin together.
    pub fn whole(opened: &Opened, group: GroupId, scans: &[ScanId]) -> PlannedGroup {
        let all: Vec<usize> = (0..opened.groups[group].columns.len()).collect();
        let sets = IdVec::from(vec![PlannedColumnSet::of(opened, group, scans, &all)]);
        PlannedGroup::with(opened, group, sets)
    }

    pub fn with(opened: &Opened, group: GroupId, sets: IdVec<ColumnSetId, PlannedColumnSet>) -> PlannedGroup {
        let conf = &opened.job.groups[group];
        let identity = identity::of_group(opened, group);
        PlannedGroup { name: conf.name.clone(), identity, sets, saved: None, dropped_columns: false }
    }
}
