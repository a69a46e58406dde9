//! Made-up card payments: what the history's rows and the topic's records are made of.

use std::fmt::Write;

use headwater_clocks::{Arrival, EventTime, Span};
use rand::Rng;
use rand::rngs::StdRng;

/// The topic's partitions; a card's payments are all in one.
pub const PARTITIONS: usize = 3;
const MERCHANTS: u16 = 200;
const DECLINED: f64 = 0.04;
/// Of payments that reach the system late, by minutes and not by milliseconds.
const LATE: f64 = 0.01;
const SECOND_US: i64 = 1_000_000;

/// One payment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Payment {
    pub card: u32,
    pub merchant: u16,
    pub cents: i64,
    pub approved: bool,
    pub ts: EventTime,
    pub ingested: Arrival,
}

impl Payment {
    /// A payment made at `ts` that the system hears of a little later, though never after `latest`.
    pub fn random(rng: &mut StdRng, card: u32, ts: EventTime, latest: Arrival) -> Payment {
        let delay = match rng.random_bool(LATE) {
            true => rng.random_range(SECOND_US..600 * SECOND_US),
            false => rng.random_range(5_000..200_000),
        };
        Payment {
            card,
            merchant: rng.random_range(0..MERCHANTS),
            cents: amount(rng),
            approved: !rng.random_bool(DECLINED),
            ts,
            ingested: (Arrival::from(ts) + Span::from_us(delay)).min(latest),
        }
    }

    pub fn partition(&self) -> usize {
        self.card as usize % PARTITIONS
    }

    pub fn status(&self) -> &'static str {
        if self.approved { "approved" } else { "declined" }
    }

    /// As the topic holds it.
    pub fn write_json(&self, out: &mut String) {
        let (card, merchant, cents) = (card_name(self.card), merchant_name(self.merchant), self.cents);
        let (ts, ingested_at) = (self.ts, self.ingested);
        let (amount, status) = (euros(cents), self.status());
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            r#"{{"card_id":"{card}","merchant":"{merchant}","amount":{amount},"status":"{status}","ts":"{ts}","ingested_at":"{ingested_at}"}}"#
        );
    }
}

pub fn card_name(card: u32) -> String {
    format!("card-{card:05}")
}

pub fn merchant_name(merchant: u16) -> String {
    format!("shop-{merchant:03}")
}

pub fn euros(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Mostly small, seldom large.
fn amount(rng: &mut StdRng) -> i64 {
    let u: f64 = rng.random_range(0.001..1.0);
    (250.0 / u.powf(0.7)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_as_json() {
        let (ts, ingested) = (EventTime::from_us(0), Arrival::from_us(20_000));
        let payment = Payment { card: 7, merchant: 3, cents: 1205, approved: true, ts, ingested };
        let mut json = String::new();
        payment.write_json(&mut json);
        assert_eq!(
            json,
            r#"{"card_id":"card-00007","merchant":"shop-003","amount":12.05,"status":"approved","ts":"1970-01-01T00:00:00Z","ingested_at":"1970-01-01T00:00:00.020Z"}"#
        );
    }
}
