//! From a source's records to events of the groups: read, stamp, shape, feed.

pub mod effs;
pub mod feed;
pub mod held_ids;
pub mod history;
pub mod lanes;
pub mod letters;
pub mod narrow;
pub mod newcomers;
pub mod partition;
pub mod seam;
pub mod shape;
pub mod stamp;

#[cfg(test)]
pub mod testing;
