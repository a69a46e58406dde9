//! Rows as a differential collection: `(unit, version, tick, +1 or -1)`, arranged by unit on the worker that owns its key.
//!
//! ```text
//! tick  3   the row of unit 0 comes       (0, v3, 3, +1)
//! tick  7   it becomes another one        (0, v3, 7, -1)  (0, v7, 7, +1)
//! tick 20   it goes                       (0, v7, 20, -1)
//! ```
//!
//! A unit's row changes at most once a tick, so versions are told apart by their ticks, never by what they hold: merging
//! batches looks at no row. What was there before the run comes at `BEFORE`, the first time that there is.
//!
//! Readers go by the bounds of the batches: those of one worker may lie across the frontier, which is that of all.

mod changelog;
mod contents;
mod newest;
mod past;
mod reader;
mod trace;
mod version;

pub use changelog::{Changelog, Reset};
pub use contents::Contents;
pub use newest::Newest;
pub use past::{Past, Values};
pub use reader::{Readable, RowReader};
pub use trace::{RowBatch, RowSpine, RowTrace, Update, batch, each_row_at};
pub use version::{BEFORE, Phase, Version};
