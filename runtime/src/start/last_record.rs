//! Whether a stream still holds the last records that were read of it.

use headwater_connectors::stream::{self, Bounds, Start, Stream};
use headwater_connectors::{Error, Wanted};

use crate::plan::last_record::LastRecord;

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
        let Some(records) = stream::next(stream, reader.as_mut(), partition, last.offset.next(), 1)? else {
            continue;
        };
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
    use headwater_connectors::format::json::Json;
    use headwater_connectors::stream::files::FileStream;

    use crate::ingest::testing::wanted_of_nothing;
    use headwater_clocks::Offset;

    fn last_of(path: &str, end: i64) -> (FileStream, LastRecord) {
        let stream = FileStream::open(path, Offset::at(0), std::sync::Arc::new(Json::default())).unwrap();
        stream.bounds().unwrap();
        let mut reader = stream.reader(&[Start { partition: 0, offset: Offset::at(0) }], &wanted_of_nothing()).unwrap();
        let records = reader.poll(0, 1 << 20).unwrap().unwrap();
        (stream, LastRecord::before(&records, Offset::at(end)).unwrap())
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
