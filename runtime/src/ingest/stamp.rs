//! Stamping: each record's event time, arrival and match time, and whether the source itself refuses it.
//!
//! ```text
//! a = the arrival column, else (Kafka, none named) the record's stamp, else ts        m = the arrival column, else ts
//! reason = the first of malformed, null event time, future that applies
//! ```
//!
//! What has a wrong clock moves no clock and no seam.

use arrow::array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use headwater_clocks::{Arrival, EventTime, MatchTime, Span, Time, WallClock};
use headwater_connectors::Records;

use crate::catalog::opened::Source;

/// Past the wall clock by more than this, an arrival is wrong.
const CLOCK_SKEW: Span = Span::from_us(60_000_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Malformed,
    NullEventTime,
    Future,
    /// What says whether it removes a row failed.
    Expression,
    NullKey,
    LongKey,
    MovedKey,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::NullEventTime => "null event time",
            Reason::Future => "future",
            Reason::Expression => "expression",
            Reason::NullKey => "null key",
            Reason::LongKey => "long key",
            Reason::MovedKey => "moved key",
        }
    }

    /// Whether that a record has no time is told in its place.
    pub fn yields_to_no_time(self) -> bool {
        match self {
            Reason::Malformed | Reason::NullEventTime => false,
            Reason::Future | Reason::Expression | Reason::NullKey | Reason::LongKey | Reason::MovedKey => true,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Stamped {
    pub ts: Option<EventTime>,
    pub a: Option<Arrival>,
    pub m: Option<MatchTime>,
    pub wrong_clock: bool,
    pub reason: Option<Reason>,
    /// Of a table, or of events that replace one another: it removes its key's row.
    pub removes: bool,
}

impl Stamped {
    /// The arrival, where it may move clocks and seams.
    pub fn clock(&self) -> Option<Arrival> {
        self.a.filter(|_| !self.wrong_clock)
    }

    /// The event time of a record that its source accepts.
    pub fn good(&self) -> Option<EventTime> {
        self.ts.filter(|_| self.reason.is_none())
    }
}

/// How to read the times of a source's records.
pub struct Stamper<'a> {
    pub source: &'a Source,
    pub future_limit: Span,
    /// Places of columns without which a record is malformed, besides its times.
    pub own: Vec<usize>,
}

impl Stamper<'_> {
    /// `now`: the wall clock when they were read.
    pub fn stamp(&self, records: &Records, now: WallClock) -> Vec<Stamped> {
        let unit = self.source.wanted.time_unit_ns;
        let ts = self.source.event_time.map(|c| Times::open(records.batch.column(c), unit));
        let arrival = self.source.arrival_time.map(|c| Times::open(records.batch.column(c), unit));
        let own = self.source.event_time.into_iter().chain(self.source.arrival_time);
        let own: Vec<_> = own.chain(self.own.iter().copied()).filter_map(|c| records.undecoded[c].as_ref()).collect();
        let one = |i: usize| {
            let broken = records.malformed.as_ref().is_some_and(|m| m.value(i)) || own.iter().any(|u| u.value(i));
            if broken {
                return Stamped { a: stamp_of(records, i), reason: Some(Reason::Malformed), ..Stamped::default() }
                    .without_clock();
            }
            let ts = ts.as_ref().and_then(|ts| ts.get(i)).map(EventTime::from_us);
            let (a, m) = match &arrival {
                _ if records.removed_at.is_some() && records.is_tombstone(i) => {
                    // Where none is named, what the broker knows is when it came.
                    let of_broker = stamp_of(records, i).filter(|_| arrival.is_none());
                    let a = of_broker.or(records.removed_at(i));
                    (a, a.map(MatchTime::from))
                }
                Some(arrival) => {
                    let a = arrival.get(i).map(Arrival::from_us).or(ts.map(Arrival::from));
                    (a, a.map(MatchTime::from))
                }
                None => (stamp_of(records, i).or(ts.map(Arrival::from)), ts.map(MatchTime::from)),
            };
            self.judge(ts, a, m, now)
        };
        (0..records.len()).map(one).collect()
    }

    fn judge(&self, ts: Option<EventTime>, a: Option<Arrival>, m: Option<MatchTime>, now: WallClock) -> Stamped {
        let is_future = |of: Span| of > self.future_limit;
        let wrong_clock = a.is_some_and(|a| {
            a.past(now) > CLOCK_SKEW || ts.is_some_and(|ts| is_future(ts.past(now)) || is_future(ts.past(a)))
        });
        let reason = match (ts, wrong_clock) {
            (None, _) => Some(Reason::NullEventTime),
            (Some(_), true) => Some(Reason::Future),
            (Some(_), false) => None,
        };
        Stamped { ts, a, m, wrong_clock, reason, removes: false }
    }

    /// Whether statistics show that no record of a piece has a wrong clock.
    pub fn clocks_are_right(&self, newest_ts: EventTime, (oldest, newest): (Arrival, Arrival), now: WallClock) -> bool {
        newest.past(now) <= CLOCK_SKEW
            && newest_ts.past(now) <= self.future_limit
            && newest_ts.past(oldest) <= self.future_limit
    }
}

impl Stamped {
    /// As a record of a key's row, which says whether it removes a row, or where that failed nothing. `is_timed`: versions have event times, but
    /// those that remove.
    pub fn of_row(self, is_timed: bool, removes: bool, failed: bool) -> Stamped {
        let needs_none = !is_timed || removes;
        let reason = match self.reason {
            Some(Reason::NullEventTime) if needs_none && self.wrong_clock => Some(Reason::Future),
            Some(Reason::NullEventTime) if needs_none => None,
            other => other,
        };
        Stamped { reason: reason.or(failed.then_some(Reason::Expression)), removes, ..self }
    }

    /// A malformed record moves no clock, whatever stamp its envelope has.
    fn without_clock(self) -> Stamped {
        Stamped { wrong_clock: true, ..self }
    }
}

/// Kafka: the timestamp of a record.
fn stamp_of(records: &Records, i: usize) -> Option<Arrival> {
    records.stamp(i)
}

/// A time column: timestamps, or integers in the source's unit. In microseconds, floored.
pub enum Times {
    Micros(arrow::array::PrimitiveArray<TimestampMicrosecondType>),
    Integers(Vec<Option<i64>>),
}

impl Times {
    pub fn open(array: &ArrayRef, unit_ns: i64) -> Times {
        if let DataType::Timestamp(..) = array.data_type() {
            return Times::Micros(array.as_primitive().clone());
        }
        let to_us =
            |v: i64| if unit_ns < 1000 { Some(v.div_euclid(1000 / unit_ns)) } else { v.checked_mul(unit_ns / 1000) };
        Times::Integers(integers(array).into_iter().map(|v| v.and_then(to_us)).collect())
    }

    pub fn get(&self, i: usize) -> Option<i64> {
        match self {
            Times::Micros(array) => array.is_valid(i).then(|| array.value(i)),
            Times::Integers(all) => all[i],
        }
    }
}

/// Any integer column as i64; null where it does not fit.
pub fn integers(array: &ArrayRef) -> Vec<Option<i64>> {
    macro_rules! cast {
        ($($variant:ident $arrow:ident),*) => {
            match array.data_type() {
                $(DataType::$variant => array.as_primitive::<$arrow>().iter().map(|v| v.and_then(|v| i64::try_from(v).ok())).collect(),)*
                _ => vec![None; array.len()],
            }
        };
    }
    cast!(Int8 Int8Type, Int16 Int16Type, Int32 Int32Type, Int64 Int64Type, UInt8 UInt8Type, UInt16 UInt16Type, UInt32 UInt32Type, UInt64 UInt64Type)
}
