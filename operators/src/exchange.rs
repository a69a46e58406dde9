//! What travels between workers: Arrow columns addressed to one worker. Within a process they are moved, between
//! processes they are written as an Arrow IPC stream.

use std::cell::OnceCell;
use std::fmt;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use serde::de::Visitor;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{ColumnSetId, GroupId, RowsId};

/// A message: some columns, and what they are of. Each stream has messages of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Routed<Of> {
    /// The worker it goes to.
    pub to: u64,
    /// What they are of.
    pub of: Of,
    /// All messages of one owner and kind have one schema.
    pub columns: Columns,
}

/// Events of one column set of a group.
pub type Events = Routed<(GroupId, ColumnSetId)>;
/// Changes or rows of a group or a view.
pub type RowChanges = Routed<RowsId>;

/// The second part is the first as bytes, once they were asked for: timely asks for their number before it asks for them.
#[derive(Clone, Debug)]
pub struct Columns(pub RecordBatch, OnceCell<Vec<u8>>);

impl From<RecordBatch> for Columns {
    fn from(batch: RecordBatch) -> Columns {
        Columns(batch, OnceCell::new())
    }
}

impl Columns {
    fn bytes(&self) -> Result<&[u8], ArrowError> {
        if self.1.get().is_none() {
            let mut bytes = Vec::new();
            let mut writer = StreamWriter::try_new(&mut bytes, &self.0.schema())?;
            writer.write(&self.0).and_then(|()| writer.finish())?;
            drop(writer);
            // Nobody can have been faster.
            let _ = self.1.set(bytes);
        }
        Ok(self.1.get().map_or(&[], Vec::as_slice))
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.bytes().map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Columns, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Columns;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an Arrow IPC stream of one batch")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Columns, E> {
        let mut decoder = StreamDecoder::new();
        // One copy of the whole: the columns are parts of it.
        let batch = decoder.decode(&mut Buffer::from(bytes)).map_err(E::custom)?;
        batch.map(Columns::from).ok_or_else(|| E::custom("a message without columns"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;
    use crate::id::Id;

    #[test]
    fn columns_survive_the_wire() {
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("a", Arc::new(Int64Array::from(vec![Some(1), None, Some(-3)]))),
            ("b", Arc::new(StringArray::from(vec![None, Some("x"), Some("")]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap().slice(1, 2);
        let of = (GroupId::at(1), ColumnSetId::at(2));
        let sent = Events { to: 3, of, columns: Columns::from(batch.clone()) };
        let size = bincode::serialized_size(&sent).unwrap();
        let bytes = bincode::serialize(&sent).unwrap();
        assert_eq!(size, bytes.len() as u64);
        let got: Events = bincode::deserialize(&bytes).unwrap();
        assert_eq!((got.to, got.of, got.columns.0), (3, of, batch));
    }
}
