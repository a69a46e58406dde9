//! Tables of every type come back as they were, whatever the format; and what is not one is told so.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, DictionaryArray,
    DurationMicrosecondArray, FixedSizeBinaryArray, Float64Array, Int8Array, Int64Array, LargeStringArray, ListArray,
    MapArray, NullArray, RecordBatch, StringArray, StringViewArray, StructArray, Time64NanosecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type, IntervalUnit, Schema, SchemaRef, i256};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

use super::{Table, TableFormat, TableWriter};

fn of_every_type() -> RecordBatch {
    let texts = || StringArray::from(vec![Some("a"), None, Some("")]);
    let tags: DictionaryArray<Int32Type> = vec![Some("x"), Some("y"), Some("x")].into_iter().collect();
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let inner =
        Fields::from(vec![Field::new("x", DataType::Utf8, true), Field::new("y", lists.data_type().clone(), true)]);
    let nested = StructArray::new(inner, vec![Arc::new(texts()), Arc::new(lists.clone())], None);
    let entries = StructArray::new(
        Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Int64, true)]),
        vec![Arc::new(StringArray::from(vec!["k", "l"])), Arc::new(Int64Array::from(vec![Some(1), None]))],
        None,
    );
    let map_field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(map_field, OffsetBuffer::from_lengths([1, 0, 1]), entries, None, false);
    let decimal = Decimal128Array::from(vec![Some(1), None, Some(-3)]).with_precision_and_scale(9, 3).unwrap();
    let wide =
        Decimal256Array::from(vec![i256::from(1), i256::MAX, i256::ZERO]).with_precision_and_scale(76, 2).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("int8", Arc::new(Int8Array::from(vec![Some(-1), None, Some(3)]))),
        ("uint64", Arc::new(UInt64Array::from(vec![u64::MAX, 0, 1]))),
        ("float16", new_null_array(&DataType::Float16, 3)),
        ("float64", Arc::new(Float64Array::from(vec![-0.0, f64::INFINITY, 0.1]))),
        ("text", Arc::new(texts())),
        ("large", Arc::new(LargeStringArray::from(vec![Some("a"), None, Some("")]))),
        (
            "view",
            Arc::new(StringViewArray::from(vec![Some("a text that does not fit beside its length"), None, Some("")])),
        ),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), None, Some(b"")]))),
        ("fixed", Arc::new(FixedSizeBinaryArray::try_from_iter(["ab", "cd", "ef"].into_iter()).unwrap())),
        ("date", Arc::new(Date32Array::from(vec![Some(-1), None, Some(3)]))),
        ("time", Arc::new(Time64NanosecondArray::from(vec![Some(1), None, Some(3)]))),
        ("seconds", Arc::new(TimestampSecondArray::from(vec![Some(1), None, Some(3)]))),
        (
            "nanos",
            Arc::new(TimestampNanosecondArray::from(vec![Some(1), None, Some(3)]).with_timezone("Europe/Berlin")),
        ),
        ("duration", Arc::new(DurationMicrosecondArray::from(vec![Some(1), None, Some(3)]))),
        ("decimal", Arc::new(decimal)),
        ("wide", Arc::new(wide)),
        ("dictionary", Arc::new(tags)),
        ("list", Arc::new(lists)),
        ("struct", Arc::new(nested)),
        ("map", Arc::new(map)),
        ("null", Arc::new(NullArray::new(3))),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| {
            Field::new(*name, column.data_type().clone(), true)
                .with_metadata([("about".to_owned(), name.to_string())].into())
        })
        .collect();
    let schema = Schema::new_with_metadata(fields, [("pandas".to_owned(), "{}".to_owned())].into());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column)| column).collect()).unwrap()
}

fn write(path: &Path, schema: &SchemaRef, batches: &[RecordBatch]) {
    let path = path.to_str().unwrap();
    let mut writer = TableWriter::create(path, schema, Path::new("/nowhere")).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
}

fn read(path: &Path, columns: Option<&[usize]>) -> Vec<RecordBatch> {
    let table = Table::open(path.to_str().unwrap(), Path::new("/nowhere")).unwrap();
    table.read(columns).unwrap().map(|batch| batch.unwrap()).collect()
}

#[test]
fn every_type_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let batch = of_every_type();
    for name in ["a.parquet", "a.arrow", "b.feather", "c.IPC"] {
        let path = dir.path().join(name);
        write(&path, &batch.schema(), &[batch.clone(), batch.slice(1, 1), batch.slice(0, 0)]);
        let table = Table::open(path.to_str().unwrap(), Path::new("/nowhere")).unwrap();
        assert_eq!(table.schema().fields(), batch.schema().fields(), "{name}");
        assert_eq!(table.schema().metadata(), batch.schema().metadata(), "{name}");
        assert_eq!(table.rows(), (TableFormat::of(name).unwrap() == TableFormat::Parquet).then_some(4));
        let found = arrow::compute::concat_batches(table.schema(), &read(&path, None)).unwrap();
        for (column, field) in batch.columns().iter().zip(batch.schema().fields()) {
            let found = &found[field.name().as_str()];
            assert_eq!(&found.slice(0, 3), column, "{name}: {}", field.name());
            assert_eq!(&found.slice(3, 1), &column.slice(1, 1), "{name}: {}", field.name());
        }
        // As often as one likes, and some of its columns.
        let some = &read(&path, Some(&[1, 5]))[0];
        assert_eq!(some.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["int8", "text"]);
        assert_eq!(some.column(1).slice(0, 3).as_ref(), batch["text"].as_ref());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4, "nothing else is left");
}

#[test]
fn a_stream_is_read_too() {
    let dir = tempfile::tempdir().unwrap();
    let (path, batch) = (dir.path().join("s.arrow"), of_every_type());
    let mut writer = StreamWriter::try_new(std::fs::File::create(&path).unwrap(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    assert_eq!(read(&path, None), [batch]);
}

/// As pandas and pyarrow write Feather, unless they are told otherwise.
#[test]
fn what_is_compressed_is_read_too() {
    let dir = tempfile::tempdir().unwrap();
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..10_000).map(|i| i % 7)));
    let batch = RecordBatch::try_from_iter([("x", numbers)]).unwrap();
    for (name, by) in [("lz4.feather", CompressionType::LZ4_FRAME), ("zstd.arrow", CompressionType::ZSTD)] {
        let path = dir.path().join(name);
        let options = IpcWriteOptions::default().try_with_compression(Some(by)).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = FileWriter::try_new_with_options(file, &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        assert!(path.metadata().unwrap().len() < 40_000, "it is compressed");
        assert_eq!(read(&path, None).as_slice(), std::slice::from_ref(&batch), "{name}");
    }
}

#[test]
fn what_is_given_up_was_never_there() {
    let dir = tempfile::tempdir().unwrap();
    let (path, batch) = (dir.path().join("a.parquet"), of_every_type());
    std::fs::write(&path, "what was there before").unwrap();
    let mut writer = TableWriter::create(path.to_str().unwrap(), &batch.schema(), dir.path()).unwrap();
    writer.write(&batch).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "what was there before");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_is_no_table_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("torn.parquet"), "PAR1 and then nothing").unwrap();
    std::fs::write(path("empty.parquet"), "").unwrap();
    std::fs::write(path("torn.arrow"), "ARROW1\0\0 and then nothing").unwrap();
    std::fs::write(path("text.arrow"), "card,at\nc1,2026-01-01\n").unwrap();
    std::fs::write(path("old.feather"), "FEA1 and columns").unwrap();
    for (name, expected) in [
        ("none.parquet", "cannot be opened: No such file"),
        ("labels.csv", "write it as Parquet"),
        ("labels", "its name's ending says no format"),
        ("torn.parquet", "reading"),
        ("empty.parquet", "reading"),
        ("torn.arrow", "reading"),
        ("text.arrow", "it is no Arrow file"),
        ("old.feather", "the first version of Feather"),
    ] {
        let error =
            Table::open(&path(name), dir.path()).err().unwrap_or_else(|| panic!("{name} was opened")).to_string();
        assert!(error.contains(expected) && error.contains(name), "{name}: {error}");
    }
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    for (name, expected) in
        [("a.csv", "write it as Parquet"), ("no/such/dir/a.parquet", "cannot be written: No such file")]
    {
        let error = TableWriter::create(&path(name), &schema, dir.path()).err().unwrap().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    let interval = Field::new("i", DataType::Interval(IntervalUnit::MonthDayNano), true);
    let inside = DataType::Struct(vec![interval].into());
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("x", inside, true)]));
    let error = TableWriter::create(&path("a.parquet"), &schema, dir.path()).err().unwrap().to_string();
    assert!(error.contains("Parquet cannot hold the column `i`"), "{error}");
    TableWriter::create(&path("a.arrow"), &schema, dir.path()).unwrap().finish().unwrap();
}

#[test]
fn rows_in_memory_are_a_table() {
    let batch = of_every_type();
    let source = super::Source::Rows((batch.schema(), vec![batch.slice(0, 1), batch.slice(1, 2)]));
    let table = Table::of(&source, Path::new("/nowhere")).unwrap();
    assert_eq!((table.rows(), table.schema()), (Some(3), &batch.schema()));
    let read: Vec<RecordBatch> = table.read(Some(&[0, 2])).unwrap().map(|batch| batch.unwrap()).collect();
    assert_eq!(read, [0, 1].map(|n| batch.slice(n, n + 1).project(&[0, 2]).unwrap()));

    let to = Arc::default();
    let target = super::Target::Rows(Arc::clone(&to));
    let mut writer = TableWriter::to(&target, &batch.schema(), Path::new("/nowhere")).unwrap();
    writer.write(&batch).unwrap();
    assert!(to.lock().unwrap().is_none(), "it is no table yet");
    writer.finish().unwrap();
    assert_eq!(to.lock().unwrap().take(), Some((batch.schema(), vec![batch])));
}

/// Columns of one table, and more than one row group of them.
#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let rows = of_every_type();
    let many = take_record_batch(&rows, &UInt32Array::from_iter_values((0..60_000).map(|row| row % 3))).unwrap();
    let write = |name: &str, threads: usize| {
        let path = dir.path().join(name);
        let writer = TableWriter::create(path.to_str().unwrap(), &rows.schema(), Path::new("")).unwrap();
        let mut writer = writer.on_threads(threads);
        (0..19).for_each(|_| writer.write(&many).unwrap());
        writer.write(&rows).unwrap();
        writer.finish().unwrap();
        std::fs::read(path).unwrap()
    };
    let one = write("1.parquet", 1);
    assert!(one == write("3.parquet", 3) && one == write("64.parquet", 64));
    let read = read(&dir.path().join("3.parquet"), None);
    let read = arrow::compute::concat_batches(&rows.schema(), &read).unwrap();
    assert_eq!(read.num_rows(), 19 * 60_000 + 3);
    assert_eq!(read.slice(1_139_997, 6), arrow::compute::concat_batches(&rows.schema(), [&rows, &rows]).unwrap());
}
