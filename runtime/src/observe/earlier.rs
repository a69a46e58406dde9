//! Earlier values: how whoever serves rows asks the workers for those that a key had at a tick.
//!
//! ```text
//! asker --Question--> worker 0 --> the key's worker: its past rows --> worker 0 --Answer--> asker
//! ```
//!
//! A tick can be asked for once it is announced; the answer waits until it is done. Workers forget by their own frontier, which is never ahead
//! of what is announced: so what can be asked for is there, unless it grows too old meanwhile, which is told.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use headwater_clocks::{Span, Tick};
use timely::scheduling::SyncActivator;

use crate::base::failure::Failure;
use crate::base::id::{IdVec, RowsId};
use crate::job::Job;

/// Workers may be that far behind what they have announced.
const ANSWER_SECONDS_MAX: u64 = 30;

/// The rows of a key at a tick.
pub struct Question {
    pub group: RowsId,
    /// Its bytes.
    pub key: Vec<u8>,
    pub tick: Tick,
    pub answer: Sender<Answer>,
}

pub enum Answer {
    /// As changes at which they came, by window; `None`: there are none.
    Rows(Option<RecordBatch>),
    /// Nothing of before this tick is kept any more.
    Forgotten(Tick),
}

/// What is kept of a group or a view, and can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct KeptRange {
    /// How far back. `None`: nothing is kept.
    length: Option<Span>,
    /// The first tick that can be read, if nothing is forgotten.
    begins: Option<Tick>,
    /// The last one.
    newest: Option<Tick>,
    /// The last one that workers forget by.
    announced: Option<Tick>,
}

/// The asker's end, of a start.
pub struct Earlier {
    questions: Sender<Question>,
    asked: Mutex<Option<Receiver<Question>>>,
    wakes: Mutex<Option<SyncActivator>>,
    kept: Mutex<IdVec<RowsId, KeptRange>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Earlier {
    /// Of a job, before it has begun.
    pub fn new(job: &Job) -> Earlier {
        let (questions, asked) = channel();
        let kept = job.all_rows().map(|rows| KeptRange { length: job.history_of(rows), ..KeptRange::default() });
        Earlier { questions, asked: Mutex::new(Some(asked)), wakes: Mutex::default(), kept: Mutex::new(kept.collect()) }
    }

    /// What is asked, for worker 0; and what wakes it. Taken once.
    pub fn listen(&self, activator: SyncActivator) -> Option<Receiver<Question>> {
        *locked(&self.wakes) = Some(activator);
        locked(&self.asked).take()
    }

    /// From this tick on the rows of a group or a view can be read.
    pub fn begins(&self, rows: RowsId, tick: Tick) {
        locked(&self.kept)[rows].begins = Some(tick);
    }

    /// `t` is announced. `stands`: whether the rows of a group or a view stay where they are, since a partition behind them is left out.
    pub fn reached(&self, t: Tick, stands: impl Fn(RowsId) -> bool) {
        for (rows, kept) in locked(&self.kept).pairs_mut() {
            if kept.begins.is_some_and(|begins| begins <= t) {
                kept.announced = Some(t);
                kept.newest = if stands(rows) { kept.newest } else { Some(t) };
            }
        }
    }

    /// The first and the last tick at which rows can be read. `None`: none can now, or nothing is kept.
    pub fn range(&self, rows: RowsId) -> Option<(Tick, Tick)> {
        let KeptRange { length, begins, newest, announced } = locked(&self.kept).get(rows).copied()?;
        Some((begins?.max(announced? - length?), newest?)).filter(|(first, last)| first <= last)
    }

    /// The rows of a key at a tick, by window. `name`: of the group or view.
    ///
    /// # Errors
    /// The tick cannot be read, or the run ends meanwhile.
    pub fn ask(&self, (rows, name): (RowsId, &str), key: Vec<u8>, tick: Tick) -> Result<Option<RecordBatch>, Failure> {
        let (first, last) = self.range(rows).ok_or_else(|| {
            Failure::Usage(format!("`{name}` has no rows now that can be read at an earlier time: ask again later"))
        })?;
        let refused = |why: &str, first: Tick| {
            Failure::Usage(format!("{tick} is {why}: `{name}` can be read at any time from {first} to {last}"))
        };
        if tick > last {
            return Err(refused("still to come", first));
        }
        if tick < first {
            return Err(refused("too long ago", first));
        }
        let ended =
            || Failure::Running("the run has ended, and its earlier values with it: ask once it runs again".into());
        let (answer, answered) = channel();
        self.questions.send(Question { group: rows, key, tick, answer }).map_err(|_| ended())?;
        if let Some(activator) = &*locked(&self.wakes) {
            // Where nobody is left to be woken, nobody answers either.
            let _ = activator.activate();
        }
        match answered.recv_timeout(Duration::from_secs(ANSWER_SECONDS_MAX)) {
            Ok(Answer::Rows(batch)) => Ok(batch),
            Ok(Answer::Forgotten(first)) => Err(refused("too long ago", first)),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
            Err(RecvTimeoutError::Timeout) => Err(Failure::Running(format!(
                "the workers have not come to {tick} in {ANSWER_SECONDS_MAX} s: ask again later"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::id::Id;
    use headwater_clocks::Time;

    fn tick(us: i64) -> Tick {
        Tick::from_us(us)
    }

    fn earlier(length: i64) -> Earlier {
        let (questions, asked) = channel();
        let kept = KeptRange { length: Some(Span::from_us(length)), ..KeptRange::default() };
        let (asked, kept) = (Mutex::new(Some(asked)), Mutex::new(IdVec::from(vec![kept])));
        Earlier { questions, asked, wakes: Mutex::default(), kept }
    }

    #[test]
    fn what_can_be_read_ends_where_rows_stand_and_begins_with_them() {
        let (earlier, rows) = (earlier(10), RowsId::at(0));
        let range = |t: i64, stands: bool| {
            earlier.reached(tick(t), |_| stands);
            earlier.range(rows).map(|(first, last)| (first.us(), last.us()))
        };
        assert_eq!(range(3, false), None, "nobody knows where they begin");
        earlier.begins(rows, tick(5));
        assert_eq!(range(4, false), None);
        assert_eq!(range(6, false), Some((5, 6)));
        assert_eq!(range(20, false), Some((10, 20)));
        assert_eq!(range(30, true), Some((20, 20)));
        assert_eq!(range(35, true), None, "they are forgotten");
        assert_eq!(range(40, false), Some((30, 40)));
    }

    /// Whoever asks hears of it when nobody is left to answer.
    #[test]
    fn a_run_that_ends_leaves_nobody_waiting() {
        let earlier = Arc::new(earlier(10));
        let rows = (RowsId::at(0), "cards");
        earlier.begins(rows.0, tick(0));
        earlier.reached(tick(5), |_| false);
        let refused = |at: i64| earlier.ask(rows, vec![], tick(at)).unwrap_err().message();
        assert!(refused(6).contains("still to come") && refused(-1).contains("too long ago"));
        let asked = locked(&earlier.asked).take().unwrap();
        let asking = earlier.clone();
        let waits = std::thread::spawn(move || asking.ask(rows, vec![], tick(5)).unwrap_err().message());
        let question = asked.recv().unwrap();
        drop(question);
        assert!(waits.join().unwrap().contains("the run has ended"));
        drop(asked);
        assert!(refused(5).contains("the run has ended"));
    }
}
