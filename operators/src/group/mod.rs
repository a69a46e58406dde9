//! A group on one worker: events in, rows out, tick by tick.
//!
//! ```text
//! events --> pending ---------------> [moves of some ticks] --> accumulators --> rows --> differences of the rows
//!              ledgers: what grows old --^                          |
//!                 ^-------- what came, with the words to take it back by
//!  `advance`: when                                              `apply`: what
//! ```
//!
//! Three kinds of windows, one file each, decide which units an event counts in, and when a unit changes without one:
//!
//! | | a unit is | it changes without an event when | it is forgotten when |
//! |---|---|---|---|
//! | `trailing` | a key | an event grows old | no event is inside |
//! | `hopping` (and tumbling, by the clock or a calendar) | a key and a start | | no event can come, and its row has left the store |
//! | `session` | a session | | the same |

mod advance;
mod apply;
mod calendar;
mod checkpoint;
mod column_sets;
mod counters;
mod dense;
mod events;
mod fixed;
mod hopping;
mod ledgers;
mod moves;
mod pending;
mod plan;
pub(crate) mod rows;
pub(crate) mod saved;
mod session;
mod state;
mod sure;
mod touched;
mod trailing;
mod units;
mod windows;

pub use calendar::Calendar;
pub use checkpoint::{CheckpointError, Each, NamedValues, Piece};
pub use counters::Counters;
pub use fixed::Fixed;
pub use ledgers::Journal;
pub use moves::Moves;
pub use plan::{ColumnSet, Plan, Window};
pub use saved::Resumed;
pub use state::{Outputs, State};
