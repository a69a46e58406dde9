//! A worker's slices of the history: taken from the thread that reads them, a few at a time.

use std::sync::mpsc::Receiver;

use headwater_clocks::Tick;
use timely::dataflow::operators::probe::Handle as ProbeHandle;

use super::history::Slice;
use crate::plan::progress::HistoryProgress;

/// Slices that may be under way, by worker.
const UNDER_WAY: i64 = 3;

pub struct Slices {
    from: Receiver<Option<Slice>>,
    /// Slices that were sent; where a checkpoint was taken between them, as many as the worker that has sent the most.
    sent: i64,
    is_done: bool,
    /// How far this worker's pieces were read.
    read: HistoryProgress,
}

impl Slices {
    pub fn new(from: Receiver<Option<Slice>>) -> Slices {
        Slices { from, sent: 0, is_done: false, read: HistoryProgress::new() }
    }

    pub fn sent(&self) -> i64 {
        self.sent
    }

    pub fn is_done(&self) -> bool {
        self.is_done
    }

    pub fn read(&self) -> &HistoryProgress {
        &self.read
    }

    /// The dataflow time at which the next one is sent, before all ticks.
    pub fn time(&self) -> Tick {
        Tick::of_slice(self.sent)
    }

    /// The next ones are sent after the slice of this number, whoever has come how far.
    pub fn begin_after(&mut self, slice: i64) {
        self.sent = self.sent.max(slice + 1);
    }

    /// The next one, if it is there, and unless too many are under way. `finished`: up to where the windows are.
    pub fn next(&mut self, finished: &ProbeHandle<Tick>) -> Option<Slice> {
        let under_way = Tick::of_slice((self.sent - UNDER_WAY).max(0));
        if self.sent > UNDER_WAY && finished.less_than(&under_way) {
            return None;
        }
        // A thread that ended without a last word has failed, and told so.
        let Some(slice) = self.from.try_recv().ok()? else {
            self.is_done = true;
            return None;
        };
        self.sent += 1;
        self.read.extend(slice.read.iter().copied());
        Some(slice)
    }
}
