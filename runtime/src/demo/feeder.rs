//! The feeder: live payments of random cards at a steady rate, from a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_clocks::{Arrival, EventTime, Time, WallClock};
use headwater_connectors::threads::Helper;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::payments::Payment;
use super::topic::Topic;
use crate::base::failure::Failure;

const PAUSE: Duration = Duration::from_millis(5);

/// Random cards but those that have a part in the story.
#[derive(Clone)]
pub struct Crowd {
    pub cards: u32,
    pub apart: Vec<u32>,
}

impl Crowd {
    /// A payment that arrives now; one in a hundred was made minutes ago.
    pub fn payment(&self, rng: &mut StdRng) -> Payment {
        let mut card = rng.random_range(0..self.cards);
        while self.apart.contains(&card) {
            card = rng.random_range(0..self.cards);
        }
        let now = WallClock::now().us();
        let made = Payment::random(rng, card, EventTime::from_us(now), Arrival::AFTER_ALL);
        Payment { ts: EventTime::from_us(now) - made.ingested.past(made.ts), ingested: Arrival::from_us(now), ..made }
    }
}

pub struct Feeder {
    stop: Arc<AtomicBool>,
    thread: Helper<(), Failure>,
}

impl Feeder {
    /// `rate`: payments a second.
    pub fn start(topic: Arc<Topic>, crowd: Crowd, rate: u64) -> Result<Feeder, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let work = move || {
            let (mut rng, began, mut sent) = (StdRng::seed_from_u64(rate), Instant::now(), 0);
            while !asked.load(Ordering::Relaxed) {
                let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
                for _ in sent..due {
                    topic.send(&crowd.payment(&mut rng))?;
                }
                sent = due;
                std::thread::sleep(PAUSE);
            }
            Ok(())
        };
        Ok(Feeder { stop, thread: Helper::start("feeder", work)? })
    }

    /// By itself it ends only where it cannot go on.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn stop(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join()
    }
}
