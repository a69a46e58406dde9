//! The groups of a plan: which of their columns begin together, and of which reading of the source their events are.
//!
//! A group begins with one part. Columns that a changed job adds are a part of their own; columns that it takes away stay
//! in their part, are shown no more, and get nothing any more.

use std::str::FromStr;

use arrow::datatypes::DataType;
use headwater_operators::accumulators::ColumnPlan;
use headwater_operators::group::{self, Resumed};
use serde::{Deserialize, Serialize};

use super::{Plan, Side, identity};
use crate::failure::Failure;
use crate::job::Window;
use crate::opened::Opened;
use crate::source::reach::Reach;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedGroup {
    pub name: String,
    /// What its state is of, whatever its columns: see `identity`.
    pub identity: String,
    pub parts: Vec<PlannedPart>,
    /// Its number in the files of the checkpoint that it goes on from; and whether that one showed columns that are no more.
    pub saved: Option<u32>,
    pub renewed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedPart {
    pub reading: usize,
    pub columns: Vec<PlannedColumn>,
    /// The types of its inputs, as text.
    pub inputs: Vec<String>,
    /// Its number there.
    pub saved: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedColumn {
    pub identity: String,
    pub plan: ColumnPlan,
    /// Its number in the job's group; `None`: it is no more.
    pub place: Option<usize>,
}

impl PlannedPart {
    /// Some columns of a group of the job.
    pub fn of(opened: &Opened, group: usize, reading: usize, columns: &[usize]) -> PlannedPart {
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
            PlannedColumn { identity: identity::of_column(opened, group, *column), plan, place: Some(*column) }
        });
        let columns = planned.collect();
        let inputs = inputs.iter().map(|input| open.inputs[*input].data_type().to_string()).collect();
        PlannedPart { reading, columns, inputs, saved: None }
    }
}

impl PlannedGroup {
    /// A group of the job, all of whose columns begin together.
    pub fn whole(opened: &Opened, group: usize, reading: usize) -> PlannedGroup {
        let all: Vec<usize> = (0..opened.groups[group].columns.len()).collect();
        let parts = vec![PlannedPart::of(opened, group, reading, &all)];
        PlannedGroup::with(opened, group, parts)
    }

    pub fn with(opened: &Opened, group: usize, parts: Vec<PlannedPart>) -> PlannedGroup {
        let conf = &opened.job.groups[group];
        let identity = identity::of_group(opened, group);
        PlannedGroup { name: conf.name.clone(), identity, parts, saved: None, renewed: false }
    }
}

/// The parts of a run's groups, opened, as a side has them: those of the other never begin there.
pub struct Parts {
    pub groups: Vec<Vec<Part>>,
    pub side: Side,
}

pub struct Part {
    pub reading: usize,
    pub reach: Reach,
    /// Its input expressions, by their number in the group; `None`: nobody asks for it any more, so it is null.
    pub inputs: Vec<(Option<usize>, DataType)>,
    pub plan: group::Part,
}

impl Parts {
    pub fn open(opened: &Opened, plan: &Plan, side: Side) -> Result<Parts, Failure> {
        let group = |(number, planned): (usize, &PlannedGroup)| {
            planned.parts.iter().map(|part| Part::open(opened, plan, (number, side), part)).collect()
        };
        let groups = plan.groups.iter().enumerate().map(group).collect::<Result<_, _>>()?;
        Ok(Parts { groups, side })
    }

    /// The parts of a reading, with their groups and their numbers.
    pub fn of_reading(&self, reading: usize) -> impl Iterator<Item = (usize, usize, &Part)> {
        let all = self.groups.iter().enumerate();
        let all = all.flat_map(|(group, parts)| parts.iter().enumerate().map(move |(n, part)| (group, n, part)));
        all.filter(move |(_, _, part)| part.reading == reading)
    }

    /// Rows up to this event time are out of the reach of every part of a reading; `None`: one reaches everything.
    pub fn floor(&self, reading: usize, s: i64) -> Option<i64> {
        let floors: Option<Vec<i64>> = self.of_reading(reading).map(|(_, _, part)| part.reach.floor(s)).collect();
        floors.map(|all| all.into_iter().min().unwrap_or(s))
    }

    /// The plan of a group's state.
    pub fn plan(&self, opened: &Opened, group: usize) -> group::Plan {
        let mut parts = self.groups[group].iter().map(|part| part.plan.clone());
        let first = parts.next().expect("a group has a part");
        let conf = &opened.job.groups[group];
        group::Plan {
            window: match conf.window {
                Window::Trailing => group::Window::Trailing,
                Window::Tumbling { size_us: size } => group::Window::Hopping { size, every: size },
                Window::Hopping { size_us: size, every_us: every } => group::Window::Hopping { size, every },
                Window::Session { gap_us: gap } => group::Window::Session { gap },
            },
            retain: conf.retain_us,
            lateness: opened.job.sources[conf.source].lateness_us,
            columns: first.columns,
            places: first.places,
            inputs: first.inputs,
            tick: opened.job.tick_us,
            start: first.start,
            added: parts.collect(),
        }
    }
}

impl Part {
    fn open(
        opened: &Opened,
        plan: &Plan,
        (group, side): (usize, Side),
        planned: &PlannedPart,
    ) -> Result<Part, Failure> {
        let open = &opened.groups[group];
        let mut inputs = vec![];
        for (number, text) in planned.inputs.iter().enumerate() {
            let asking = planned.columns.iter().filter(|column| column.plan.input == Some(number));
            let expression = asking.filter_map(|column| column.place).find_map(|place| open.columns[place].input);
            let data_type = DataType::from_str(text)
                .map_err(|e| Failure::Running(format!("the state names a type that is none, {text}: {e}")))?;
            inputs.push((expression, data_type));
        }
        let shown = planned.columns.iter().filter(|column| column.place.is_some());
        let reading = &plan.readings[planned.reading];
        Ok(Part {
            reading: planned.reading,
            reach: Reach::of(&opened.job.groups[group], shown.map(|column| column.plan.length)),
            plan: group::Part {
                columns: planned.columns.iter().map(|column| column.plan.clone()).collect(),
                places: planned.columns.iter().map(|column| column.place).collect(),
                inputs: inputs.iter().map(|(_, data_type)| data_type.clone()).collect(),
                start: reading.s.filter(|_| reading.side == side).unwrap_or(i64::MAX),
            },
            inputs,
        })
    }
}

impl Plan {
    /// Where the parts of a group go on from, `None` for those of the other side; `None`: it is new.
    pub fn resumed(&self, group: usize, side: Side) -> Option<Vec<Option<Resumed>>> {
        let planned = &self.groups[group];
        let part = |part: &PlannedPart| {
            let reading = &self.readings[part.reading];
            let saved = part.saved.filter(|_| reading.side == side)? as usize;
            let beside = reading.saved == Side::Beside;
            Some(Resumed { saved, beside, done: reading.done, shown: reading.shown })
        };
        planned.saved.map(|_| planned.parts.iter().map(part).collect())
    }
}
