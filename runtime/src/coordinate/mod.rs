//! What worker 0 decides for all: how far the job's own time has come, and what becomes of checkpoints.
//!
//! ```text
//! every worker   reports, contributions, statuses -->  worker 0: the coordinator
//!                                                        clock           how far is T?
//!                                                        checkpointing   is it time, and is one whole?
//!                announcements                    <--    barrier         do the two sides of a run meet?
//! ```

pub mod barrier;
pub mod channel;
pub mod checkpointing;
pub mod clock;
pub mod coordinator;
pub mod merger;
pub mod messages;
