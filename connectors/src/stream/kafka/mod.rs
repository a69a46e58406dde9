//! A Kafka topic as a stream: records by partition and offset, exactly those that the log holds, each once.
//!
//! ```text
//! poll          records 3 4 5     6 8 (7 was compacted away)     -            9
//! position      6                 9                              9            10
//! end           9                 9                              10           10
//! confirmed     -                 when 9 was answered            -            when 10 was answered
//! ```
//!
//! Nothing is skipped in silence. Offsets are the job's own: partitions are assigned at given offsets, nothing is committed,
//! and an offset that the broker no longer has is `Error::Gap`. Brokers may go and come back; that is logged and never an
//! error. What only the user can mend is one, after ten seconds in which it might have passed: a topic that is gone,
//! credentials that are refused.
//!
//! Not noticed while reading: a topic that was deleted and made anew, and filled past the position before anyone looked.
//!
//! - `config`: the user's properties, checked and completed
//! - `link`: questions to the brokers, one client for all of a stream's readers
//! - `reader`: one consumer a worker, one queue a partition
//! - `end`: how an end is confirmed, and why that is never wrong

use headwater_clocks::{Arrival, Offset, Span, Time};

pub(crate) mod config;
pub(crate) mod context;
mod end;
pub(crate) mod link;
mod partition;
mod reader;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{Field, SchemaRef};

use super::{Bounds, Reader, Start, Stream, StreamConfig, StreamKind};
use crate::format::keys::Keys;
use crate::format::{self, Format, Pins, metadata};
use crate::settings::{Endpoint, Kind, Settings};
use crate::{Result, Wanted};
pub use config::KafkaConfig;
use link::{EARLIEST, Link, Use};
use reader::KafkaReader;
use settings::{TopicSettings, describe};

/// The column in which lies what Kafka knows of a record beside its value.
const AROUND: &str = "kafka";

/// Kafka as a kind of stream.
pub static KAFKA: &KafkaKind = &KafkaKind;

/// See [`KAFKA`].
#[derive(Debug)]
pub struct KafkaKind;

impl Kind for KafkaKind {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn keys(&self) -> Vec<&'static str> {
        [config::KEYS.to_vec(), format::keys()].concat()
    }
}

impl StreamKind for KafkaKind {
    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn StreamConfig> {
        let format = format::read(settings);
        Arc::new(Topic { kafka: KafkaConfig::read(settings), format })
    }
}

#[derive(Debug)]
struct Topic {
    kafka: KafkaConfig,
    format: Arc<dyn Format>,
}

impl StreamConfig for Topic {
    fn identity(&self) -> &str {
        &self.kafka.topic
    }

    fn has_stamps(&self) -> bool {
        true
    }

    fn has_tombstones(&self) -> bool {
        self.format.has_objects()
    }

    fn has_envelopes(&self) -> bool {
        self.format.has_objects()
    }

    fn describe(&self) -> String {
        self.kafka.describe()
    }

    fn reads(&self, place: &Endpoint) -> bool {
        self.kafka.endpoint().as_ref() == Some(place)
    }

    fn metadata(&self) -> Option<Field> {
        Some(metadata::column(AROUND))
    }

    fn listed(&self) -> Option<&[String]> {
        self.format.listed()
    }

    fn looks(&self, value: &[u8]) -> Option<String> {
        self.format.looks(value)
    }

    fn gives_columns(&self) -> bool {
        self.format.gives_columns()
    }

    fn columns(&self, pinned: &mut Pins) -> Result<Option<SchemaRef>> {
        let Some(format) = self.format.open(&self.kafka.topic, pinned)? else { return Ok(None) };
        if let Some((of, text)) = format.pin() {
            pinned.insert(of.to_owned(), text.to_owned());
        }
        Ok(format.schema())
    }

    fn open(&self, pinned: &Pins) -> Result<Arc<dyn Stream>> {
        let format = self.format.open(&self.kafka.topic, pinned)?.unwrap_or_else(|| self.format.clone());
        Ok(Arc::new(KafkaStream::open(self.kafka.clone(), format)?))
    }
}

/// A topic that was found to be there.
pub struct KafkaStream {
    config: KafkaConfig,
    format: Arc<dyn Format>,
    link: Arc<Link>,
    settings: OnceLock<TopicSettings>,
}

impl KafkaStream {
    /// Checks the properties and finds the topic. The format is opened already.
    ///
    /// # Errors
    /// `Config`: a property is wrong, or there is no such topic. `World`: no broker answers for 30 seconds.
    pub fn open(config: KafkaConfig, format: Arc<dyn Format>) -> Result<KafkaStream> {
        config.validate()?;
        let link = Arc::new(Link::new(&config, Use::Read)?);
        link.partitions()?;
        Ok(KafkaStream { config, format, link, settings: OnceLock::new() })
    }

    /// The topic's partitions now, ascending. A topic may get more while it is read.
    ///
    /// # Errors
    /// As of `open`.
    pub fn partitions(&self) -> Result<Vec<i32>> {
        self.link.partitions()
    }

    fn settings(&self) -> Result<TopicSettings> {
        match self.settings.get() {
            Some(settings) => Ok(*settings),
            None => {
                describe(&self.config, self.link.a_broker()?).map(|settings| *self.settings.get_or_init(|| settings))
            }
        }
    }
}

impl Stream for KafkaStream {
    fn name(&self) -> String {
        format!("topic {}", self.config.topic)
    }

    fn schema(&self) -> Option<SchemaRef> {
        self.format.schema()
    }

    fn pin(&self) -> Option<(&str, &str)> {
        self.format.pin()
    }

    fn bounds(&self) -> Result<Vec<Bounds>> {
        let bounds = self.link.bounds()?;
        Ok(bounds.into_iter().map(|(partition, earliest, end)| Bounds { partition, earliest, end }).collect())
    }

    fn offsets_at(&self, from: Arrival) -> Result<Vec<Option<Offset>>> {
        // Kafka's stamps are milliseconds from 1970 on.
        let from_us = from.us();
        let from_ms = from_us.div_euclid(1000) + i64::from(from_us.rem_euclid(1000) > 0);
        self.link.offsets_at(if from_ms > 0 { from_ms } else { EARLIEST })
    }

    fn stamped_by_broker(&self) -> Result<bool> {
        Ok(self.settings()?.stamped_by_broker)
    }

    fn retention(&self) -> Result<Option<Span>> {
        Ok(self.settings()?.retention)
    }

    fn grows(&self) -> bool {
        true
    }

    fn appeared(&self, known: &BTreeSet<i32>) -> Result<Vec<Start>> {
        let appeared = self.link.appeared(known)?;
        Ok(appeared.into_iter().map(|(partition, offset)| Start { partition, offset }).collect())
    }

    fn reader(&self, starts: &[Start], wanted: &Wanted) -> Result<Box<dyn Reader>> {
        let decoder = metadata::decoder(self.format.as_ref(), AROUND, wanted)?;
        let keys = Keys::of(wanted);
        Ok(Box::new(KafkaReader::new(&self.config, Arc::clone(&self.link), starts, decoder, keys)?))
    }
}
