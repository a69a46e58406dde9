//! Records that are decoded, with their bytes kept for dead letters.

use arrow::array::{Array, BinaryBuilder, BooleanBufferBuilder};

use super::{Decoded, Decoder, Message, Wake};
use crate::records::WITHOUT_STAMP;
use crate::{Payload, Records};

/// Decodes records and keeps them as they were read.
pub(crate) struct RecordsBuilder {
    decoder: Box<dyn Decoder>,
    payload: BinaryBuilder,
    bytes: usize,
    /// Which of them are tombstones.
    tombstones: Vec<usize>,
}

impl RecordsBuilder {
    pub fn new(decoder: Box<dyn Decoder>) -> RecordsBuilder {
        RecordsBuilder { decoder, payload: BinaryBuilder::new(), bytes: 0, tombstones: vec![] }
    }

    /// Adds one record. The records of one batch must stay below 2 GiB together.
    pub fn push(&mut self, message: &Message) {
        self.decoder.push(message);
        self.keep(message);
    }

    fn keep(&mut self, message: &Message) {
        self.payload.append_value(message.value);
        self.bytes += message.value.len();
    }

    /// Whether a record can be added now: see [`Decoder::is_ready`].
    pub fn is_ready(&mut self, message: &Message, wake: Option<&Wake>) -> bool {
        self.decoder.is_ready(message, wake)
    }

    /// Adds one that had no value. `record`: its key, as a record that has nothing else.
    pub fn push_tombstone(&mut self, record: &Message) {
        self.tombstones.push(self.len());
        self.decoder.push_key(record);
        self.keep(record);
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
        let Decoded { batch, undecoded, malformed, removals } = self.decoder.finish();
        let payload = self.payload.finish();
        self.bytes = 0;
        let mut tombstones = std::mem::take(&mut self.tombstones);
        let removed_at = (!removals.is_empty()).then(|| {
            let mut times = vec![WITHOUT_STAMP; batch.num_rows()];
            removals.iter().for_each(|removal| times[removal.record] = removal.at.unwrap_or(WITHOUT_STAMP));
            times.into()
        });
        tombstones.extend(removals.iter().map(|removal| removal.record));
        let tombstones = (!tombstones.is_empty()).then(|| {
            let mut flags = BooleanBufferBuilder::new(batch.num_rows());
            flags.append_n(batch.num_rows(), false);
            tombstones.iter().for_each(|at| flags.set_bit(*at, true));
            flags.finish()
        });
        Records {
            tombstones,
            removed_at,
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
