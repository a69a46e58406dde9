//! The clocks of a job: each is a type of its own, so that none is taken for another. All count microseconds since 1970, in UTC.
//!
//! ```text
//! EventTime   ts   when an event happened
//! Arrival     a    when the system could first know it
//! Eff         eff  the arrival, made monotone along the log of a partition
//! MatchTime   m    by which a seam in time matches history and stream
//! Tick        T V S  at which results may change: the time of the dataflow
//! WallClock        of this machine, or of a broker
//! Offset           not a time: the place of a record in the log of its partition
//! ```
//!
//! A length of time is a [`Span`]: a time and a span are a time of the same clock, two times of one clock are a span. What else has a
//! meaning is a method with a name ([`Tick::up`], [`Eff::bound`], [`Time::past`]). Nothing overflows: the ends of the range are
//! `BEFORE_ALL` and `AFTER_ALL`.
//!
//! ```
//! use headwater_clocks::{Arrival, Eff, EventTime, Span, Tick, Time};
//!
//! let (ts, tick) = (EventTime::from_us(23), Span::from_us(10));
//! let eff = Eff::from(Arrival::from_us(11));
//! assert_eq!(Tick::visible(eff, ts, tick), Tick::from_us(30));
//! assert_eq!(eff.past(ts), Span::from_us(-12));
//! ```
//!
//! ```compile_fail
//! use headwater_clocks::{EventTime, Tick};
//!
//! EventTime::from_us(1) < Tick::from_us(2);
//! ```
//!
//! As text a time or a span is its microseconds alone, and so it is in messages and files: what is written down does not know of these
//! types. Nor do columns of Arrow and packed rows, which hold microseconds.

#![deny(missing_docs)]

mod clock;
mod dataflow;
mod offset;
mod span;
mod text;
mod tick;

pub use clock::{Arrival, Eff, EventTime, MatchTime, Time, WallClock};
pub use offset::Offset;
pub use span::Span;
pub use text::{format_time, write_date, write_time};
pub use tick::Tick;
