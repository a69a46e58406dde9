//! What process 0 decides before the first row is read: where to go on from, what is new, where history and stream meet.

pub mod bounds;
pub mod canonical;
pub mod changed;
pub mod decide;
pub mod first_pass;
pub mod fresh;
pub mod go_on;
pub mod group;
pub mod identity;
pub mod last_record;
pub mod log;
pub mod meaning;
pub mod pinned;
pub mod shadow;
pub mod stores;
pub mod views;
