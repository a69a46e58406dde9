//! Events inside the windows of one key, by how many of these they have left: they move on as they grow old.
//!
//! ```text
//! enter, class 0 -> [ in all windows ] -> leaves the shortest -> [ class 1 ] -> ... -> leaves the longest: forgotten
//!                                        enter late, class 1 --^
//! ```
//!
//! An event waits in one queue at a time, so it takes the same room for any number of windows. Most events enter in order of time, and a
//! queue is a line; those that do not are kept in a heap beside it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use headwater_clocks::{EventTime, Span, Tick};

use crate::ledger::time_of;

pub struct Aging {
    /// Finite lengths, ascending.
    windows: Vec<Span>,
    lanes: usize,
    /// By window: the events that it is the next one to lose.
    queues: Vec<Queue>,
    /// Ledger rows by slot, those that are free among them.
    rows: Vec<u64>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Queue {
    /// (event time, slot), by event time.
    order: VecDeque<(EventTime, u32)>,
    late: BinaryHeap<Reverse<(EventTime, u32)>>,
}

impl Aging {
    /// `lanes`: words of a ledger row.
    pub fn new(windows: &[Span], lanes: usize) -> Aging {
        let queues = windows.iter().map(|_| Queue::default()).collect();
        Aging { windows: windows.to_vec(), lanes, queues, rows: vec![], free: vec![] }
    }

    /// Takes an event that has left so many windows. One that has left all is forgotten at once.
    pub fn enter(&mut self, class: usize, row: &[u64]) {
        let Some(queue) = self.queues.get_mut(class) else { return };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.rows[slot as usize * self.lanes..][..self.lanes].copy_from_slice(row);
                slot
            }
            None => {
                self.rows.extend_from_slice(row);
                (self.rows.len() / self.lanes - 1) as u32
            }
        };
        queue.push(time_of(row), slot);
    }

    /// Hands back, for each window, the events that have left it by `now`: shorter windows first, and of a window the oldest first.
    pub fn leave(&mut self, now: Tick, mut each: impl FnMut(usize, &[u64])) {
        for window in 0..self.windows.len() {
            let until = now.left(self.windows[window]);
            while let Some((ts, slot)) = self.queues[window].pop(until) {
                each(window, &self.rows[slot as usize * self.lanes..][..self.lanes]);
                match self.queues.get_mut(window + 1) {
                    Some(next) => next.push(ts, slot),
                    None => self.free.push(slot),
                }
            }
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.queues.iter_mut().for_each(|queue| {
            queue.order.clear();
            queue.late.clear();
        });
        self.rows.clear();
        self.free.clear();
    }
}

impl Queue {
    fn push(&mut self, ts: EventTime, slot: u32) {
        if self.order.back().is_none_or(|(last, _)| *last <= ts) {
            self.order.push_back((ts, slot));
        } else {
            self.late.push(Reverse((ts, slot)));
        }
    }

    /// The oldest event, if it happened by `until`.
    fn pop(&mut self, until: EventTime) -> Option<(EventTime, u32)> {
        let in_order = self.order.front().map_or(EventTime::AFTER_ALL, |(ts, _)| *ts);
        let late = self.late.peek().map_or(EventTime::AFTER_ALL, |Reverse((ts, _))| *ts);
        if in_order.min(late) > until {
            None
        } else if in_order <= late {
            self.order.pop_front()
        } else {
            self.late.pop().map(|Reverse(event)| event)
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn each_leaves_each_window_once() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(11);
        for _ in 0..200 {
            let windows: &[i64] = [&[10][..], &[5, 20], &[1, 10, 100]][rng.random_range(0..3)];
            let spans: Vec<Span> = windows.iter().copied().map(Span::from_us).collect();
            let mut aging = Aging::new(&spans, 2);
            let (mut now, mut expected, mut seen) = (0, vec![], vec![]);
            for number in 0..60u64 {
                now += rng.random_range(0..4);
                aging.leave(Tick::from_us(now), |window, row| seen.push((window, row[1])));
                let ts = now - rng.random_range(0..120) / rng.random_range(1..20);
                let class = windows.partition_point(|w| ts <= now - w);
                expected.extend((class..windows.len()).map(|window| (window, number)));
                aging.enter(class, &[ts as u64, number]);
            }
            aging.leave(Tick::from_us(now + 1000), |window, row| seen.push((window, row[1])));
            seen.sort_unstable();
            expected.sort_unstable();
            assert_eq!(seen, expected, "{windows:?}");
            assert!(aging.rows.len() <= 2 * 60 && aging.free.len() * 2 == aging.rows.len(), "every slot is free again");
        }
    }
}
