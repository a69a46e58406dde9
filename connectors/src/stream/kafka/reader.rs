//! Reads some partitions of the topic: one consumer, a queue for each partition, positions of our own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::BinaryBuilder;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, warn};

use super::KafkaConfig;
use super::context::Context;
use super::end::Watch;
use super::link::{EARLIEST, END, Link, cause, refused};
use crate::format::json::Decoder;
use crate::stream::{Reader, Start};
use crate::{Error, Payload, Records, Result, Wanted};

/// One batch's payloads must stay below Arrow's 2 GiB.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// What a record costs beside its payload: offset, stamp, and its place in the payloads.
const RECORD_BYTES: usize = 24;
/// How often a partition may begin anew without a record in between.
const RESTARTS_MAX: u32 = 10;
const ONE_WARNING_IN: Duration = Duration::from_secs(10);

pub(super) struct KafkaReader {
    link: Arc<Link>,
    // Before the consumer, which must go last.
    parts: Vec<Part>,
    consumer: Arc<BaseConsumer<Context>>,
    watch: Watch,
    decoder: Decoder,
    tombstones: u64,
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
}

struct Part {
    partition: i32,
    queue: PartitionQueue<Context>,
    position: i64,
    /// What came up behind the records that were returned first.
    failure: Option<Error>,
    restarts: u32,
    warned: Option<Instant>,
}

impl KafkaReader {
    pub fn new(config: &KafkaConfig, link: Arc<Link>, starts: &[Start], wanted: &Wanted) -> Result<KafkaReader> {
        let mut starts: Vec<(i32, i64)> = starts.iter().map(|start| (start.partition, start.offset)).collect();
        starts.sort_unstable();
        let consumer = config.reading(starts.len()).create_with_context(Context::default());
        let consumer: Arc<BaseConsumer<Context>> = Arc::new(consumer.map_err(|error| refused(&error))?);
        let parts = starts.iter().map(|&(p, offset)| Part::new(&consumer, &link, p, offset)).collect::<Result<_>>()?;
        let watch = Watch::start(Arc::clone(&link), &starts);
        Ok(KafkaReader { link, parts, consumer, watch, decoder: Decoder::new(wanted), tombstones: 0, wake: None })
    }

    /// Where a partition lies in `parts`. Asking for one that this reader does not have is the caller's bug.
    fn slot(&self, partition: i32) -> usize {
        let slot = self.parts.binary_search_by_key(&partition, |part| part.partition);
        slot.unwrap_or_else(|_| panic!("partition {partition} of topic {} is not this reader's", self.link.topic))
    }

    /// Serves the consumer's own events. Its brokers' absences are told by the watch, which asks the same brokers.
    fn serve(&self) -> Result<()> {
        match self.consumer.poll(Duration::ZERO) {
            None => Ok(()),
            Some(Ok(message)) => Err(Error::world(
                format!("reading topic {}", self.link.topic),
                format!("partition {} came outside its queue at offset {}", message.partition(), message.offset()),
            )),
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => Err(Error::world(
                format!("reading topic {}", self.link.topic),
                cause(self.consumer.client().context().take_trouble(), code),
            )),
            Some(Err(error)) => {
                debug!("topic {}: {}", self.link.topic, cause(self.consumer.client().context().take_trouble(), error));
                Ok(())
            }
        }
    }

    /// Polls a partition's queue until it is empty or has given its bytes.
    fn drain(&mut self, slot: usize, bytes_max: usize) -> Drained {
        let mut drained = Drained::default();
        let (part, topic) = (&mut self.parts[slot], &self.link.topic);
        while drained.bytes < bytes_max {
            match part.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    assert!(
                        message.offset() >= part.position,
                        "topic {topic}, partition {}: offset {} came after {}",
                        part.partition,
                        message.offset(),
                        part.position - 1
                    );
                    part.position = message.offset() + 1;
                    part.restarts = 0;
                    match message.payload() {
                        Some(payload) => {
                            self.decoder.push(payload);
                            drained.push(&message, payload);
                        }
                        None => self.tombstones += 1,
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    let end = self.consumer.client().context().take_eof();
                    part.position = part.position.max(end.unwrap_or(0));
                }
                Some(Err(error)) => {
                    part.failure = part.trouble(&self.link, &self.consumer, &error).err();
                    self.wake.iter().for_each(|wake| part.set_wake(wake));
                    if part.failure.is_some() {
                        break;
                    }
                }
            }
        }
        self.watch.set_position(slot, part.position);
        drained
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, partition: i32, bytes_max: usize) -> Result<Option<Records>> {
        self.serve()?;
        self.watch.check()?;
        let slot = self.slot(partition);
        if let Some(failure) = self.parts[slot].failure.take() {
            return Err(failure);
        }
        let mut drained = self.drain(slot, bytes_max.clamp(1, BATCH_BYTES_MAX));
        if drained.offsets.is_empty() {
            return self.parts[slot].failure.take().map_or(Ok(None), Err);
        }
        let decoded = self.decoder.finish();
        Ok(Some(Records {
            bytes: decoded.batch.get_array_memory_size() + drained.bytes,
            batch: decoded.batch,
            undecoded: decoded.undecoded,
            malformed: decoded.malformed,
            partition: Some(partition),
            offsets: Some(drained.offsets.into()),
            stamps: Some(drained.stamps.into()),
            payload: Payload::Raw(drained.payloads.finish()),
        }))
    }

    fn position(&self, partition: i32) -> i64 {
        self.parts[self.slot(partition)].position
    }

    fn end_confirmed(&mut self, partition: i32) -> Option<i64> {
        let slot = self.slot(partition);
        let answer = self.watch.answer(slot)?;
        (answer.end <= self.parts[slot].position).then_some(answer.asked_us)
    }

    fn end(&self, partition: i32) -> Option<i64> {
        self.watch.answer(self.slot(partition)).map(|answer| answer.end)
    }

    fn tombstones(&self) -> u64 {
        self.tombstones
    }

    fn on_ready(&mut self, wake: Box<dyn Fn() + Send + Sync>) {
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::from(wake);
        self.parts.iter_mut().for_each(|part| part.set_wake(&wake));
        self.watch.set_wake(Arc::clone(&wake));
        self.wake = Some(wake);
    }
}

#[derive(Default)]
struct Drained {
    offsets: Vec<i64>,
    stamps: Vec<i64>,
    payloads: BinaryBuilder,
    bytes: usize,
}

impl Drained {
    fn push(&mut self, message: &BorrowedMessage<'_>, payload: &[u8]) {
        self.offsets.push(message.offset());
        self.stamps.push(message.timestamp().to_millis().map_or(i64::MIN, |ms| ms.saturating_mul(1000)));
        self.payloads.append_value(payload);
        self.bytes += payload.len() + RECORD_BYTES;
    }
}

impl Part {
    fn new(consumer: &Arc<BaseConsumer<Context>>, link: &Link, partition: i32, position: i64) -> Result<Part> {
        let doing = || format!("starting to read topic {}, partition {partition}", link.topic);
        let mut start = TopicPartitionList::with_capacity(1);
        let at = start.add_partition_offset(&link.topic, partition, Offset::Offset(position));
        // Split before it is assigned: then the first record already goes to the queue, and never to the consumer's own.
        let queue = consumer.split_partition_queue(&link.topic, partition);
        let queue = queue.ok_or_else(|| Error::world(doing(), "librdkafka made no queue"))?;
        let assigned = at.and_then(|()| consumer.incremental_assign(&start));
        assigned.map_err(|error| Error::world(doing(), error))?;
        Ok(Part { partition, queue, position, failure: None, restarts: 0, warned: None })
    }

    /// Begins anew at the position, after librdkafka gave up on the partition.
    fn restart(&mut self, link: &Link, consumer: &Arc<BaseConsumer<Context>>) -> Result<()> {
        let mut all = TopicPartitionList::with_capacity(1);
        all.add_partition(&link.topic, self.partition);
        consumer.incremental_unassign(&all).map_err(|error| Error::world(self.doing(link), error))?;
        let restarted = Part::new(consumer, link, self.partition, self.position)?;
        *self = Part { restarts: self.restarts + 1, warned: self.warned, ..restarted };
        Ok(())
    }

    /// An error in the queue: an error of ours, or one that librdkafka gets over by itself.
    fn trouble(&mut self, link: &Link, consumer: &Arc<BaseConsumer<Context>>, error: &KafkaError) -> Result<()> {
        use RDKafkaErrorCode::*;
        let reason = cause(consumer.client().context().take_trouble(), error);
        match error.rdkafka_error_code() {
            Some(AutoOffsetReset | LogTruncation) => self.out_of_range(link, consumer, &reason),
            Some(TopicAuthorizationFailed) => Err(link.denied()),
            Some(code) if passes(code) => {
                if self.warned.is_none_or(|warned| warned.elapsed() >= ONE_WARNING_IN) {
                    self.warned = Some(Instant::now());
                    warn!("topic {}, partition {}: {reason}; it is tried again", link.topic, self.partition);
                }
                Ok(())
            }
            // librdkafka would go on behind records that it could not read.
            _ => Err(Error::world(self.doing(link), reason)),
        }
    }

    /// The broker does not have the offset that is next.
    fn out_of_range(&mut self, link: &Link, consumer: &Arc<BaseConsumer<Context>>, reason: &str) -> Result<()> {
        let held = |time| link.offsets(&[self.partition], time, Duration::from_secs(2)).ok().and_then(|held| held[0]);
        let (at, wanted) = (format!("topic {}, partition {}", link.topic, self.partition), self.position);
        match (held(EARLIEST), held(END)) {
            (Some(earliest), _) if wanted < earliest => Err(Error::Gap(format!(
                "{at}: offset {wanted} was to be read next, and the topic now starts at {earliest}: retention has removed \
                 {} offsets before they were read",
                earliest - wanted
            ))),
            (_, Some(end)) if wanted > end => Err(Error::Gap(format!(
                "{at}: offset {wanted} was to be read next, and the topic ends at {end}; was the topic made anew?"
            ))),
            _ if reason.contains("truncation") => Err(Error::Gap(format!("{at}: at offset {wanted}: {reason}"))),
            // A leader that did not know its own end yet, or none that answers now.
            _ if self.restarts < RESTARTS_MAX => {
                warn!("{at}: begins anew at offset {wanted} after: {reason}");
                self.restart(link, consumer)
            }
            _ => Err(Error::world(self.doing(link), reason)),
        }
    }

    fn set_wake(&mut self, wake: &Arc<dyn Fn() + Send + Sync>) {
        let wake = Arc::clone(wake);
        self.queue.set_nonempty_callback(move || wake());
    }

    fn doing(&self, link: &Link) -> String {
        format!("reading topic {}, partition {} at offset {}", link.topic, self.partition, self.position)
    }
}

/// Whether librdkafka tries again by itself, from the same offset. (A topic that is gone is the watch's to tell.)
fn passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        BrokerTransportFailure
            | AllBrokersDown
            | Resolve
            | SSL
            | Authentication
            | OperationTimedOut
            | MessageTimedOut
            | TimedOutQueue
            | WaitingForCoordinator
            | WaitCache
            | Retry
            | UnknownPartition
            | UnknownTopic
            | UnknownTopicOrPartition
            | UnknownTopicId
            | Unknown
            | RequestTimedOut
            | LeaderNotAvailable
            | NotLeaderForPartition
            | BrokerNotAvailable
            | ReplicaNotAvailable
            | NetworkException
            | CoordinatorLoadInProgress
            | CoordinatorNotAvailable
            | NotCoordinator
            | GroupAuthorizationFailed
            | KafkaStorageError
            | FencedLeaderEpoch
            | UnknownLeaderEpoch
            | OffsetNotAvailable
            | FetchSessionIdNotFound
            | InvalidFetchSessionEpoch
            | ThrottlingQuotaExceeded
    )
}
