//! Events that are not visible yet, by the tick at which they will be.

use std::collections::VecDeque;
use std::rc::Rc;

use arrow::array::{RecordBatch, UInt32Array};
use headwater_clocks::Tick;

use super::events::Events;

#[derive(Default)]
pub struct Pending {
    /// (tick, batch, row), sorted from `next` on but for what came since `sort`.
    order: Vec<(Tick, u64, u32)>,
    next: usize,
    batches: VecDeque<Option<Waiting>>,
    first_batch: u64,
}

struct Waiting {
    set: usize,
    events: Rc<Events>,
    /// How many of its rows still wait.
    left: usize,
    /// The dataflow time at which it was sent.
    sent: Tick,
}

impl Pending {
    /// `set`: of the group's columns; `sent`: the dataflow time at which the events were sent.
    pub fn add(&mut self, set: usize, events: Events, rows: Vec<u32>, sent: Tick) {
        if rows.is_empty() {
            return;
        }
        let batch = self.first_batch + self.batches.len() as u64;
        self.order.extend(rows.iter().map(|row| (events.visible(*row as usize), batch, *row)));
        self.batches.push_back(Some(Waiting { set, events: Rc::new(events), left: rows.len(), sent }));
    }

    /// The events that wait and were sent before a dataflow time, with their column set.
    pub fn save(&self, sent_before: Tick) -> Vec<(usize, RecordBatch)> {
        let mut waiting: Vec<(u64, u32)> =
            self.order[self.next..].iter().map(|(_, batch, row)| (*batch, *row)).collect();
        waiting.sort_unstable();
        let some = waiting.chunk_by(|(a, _), (b, _)| a == b).filter_map(|rows| {
            let waiting = self.batches[(rows[0].0 - self.first_batch) as usize].as_ref()?;
            let rows: UInt32Array = rows.iter().map(|(_, row)| *row).collect();
            (waiting.sent < sent_before).then(|| (waiting.set, waiting.events.take(&rows)))
        });
        some.collect()
    }

    /// Call it before `next` and `take` when events came.
    pub fn sort(&mut self) {
        self.order.drain(..self.next);
        self.next = 0;
        // Stable: it meets long runs that are in order already.
        self.order.sort();
    }

    /// The first tick at which an event becomes visible.
    pub fn next(&self) -> Option<Tick> {
        self.order.get(self.next).map(|(tick, _, _)| *tick)
    }

    /// Calls `each` with the events that become visible at `tick`, and their column set.
    pub fn take(&mut self, tick: Tick, mut each: impl FnMut(usize, &Rc<Events>, u32)) {
        while let Some(&(_, batch, row)) = self.order.get(self.next).filter(|(visible, _, _)| *visible == tick) {
            self.next += 1;
            let slot = &mut self.batches[(batch - self.first_batch) as usize];
            let waiting = slot.as_mut().expect("a batch with rows that wait");
            each(waiting.set, &waiting.events, row);
            waiting.left -= 1;
            if waiting.left == 0 {
                *slot = None;
                while let Some(None) = self.batches.front() {
                    self.batches.pop_front();
                    self.first_batch += 1;
                }
            }
        }
    }
}
