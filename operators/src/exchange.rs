//! What travels between workers: Arrow columns addressed to one worker. Within a process they are moved, between
//! processes they are written as an Arrow IPC stream.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Routed {
    /// The worker it goes to.
    pub to: u64,
    /// Of which group.
    pub group: u32,
    pub columns: Columns,
}

#[derive(Clone, Debug)]
pub struct Columns(pub RecordBatch);

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &self.0.schema()).map_err(S::Error::custom)?;
        writer.write(&self.0).and_then(|()| writer.finish()).map_err(S::Error::custom)?;
        drop(writer);
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Columns, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let mut reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(D::Error::custom)?;
        let batch = reader.next().ok_or_else(|| D::Error::custom("a message without columns"))?;
        Ok(Columns(batch.map_err(D::Error::custom)?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn columns_survive_the_wire() {
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("a", Arc::new(Int64Array::from(vec![Some(1), None, Some(-3)]))),
            ("b", Arc::new(StringArray::from(vec![None, Some("x"), Some("")]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap().slice(1, 2);
        let sent = Routed { to: 3, group: 1, columns: Columns(batch.clone()) };
        let bytes = bincode::serialize(&sent).unwrap();
        let got: Routed = bincode::deserialize(&bytes).unwrap();
        assert_eq!((got.to, got.columns.0), (3, batch));
    }
}
