//! Where lines of JSON go, the changelog's and the dead letters': a file, or a topic.
//!
//! Both keep their order, and both can be taken up again where a checkpoint left them: what was written behind it is cut off
//! (a file) or said to be void (a topic, see `topic`).

mod file;
mod partitioner;
mod topic;

pub use file::LineFile;
use serde::{Deserialize, Serialize};
pub use topic::LineTopic;

use crate::Result;

/// Takes lines one by one. Lives on a thread of its own, so it may block.
pub trait Lines: Send {
    /// Appends a line, given without its end.
    fn write(&mut self, line: &[u8], beside: &Beside) -> Result<()>;

    /// Whoever reads has, or can have, all that was written.
    fn flush(&mut self) -> Result<()>;

    /// As `flush`, and no crash takes any of it back. Returns what a checkpoint keeps of it.
    fn sync(&mut self) -> Result<Left>;

    /// A longer line may be refused.
    fn line_bytes_max(&self) -> usize {
        usize::MAX
    }
}

/// What a topic is told beside a line.
pub struct Beside<'a> {
    /// Appends the record's key: lines of one key stay in order.
    pub key: &'a dyn Fn(&mut Vec<u8>),
    /// The tick of the line, in microseconds, where the line itself does not say it.
    pub time_us: Option<i64>,
}

/// Where a checkpoint leaves lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Left {
    /// A file of so many bytes.
    Bytes(u64),
    /// A topic of this name, in which everything was acknowledged.
    Topic(String),
}
