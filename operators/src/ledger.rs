//! The ledger: "+1 now, -1 when it grows old". It keeps the events that some finite window still holds, and hands each
//! event back once for every window, at the tick at which it leaves that window.
//!
//! ```text
//! windows 10, 30; tick 1     insert (ts 5) at 6       expire(15): window 0, ts 5       expire(35): window 1, ts 5
//!                            insert (ts 5) at 17                                       expire(35): window 1, ts 5
//! ```
//!
//! One copy of an event serves all windows: buckets by event time hold rows in order of arrival, and each window has a
//! cursor that sorts a bucket when its turn comes. What does not fit in memory goes to segments; what an earlier run has left
//! stays frozen in its files until a window comes to it. The future stays here, outside of everything that is walked at every
//! tick, so its size costs nothing until it is due.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::rc::Rc;

use headwater_clocks::{EventTime, Span, Tick, Time};

use crate::limits::Limits;

/// Where the rows of a bucket go that memory has no room for. Segments are never changed once written.
pub trait Segments {
    /// Keeps rows, one after the other in words of 64 bits, and returns the segment's number, unlike that of any other.
    ///
    /// # Errors
    /// They cannot be kept.
    fn write(&mut self, rows: &[u64]) -> Result<u64, SegmentError>;
    /// The rows as they were written. A segment is read once for every window that its events are in.
    ///
    /// # Errors
    /// They cannot be read back.
    fn read(&mut self, segment: u64) -> Result<Vec<u64>, SegmentError>;
    /// It will not be read again.
    fn remove(&mut self, segment: u64);
}

/// Ledgers may share where their segments are.
impl Segments for Rc<RefCell<Box<dyn Segments>>> {
    fn write(&mut self, rows: &[u64]) -> Result<u64, SegmentError> {
        self.borrow_mut().write(rows)
    }

    fn read(&mut self, segment: u64) -> Result<Vec<u64>, SegmentError> {
        self.borrow_mut().read(segment)
    }

    fn remove(&mut self, segment: u64) {
        self.borrow_mut().remove(segment);
    }
}

/// A segment could not be written or read: says what was being done, and to what. Nothing can go on without it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SegmentError(pub String);

/// Buckets a longest window is cut into: what a cursor sorts at once is a 256th of it.
const BUCKETS_PER_WINDOW: i64 = 256;

/// A row is `lanes` words: the event time in microseconds, then what the owner likes.
///
/// At each tick in turn: `expire`, then `settle`, then `insert` what becomes visible.
///
/// ```
/// use headwater_clocks::{Span, Tick};
/// use headwater_operators::ledger::{InMemory, Ledger};
/// use headwater_operators::limits::Limits;
///
/// let at = Tick::from_us;
/// let (windows, lanes, tick, start) = ([10, 30].map(Span::from_us), 2, Span::from_us(1), at(0));
/// let mut ledger = Ledger::new(&windows, lanes, tick, start, Box::new(InMemory::default()), Limits::with_ledger_bytes(1 << 20));
/// ledger.insert(&[5, 77], at(6))?; // event time 5, visible at tick 6
/// assert_eq!(ledger.next_due(), Some(at(15)));
///
/// let mut left = vec![];
/// ledger.expire(at(15), |window, row| left.push((window, row.to_vec())))?;
/// assert_eq!(left, [(0, vec![5, 77])]);
///
/// ledger.settle(at(17))?;
/// ledger.insert(&[5, 88], at(17))?; // late: already outside of the shorter window
/// assert_eq!(ledger.next_due(), Some(at(35)));
/// ledger.expire(at(35), |window, row| left.push((window, row.to_vec())))?;
/// assert_eq!(left[1..], [(1, vec![5, 77]), (1, vec![5, 88])]);
/// assert_eq!(ledger.next_due(), None);
/// # Ok::<(), headwater_operators::ledger::SegmentError>(())
/// ```
pub struct Ledger {
    lanes: usize,
    tick: Span,
    span: Span,
    buckets: BTreeMap<i64, Bucket>,
    cursors: Vec<Cursor>,
    /// The last tick that was settled.
    settled: Tick,
    /// Chunks of rows that are elsewhere, by the tick at which a window comes to their first bucket.
    frozen: BTreeSet<(Tick, u64)>,
    segments: Box<dyn Segments>,
    resident: usize,
    limits: Limits,
}

struct Bucket {
    rows: Vec<u64>,
    segments: Vec<u64>,
    oldest: EventTime,
}

/// How far one window has come.
struct Cursor {
    window: Span,
    /// Rows at or before it were out of the window when the ledger began.
    floor: EventTime,
    /// Buckets from here on have not been opened.
    next_bucket: i64,
    rows: Vec<u64>,
    /// Rows of the open bucket by event time, as (event time, row number).
    order: VecDeque<(EventTime, u32)>,
    /// Rows that came into the open bucket out of order.
    late: BinaryHeap<Reverse<(EventTime, u32)>>,
}

impl Ledger {
    /// `windows`: finite lengths, ascending. `tick`: how far ticks are apart. `start`: the
    /// first tick; what is out of a window by then never is handed back.
    pub fn new(
        windows: &[Span],
        lanes: usize,
        tick: Span,
        start: Tick,
        segments: Box<dyn Segments>,
        limits: Limits,
    ) -> Ledger {
        let span = Span::from_us((windows.last().map_or(1, |longest| longest.us()) / BUCKETS_PER_WINDOW).max(1));
        let cursor = |&window: &Span| {
            let floor = start.left(window);
            let next_bucket = bucket_of(floor, span);
            Cursor { window, floor, next_bucket, rows: vec![], order: VecDeque::new(), late: BinaryHeap::new() }
        };
        let cursors = windows.iter().map(cursor).collect();
        Ledger {
            lanes,
            tick,
            span,
            buckets: BTreeMap::new(),
            cursors,
            settled: start,
            frozen: BTreeSet::new(),
            segments,
            resident: 0,
            limits,
        }
    }

    /// Takes an event that becomes visible at tick `now`. Ticks never fall, and `settle(now)` has been called. A window that
    /// the event has left by `now` never hands it back.
    ///
    /// # Errors
    /// A segment could not be written.
    pub fn insert(&mut self, row: &[u64], now: Tick) -> Result<(), SegmentError> {
        debug_assert_eq!(row.len(), self.lanes);
        let ts = time_of(row);
        let at = bucket_of(ts, self.span);
        let mut wanted = false;
        for cursor in &mut self.cursors {
            if at >= cursor.next_bucket {
                wanted = true;
            } else if ts > now.left(cursor.window) {
                cursor.insert(row, ts, self.limits.left_rows);
            }
        }
        if !wanted {
            return Ok(());
        }
        let bucket = self.buckets.entry(at).or_insert_with(|| Bucket { rows: vec![], segments: vec![], oldest: ts });
        bucket.oldest = bucket.oldest.min(ts);
        bucket.rows.extend_from_slice(row);
        self.resident += row.len() * 8;
        if self.resident > self.limits.ledger_bytes { self.spill() } else { Ok(()) }
    }

    /// The next tick at which an event leaves a window, or a chunk has to be thawed.
    pub fn next_due(&self) -> Option<Tick> {
        let due = |c: &Cursor| c.oldest(&self.buckets).map(|ts| Tick::leaving(ts, c.window));
        let frozen = self.frozen.first().map(|(due, _)| *due);
        self.cursors.iter().filter_map(due).chain(frozen).min().map(|due| Tick::up(due, self.tick))
    }

    /// Rows with event times from `first` to `last`, inserted by an earlier run, stay elsewhere until some window comes to them.
    pub fn freeze(&mut self, chunk: u64, first: EventTime, last: EventTime) {
        let begins = EventTime::from_us(bucket_of(first, self.span).saturating_mul(self.span.us()));
        let holding = self.cursors.iter().filter(|cursor| last > self.settled.left(cursor.window));
        if let Some(due) = holding.map(|cursor| Tick::leaving(begins, cursor.window)).min() {
            self.frozen.insert((due, chunk));
        }
    }

    /// A chunk that has to be thawed before `expire(now)`, once each.
    pub fn due_chunk(&mut self, now: Tick) -> Option<u64> {
        let first = *self.frozen.first().filter(|(due, _)| *due <= now)?;
        self.frozen.remove(&first);
        Some(first.1)
    }

    /// Takes in the rows of a chunk.
    ///
    /// # Errors
    /// A segment could not be written.
    pub fn thaw(&mut self, rows: &[u64]) -> Result<(), SegmentError> {
        rows.chunks_exact(self.lanes).try_for_each(|row| self.insert(row, self.settled))
    }

    /// The last tick that was settled; rows whose event time lies before the second have left every window by then.
    pub fn settled(&self) -> (Tick, EventTime) {
        (self.settled, self.settled.left(self.cursors.last().map_or(Span::ZERO, |longest| longest.window)))
    }

    /// Hands back, for each window, the events that leave it at or before tick `now`: shorter windows first,
    /// and of a window the oldest first. `each` is given the window's index and the row.
    ///
    /// # Errors
    /// A segment could not be read.
    pub fn expire(&mut self, now: Tick, mut each: impl FnMut(usize, &[u64])) -> Result<(), SegmentError> {
        for window in 0..self.cursors.len() {
            let until = now.left(self.cursors[window].window);
            loop {
                let cursor = &mut self.cursors[window];
                while let Some(row) = cursor.pop(until) {
                    let at = row as usize * self.lanes;
                    each(window, &cursor.rows[at..at + self.lanes]);
                }
                match self.buckets.range(cursor.next_bucket..).next() {
                    Some((&at, bucket)) if bucket.oldest <= until => self.open(window, at)?,
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Makes room for events that become visible at tick `now`: `expire(now)` has been called.
    ///
    /// # Errors
    /// A segment could not be read.
    pub fn settle(&mut self, now: Tick) -> Result<(), SegmentError> {
        for window in 0..self.cursors.len() {
            let cursor = &self.cursors[window];
            let reached = bucket_of(now.left(cursor.window), self.span);
            while self.cursors[window].next_bucket <= reached {
                let next = self.buckets.range(self.cursors[window].next_bucket..=reached).next();
                match next.map(|(at, _)| *at) {
                    Some(at) => self.open(window, at)?,
                    None => self.cursors[window].next_bucket = reached + 1,
                }
            }
        }
        // Column sets of a group may have been left at different ticks.
        self.settled = self.settled.max(now);
        Ok(())
    }

    /// Bytes of rows in memory.
    pub fn resident_bytes(&self) -> usize {
        self.resident + self.cursors.iter().map(|c| c.rows.len() * 8).sum::<usize>()
    }

    fn open(&mut self, window: usize, at: i64) -> Result<(), SegmentError> {
        let others = self.cursors.iter().enumerate().any(|(i, c)| i != window && c.next_bucket <= at);
        let bucket = self.buckets.get_mut(&at).expect("a bucket that was just found");
        let mut rows = Vec::new();
        for segment in &bucket.segments {
            rows.extend(self.segments.read(*segment)?);
        }
        if others {
            rows.extend_from_slice(&bucket.rows);
        } else {
            let bucket = self.buckets.remove(&at).expect("a bucket that was just found");
            self.resident -= bucket.rows.len() * 8;
            bucket.segments.iter().for_each(|s| self.segments.remove(*s));
            if rows.is_empty() { rows = bucket.rows } else { rows.extend(bucket.rows) }
        }
        self.cursors[window].open(at, rows, self.lanes);
        Ok(())
    }

    /// Writes the fullest bucket to a segment.
    fn spill(&mut self) -> Result<(), SegmentError> {
        let Some(bucket) = self.buckets.values_mut().max_by_key(|b| b.rows.len()) else { return Ok(()) };
        bucket.segments.push(self.segments.write(&bucket.rows)?);
        self.resident -= bucket.rows.len() * 8;
        bucket.rows = Vec::new();
        Ok(())
    }
}

impl Cursor {
    fn oldest(&self, buckets: &BTreeMap<i64, Bucket>) -> Option<EventTime> {
        let open = self.order.front().map(|(ts, _)| *ts);
        let late = self.late.peek().map(|Reverse((ts, _))| *ts);
        let unopened = || buckets.range(self.next_bucket..).next().map(|(_, b)| b.oldest.max(self.floor.just_after()));
        open.into_iter().chain(late).min().or_else(unopened)
    }

    fn insert(&mut self, row: &[u64], ts: EventTime, left_rows: usize) {
        if self.rows.len() / row.len() > 2 * (self.order.len() + self.late.len()) + left_rows {
            self.compact(row.len());
        }
        let number = (self.rows.len() / row.len()) as u32;
        self.rows.extend_from_slice(row);
        if self.order.back().is_none_or(|(last, _)| *last <= ts) {
            self.order.push_back((ts, number));
        } else {
            self.late.push(Reverse((ts, number)));
        }
    }

    /// Drops the rows that have left.
    fn compact(&mut self, lanes: usize) {
        let mut all: Vec<_> = self.order.drain(..).chain(self.late.drain().map(|Reverse(entry)| entry)).collect();
        all.sort_unstable();
        let rows = std::mem::take(&mut self.rows);
        for (number, (ts, row)) in all.into_iter().enumerate() {
            let at = row as usize * lanes;
            self.rows.extend_from_slice(&rows[at..at + lanes]);
            self.order.push_back((ts, number as u32));
        }
    }

    /// The next row with an event time of at most `until`.
    fn pop(&mut self, until: EventTime) -> Option<u32> {
        let open = self.order.front().map_or(EventTime::AFTER_ALL, |(ts, _)| *ts);
        let late = self.late.peek().map_or(EventTime::AFTER_ALL, |Reverse((ts, _))| *ts);
        if open.min(late) > until {
            None
        } else if open <= late {
            self.order.pop_front().map(|(_, row)| row)
        } else {
            self.late.pop().map(|Reverse((_, row))| row)
        }
    }

    /// Takes a bucket's rows beside those that are still open.
    fn open(&mut self, at: i64, rows: Vec<u64>, lanes: usize) {
        self.next_bucket = at + 1;
        let first = (self.rows.len() / lanes) as u32;
        let times = rows.chunks_exact(lanes).map(time_of);
        let mut order: Vec<_> =
            (first..).zip(times).map(|(n, ts)| (ts, n)).filter(|(ts, _)| *ts > self.floor).collect();
        order.sort_unstable();
        if self.order.is_empty() && self.late.is_empty() {
            order.iter_mut().for_each(|(_, n)| *n -= first);
            self.rows = rows;
        } else {
            self.rows.extend(rows);
        }
        // Older buckets were opened before, so what is open already is older still.
        self.order.extend(order);
    }
}

/// The event time of a row.
#[inline]
pub fn time_of(row: &[u64]) -> EventTime {
    EventTime::from_us(row[0] as i64)
}

/// The number of the bucket of a time.
#[inline]
fn bucket_of(ts: EventTime, span: Span) -> i64 {
    ts.us().div_euclid(span.us())
}

/// Segments in memory, for tests and for groups whose events are few.
#[derive(Default)]
pub struct InMemory {
    segments: BTreeMap<u64, Vec<u64>>,
    next: u64,
}

impl Segments for InMemory {
    fn write(&mut self, rows: &[u64]) -> Result<u64, SegmentError> {
        self.next += 1;
        self.segments.insert(self.next, rows.to_vec());
        Ok(self.next)
    }

    fn read(&mut self, segment: u64) -> Result<Vec<u64>, SegmentError> {
        self.segments.get(&segment).cloned().ok_or_else(|| SegmentError(format!("segment {segment} is gone")))
    }

    fn remove(&mut self, segment: u64) {
        self.segments.remove(&segment);
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Each event leaves each window that held it once, at its tick, whatever the order of arrival, spilled or not.
    #[test]
    fn agrees_with_a_list() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(3);
        for case in 0..300 {
            let tick = [1, 7, 100][case % 3];
            let (every, at) = (Span::from_us(tick), Tick::from_us);
            let up = |us| Tick::up(at(us), every).us();
            let windows: Vec<i64> = [vec![50], vec![10, 300], vec![1000, 5000, 5001]][rng.random_range(0..3)].clone();
            let spans: Vec<Span> = windows.iter().copied().map(Span::from_us).collect();
            let start = up(rng.random_range(-500..500));
            let ledger_bytes = if rng.random() { 0 } else { 1 << 20 };
            let limits = Limits { left_rows: 4, ..Limits::with_ledger_bytes(ledger_bytes) };
            let mut ledger = Ledger::new(&spans, 2, every, at(start), Box::new(InMemory::default()), limits);
            let (mut expected, mut seen) = (Vec::new(), Vec::new());
            let (mut now, mut all, mut chunks) = (start, vec![], vec![]);
            let mut expire = |ledger: &mut Ledger, chunks: &[Vec<u64>], due: i64| {
                while let Some(chunk) = ledger.due_chunk(at(due)) {
                    ledger.thaw(&chunks[chunk as usize]).unwrap();
                }
                ledger.expire(at(due), |w, row| seen.push((due, w, row[1]))).unwrap();
            };
            let restarts_at = rng.random_range(0..100);
            for n in 0..60u64 {
                if n > 20 {
                    now += tick * rng.random_range(0..4) * rng.random_range(1..20);
                    while let Some(due) = ledger.next_due().map(Time::us).filter(|due| *due <= now) {
                        expire(&mut ledger, &chunks, due);
                        ledger.settle(at(due)).unwrap();
                    }
                    ledger.settle(at(now)).unwrap();
                }
                if n == restarts_at {
                    // Another ledger takes its place, and all rows are frozen.
                    ledger = Ledger::new(&spans, 2, every, at(start), Box::new(InMemory::default()), limits);
                    ledger.settle(at(now)).unwrap();
                    chunks = all.chunks(2 * rng.random_range(1..30)).map(<[u64]>::to_vec).collect();
                    for (chunk, rows) in (0..).zip(&chunks) {
                        let times = || rows.chunks_exact(2).map(time_of);
                        ledger.freeze(chunk, times().min().unwrap(), times().max().unwrap());
                    }
                    while let Some(chunk) = ledger.due_chunk(at(now)) {
                        ledger.thaw(&chunks[chunk as usize]).unwrap();
                    }
                }
                let ts = now - rng.random_range(0..windows[windows.len() - 1] + 100) / rng.random_range(1..50);
                for (w, length) in windows.iter().enumerate() {
                    let due = up(ts + length);
                    if due > now {
                        expected.push((due, w, n));
                    }
                }
                ledger.insert(&[ts as u64, n], at(now)).unwrap();
                all.extend([ts as u64, n]);
            }
            while let Some(due) = ledger.next_due().map(Time::us) {
                expire(&mut ledger, &chunks, due);
            }
            seen.sort();
            expected.sort();
            assert_eq!(seen, expected, "case {case}: windows {windows:?}, tick {tick}");
            assert!(ledger.buckets.is_empty());
        }
    }
}
