//! Freshness: from the moment a payment is handed to the producer to the moment a reader of the store finds it counted.
//!
//! A few cards of its own, one for each partition, pay in turn. `tx_all` of such a card says which of its payments can be read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_clocks::{Arrival, EventTime, Time, WallClock};
use headwater_connectors::sink::Lookup;
use headwater_connectors::threads::Helper;

use super::payments::{PARTITIONS, Payment};
use super::rows::{GROUP_AT, row};
use super::topic::Topic;
use crate::base::failure::Failure;

const EVERY: Duration = Duration::from_millis(20);
/// From one look into the store to the next.
const LOOK: Duration = Duration::from_millis(1);
/// A probe that cannot be read after so long never will be.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: Helper<Vec<Duration>, Failure>,
}

struct Card {
    number: u32,
    /// Payments that have been read back.
    counted: u64,
    under_way: VecDeque<Instant>,
}

impl Card {
    fn pay(&mut self, topic: &Topic) -> Result<(), Failure> {
        let now = WallClock::now();
        self.under_way.push_back(Instant::now());
        topic.send(&probe(self.number, now))
    }

    fn look(&mut self, store: &mut dyn Lookup, took: &mut Vec<Duration>) -> Result<(), Failure> {
        let Some(oldest) = self.under_way.front() else { return Ok(()) };
        if oldest.elapsed() > PATIENCE {
            return Err(unreadable());
        }
        let counted = row(store, self.number)?.tx_all;
        let read: Vec<Instant> = self.under_way.drain(..(counted - self.counted) as usize).collect();
        took.extend(read.iter().map(Instant::elapsed));
        self.counted = counted;
        Ok(())
    }
}

impl Prober {
    /// `first`: the first of its cards.
    pub fn start(topic: Arc<Topic>, mut store: Box<dyn Lookup>, first: u32) -> Result<Prober, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let work = move || {
            let card = |i| Card { number: first + i as u32, counted: 0, under_way: VecDeque::new() };
            let mut cards: [Card; PARTITIONS] = std::array::from_fn(card);
            let (mut took, mut due, mut turn) = (vec![], Instant::now(), 0);
            loop {
                let stopping = asked.load(Ordering::Relaxed);
                if !stopping && due <= Instant::now() {
                    cards[turn % PARTITIONS].pay(&topic)?;
                    turn += 1;
                    due += EVERY;
                }
                for card in &mut cards {
                    card.look(store.as_mut(), &mut took)?;
                }
                if stopping && cards.iter().all(|card| card.under_way.is_empty()) {
                    return Ok(took);
                }
                std::thread::sleep(LOOK);
            }
        };
        Ok(Prober { stop, thread: Helper::start("prober", work)? })
    }

    /// Every measurement, ascending.
    pub fn stop(self) -> Result<Vec<Duration>, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.thread.join()?;
        took.sort_unstable();
        Ok(took)
    }
}

/// A payment of one cent, made now.
pub fn probe(card: u32, now: WallClock) -> Payment {
    let (ts, ingested) = (EventTime::from_us(now.us()), Arrival::from_us(now.us()));
    Payment { card, merchant: 0, cents: 1, approved: true, ts, ingested }
}

/// Waits until a payment made now on each of these cards can be read, and every row as of then: all that was sent before is
/// in them.
pub fn settle(topic: &Topic, store: &mut dyn Lookup, first: u32) -> Result<(), Failure> {
    let began = Instant::now();
    let wait = || {
        std::thread::sleep(LOOK);
        if began.elapsed() > PATIENCE { Err(unreadable()) } else { Ok(()) }
    };
    let cards = first..first + PARTITIONS as u32;
    for card in cards.clone() {
        topic.send(&probe(card, WallClock::now()))?;
    }
    for card in cards {
        while row(store, card)?.tx_all == 0 {
            wait()?;
        }
        // A row may be there before others of its tick.
        let tick = row(store, card)?.changed_at;
        while store.as_of(GROUP_AT)?.is_none_or(|as_of| Some(as_of) < tick) {
            wait()?;
        }
    }
    Ok(())
}

fn unreadable() -> Failure {
    Failure::Running(format!("a payment cannot be read {} s after it was made", PATIENCE.as_secs()))
}

/// The value that a share `p` of `sorted` does not exceed.
pub fn percentile(sorted: &[Duration], p: f64) -> Duration {
    let rank = (sorted.len() as f64 * p).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&sorted, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&[], 0.99), Duration::ZERO);
    }
}
