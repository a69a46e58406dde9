//! A topic of lines: every line at least once, in order in its partition, and marks that say which lines are void.
//!
//! ```text
//! partition 0   {"resume":null}  a@10  b@20  c@30   killed, started again from T = 20   {"resume":"...20"}  c@30  d@40
//! partition 1   {"resume":null}  x@10  y@30                                             {"resume":"...20"}  y@30
//! ```
//!
//! `{"resume":"T"}` lies in every partition before the first line of a start, and voids the lines before it whose time is after
//! `T`; with null, all of them. A start uses the partitions that it finds, so that a key stays in one; those that a topic
//! gets later are used, and marked, from the next start on. A mark has no key.
//!
//! A broker that is away is waited for, whoever writes waits with it, and what waits has a bound.
//!
//! Not promised: that nothing of an earlier start comes behind a mark. What a process sent just before it was killed may still be on
//! its way when the next one begins, if the network or a broker held it up for as long as that took.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use headwater_clocks::Tick;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use tracing::{info, warn};

use super::partitioner::partition_of;
use super::{LineMeta, LineSink, LinesConfig, LinesStart, SinkPosition};
use crate::settings::{Endpoint, Kind, Settings};
use crate::sink::{Home, SinkConfig, SinkKind, Takes};
use crate::stream::kafka::KafkaConfig;
use crate::stream::kafka::config::{KEYS, Own};
use crate::stream::kafka::context::{Context, Trouble};
use crate::stream::kafka::link::{Link, Use, login_help, refused};
use crate::{Error, Result};

/// Another value would lose lines, or change their order.
const OURS: [Own; 9] = [
    ("enable.idempotence", "true", "a line that is sent again must not be doubled, nor come out of order"),
    ("acks", "all", "what was acknowledged must not be lost with a broker"),
    ("request.required.acks", "all", "what was acknowledged must not be lost with a broker"),
    ("message.timeout.ms", "0", "a broker that is away is waited for"),
    ("delivery.timeout.ms", "0", "a broker that is away is waited for"),
    ("transactional.id", "", "lines are written at least once, without transactions"),
    ("partitioner", "murmur2", "a key must always go to the same partition"),
    ("allow.auto.create.topics", "false", "a mistyped topic must be an error"),
    ("enable.gapless.guarantee", "false", "a line that cannot be written ends the run in any case"),
];

/// Used unless the user says otherwise.
const DEFAULTS: [(&str, &str); 6] = [
    ("client.id", "headwater"),
    // Lines gather by themselves while others are under way.
    ("linger.ms", "1"),
    ("message.max.bytes", LINE_BYTES_MAX),
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.timeout.ms", "10000"),
];

/// What Kafka's brokers take by default, less what lies around a line.
const LINE_BYTES_MAX: &str = "1000000";
/// Key, headers and framing of a record.
const AROUND_LINE_BYTES: usize = 4096;

/// How long a silence stays unsaid; how long a refusal must last before it counts; how long a run that is to stop waits.
const PATIENCE: Duration = Duration::from_secs(2);
const FINAL_AFTER: Duration = Duration::from_secs(10);
const LAST_WAIT: Duration = Duration::from_secs(10);
/// From one look for acknowledgements to the next, and during a silence.
const MOMENT: Duration = Duration::from_millis(1);
const LONG_MOMENT: Duration = Duration::from_millis(50);
/// Acknowledgements are looked at once in so many lines.
const LINES_PER_LOOK: u32 = 256;

/// A position is the name of the topic, in which everything was acknowledged.
const POSITION: &str = "Topic";

/// A Kafka topic as a kind of sink.
pub static KAFKA: &KafkaKind = &KafkaKind;

/// See [`KAFKA`].
#[derive(Debug)]
pub struct KafkaKind;

impl Kind for KafkaKind {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn keys(&self) -> Vec<&'static str> {
        KEYS.to_vec()
    }
}

impl SinkKind for KafkaKind {
    fn takes(&self) -> Takes {
        Takes::Changes
    }

    fn read(&self, settings: &mut dyn Settings, _: &Home) -> SinkConfig {
        SinkConfig::Changes(Arc::new(KafkaConfig::read(settings)))
    }

    fn read_dead_letters(&self, settings: &mut dyn Settings, _: &Home) -> Option<Arc<dyn LinesConfig>> {
        Some(Arc::new(KafkaConfig::read(settings)))
    }
}

impl LinesConfig for KafkaConfig {
    fn describe(&self) -> String {
        KafkaConfig::describe(self)
    }

    fn endpoint(&self) -> Option<Endpoint> {
        KafkaConfig::endpoint(self)
    }

    fn check(&self) -> Result<()> {
        LineTopic::check(self)
    }

    fn destination(&self, _: &Path) -> String {
        self.topic.clone()
    }

    fn takes_up(&self, position: &SinkPosition) -> bool {
        position.read::<String>(POSITION).is_some_and(|topic| topic == self.topic)
    }

    fn open(&self, start: &LinesStart, stop: Arc<AtomicBool>) -> Result<Box<dyn LineSink>> {
        let valid_to = start.position.and(start.valid_to).filter(|_| !start.is_void);
        Ok(Box::new(LineTopic::open(self, valid_to, stop)?))
    }

    fn join(&self, stop: Arc<AtomicBool>) -> Option<Result<Box<dyn LineSink>>> {
        Some(LineTopic::join(self, stop).map(|topic| Box::new(topic) as Box<dyn LineSink>))
    }
}

/// A topic of lines that is being written.
pub struct LineTopic {
    topic: Arc<str>,
    brokers: String,
    producer: BaseProducer<Deliveries>,
    partitions: Vec<i32>,
    line_bytes_max: usize,
    stop: Arc<AtomicBool>,
    key: Vec<u8>,
    sent: u64,
    unlooked: u32,
    /// Since when a broker has been silent while something waited for it; whether that was said, and why it may be.
    silence: Option<Silence>,
    trouble: Option<Trouble>,
}

struct Silence {
    since: Instant,
    acknowledged: u64,
    told: bool,
}

/// What librdkafka tells of what was sent.
#[derive(Default)]
struct Deliveries {
    context: Context,
    seen: Mutex<DeliveryReport>,
}

#[derive(Default)]
struct DeliveryReport {
    acknowledged: u64,
    /// The first error.
    failed: Option<KafkaError>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => seen.acknowledged += 1,
            Err((error, _)) if seen.failed.is_none() => seen.failed = Some(error.clone()),
            Err(_) => {}
        }
    }
}

impl LineTopic {
    /// Checks the properties and finds the topic, and writes nothing.
    ///
    /// # Errors
    /// As of `KafkaStream::open`.
    pub fn check(config: &KafkaConfig) -> Result<()> {
        config.validate_against(&OURS)?;
        Link::new(config, Use::Write)?.partitions().map(|_| ())
    }

    /// Opens the topic for one start of a job, with a mark in each partition: see the module. Until `stop` is set, brokers that are
    /// away are waited for.
    ///
    /// # Errors
    /// `Config`: the properties, or the topic, cannot be used so. `World`: no broker answers until `stop` is set, or one refuses.
    pub fn open(config: &KafkaConfig, resume: Option<Tick>, stop: Arc<AtomicBool>) -> Result<LineTopic> {
        let mut topic = LineTopic::join(config, stop)?;
        topic.mark(resume)?;
        Ok(topic)
    }

    /// Opens it beside another of the same start, which has marked it.
    ///
    /// # Errors
    /// `Config`: the properties, or the topic, cannot be used so. `World`: no broker answers until `stop` is set, or one refuses.
    pub fn join(config: &KafkaConfig, stop: Arc<AtomicBool>) -> Result<LineTopic> {
        config.validate_against(&OURS)?;
        let partitions = Link::new(config, Use::Write)?.partitions()?;
        let own = writing(config);
        let line_bytes_max = own.get("message.max.bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(usize::MAX);
        let producer = own.create_with_context(Deliveries::default()).map_err(|error| refused(&error))?;
        Ok(LineTopic {
            topic: config.topic.as_str().into(),
            brokers: config.brokers.clone(),
            producer,
            partitions,
            line_bytes_max: line_bytes_max.saturating_sub(AROUND_LINE_BYTES),
            stop,
            key: vec![],
            sent: 0,
            unlooked: 0,
            silence: None,
            trouble: None,
        })
    }

    fn mark(&mut self, resume: Option<Tick>) -> Result<()> {
        let time = resume.map_or_else(|| "null".to_owned(), |tick| format!("\"{tick}\""));
        let line = format!("{{\"resume\":{time}}}");
        self.partitions.clone().into_iter().try_for_each(|partition| self.send(partition, None, line.as_bytes(), None))
    }

    fn send(&mut self, partition: i32, key: Option<&[u8]>, line: &[u8], time: Option<Tick>) -> Result<()> {
        let topic = self.topic.clone();
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).partition(partition).payload(line);
        record.key = key;
        record.headers = time.map(time_header);
        while let Err((error, again)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(self.failed(&error));
            }
            record = again;
            self.wait()?;
        }
        self.sent += 1;
        self.unlooked += 1;
        if self.unlooked >= LINES_PER_LOOK {
            self.unlooked = 0;
            self.producer.poll(Duration::ZERO);
            self.check_deliveries()?;
        }
        Ok(())
    }

    /// Waits a moment for acknowledgements. Says so once when there are none, and when there are some again.
    fn wait(&mut self) -> Result<()> {
        let is_silent = self.silence.as_ref().is_some_and(|silence| silence.told);
        // Sends at once what waits for company. That it takes longer is no error.
        let _ = self.producer.flush(if is_silent { LONG_MOMENT } else { MOMENT });
        self.check_deliveries()?;
        self.note_trouble();
        let (acknowledged, waiting) = (self.acknowledged(), self.waiting());
        let silence = self.silence.get_or_insert_with(|| Silence { since: Instant::now(), acknowledged, told: false });
        if silence.acknowledged != acknowledged {
            self.heard();
            return Ok(());
        }
        let since = silence.since.elapsed();
        if since >= PATIENCE && !std::mem::replace(&mut silence.told, true) {
            warn!(
                "topic {}: Kafka at {} does not acknowledge: {}. {waiting} lines are sent again until it does, and the job waits",
                self.topic,
                self.brokers,
                self.why()
            );
        }
        if let Some(refusal) = self.trouble.as_ref().filter(|trouble| since >= FINAL_AFTER && trouble.is_refusal()) {
            return Err(Error::world(format!("logging in to Kafka at {}", self.brokers), login_help(refusal)));
        }
        if since >= LAST_WAIT && self.stop.load(Ordering::Relaxed) {
            let told =
                format!("stopped while {waiting} lines waited; they are written by the next start ({})", self.why());
            return Err(Error::transient(self.doing(), told));
        }
        Ok(())
    }

    fn note_trouble(&mut self) {
        let trouble = self.producer.context().context.take_trouble();
        // "All brokers are down" says less than the error before it.
        let says_more = |trouble: &Trouble| trouble.code != RDKafkaErrorCode::AllBrokersDown || self.trouble.is_none();
        if let Some(trouble) = trouble.filter(says_more) {
            self.trouble = Some(trouble);
        }
    }

    /// The broker acknowledges.
    fn heard(&mut self) {
        self.trouble = None;
        if let Some(silence) = self.silence.take().filter(|silence| silence.told) {
            let after = silence.since.elapsed().as_secs_f64();
            info!("topic {}: Kafka acknowledges again after {after:.1} s, writing goes on", self.topic);
        }
    }

    fn acknowledged(&self) -> u64 {
        self.producer.context().seen.lock().unwrap_or_else(PoisonError::into_inner).acknowledged
    }

    /// Lines without an acknowledgement. (What librdkafka counts has its own errors in it.)
    fn waiting(&self) -> u64 {
        self.sent - self.acknowledged()
    }

    fn check_deliveries(&self) -> Result<()> {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            return Err(self.failed_with(Some(code), &reason));
        }
        let failed = self.producer.context().seen.lock().unwrap_or_else(PoisonError::into_inner).failed.take();
        failed.map_or(Ok(()), |error| Err(self.failed(&error)))
    }

    fn why(&self) -> String {
        self.trouble.as_ref().map_or_else(|| "no answer".to_owned(), |trouble| trouble.reason.clone())
    }

    fn doing(&self) -> String {
        format!("writing topic {} at {}", self.topic, self.brokers)
    }

    fn failed(&self, error: &KafkaError) -> Error {
        let code = error.rdkafka_error_code();
        self.failed_with(code, &code.map_or_else(|| error.to_string(), |code| code.to_string()))
    }

    /// An error that librdkafka does not get over by itself. The lines behind it are void: the run ends.
    fn failed_with(&self, code: Option<RDKafkaErrorCode>, reason: &str) -> Error {
        use RDKafkaErrorCode::*;
        let help = match code {
            Some(TopicAuthorizationFailed) => {
                "the brokers do not allow it: the user of these properties needs DESCRIBE and WRITE on the topic"
            }
            Some(ClusterAuthorizationFailed) => {
                "the brokers do not allow an idempotent producer: the user of these properties needs IDEMPOTENT_WRITE on the cluster"
            }
            Some(UnknownTopicOrPartition | UnknownTopic | UnknownPartition) => {
                "the topic is not there any more: was it deleted?"
            }
            Some(MessageSizeTooLarge | InvalidMessageSize) => {
                "a line is longer than is allowed: raise max.message.bytes of the topic, and the property message.max.bytes"
            }
            Some(InvalidRecord) => {
                "the broker does not take the record: the topic must not be compacted (cleanup.policy=delete)"
            }
            _ => return Error::world(self.doing(), reason),
        };
        Error::world(self.doing(), format!("{reason}: {help}"))
    }
}

fn writing(config: &KafkaConfig) -> rdkafka::ClientConfig {
    let mut own = config.client(&DEFAULTS);
    own.set("queue.buffering.max.kbytes", (config.budget_bytes >> 10).clamp(1, 2_097_151).to_string());
    for (name, value) in config.properties.iter().filter(|(name, _)| OURS.iter().all(|(ours, ..)| ours != name)) {
        own.set(name, value);
    }
    own.set("enable.idempotence", "true").set("acks", "all").set("message.timeout.ms", "0");
    own
}

fn time_header(time: Tick) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(1).insert(Header { key: "time", value: Some(&time.to_string()) })
}

impl LineSink for LineTopic {
    fn write(&mut self, line: &[u8], meta: &LineMeta) -> Result<()> {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        (meta.key)(&mut key);
        let partition = self.partitions[partition_of(&key, self.partitions.len())];
        let sent = self.send(partition, Some(&key), line, meta.time);
        self.key = key;
        sent
    }

    fn flush(&mut self) -> Result<()> {
        if self.waiting() == 0 {
            // What an idle client has to say would gather without end.
            self.producer.poll(MOMENT);
            return self.check_deliveries();
        }
        while self.waiting() > 0 {
            self.wait()?;
        }
        self.unlooked = 0;
        self.heard();
        Ok(())
    }

    fn sync(&mut self) -> Result<SinkPosition> {
        self.flush()?;
        Ok(SinkPosition::new(POSITION, &*self.topic))
    }

    fn line_bytes_max(&self) -> usize {
        self.line_bytes_max
    }
}

#[cfg(test)]
mod tests;
