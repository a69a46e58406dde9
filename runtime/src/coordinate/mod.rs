//! What worker 0 decides for all: how far the job's own time has come, and what becomes of checkpoints.

pub mod clock;
pub mod sides;
