//! Where lines of JSON go, the changelog's and the dead letters': a file, or a topic.
//!
//! Both keep their order, and both can be taken up again where a checkpoint left them: what was written behind it is cut off
//! (a file) or said to be void (a topic, see `topic`).

pub mod file;
mod partitioner;
mod position;
pub(super) mod topic;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use headwater_clocks::Tick;
pub use position::SinkPosition;

use crate::Result;
use crate::settings::Endpoint;

/// Where lines go, as a job has set it.
pub trait LinesConfig: Debug + Send + Sync {
    /// What it is and where, for people: `topic changes at localhost:9092`.
    fn describe(&self) -> String;

    /// Where lines go; `None` where the job does not say it.
    fn endpoint(&self) -> Option<Endpoint>;

    /// Whether lines can go there. Asks whom it has to, and writes nothing.
    ///
    /// # Errors
    /// `Config`: it is not there, or cannot be used as it is set. `World`: nobody answers.
    fn check(&self) -> Result<()>;

    /// What it is known by from one start to the next; a file in the directory `dir`, or below, by its path from there on.
    fn destination(&self, dir: &Path) -> String;

    /// Whether it can be taken up at a position that a checkpoint has kept of this place.
    fn takes_up(&self, position: &SinkPosition) -> bool;

    /// Opens it for a start. What lies behind the start's position is void from then on. Until `stop` is set, brokers that are away are
    /// waited for.
    ///
    /// # Errors
    /// `Config`: it is not there, or cannot be used as it is set. `World`: nothing can be written there, or what the checkpoint left is gone.
    fn open(&self, start: &LinesStart, stop: Arc<AtomicBool>) -> Result<Box<dyn LineSink>>;

    /// Opens it beside another sink of the same start, in any order with that one's lines; `None`: it has one writer.
    fn join(&self, _stop: Arc<AtomicBool>) -> Option<Result<Box<dyn LineSink>>> {
        None
    }

    /// A local file for lines that belong here and have to wait; `None`: no file lies near.
    fn waiting_file(&self) -> Option<PathBuf> {
        None
    }
}

/// Where lines begin.
#[derive(Clone, Copy, Debug)]
pub struct LinesStart<'a> {
    /// Where the checkpoint left them; `None`: they begin anew.
    pub position: Option<&'a SinkPosition>,
    /// All that was written up to the position is void, and that is said.
    pub is_void: bool,
    /// Lines after this tick are void, where the position does not say which they are; `None`: all.
    pub valid_to: Option<Tick>,
}

/// Takes lines one by one. Lives on a thread of its own, so it may block.
///
/// # Errors
/// Of all methods: `World`, nothing more can be written there.
#[allow(clippy::missing_errors_doc)]
pub trait LineSink: Send {
    /// Appends a line, given without its end.
    fn write(&mut self, line: &[u8], meta: &LineMeta) -> Result<()>;

    /// Whoever reads has, or can have, all that was written.
    fn flush(&mut self) -> Result<()>;

    /// As `flush`, and no crash takes any of it back. Returns what a checkpoint keeps of it.
    fn sync(&mut self) -> Result<SinkPosition>;

    /// A longer line may be refused.
    fn line_bytes_max(&self) -> usize {
        usize::MAX
    }
}

/// What a topic is told with a line.
pub struct LineMeta<'a> {
    /// Appends the record's key: lines of one key stay in order.
    pub key: &'a dyn Fn(&mut Vec<u8>),
    /// The tick of the line, where the line itself does not say it.
    pub time: Option<Tick>,
}
