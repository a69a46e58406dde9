//! The last record that was read of a partition: by it a restart knows whether the stream is still the one that it was.
//!
//! ```text
//! read up to offset 41     keeps of 41: its stamp, its length, a hash of its bytes
//! started again            41 is there as it was: go on from 42
//!                          41 is another record: the topic was made anew
//!                          41 is gone (retention, compaction): nobody knows, and only offsets count
//! ```

use headwater_connectors::format::text::format_time;
use headwater_connectors::stream::{self, Bounds, Start, Stream};
use headwater_connectors::{Error, Payload, Records, Wanted};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRecord {
    pub offset: i64,
    /// Kafka: its timestamp.
    stamp_us: Option<i64>,
    bytes: usize,
    xxh3: u64,
}

impl LastRecord {
    /// The last one of a batch before an offset.
    pub fn before(records: &Records, end: i64) -> Option<LastRecord> {
        let offsets = records.offsets.as_ref()?;
        let i = offsets.partition_point(|offset| *offset < end).checked_sub(1)?;
        let payload = payload(records, i)?;
        let (stamp_us, bytes) = (stamp(records, i), payload.len());
        Some(LastRecord { offset: offsets[i], stamp_us, bytes, xxh3: xxh3_64(payload) })
    }

    /// What is wrong with what lies in its place now.
    fn unlike(&self, records: &Records, i: usize) -> Option<String> {
        let (stamp, payload) = (stamp(records, i), payload(records, i)?);
        if stamp != self.stamp_us {
            let shown = |stamp: Option<i64>| stamp.map_or_else(|| "without a timestamp".to_owned(), format_time);
            return Some(format!("its timestamp was {}, and is {}", shown(self.stamp_us), shown(stamp)));
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

fn stamp(records: &Records, i: usize) -> Option<i64> {
    records.stamps.as_ref().map(|stamps| stamps[i]).filter(|stamp| *stamp != i64::MIN)
}

/// Looks for these records, by partition, in a stream that has such bounds now: says which are not as they were.
pub fn changed(
    stream: &dyn Stream,
    wanted: &Wanted,
    last: &[(i32, LastRecord)],
    bounds: &[Bounds],
) -> Result<Vec<String>, Error> {
    let is_held = |(partition, last): &&(i32, LastRecord)| {
        bounds.iter().any(|b| b.partition == *partition && (b.earliest..b.end).contains(&last.offset))
    };
    let held: Vec<(i32, LastRecord)> = last.iter().filter(is_held).copied().collect();
    if held.is_empty() {
        return Ok(vec![]);
    }
    let starts: Vec<Start> = held.iter().map(|&(partition, last)| Start { partition, offset: last.offset }).collect();
    let mut reader = stream.reader(&starts, wanted)?;
    let mut changed = vec![];
    for (partition, last) in held {
        let Some(records) = stream::next(stream, reader.as_mut(), partition, last.offset + 1, 1)? else { continue };
        let is_there = records.offsets.as_ref().is_some_and(|offsets| offsets.first() == Some(&last.offset));
        if let Some(how) = last.unlike(&records, 0).filter(|_| is_there) {
            changed.push(format!(
                "partition {partition}: offset {}, the last that was read, holds another record: {how} (was the topic made anew?)",
                last.offset
            ));
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_connectors::stream::jsonl::JsonlStream;

    use crate::source::testing::wanted_of_nothing;

    fn last_of(path: &str, end: i64) -> (JsonlStream, LastRecord) {
        let stream = JsonlStream::open(path, 0).unwrap();
        stream.bounds().unwrap();
        let mut reader = stream.reader(&[Start { partition: 0, offset: 0 }], &wanted_of_nothing()).unwrap();
        let records = reader.poll(0, 1 << 20).unwrap().unwrap();
        (stream, LastRecord::before(&records, end).unwrap())
    }

    #[test]
    fn a_file_that_grew_and_one_that_was_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        for (before, end, after, expected) in [
            ("{\"a\":1}\n{\"a\":2}\n", 9, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n", None),
            ("{\"a\":1}\n{\"a\":2}", 9, "{\"a\":1}\n{\"a\":2}  \n", None),
            ("{\"a\":1}\n{\"a\":2}\n", 9, "{\"a\":1}\n{\"a\":3}\n", Some("offset 1, the last that was read")),
            ("{\"a\":1}\n{\"a\":2}\n", 9, "{\"a\":1}\n{}\n", Some("its bytes are not what they were")),
            ("{\"a\":1}\n{\"a\":2}\n", 1, "{\"a\":1}\n{\"a\":3}\n", None),
            // Offsets alone tell this.
            ("{\"a\":1}\n{\"a\":2}\n", 9, "{\"a\":1}\n", None),
        ] {
            std::fs::write(&path, before).unwrap();
            let (stream, last) = last_of(path.to_str().unwrap(), end);
            std::fs::write(&path, after).unwrap();
            let bounds = stream.bounds().unwrap();
            let found = changed(&stream, &wanted_of_nothing(), &[(0, last)], &bounds).unwrap();
            match expected {
                None => assert_eq!(found, [""; 0], "{after:?}"),
                Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{found:?}"),
            }
        }
    }
}
