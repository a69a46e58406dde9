//! What a worker reads of a stream.

use headwater_clocks::{Eff, Offset};
use headwater_connectors::Records;
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
    /// Records that were read and come to more than was made of at once; the next ones last.
    pub rest: Vec<Records>,
    /// In the order of the plan.
    pub scans: Vec<Partition>,
}

impl Lane {
    pub fn clock(&self) -> Eff {
        self.scans.iter().map(Partition::clock).min().unwrap_or(Eff::AFTER_ALL)
    }

    /// How far records are taken of the partition, of which so many were read.
    pub fn position(&self, read: Offset) -> Offset {
        let next = self.rest.last().and_then(|records| records.offsets.as_deref()?.first());
        next.map_or(read, |next| read.min(*next))
    }

    pub fn ended(&self) -> bool {
        self.scans.iter().all(|partition| partition.ended)
    }
}
