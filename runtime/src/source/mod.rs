//! From a source's records to events of the groups: read, stamp, shape, feed.

pub mod feed;
pub mod history;
pub mod letters;
pub mod partition;
pub mod reach;
pub mod shape;
pub mod stamp;
