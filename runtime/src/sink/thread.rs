//! A sink that blocks has a thread of its own, so that a store or a broker that is away holds up the sources and nothing else.
//!
//! ```text
//! tasks --> queue --> [thread: takes many, finishes them, acknowledges] --> acknowledged tick --> the operator's frontier
//! ```
//!
//! A thread that fails tells so, which ends the run; nothing is acknowledged after it.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headwater_clocks::{Tick, Time};
use headwater_connectors::Error;
use headwater_connectors::threads::Helper;
use timely::scheduling::SyncActivator;

use crate::base::failure::Failure;
use crate::base::failures::Failures;

/// What a thread does for an operator.
pub trait BlockingSink: Send + 'static {
    type Task: Send + 'static;

    /// Before the first task.
    fn begin(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Takes a task; it may be left for `finish`. `false`: what was taken has to be finished before the next one.
    fn take(&mut self, task: Self::Task) -> Result<bool, Error>;

    /// Finishes what was taken. `flush`: all that was ever taken is up to this tick, and has to be where it belongs.
    fn finish(&mut self, flush: Option<Tick>) -> Result<(), Error>;

    /// There was nothing to do for a while.
    fn idle(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// No task comes any more.
    fn end(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Rows that wait to be written by a thread.
pub type Backlog = Arc<AtomicUsize>;

/// Rows that are taken from the queue at once, about.
const ROWS_AT_ONCE: usize = 100_000;
const IDLE: Duration = Duration::from_secs(1);

enum Entry<T> {
    Task {
        task: T,
        rows: usize,
    },
    /// Everything before it is up to this tick.
    Flush {
        tick: Tick,
    },
}

/// The dataflow's end of a sink's thread. Once nobody has it any more the thread ends, and is waited for: what it wrote to is nobody's
/// then.
pub struct SinkThread<T>(Arc<Inner<T>>);

struct Inner<T> {
    /// Gone at the end.
    tasks: Option<Sender<Entry<T>>>,
    thread: Option<Helper<(), Failure>>,
    acknowledged: Arc<Acknowledged>,
    backlog: Backlog,
}

#[derive(Default)]
struct Acknowledged {
    wake: Mutex<Vec<SyncActivator>>,
    /// The tick of the last flush, in microseconds.
    flushed: AtomicI64,
}

impl<T> Clone for SinkThread<T> {
    fn clone(&self) -> SinkThread<T> {
        SinkThread(self.0.clone())
    }
}

impl<T: Send + 'static> SinkThread<T> {
    pub fn start(
        name: &str,
        mut sink: impl BlockingSink<Task = T>,
        backlog: Backlog,
        failures: &Failures,
    ) -> Result<SinkThread<T>, Failure> {
        let (tasks, queue) = channel();
        let acknowledged =
            Arc::new(Acknowledged { flushed: AtomicI64::new(Tick::BEFORE_ALL.us()), ..Acknowledged::default() });
        let (ours, count) = (acknowledged.clone(), backlog.clone());
        let thread = failures.spawn(name, move || {
            sink.begin()?;
            serve(&mut sink, &queue, &ours, &count)
        })?;
        Ok(SinkThread(Arc::new(Inner { tasks: Some(tasks), thread: Some(thread), acknowledged, backlog })))
    }

    /// Wakes an operator with every acknowledgement.
    pub fn wakes(&self, activator: SyncActivator) {
        self.0.acknowledged.wake.lock().unwrap_or_else(PoisonError::into_inner).push(activator);
    }

    /// Hands over a task that writes no rows.
    pub fn send(&self, task: T) {
        self.enter(Entry::Task { task, rows: 0 });
    }

    /// Rows that wait to be written.
    pub fn waiting(&self) -> usize {
        self.0.backlog.load(Ordering::Relaxed)
    }

    fn enter(&self, entry: Entry<T>) {
        // A thread that ended has told why, which ends the run.
        let _ = self.0.tasks.as_ref().map(|tasks| tasks.send(entry));
    }
}

impl<T> Drop for Inner<T> {
    fn drop(&mut self) {
        self.tasks = None;
        // One that panicked has said so.
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Acknowledged {
    fn wake(&self) {
        for activator in self.wake.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // A worker that has gone needs no waking.
            let _ = activator.activate();
        }
    }
}

/// What one operator hands to the thread, and how far that is written.
pub struct Flushing<T> {
    pub thread: SinkThread<T>,
    /// The last tick of a flush that was asked for, and whether anything was handed over since.
    asked: Tick,
    is_unflushed: bool,
}

impl<T: Send + 'static> Flushing<T> {
    pub fn new(thread: SinkThread<T>) -> Flushing<T> {
        Flushing { thread, asked: Tick::BEFORE_ALL, is_unflushed: false }
    }

    pub fn write(&mut self, task: T, rows: usize) {
        self.thread.0.backlog.fetch_add(rows, Ordering::Relaxed);
        self.is_unflushed = true;
        self.thread.enter(Entry::Task { task, rows });
    }

    /// Up to where everything is written, where everything up to `done` has been handed over.
    pub fn reached(&mut self, done: Tick) -> Tick {
        if self.is_unflushed && done > self.asked {
            self.thread.enter(Entry::Flush { tick: done });
            (self.asked, self.is_unflushed) = (done, false);
        }
        let flushed = Tick::from_us(self.thread.0.acknowledged.flushed.load(Ordering::Acquire));
        // With nothing under way, the frontier alone counts.
        if flushed >= self.asked && !self.is_unflushed { done } else { flushed }
    }
}

fn serve<S: BlockingSink>(
    sink: &mut S,
    queue: &Receiver<Entry<S::Task>>,
    acknowledged: &Acknowledged,
    backlog: &AtomicUsize,
) -> Result<(), Error> {
    loop {
        let first = match queue.recv_timeout(IDLE) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => {
                sink.idle()?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return sink.end(),
        };
        let (mut count, mut flush, mut more, mut next) = (0, None, true, Some(first));
        while let Some(entry) = next {
            match entry {
                Entry::Task { task, rows } => {
                    more = sink.take(task)?;
                    count += rows;
                }
                Entry::Flush { tick } => flush = Some(tick),
            }
            next = if count < ROWS_AT_ONCE && more { queue.try_recv().ok() } else { None };
        }
        sink.finish(flush)?;
        backlog.fetch_sub(count, Ordering::Relaxed);
        if let Some(tick) = flush {
            acknowledged.flushed.store(tick.us(), Ordering::Release);
        }
        acknowledged.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails at a task of 0.
    #[derive(Default)]
    struct Kept {
        taken: Vec<usize>,
        /// What was taken, and then finished together.
        finished: Arc<Mutex<Vec<Vec<usize>>>>,
    }

    impl BlockingSink for Kept {
        type Task = usize;

        fn take(&mut self, task: usize) -> Result<bool, Error> {
            self.taken.push(task);
            if task == 0 { Err(Error::world("writing", "away")) } else { Ok(task != 7) }
        }

        fn finish(&mut self, _: Option<Tick>) -> Result<(), Error> {
            self.finished.lock().unwrap().push(std::mem::take(&mut self.taken));
            Ok(())
        }
    }

    #[test]
    fn what_is_handed_over_is_acknowledged() {
        let (failures, outcome) = Failures::new();
        let (sink, backlog) = (Kept::default(), Backlog::default());
        let finished = sink.finished.clone();
        let mut flushing = Flushing::new(SinkThread::start("kept", sink, backlog.clone(), &failures).unwrap());
        let reached = |flushing: &mut Flushing<usize>, done| flushing.reached(Tick::from_us(done)).us();
        assert_eq!(reached(&mut flushing, 3), 3, "nothing is under way");
        (1..=9).for_each(|task| flushing.write(task, 10));
        while reached(&mut flushing, 5) < 5 {
            std::thread::yield_now();
        }
        assert_eq!((reached(&mut flushing, 6), flushing.thread.waiting()), (6, 0));
        flushing.write(0, 1);
        drop(failures);
        let failure = outcome.next().unwrap_err();
        assert!(failure.message().contains("away"), "{failure}");
        assert_eq!(reached(&mut flushing, 8), 5, "nothing is acknowledged any more");
        drop(flushing);
        let finished = finished.lock().unwrap();
        assert_eq!(finished.concat(), Vec::from_iter(1..=9));
        assert!(finished.iter().any(|tasks| tasks.last() == Some(&7)), "finished before the next one was taken");
    }
}
