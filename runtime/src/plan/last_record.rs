//! The last record that was read of a partition: by it a restart knows whether the stream is still the one that it was.
//!
//! ```text
//! read up to offset 41     keeps of 41: its stamp, its length, a hash of its bytes
//! started again            41 is there as it was: go on from 42
//!                          41 is another record: the topic was made anew
//!                          41 is gone (retention, compaction): nobody knows, and only offsets count
//! ```

use headwater_clocks::{Arrival, Offset};
use headwater_connectors::{Payload, Records};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRecord {
    pub offset: Offset,
    /// Kafka: its timestamp.
    #[serde(rename = "stamp_us")]
    stamp: Option<Arrival>,
    bytes: usize,
    xxh3: u64,
}

impl LastRecord {
    /// The last one of a batch before an offset.
    pub fn before(records: &Records, end: Offset) -> Option<LastRecord> {
        let offsets = records.offsets.as_ref()?;
        let i = offsets.partition_point(|offset| *offset < end).checked_sub(1)?;
        let payload = payload(records, i)?;
        let (stamp, bytes) = (stamp(records, i), payload.len());
        Some(LastRecord { offset: offsets[i], stamp, bytes, xxh3: xxh3_64(payload) })
    }

    /// What is wrong with what lies in its place now.
    pub fn unlike(&self, records: &Records, i: usize) -> Option<String> {
        let (stamp, payload) = (stamp(records, i), payload(records, i)?);
        if stamp != self.stamp {
            let shown =
                |stamp: Option<Arrival>| stamp.map_or_else(|| "without a timestamp".to_owned(), |at| at.to_string());
            return Some(format!("its timestamp was {}, and is {}", shown(self.stamp), shown(stamp)));
        }
        // A line of a file that was read before it was ended is still the one that it was.
        let begins_alike = payload.get(..self.bytes).is_some_and(|before| xxh3_64(before) == self.xxh3);
        (!begins_alike).then(|| "its bytes are not what they were".to_owned())
    }
}

fn payload(records: &Records, i: usize) -> Option<&[u8]> {
    match &records.payload {
        Payload::Raw(raw) => Some(raw.value(i)),
        Payload::Row => None,
    }
}

fn stamp(records: &Records, i: usize) -> Option<Arrival> {
    records.stamp(i)
}
