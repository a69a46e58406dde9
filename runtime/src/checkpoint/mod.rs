//! Checkpoints: what a run needs to go on from a tick instead of from its history.
//!
//! ```text
//! worker 0   announces (number, T)                                                   all files there: manifest, written last
//! feed         positions, as it moves past T   \
//! windows      stands at T: files of Parquet     >  everything up to T is in the sinks: report     (ledgers: see `journal`)
//! lines        where they are left at T        /
//! ```
//!
//! The cut is a dataflow time: what was sent up to `T` is in it, what was sent later is read again. While the history is read
//! there is no `T`: then everybody stops reading for a moment, and the cut lies between slices. Files carry keys, so any
//! number of workers and processes reads them. They lie under the state path, which all processes have to see: see `store`.
//!
//! The manifest is created last: without it there is no checkpoint. The last few are kept, so that one that is damaged can be
//! passed over. Whose checkpoints count, where two runs meet, is told in `generations`.

pub mod admissions;
pub mod contribution;
pub mod files;
pub mod generations;
pub mod in_progress;
pub mod journal;
pub mod lease;
pub mod lookups;
pub mod manifest;
pub mod names;
pub mod past;
pub mod resumption;
mod row_log;
pub mod state;
pub mod state_file;
pub mod stats;
pub mod store;
pub mod threads;
