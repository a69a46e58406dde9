//! The fingerprint of a job: equal where one state means the same to both. Brokers, paths and properties do not count.

use std::fmt::Write;

use xxhash_rust::xxh3::xxh3_64;

use crate::job::{SeamBy, Stream};
use crate::opened::Opened;

/// What the engine makes of a job. Another number: old states mean something else.
const SEMANTICS: u32 = 1;

pub fn fingerprint(opened: &Opened) -> u64 {
    let job = &opened.job;
    let mut text = format!("{SEMANTICS} tick {}", job.tick_us);
    for (source, open) in job.sources.iter().zip(&opened.sources) {
        let topic = source.stream.as_ref().map(|stream| match stream {
            Stream::Kafka { kafka, .. } => kafka.topic.as_str(),
            Stream::Jsonl { .. } => "jsonl",
        });
        let seam = match &source.seam.by {
            SeamBy::Offset { .. } => "offset",
            SeamBy::Time => "time",
            SeamBy::Id { .. } => "id",
        };
        let arrival = source.arrival_time.as_ref().map(|a| &a.text);
        let _ = write!(
            text,
            "\nsource {} {topic:?} {} {arrival:?} {} {} {:?} {seam} {:?}",
            source.name,
            source.event_time.text,
            source.lateness_us,
            source.future_limit_us,
            source.time_unit,
            open.wanted.schema,
        );
    }
    for group in &job.groups {
        let keys: Vec<&str> = group.key.iter().map(|k| k.text.as_str()).collect();
        let filter = group.filter.as_ref().map(|f| &f.text);
        let (window, retain) = (group.window, group.retain_us);
        let _ = write!(text, "\ngroup {} {} {keys:?} {filter:?} {window:?} {retain}", group.name, group.source);
        for column in &group.columns {
            let of = column.of.as_ref().map(|of| &of.text);
            let _ = write!(text, "\n  {} {:?} {of:?} {:?}", column.name, column.agg, column.length_us);
        }
    }
    xxh3_64(text.as_bytes())
}
