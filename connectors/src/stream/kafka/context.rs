//! What librdkafka tells beside records: errors, kept to explain what fails, and where a partition ended.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use headwater_clocks::Offset;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::debug;

#[derive(Default)]
pub(crate) struct Context {
    last: Mutex<Option<Trouble>>,
    eof: AtomicI64,
}

/// An error as librdkafka reported it.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub code: RDKafkaErrorCode,
    pub reason: String,
}

impl Trouble {
    /// Credentials that a broker has refused.
    pub fn is_refusal(&self) -> bool {
        use RDKafkaErrorCode::*;
        matches!(self.code, Authentication | SaslAuthenticationFailed | UnsupportedSASLMechanism | IllegalSASLState)
    }
}

impl Context {
    /// The last error, if there was one since the last call.
    pub fn take_trouble(&self) -> Option<Trouble> {
        self.last().take()
    }

    /// The offset of the `PartitionEOF` that the caller has just polled: the end that the broker named when the fetch
    /// position stood there. rdkafka's error has no room for it, but its text is handed to `error` first, on the same thread.
    pub fn take_eof(&self) -> Option<Offset> {
        match self.eof.swap(0, Ordering::Relaxed) {
            0 => None,
            eof => Some(Offset::at(eof)),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(target: "librdkafka", "{facility}: {message}");
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PartitionEOF) => self.eof.store(eof_offset(reason).unwrap_or(0), Ordering::Relaxed),
            code => {
                let trouble = Trouble { code: code.unwrap_or(RDKafkaErrorCode::Fail), reason: reason.to_owned() };
                // "All brokers are down" says less than the error before it.
                if trouble.code != RDKafkaErrorCode::AllBrokersDown || self.last().is_none() {
                    *self.last() = Some(trouble);
                }
            }
        }
    }
}

impl ConsumerContext for Context {}

/// `Fetch from broker 1 reached end of partition at offset 42 (HighwaterMark 43)`
fn eof_offset(reason: &str) -> Option<i64> {
    let (_, rest) = reason.split_once("end of partition at offset ")?;
    rest.split(' ').next()?.parse().ok()
}
