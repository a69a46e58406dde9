//! From a source's records to events of the groups: read, stamp, shape, feed.

pub mod admit;
pub mod credits;
pub mod dead_letters;
pub mod effs;
pub mod feed;
pub mod held_ids;
pub mod history;
pub mod lanes;
pub mod log_position;
pub mod looked_up;
pub mod looked_up_by;
pub mod lookups;
pub mod narrow;
pub mod newcomers;
pub mod partition;
pub mod pipeline;
pub mod replaced;
pub mod seam;
pub mod selection;
pub mod shape;
pub mod slices;
pub mod stamp;
pub mod steps;
pub mod streams;
pub mod versions;

#[cfg(test)]
pub mod testing;
