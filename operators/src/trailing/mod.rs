//! row(T)[key] = for each column, the aggregate of the key's events with V <= T and T - length < ts (`all`: V <= T).
//!
//! ```text
//! tick 1, count over 10     arrives (ts, V)     out (key, count, time, diff)
//!   T = 3                   03 3                a 1 3 +1
//!   T = 7                   05 7 (late)         a 1 7 -1    a 2 7 +1
//!   T = 13                  03 grows old        a 2 13 -1   a 1 13 +1
//!   T = 15                  05 grows old        a 1 15 -1
//! ```
//!
//! A value falls with no new event needed, at the first tick at or after ts + length. A row is there while one event is
//! inside one of the windows. At each tick a key changes at most once, and never to the same row.
//!
//! How: the ledger says when an event leaves a window. Counts and sums are kept by *ring*: a ring is a window less the
//! next shorter one, so that an event lies in one ring, moves outwards as it ages, and a window is the sum of its rings.
//! The greatest and the least are kept in staircases, which need no retraction.

mod accumulators;
mod extremes;
mod plan;
mod state;

pub use accumulators::result_types;
pub use plan::{Aggregate, ColumnPlan, Plan};
pub use state::{Counters, Outputs, State};
