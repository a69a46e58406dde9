//! Whatever takes lines has a thread of its own, too: there its position is taken, between two pieces, for a checkpoint.

use std::sync::{Arc, Mutex, PoisonError};

use headwater_clocks::Tick;
use headwater_connectors::Error;
use headwater_connectors::sink::lines::LineSink;
use timely::scheduling::SyncActivator;

use super::thread::{Backlog, BlockingSink, Flushing, SinkThread};
use crate::base::failure::Failure;
use crate::base::failures::Failures;
use crate::base::id::CheckpointNumber;
use crate::checkpoint::contribution::PositionAt;

enum Task<P> {
    Write(P),
    /// A checkpoint of this number has everything before it: its position there is wanted.
    Position {
        number: CheckpointNumber,
    },
}

/// The dataflow's side: hands over pieces, and hears how far they are written.
pub struct Writer<P> {
    flushing: Flushing<Task<P>>,
    position: Arc<Mutex<Option<PositionAt>>>,
    /// The last checkpoint that was asked for.
    pub asked: CheckpointNumber,
}

/// How a piece becomes lines.
pub type Write<P> = Box<dyn FnMut(&mut dyn LineSink, P) -> Result<(), Error> + Send>;

/// The thread's own.
struct LineThread<P> {
    lines: Box<dyn LineSink>,
    write: Write<P>,
    position: Arc<Mutex<Option<PositionAt>>>,
}

impl<P: Send + 'static> Writer<P> {
    /// Starts the thread.
    pub fn start(
        lines: Box<dyn LineSink>,
        backlog: Backlog,
        write: Write<P>,
        failures: &Failures,
    ) -> Result<Writer<P>, Failure> {
        let position: Arc<Mutex<Option<PositionAt>>> = Arc::default();
        let sink = LineThread { lines, write, position: position.clone() };
        let thread = SinkThread::start("lines", sink, backlog, failures)?;
        Ok(Writer { flushing: Flushing::new(thread), position, asked: CheckpointNumber::NONE })
    }

    /// `activator`: of the operator that has the writer.
    pub fn wakes(&self, activator: SyncActivator) {
        self.flushing.thread.wakes(activator);
    }

    pub fn write(&mut self, piece: P, rows: usize) {
        self.flushing.write(Task::Write(piece), rows);
    }

    /// Has the position taken for a checkpoint: what was handed over so far is in it.
    pub fn ask_position(&mut self, number: CheckpointNumber) {
        self.asked = number;
        self.flushing.thread.send(Task::Position { number });
    }

    pub fn position(&self) -> Option<PositionAt> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Up to where everything is written, where everything up to `done` has been handed over.
    pub fn reached(&mut self, done: Tick) -> Tick {
        self.flushing.reached(done)
    }
}

impl<P: Send + 'static> BlockingSink for LineThread<P> {
    type Task = Task<P>;

    /// What opening has written comes before everything else, and tells whether anything can be.
    fn begin(&mut self) -> Result<(), Error> {
        self.lines.flush()
    }

    fn take(&mut self, task: Task<P>) -> Result<bool, Error> {
        match task {
            Task::Write(piece) => (self.write)(self.lines.as_mut(), piece)?,
            Task::Position { number } => {
                let synced = Some(self.lines.sync()?);
                *self.position.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(PositionAt { number, position: synced });
            }
        }
        Ok(true)
    }

    fn finish(&mut self, flush: Option<Tick>) -> Result<(), Error> {
        if flush.is_some() { self.lines.flush() } else { Ok(()) }
    }

    /// A client with nothing to do has news all the same: of a topic that is gone, say.
    fn idle(&mut self) -> Result<(), Error> {
        self.lines.flush()
    }

    fn end(&mut self) -> Result<(), Error> {
        self.lines.flush()
    }
}
