//! One partition as a reader has it: its queue, its position, and how it gets over what librdkafka gives up on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_clocks::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedMessage;
use tracing::warn;

use super::context::Context;
use super::link::{EARLIEST, END, Link, cause};
use crate::{Error, Result};

/// How often a partition may begin anew without a record in between.
const RESTARTS_MAX: u32 = 10;
const ONE_WARNING_IN: Duration = Duration::from_secs(10);

pub(super) struct PartitionReader {
    pub partition: i32,
    pub queue: PartitionQueue<Context>,
    pub position: Offset,
    /// A record that was polled and cannot be decoded yet: it is at `position`, or behind offsets that hold nothing.
    pub held: Option<OwnedMessage>,
    /// What came up behind the records that were returned first.
    pub failure: Option<Error>,
    pub restarts: u32,
    pub warned: Option<Instant>,
    /// Since when records are there and none comes.
    pub waiting: Option<Instant>,
    /// How many consumers have not brought it.
    pub stalls: u32,
}

impl PartitionReader {
    pub fn new(
        consumer: &Arc<BaseConsumer<Context>>,
        link: &Link,
        partition: i32,
        position: Offset,
    ) -> Result<PartitionReader> {
        let doing = || format!("starting to read topic {}, partition {partition}", link.topic);
        let mut start = TopicPartitionList::with_capacity(1);
        let at = start.add_partition_offset(&link.topic, partition, rdkafka::Offset::Offset(position.number()));
        // Split before it is assigned: then the first record already goes to the queue, and never to the consumer's own.
        let queue = consumer.split_partition_queue(&link.topic, partition);
        let queue = queue.ok_or_else(|| Error::world(doing(), "librdkafka made no queue"))?;
        let assigned = at.and_then(|()| consumer.incremental_assign(&start));
        assigned.map_err(|error| Error::world(doing(), error))?;
        let (failure, warned, waiting) = (None, None, None);
        Ok(PartitionReader { partition, queue, position, held: None, failure, restarts: 0, warned, waiting, stalls: 0 })
    }

    /// The same, assigned once more.
    pub fn anew(&self, consumer: &Arc<BaseConsumer<Context>>, link: &Link) -> Result<PartitionReader> {
        let anew = PartitionReader::new(consumer, link, self.partition, self.position)?;
        Ok(PartitionReader { restarts: self.restarts, warned: self.warned, stalls: self.stalls, ..anew })
    }

    /// Begins anew at the position, after librdkafka gave up on the partition.
    pub fn restart(&mut self, link: &Link, consumer: &Arc<BaseConsumer<Context>>) -> Result<()> {
        let mut all = TopicPartitionList::with_capacity(1);
        all.add_partition(&link.topic, self.partition);
        consumer.incremental_unassign(&all).map_err(|error| Error::world(self.doing(link), error))?;
        *self = PartitionReader { restarts: self.restarts + 1, ..self.anew(consumer, link)? };
        Ok(())
    }

    /// An error in the queue: an error of ours, or one that librdkafka gets over by itself.
    pub fn trouble(&mut self, link: &Link, consumer: &Arc<BaseConsumer<Context>>, error: &KafkaError) -> Result<()> {
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
                earliest.past(wanted)
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

    pub fn set_wake(&mut self, wake: &Arc<dyn Fn() + Send + Sync>) {
        let wake = Arc::clone(wake);
        self.queue.set_nonempty_callback(move || wake());
    }

    pub fn doing(&self, link: &Link) -> String {
        format!("reading topic {}, partition {} at offset {}", link.topic, self.partition, self.position)
    }
}

/// Offsets only rise, whatever a broker does; there may be holes.
pub(super) fn check_order(topic: &str, partition: i32, position: Offset, offset: Offset) -> Result<()> {
    if offset >= position {
        return Ok(());
    }
    Err(Error::Gap(format!(
        "topic {topic}, partition {partition}: offset {offset} came where {position} was to be read next; was the topic made anew?"
    )))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_that_was_read_already_is_a_gap() {
        let came = |offset| check_order("t", 3, Offset::at(7), Offset::at(offset));
        assert!(came(7).is_ok() && came(9).is_ok());
        let error = came(6).unwrap_err();
        assert!(matches!(error, Error::Gap(_)));
        assert_eq!(
            error.to_string(),
            "topic t, partition 3: offset 6 came where 7 was to be read next; was the topic made anew?"
        );
    }
}
