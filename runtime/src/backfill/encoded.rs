//! A batch as bytes: for the disk, and for other processes.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use headwater_connectors::guarded;

/// Appends a batch.
pub fn encode(batch: &RecordBatch, to: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(to, batch.schema_ref())?;
    writer.write(batch)?;
    writer.finish()
}

/// The batch that some bytes are; its values stay in these. `None`: it is not whole.
///
/// # Errors
/// They are something else, whatever it is.
pub fn decode(mut bytes: Buffer) -> Result<Option<RecordBatch>, ArrowError> {
    // The decoder believes what lengths say.
    guarded(|| StreamDecoder::new().decode(&mut bytes)).unwrap_or_else(|why| Err(ArrowError::IpcError(why)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn whatever_the_bytes_are_nothing_panics() {
        let columns: [(&str, ArrayRef); 2] = [
            ("x", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
            ("y", Arc::new(StringArray::from(vec!["a", "bc", "d"]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = vec![];
        encode(&batch, &mut bytes).unwrap();
        assert_eq!(decode(Buffer::from(bytes.clone())).unwrap(), Some(batch));
        let mut rng = StdRng::seed_from_u64(3);
        for _ in 0..2_000 {
            let mut other = bytes.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..other.len());
                other[at] = rng.random();
            }
            other.truncate(rng.random_range(0..=other.len() * 2));
            // It is something, or it is not.
            let _ = decode(Buffer::from(other));
        }
    }
}
