//! Lines that a run writes, in a file or a topic: taken up where the checkpoint left them.

use headwater_clocks::Tick;
use headwater_connectors::Error;
use headwater_connectors::sink::lines::{LineSink, LinesConfig, LinesStart};

use super::rendering::Wiring;
use super::shared::Shared;
use crate::checkpoint::contribution::PositionAt;
use crate::plan::side::Side;
use crate::sink::lines::NamedLines;

/// Has checkpoints wait for the position of lines that are written here.
pub fn await_position<P>(lines: &NamedLines<P>, wiring: &Wiring) {
    if lines.writer.is_some() {
        wiring.checkpoint.borrow_mut().lines.insert(lines.name.clone(), PositionAt::default());
    }
}

/// Opens where lines go, taken up where the checkpoint left it if the run goes on from one. `is_void`: all that it holds is void.
pub fn open(shared: &Shared, name: &str, to: &dyn LinesConfig, is_void: bool) -> Result<Box<dyn LineSink>, Error> {
    let job = &shared.opened.job;
    let position = shared.start.position_of(job, name, to);
    // While its history is read, a job has told dead letters of the history alone, which have no time: they stay.
    let before_all =
        || Some(shared.start.plan.first_tick(Side::Live)).filter(|t| *t < Tick::AFTER_ALL).map(|t| t - job.tick);
    let valid_to = shared.start.plan.floor.or_else(before_all);
    to.open(&LinesStart { position, is_void, valid_to }, shared.stop.clone())
}
