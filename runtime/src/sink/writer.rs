//! Whatever takes lines has a thread of its own, so that an absent broker holds up the sources and nothing else.
//!
//! ```text
//! closed changes, letters --> queue --> [thread: lines, flush] --> written up to a tick --> frontier
//!                                                  '--> sync: what a checkpoint keeps of it
//! ```

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use headwater_connectors::Error;
use headwater_connectors::sink::lines::LineSink;
use timely::scheduling::SyncActivator;

use crate::checkpoint::contribution::Noted;

/// Rows or letters that wait to be written by a writer.
pub type Backlog = Arc<AtomicUsize>;

/// Pieces are flushed together up to about so many rows.
const ROWS_AT_ONCE: usize = 100_000;
const IDLE: Duration = Duration::from_secs(1);

enum Task<P> {
    Write {
        piece: P,
        rows: usize,
    },
    /// Everything before it is up to this tick.
    Flush {
        tick: i64,
    },
    /// A checkpoint of this number has everything before it.
    Note {
        number: u64,
    },
}

/// The dataflow's side: hands over pieces, and hears how far they are written.
pub struct Writer<P> {
    /// Gone at the end.
    tasks: Option<Sender<Task<P>>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    backlog: Backlog,
    /// The last tick of a flush that was asked for, and whether anything was handed over since.
    asked: i64,
    unflushed: bool,
    /// The last checkpoint that was asked for.
    pub note: u64,
}

struct Shared {
    flushed: AtomicI64,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    noted: Option<Noted>,
    fault: Option<Error>,
    wake: Option<SyncActivator>,
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if let Some(activator) = &self.told().wake {
            // A worker that has gone needs no waking.
            let _ = activator.activate();
        }
    }
}

impl<P: Send + 'static> Writer<P> {
    /// Starts the thread. `write`: how a piece becomes lines.
    pub fn start(
        mut lines: Box<dyn LineSink>,
        backlog: Backlog,
        mut write: impl FnMut(&mut dyn LineSink, P) -> Result<(), Error> + Send + 'static,
    ) -> Writer<P> {
        let (tasks, queue) = channel();
        let shared = Arc::new(Shared { flushed: AtomicI64::new(i64::MIN), told: Mutex::default() });
        let (ours, count) = (shared.clone(), backlog.clone());
        let work = move || {
            if let Err(e) = serve(lines.as_mut(), &queue, &ours, &count, &mut write) {
                ours.told().fault = Some(e);
                ours.wake();
            }
        };
        let thread = std::thread::Builder::new().name("lines".to_owned()).spawn(work).expect("a thread can be started");
        Writer { tasks: Some(tasks), thread: Some(thread), shared, backlog, asked: i64::MIN, unflushed: false, note: 0 }
    }

    /// `activator`: of the operator that has the writer.
    pub fn wakes(&self, activator: SyncActivator) {
        self.shared.told().wake = Some(activator);
    }

    pub fn write(&mut self, piece: P, rows: usize) {
        self.backlog.fetch_add(rows, Ordering::Relaxed);
        self.unflushed = true;
        self.send(Task::Write { piece, rows });
    }

    /// Has what a checkpoint keeps noted: what was handed over so far is in it.
    pub fn note(&mut self, number: u64) {
        self.note = number;
        self.send(Task::Note { number });
    }

    pub fn noted(&self) -> Option<Noted> {
        self.shared.told().noted.clone()
    }

    /// Up to where everything is written, where everything up to `done` has been handed over.
    pub fn reached(&mut self, done: i64) -> i64 {
        if self.unflushed && done > self.asked {
            self.send(Task::Flush { tick: done });
            (self.asked, self.unflushed) = (done, false);
        }
        let flushed = self.shared.flushed.load(Ordering::Acquire);
        // With nothing under way, the frontier alone counts.
        if flushed >= self.asked && !self.unflushed { done } else { flushed }
    }

    pub fn take_fault(&self) -> Option<Error> {
        self.shared.told().fault.take()
    }

    fn send(&self, task: Task<P>) {
        // A thread that ended has left a fault, which ends the run.
        let _ = self.tasks.as_ref().map(|tasks| tasks.send(task));
    }
}

/// The lines are nobody's when it returns: another start may open them.
impl<P> Drop for Writer<P> {
    fn drop(&mut self) {
        self.tasks = None;
        // One that panicked has said so.
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn serve<P>(
    lines: &mut dyn LineSink,
    queue: &Receiver<Task<P>>,
    shared: &Shared,
    backlog: &AtomicUsize,
    write: &mut impl FnMut(&mut dyn LineSink, P) -> Result<(), Error>,
) -> Result<(), Error> {
    // What opening has written comes before everything else, and tells whether anything can be.
    lines.flush()?;
    loop {
        let first = match queue.recv_timeout(IDLE) {
            Ok(first) => first,
            // A client with nothing to do has news all the same: of a topic that is gone, say.
            Err(RecvTimeoutError::Timeout) => {
                lines.flush()?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return lines.flush(),
        };
        let (mut count, mut flushed, mut next) = (0, None, Some(first));
        while let Some(task) = next {
            match task {
                Task::Write { piece, rows } => {
                    write(lines, piece)?;
                    backlog.fetch_sub(rows, Ordering::Relaxed);
                    count += rows;
                }
                Task::Flush { tick } => flushed = Some(tick),
                Task::Note { number } => {
                    let left = lines.sync()?;
                    shared.told().noted = Some(Noted { number, left: Some(left) });
                }
            }
            next = if count < ROWS_AT_ONCE { queue.try_recv().ok() } else { None };
        }
        if let Some(tick) = flushed {
            lines.flush()?;
            shared.flushed.store(tick, Ordering::Release);
        }
        shared.wake();
    }
}
