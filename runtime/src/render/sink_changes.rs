//! Sinks that are changelogs, rendered: every change of their groups at every tick, as lines that process 0's first worker writes.

use headwater_clocks::Tick;
use headwater_connectors::sink::changelog::Changelog;
use headwater_connectors::sink::lines::{LineSink, LinesConfig};
use headwater_operators::exchange::RowChanges;
use timely::dataflow::Stream;

use super::lines;
use super::rendering::{Rendering, Wiring};
use crate::base::failure::Failure;
use crate::base::id::{Id, SinkId};
use crate::checkpoint::names::changelog;
use crate::sink::lines::{NamedLines, Step, write_changelog};
use crate::sink::writer::Writer;

pub fn render<'scope>(
    changes: Stream<'scope, Tick, Vec<RowChanges>>,
    of: Rendering,
    (id, to): (SinkId, &dyn LinesConfig),
    wiring: &Wiring,
) -> Result<Stream<'scope, Tick, Vec<()>>, Failure> {
    let shared = of.shared;
    let mut lines = NamedLines { name: changelog(&shared.opened.job.sinks[id].name), writer: None };
    if of.peer.is_first() {
        let shapes: Vec<_> = shared.opened.job.all_rows().map(|rows| shared.opened.shape(rows).clone()).collect();
        let changelog = Changelog::new(&shapes);
        let write = move |to: &mut dyn LineSink, step: Step| changelog.write(to, &step);
        let to = lines::open(shared, &lines.name, to, shared.start.plan.changelog_reset)?;
        let backlog = shared.backlogs[id.index()].clone();
        lines.writer = Some(Writer::start(to, backlog, Box::new(write), &shared.failures)?);
    }
    lines::await_position(&lines, wiring);
    let groups = shared.opened.graph.rows_in(id).collect();
    Ok(write_changelog(changes, lines, groups, wiring.checkpoint.clone(), wiring.to_wake.clone()))
}
