//! A batch as bytes: for the disk, and for other processes.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;

/// Appends a batch.
pub fn encode(batch: &RecordBatch, to: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(to, batch.schema_ref())?;
    writer.write(batch)?;
    writer.finish()
}

/// The batch that some bytes are; its values stay in these. `None`: it is not whole.
pub fn decode(mut bytes: Buffer) -> Result<Option<RecordBatch>, ArrowError> {
    StreamDecoder::new().decode(&mut bytes)
}
