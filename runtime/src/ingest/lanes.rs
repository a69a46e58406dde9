//! What a worker reads of a stream.

use headwater_clocks::Eff;
use headwater_connectors::stream::Reader;

use super::partition::Partition;
use crate::base::id::SourceId;

/// The partitions of a source that this worker reads.
pub struct SourceReader {
    pub source: SourceId,
    pub reader: Box<dyn Reader>,
    pub lanes: Vec<Lane>,
}

/// A partition, read once for all scans of its source.
pub struct Lane {
    pub partition: i32,
    /// The last look found nothing to read.
    pub exhausted: bool,
    /// In the order of the plan.
    pub scans: Vec<Partition>,
}

impl Lane {
    pub fn clock(&self) -> Eff {
        self.scans.iter().map(Partition::clock).min().unwrap_or(Eff::AFTER_ALL)
    }

    pub fn ended(&self) -> bool {
        self.scans.iter().all(|partition| partition.ended)
    }
}
