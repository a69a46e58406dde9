//! Every row of a group of a job, whether it runs or not.

use std::io::{BufRead, BufReader};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use headwater_connectors::Error;
use headwater_connectors::sink::GroupShape;

use super::table::Rows;
use super::{endpoint, rows};
use crate::base::failure::Failure;
use crate::base::id::{RowsId, SinkId};
use crate::catalog::open::open_for_rows;
use crate::catalog::opened::Opened;
use crate::job::Job;

/// Every row of a group as a table.
pub fn table(job: Job, named: &str, sink_named: Option<&str>) -> Result<(SchemaRef, Vec<RecordBatch>), Failure> {
    let group = rows::group(&job, named)?;
    let sink = rows::sink(&job, group, sink_named)?;
    let lines = RowSource::open(job, group, sink, (named, sink_named))?;
    let mut table = Rows::new(&lines.shape(group)?);
    let mut batches = vec![];
    lines.each(&mut |line| {
        batches.extend(table.push(line).map_err(|e| Error::world("exporting", e.message()))?);
        Ok(())
    })?;
    batches.extend(table.rest()?);
    Ok((table.schema().clone(), batches))
}

/// Where rows come from, as lines.
pub enum RowSource {
    /// A store that is read here.
    Store { opened: Opened, group: RowsId, sink: SinkId },
    /// A running job that holds its store.
    Running { job: Job, answer: BufReader<Box<dyn std::io::Read>> },
}

impl RowSource {
    pub fn open(
        job: Job,
        group: RowsId,
        sink: SinkId,
        (group_named, sink_named): (&str, Option<&str>),
    ) -> Result<RowSource, Failure> {
        if job.sinks[sink].to.store().is_some_and(|store| store.is_exclusive())
            && let Some(running) = endpoint::running(&job)?
        {
            let mut query = vec![("group", group_named)];
            query.extend(sink_named.map(|sink| ("sink", sink)));
            let answer = BufReader::new(running.ask("/export", &query)?);
            return Ok(RowSource::Running { job, answer });
        }
        Ok(RowSource::Store { opened: open_for_rows(job)?, group, sink })
    }

    /// What its rows are.
    pub fn shape(&self, group: RowsId) -> Result<GroupShape, Failure> {
        match self {
            RowSource::Store { opened, .. } => Ok(opened.shape(group).clone()),
            RowSource::Running { job, .. } => Ok(open_for_rows(job.clone())?.shape(group).clone()),
        }
    }

    /// Each row as the line that `export` prints.
    pub fn each(self, each: &mut dyn FnMut(&str) -> Result<(), Error>) -> Result<(), Failure> {
        match self {
            RowSource::Store { opened, group, sink } => {
                rows::export(rows::lookup(&opened, sink, None)?.as_mut(), group, each)
            }
            RowSource::Running { answer, .. } => {
                let broken = |e| Failure::Running(format!("reading the running job's answer: {e}"));
                answer.lines().try_for_each(|line| Ok(each(&line.map_err(broken)?)?))
            }
        }
    }
}
