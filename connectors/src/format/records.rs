//! Records that are decoded, with their bytes kept for dead letters.

use arrow::array::{Array, BinaryBuilder};

use super::{Decoded, Decoder, Message};
use crate::{Payload, Records};

/// Decodes records and keeps them as they were read.
pub(crate) struct RecordsBuilder {
    decoder: Box<dyn Decoder>,
    payload: BinaryBuilder,
    bytes: usize,
}

impl RecordsBuilder {
    pub fn new(decoder: Box<dyn Decoder>) -> RecordsBuilder {
        RecordsBuilder { decoder, payload: BinaryBuilder::new(), bytes: 0 }
    }

    /// Adds one record. The records of one batch must stay below 2 GiB together.
    pub fn push(&mut self, record: &[u8]) {
        self.decoder.push(&Message { value: record });
        self.payload.append_value(record);
        self.bytes += record.len();
    }

    /// How many records there are since the last `finish`.
    pub fn len(&self) -> usize {
        self.decoder.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes were pushed since the last `finish`.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands over the records, of no partition, and starts anew.
    pub fn finish(&mut self) -> Records {
        let Decoded { batch, undecoded, malformed } = self.decoder.finish();
        let payload = self.payload.finish();
        self.bytes = 0;
        Records {
            bytes: batch.get_array_memory_size() + payload.get_array_memory_size(),
            batch,
            undecoded,
            malformed,
            partition: None,
            offsets: None,
            stamps: None,
            payload: Payload::Raw(payload),
        }
    }
}
