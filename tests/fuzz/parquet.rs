//! Parquet files: opened, and every column read of which something can be used.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use arrow::array::*;
use arrow::datatypes::{DataType, Int32Type, Schema};
use headwater_connectors::UNUSABLE;
use headwater_connectors::Wanted;
use headwater_connectors::history::{History, parquet};

use super::Target;

pub(super) struct Parquet;

impl Target for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    /// Every encoding, and codecs that say how long what they hold will be.
    fn samples(&self) -> Vec<Vec<u8>> {
        let properties: [WriterPropertiesBuilder; 6] = [
            WriterProperties::builder(),
            WriterProperties::builder().set_compression(Compression::SNAPPY).set_max_row_group_row_count(Some(20)),
            WriterProperties::builder().set_writer_version(WriterVersion::PARQUET_2_0).set_dictionary_enabled(false),
            WriterProperties::builder()
                .set_compression(Compression::ZSTD(ZstdLevel::default()))
                .set_data_page_row_count_limit(7),
            WriterProperties::builder().set_dictionary_enabled(false).set_encoding(Encoding::PLAIN),
            WriterProperties::builder().set_compression(Compression::LZ4_RAW).set_dictionary_enabled(false),
        ];
        properties.into_iter().map(|properties| written(properties.build())).collect()
    }

    fn read(&self, input: &[u8]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        std::fs::write(&path, input).unwrap();
        let path = path.to_str().unwrap();
        // Which error it is does not matter here, but that it names the file.
        if let Err(e) = read(path) {
            let told = e.to_string();
            assert!(told.contains("a.parquet") || told.starts_with("column "), "{told}");
        }
    }
}

fn read(path: &str) -> headwater_connectors::Result<()> {
    read_all(&parquet::open(path, None)?)
}

/// Every column that can be used, alone.
pub(super) fn read_all(history: &dyn History) -> headwater_connectors::Result<()> {
    let Some(schema) = history.schema() else { return Ok(()) };
    for field in schema.fields().iter().filter(|field| !field.metadata().contains_key(UNUSABLE)) {
        if *field.data_type() == DataType::Null {
            continue;
        }
        let wanted = Wanted { schema: Arc::new(Schema::new(vec![field.clone()])), time_unit_ns: 1_000_000 };
        for piece in history.pieces(&[field.name()])? {
            for records in history.read(&piece, &wanted)? {
                records?;
            }
        }
    }
    Ok(())
}

fn written(properties: WriterProperties) -> Vec<u8> {
    const ROWS: i64 = 50;
    let some = |n: &i64| n % 7 != 3;
    let texts = || (0..ROWS).map(|n| some(&n).then(|| format!("card-{}", n % 9)));
    let list =
        ListArray::from_iter_primitive::<Int32Type, _, _>((0..ROWS).map(|n| Some((0..n % 4).map(|x| Some(x as i32)))));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int64Array::from_iter((0..ROWS).map(|n| some(&n).then_some(n * 1000))))),
        ("n", Arc::new(Int32Array::from_iter_values((0..ROWS).map(|n| n as i32)))),
        ("ts", Arc::new(TimestampMillisecondArray::from_iter_values(0..ROWS))),
        ("f", Arc::new(Float64Array::from_iter_values((0..ROWS).map(|n| n as f64 / 3.0)))),
        ("k", Arc::new(StringArray::from_iter(texts()))),
        ("v", Arc::new(StringViewArray::from_iter(texts()))),
        ("b", Arc::new(BinaryArray::from_iter(texts().map(|text| text.map(String::into_bytes))))),
        (
            "d",
            Arc::new(
                Decimal128Array::from_iter_values((0..ROWS).map(i128::from)).with_precision_and_scale(25, 2).unwrap(),
            ),
        ),
        ("ok", Arc::new(BooleanArray::from_iter((0..ROWS).map(|n| some(&n).then_some(n % 2 == 0))))),
        ("l", Arc::new(list)),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let mut file = vec![];
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file
}
