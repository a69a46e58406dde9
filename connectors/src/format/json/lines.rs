//! Records that are bytes of JSON, with the bytes kept for dead letters.

use arrow::array::{Array, BinaryBuilder};

use super::{Decoded, Decoder};
use crate::{Payload, Records, Wanted};

/// Decodes records and keeps them as they were read.
pub struct Lines {
    decoder: Decoder,
    payload: BinaryBuilder,
    bytes: usize,
}

impl Lines {
    pub fn new(wanted: &Wanted) -> Lines {
        Lines { decoder: Decoder::new(wanted), payload: BinaryBuilder::new(), bytes: 0 }
    }

    /// Adds one record. The records of one batch must stay below 2 GiB together.
    pub fn push(&mut self, record: &[u8]) {
        self.decoder.push(record);
        self.payload.append_value(record);
        self.bytes += record.len();
    }

    /// How many records there are since the last `finish`.
    pub fn len(&self) -> usize {
        self.decoder.len()
    }

    pub fn is_empty(&self) -> bool {
        self.decoder.is_empty()
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
