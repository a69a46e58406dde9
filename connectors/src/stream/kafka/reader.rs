//! Reads some partitions of the topic: one consumer, a queue for each partition, positions of our own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_clocks::{Arrival, Offset, Span, WallClock};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use tracing::{debug, warn};

use super::KafkaConfig;
use super::context::Context;
use super::end::{Answer, EndPoller};
use super::link::{Link, cause, refused};
use super::partition::{PartitionReader, check_order};
use crate::format::keys::Keys;
use crate::format::records::RecordsBuilder;
use crate::format::{self, Decoder, Envelope, Wake};
use crate::records::WITHOUT_STAMP;
use crate::stream::{Reader, Start};
use crate::{Error, Records, Result};

/// One batch's payloads must stay below Arrow's 2 GiB.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// What a record costs beside its payload: offset, stamp, and its place in the payloads.
const RECORD_BYTES: usize = 24;
/// How long a record that is there may take to come; three times what the broker may wait with a fetch, where that is longer.
/// Doubled each time that a new consumer does not bring it either.
const PATIENCE: Duration = Duration::from_secs(10);
const DOUBLINGS_MAX: u32 = 5;
/// An answer that is older says nothing of the broker now.
const ANSWER_FRESH: Span = Span::from_us(2_000_000);

pub(super) struct KafkaReader {
    link: Arc<Link>,
    // Before the consumer, which must go last.
    partitions: Vec<PartitionReader>,
    consumer: Arc<BaseConsumer<Context>>,
    config: ClientConfig,
    patience: Duration,
    end_poller: EndPoller,
    records: RecordsBuilder,
    /// Where records without a value are read too.
    keys: Option<Keys>,
    tombstones: u64,
    wake: Option<Wake>,
}

impl KafkaReader {
    /// # Errors
    /// `Config`: the properties cannot be used so. `World`: the consumer cannot be assigned its partitions.
    pub fn new(
        config: &KafkaConfig,
        link: Arc<Link>,
        starts: &[Start],
        decoder: Box<dyn Decoder>,
        keys: Option<Keys>,
    ) -> Result<KafkaReader> {
        let mut starts: Vec<(i32, Offset)> = starts.iter().map(|start| (start.partition, start.offset)).collect();
        starts.sort_unstable();
        let config = config.reading(starts.len());
        let wait_ms: u64 = config.get("fetch.wait.max.ms").and_then(|ms| ms.parse().ok()).unwrap_or(0);
        let patience = PATIENCE.max(Duration::from_millis(3 * wait_ms));
        let consumer = new_consumer(&config)?;
        let partitions = starts
            .iter()
            .map(|&(p, offset)| PartitionReader::new(&consumer, &link, p, offset))
            .collect::<Result<_>>()?;
        let end_poller = EndPoller::start(Arc::clone(&link), &starts)?;
        let records = RecordsBuilder::new(decoder);
        let (tombstones, wake) = (0, None);
        Ok(KafkaReader { link, partitions, consumer, config, patience, end_poller, records, keys, tombstones, wake })
    }

    /// Where a partition lies in `partitions`. Asking for one that this reader does not have is the caller's bug.
    fn slot(&self, partition: i32) -> usize {
        let slot = self.partitions.binary_search_by_key(&partition, |reader| reader.partition);
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
        let reader = &mut self.partitions[slot];
        let mut silent = true;
        if let Some(message) = reader.held.take() {
            reader.waiting = None;
            if !is_ready(&mut self.records, &message, self.wake.as_ref()) {
                reader.held = Some(message);
                return drained;
            }
            reader.position = Offset::at(message.offset()).next();
            self.tombstones += drained.take(&mut self.records, self.keys.as_ref(), &message);
        }
        while drained.bytes < bytes_max {
            let polled = reader.queue.poll(Duration::ZERO);
            silent &= polled.is_none();
            match polled {
                None => break,
                Some(Ok(message)) => {
                    reader.failure =
                        check_order(&self.link.topic, reader.partition, reader.position, Offset::at(message.offset()))
                            .err();
                    if reader.failure.is_some() {
                        break;
                    }
                    (reader.restarts, reader.stalls) = (0, 0);
                    if !is_ready(&mut self.records, &message, self.wake.as_ref()) {
                        reader.held = Some(message.detach());
                        break;
                    }
                    reader.position = Offset::at(message.offset()).next();
                    self.tombstones += drained.take(&mut self.records, self.keys.as_ref(), &message);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    let end = self.consumer.client().context().take_eof();
                    reader.position = end.map_or(reader.position, |end| reader.position.max(end));
                }
                Some(Err(error)) => {
                    reader.failure = reader.trouble(&self.link, &self.consumer, &error).err();
                    self.wake.iter().for_each(|wake| reader.set_wake(wake));
                    if reader.failure.is_some() {
                        break;
                    }
                }
            }
        }
        self.end_poller.set_position(slot, reader.position);
        let ahead = |answer: Answer| answer.end > reader.position && WallClock::now() - answer.asked < ANSWER_FRESH;
        if silent && self.end_poller.answer(slot).is_some_and(ahead) {
            reader.waiting.get_or_insert_with(Instant::now);
        } else {
            reader.waiting = None;
        }
        drained
    }

    /// librdkafka may stop fetching a partition after its broker was away, for good and without a word
    /// (confluentinc/librdkafka#5153): where a broker has records and they do not come, a new consumer takes over.
    fn check_flow(&mut self, slot: usize) -> Result<()> {
        let reader = &mut self.partitions[slot];
        let patience = self.patience * (1 << reader.stalls.min(DOUBLINGS_MAX));
        if reader.waiting.is_none_or(|since| since.elapsed() < patience) {
            return Ok(());
        }
        warn!(
            "topic {}, partition {}: offset {} is there and has not come for {} s; a new consumer begins at it",
            self.link.topic,
            reader.partition,
            reader.position,
            patience.as_secs()
        );
        reader.stalls += 1;
        let consumer = new_consumer(&self.config)?;
        let anew = |reader: &PartitionReader| reader.anew(&consumer, &self.link);
        let partitions = self.partitions.iter().map(anew).collect::<Result<Vec<_>>>()?;
        let old =
            (std::mem::replace(&mut self.partitions, partitions), std::mem::replace(&mut self.consumer, consumer));
        // Its end may wait for brokers.
        std::thread::spawn(move || drop(old));
        if let Some(wake) = &self.wake {
            self.partitions.iter_mut().for_each(|reader| reader.set_wake(wake));
        }
        Ok(())
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, partition: i32, bytes_max: usize) -> Result<Option<Records>> {
        self.serve()?;
        self.end_poller.check()?;
        let slot = self.slot(partition);
        if let Some(failure) = self.partitions[slot].failure.take() {
            return Err(failure);
        }
        let drained = self.drain(slot, bytes_max.clamp(1, BATCH_BYTES_MAX));
        if drained.offsets.is_empty() {
            self.check_flow(slot)?;
            return self.partitions[slot].failure.take().map_or(Ok(None), Err);
        }
        let records = self.records.finish();
        Ok(Some(Records {
            bytes: records.bytes + drained.offsets.len() * RECORD_BYTES,
            partition: Some(partition),
            offsets: Some(drained.offsets.into()),
            stamps: Some(drained.stamps.into()),
            ..records
        }))
    }

    fn position(&self, partition: i32) -> Offset {
        self.partitions[self.slot(partition)].position
    }

    fn end_confirmed(&mut self, partition: i32) -> Option<WallClock> {
        let slot = self.slot(partition);
        let answer = self.end_poller.answer(slot)?;
        (answer.end <= self.partitions[slot].position).then_some(answer.asked)
    }

    fn end(&self, partition: i32) -> Option<Offset> {
        self.end_poller.answer(self.slot(partition)).map(|answer| answer.end)
    }

    fn tombstones(&self) -> u64 {
        self.tombstones
    }

    fn on_ready(&mut self, wake: Box<dyn Fn() + Send + Sync>) {
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::from(wake);
        self.partitions.iter_mut().for_each(|reader| reader.set_wake(&wake));
        self.end_poller.set_wake(Arc::clone(&wake));
        self.wake = Some(wake);
    }
}

#[derive(Default)]
struct Drained {
    offsets: Vec<Offset>,
    stamps: Vec<Arrival>,
    bytes: usize,
}

impl Drained {
    /// Adds a record that is ready; how many tombstones are passed over by it.
    fn take(&mut self, records: &mut RecordsBuilder, keys: Option<&Keys>, message: &impl Message) -> u64 {
        let around = Around(message);
        let of = |value| format::Message { value, around: Some(&around) };
        let bytes = match (message.payload(), keys) {
            (Some(value), _) => {
                records.push(&of(value));
                value.len()
            }
            (None, Some(keys)) => {
                let record = keys.record(message.key());
                records.push_tombstone(&of(&record));
                record.len()
            }
            (None, None) => return 1,
        };
        self.offsets.push(Offset::at(message.offset()));
        self.stamps.push(stamp(message).unwrap_or(WITHOUT_STAMP));
        self.bytes += bytes + RECORD_BYTES;
        0
    }
}

fn stamp(message: &impl Message) -> Option<Arrival> {
    message.timestamp().to_millis().map(|ms| Arrival::from_us(ms.saturating_mul(1000)))
}

/// What Kafka knows of a record beside its value.
struct Around<'m, M>(&'m M);

impl<M: Message> Envelope for Around<'_, M> {
    fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    fn stamp(&self) -> Option<Arrival> {
        stamp(self.0)
    }

    fn partition(&self) -> i32 {
        self.0.partition()
    }

    fn offset(&self) -> Offset {
        Offset::at(self.0.offset())
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        let headers = self.0.headers()?;
        headers.iter().filter(|header| header.key == name).last().and_then(|header| header.value)
    }
}

/// Whether a record can be decoded now.
fn is_ready(records: &mut RecordsBuilder, message: &impl Message, wake: Option<&Wake>) -> bool {
    let Some(value) = message.payload() else { return true };
    records.is_ready(&format::Message { value, around: Some(&Around(message)) }, wake)
}

fn new_consumer(config: &ClientConfig) -> Result<Arc<BaseConsumer<Context>>> {
    config.create_with_context(Context::default()).map(Arc::new).map_err(|error| refused(&error))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::datatypes::Schema;
    use rdkafka::TopicPartitionList;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    use super::*;
    use crate::Wanted;
    use crate::format::json::JsonDecoder;
    use crate::stream::kafka::link::Use;

    #[test]
    fn a_consumer_that_stops_fetching_is_replaced() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 2, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        let produce = |partition, n: i64| {
            let payload = format!("{{\"n\": {n}}}");
            producer.send(BaseRecord::<(), String>::to("t").partition(partition).payload(&payload)).unwrap();
            producer.flush(Duration::from_secs(30)).unwrap();
        };
        let config = KafkaConfig { brokers, topic: "t".into(), properties: BTreeMap::new(), budget_bytes: 1 << 20 };
        let link = Arc::new(Link::new(&config, Use::Read).unwrap());
        let wanted = Wanted { schema: Arc::new(Schema::empty()), time_unit_ns: 1_000_000 };
        let starts = [0, 1].map(|partition| Start { partition, offset: Offset::at(0) });
        let decoder = Box::new(JsonDecoder::new(&wanted));
        let mut reader = KafkaReader::new(&config, link, &starts, decoder, None).unwrap();
        let read_to = |reader: &mut KafkaReader, partition, end| {
            let (begun, mut offsets) = (Instant::now(), vec![]);
            while reader.position(partition).number() < end {
                assert!(
                    begun.elapsed() < 6 * PATIENCE,
                    "partition {partition} stays at {}",
                    reader.position(partition)
                );
                let records = reader.poll(partition, 1 << 20).unwrap();
                offsets.extend(
                    records
                        .iter()
                        .flat_map(|records| records.offsets.as_ref().unwrap().iter().map(|offset| offset.number())),
                );
                std::thread::sleep(Duration::from_millis(1));
            }
            offsets
        };
        produce(0, 0);
        produce(1, 0);
        assert_eq!((read_to(&mut reader, 0, 1), read_to(&mut reader, 1, 1)), (vec![0], vec![0]));

        // As silent as one that has stopped by itself.
        let mut paused = TopicPartitionList::new();
        paused.add_partition("t", 1);
        reader.consumer.pause(&paused).unwrap();
        let first = Arc::downgrade(&reader.consumer);
        produce(0, 1);
        produce(1, 1);
        produce(1, 2);
        assert_eq!(read_to(&mut reader, 0, 2), [1]);
        assert_eq!(read_to(&mut reader, 1, 3), [1, 2]);
        assert!(!std::ptr::eq(first.as_ptr(), Arc::as_ptr(&reader.consumer)));
        produce(0, 2);
        assert_eq!(read_to(&mut reader, 0, 3), [2]);
    }
}
