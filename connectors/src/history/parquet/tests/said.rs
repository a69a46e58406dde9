//! Files that are not what they say, and columns that differ from file to file.

use parquet::basic::{Repetition, Type as Physical};
use parquet::data_type::{ByteArray, Int64Type as Longs};
use parquet::file::metadata::{ColumnChunkMetaDataBuilder, RowGroupMetaData};
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::statistics::Statistics;
use parquet::schema::types::Type;

use super::*;
use crate::UNUSABLE;

/// Columns by their places in the file would be others: a group without columns is none in Arrow.
#[test]
fn columns_are_found_behind_an_empty_group() {
    let dir = Dir::new();
    let column = |name: &str| {
        let column = Type::primitive_type_builder(name, Physical::INT64).with_repetition(Repetition::REQUIRED);
        Arc::new(column.build().unwrap())
    };
    let empty = Type::group_type_builder("empty").with_repetition(Repetition::OPTIONAL).build().unwrap();
    let fields = vec![column("ts"), Arc::new(empty), column("a"), column("b")];
    let schema = Arc::new(Type::group_type_builder("m").with_fields(fields).build().unwrap());
    let file = File::create(dir.path("a.parquet")).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for values in [[1, 2], [10, 20], [100, 200]] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Longs>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let history = dir.open("a.parquet");
    let int = DataType::Int64;
    let (batch, _) = read(&history, &[("b", int.clone()), ("a", int.clone()), ("ts", int)]);
    for (column, expected) in batch.columns().iter().zip([[100, 200], [10, 20], [1, 2]]) {
        assert_eq!(column.as_primitive::<Int64Type>().values(), &expected);
    }
    assert_eq!(history.pieces(&["b"]).unwrap()[0].statistics, [Some(Range { bounds: Some((100, 200)), nulls: 0 })]);
    let empty = history.schema().unwrap().field(1).clone();
    assert!(empty.metadata()[UNUSABLE].ends_with("cannot be read: it is a group without columns"));
}

/// Writes a file's footer anew, with the first row group as `change` makes it.
fn change_footer(path: &str, change: impl Fn(RowGroupMetaData) -> RowGroupMetaData) {
    let bytes = std::fs::read(path).unwrap();
    let length = footer::length(&bytes, bytes.len() as u64).unwrap();
    let (data, rest) = bytes.split_at(bytes.len() - footer::TAIL_BYTES - length);
    let metadata = ParquetMetaDataReader::decode_metadata(&rest[..length]).unwrap();
    let file = metadata.file_metadata();
    let mut groups = metadata.row_groups().to_vec();
    let first = change(groups.remove(0));
    groups.insert(0, first);
    let pairs = file.key_value_metadata().cloned();
    let orders = file.column_orders().cloned();
    let file = FileMetaData::new(file.version(), file.num_rows(), None, pairs, file.schema_descr_ptr(), orders);
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &ParquetMetaData::new(file, groups)).finish().unwrap();
    std::fs::write(path, [data, &footer].concat()).unwrap();
}

/// The same, of the first row group's only column.
fn change_column(path: &str, change: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder) {
    change_footer(path, |group| {
        let column = change(group.column(0).clone().into_builder()).build().unwrap();
        group.into_builder().set_column_metadata(vec![column]).build().unwrap()
    });
}

/// The writer adds the footer's total up by itself.
fn change_rows(path: &str, of_group: i64) {
    change_footer(path, |group| group.into_builder().set_num_rows(of_group).build().unwrap());
}

/// The footer's total, below 64: a byte.
fn change_total(path: &str, from: u8, to: u8) {
    let mut bytes = std::fs::read(path).unwrap();
    let length = footer::length(&bytes, bytes.len() as u64).unwrap();
    let first = bytes.len() - footer::TAIL_BYTES - length;
    let mut at = 0;
    thrift::Walk(&bytes[first..])
        .fields(|walk, id, _| {
            at = if id == 3 { bytes.len() - walk.0.len() } else { at };
            Ok(false)
        })
        .unwrap();
    assert_eq!(bytes[at], from * 2);
    bytes[at] = to * 2;
    std::fs::write(path, bytes).unwrap();
}

/// The first error when the column `x` is read; empty: there is none.
fn told(dir: &Dir, data_type: &DataType) -> String {
    let wanted = wanted(&[("x", data_type.clone())]);
    let read = || {
        let history = open(&dir.path("a.parquet"), None)?;
        for piece in history.pieces(&["x"])? {
            history.read(&piece, &wanted)?.try_for_each(|records| records.map(drop))?;
        }
        Ok::<_, Error>(())
    };
    read().map_or_else(|e| e.to_string(), |()| String::new())
}

#[test]
fn statistics_are_held_against_the_values() {
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), None, Some(7)]));
    let hours = |hours: &[i64]| times(hours.iter().map(|hour| Some(hour * 3_600_000_000)).collect());
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["b", "c"]));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.5, f64::NAN, 2.5]));
    let decimals = Decimal128Array::from(vec![Some(125), None]).with_precision_and_scale(25, 2).unwrap();
    let decimals: ArrayRef = Arc::new(decimals);
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true, true]));
    let long = |min, max, nulls| Statistics::int64(Some(min), Some(max), None, Some(nulls), false);
    let clock = |min: i64, max: i64| long(min * 3_600_000_000, max * 3_600_000_000, 0);
    let double = |min, max| Statistics::double(Some(min), Some(max), None, Some(0), false);
    let text = |min: &str, max: &str, deprecated| {
        Statistics::byte_array(Some(min.into()), Some(max.into()), None, Some(0), deprecated)
    };
    let fixed = |min: i128, max: i128| {
        let bytes = |n: i128| Some(ByteArray::from(n.to_be_bytes()[5..].to_vec()).into());
        Statistics::fixed_len_byte_array(bytes(min), bytes(max), None, Some(1), false)
    };
    let never = Statistics::boolean(Some(false), Some(false), None, Some(0), false);
    let rows: Vec<(&ArrayRef, Statistics, &str)> = vec![
        (&ints, long(3, 7, 1), ""),
        (&ints, long(3, 9, 1), "holds 7, and its statistics say 3 to 9"),
        (&ints, long(1, 7, 1), "holds 3, and its statistics say 1 to 7"),
        (&ints, long(4, 7, 1), "holds 3, and its statistics say 4 to 7"),
        (&ints, long(3, 6, 1), "holds 7, and its statistics say 3 to 6"),
        (&ints, long(3, 7, 2), "holds 1 nulls, and its statistics say 2"),
        (&ints, long(3, 7, 3), "holds 1 nulls, and its statistics say 3"),
        (&texts, text("a", "d", false), ""),
        (&texts, text("a", "bz", false), r#"holds "c", and its statistics say "a" to "bz""#),
        (&texts, text("x", "y", true), ""),
        (&floats, double(0.0, 3.0), ""),
        (&floats, double(0.0, 2.0), "holds 2.5, and its statistics say 0 to 2"),
        (&decimals, fixed(-5, 125), ""),
        (&decimals, fixed(-5, 124), "holds 125, and its statistics say -5 to 124"),
        (&flags, never, "holds true, and its statistics say false to false"),
    ];
    let noon = hours(&[12, 12]);
    let shifted =
        "holds 1970-01-01 12:00:00 UTC, and its statistics say 1970-01-01 04:00:00 UTC to 1970-01-01 04:00:00 UTC";
    let rows = rows.into_iter().chain([(&noon, clock(12, 12), ""), (&noon, clock(4, 4), shifted)]);
    for (values, statistics, expected) in rows {
        let dir = Dir::new();
        dir.write("a.parquet", &[("x", values.clone())]);
        let path = dir.path("a.parquet");
        change_column(&path, |column| column.set_statistics(statistics.clone()));
        let told = told(&dir, values.data_type());
        let expected = match expected {
            "" => String::new(),
            expected => format!("reading {path} as Parquet: column \"x\" {expected}"),
        };
        assert_eq!(told, expected, "{statistics:?}");
    }
}

#[test]
fn a_file_that_is_not_what_it_says_is_named() {
    type Change = fn(&str);
    let rows: &[(Change, &str)] = &[
        (|_| {}, ""),
        (|path| change_total(path, 3, 4), "its footer says 4 rows, and its row groups have 3"),
        (|path| change_rows(path, 3), "column \"x\": 2 values in a row group of 3 rows"),
        (|path| change_rows(path, 1), "column \"x\": 2 values in a row group of 1 rows"),
        (|path| change_rows(path, -1), "row group 0 has -1 rows by its footer"),
        (
            |path| {
                change_rows(path, 6_442_450_941);
                change_column(path, |column| column.set_num_values(6_442_450_941));
            },
            "column \"x\": ",
        ),
        (
            |path| change_column(path, |column| column.set_data_page_offset(-5).set_dictionary_page_offset(None)),
            "column \"x\" lies in ",
        ),
        (
            |path| change_column(path, |column| column.set_total_compressed_size(1 << 40)),
            "column \"x\" lies in 1099511627776 bytes from 4 on by its footer, and the file has ",
        ),
        (
            |path| change_column(path, |column| column.set_data_page_offset(5).set_dictionary_page_offset(None)),
            "Parquet argument error: ",
        ),
        (
            |path| {
                let bytes = std::fs::read(path).unwrap();
                std::fs::write(path, &bytes[bytes.len() - 40..]).unwrap();
            },
            "a footer of ",
        ),
        (|path| std::fs::write(path, "PAR1").unwrap(), "it is too short to be a Parquet file"),
    ];
    for (number, (change, expected)) in rows.iter().enumerate() {
        let dir = Dir::new();
        dir.write_groups("a.parquet", &one(Int64Array::from(vec![1, 2, 3])), 2);
        let path = dir.path("a.parquet");
        change(&path);
        let told = told(&dir, &DataType::Int64);
        if expected.is_empty() {
            assert_eq!(told, "", "row {number}");
        } else {
            let expected = format!("reading {path} as Parquet: {expected}");
            assert!(told.starts_with(&expected), "row {number}: {told}");
        }
    }
}

/// Whatever a byte of a file is changed to: an error that names it, or values.
#[test]
fn no_damage_ends_in_a_panic() {
    let dir = Dir::new();
    let keys: StringArray = (0..40).map(|n| Some(format!("card-{}", n % 7))).collect();
    let ints = Int64Array::from_iter((0..40).map(|n| (n % 3 > 0).then_some(n)));
    dir.write("a.parquet", &[("x", Arc::new(ints) as ArrayRef), ("k", Arc::new(keys))]);
    let path = dir.path("a.parquet");
    let whole = std::fs::read(&path).unwrap();
    let (mut wrong, mut read) = (0, 0);
    for at in 4..whole.len() {
        for to in [0x00, 0xff, whole[at] ^ 0x01] {
            let mut bytes = whole.clone();
            bytes[at] = to;
            std::fs::write(&path, bytes).unwrap();
            match told(&dir, &DataType::Int64) {
                told if told.is_empty() => read += 1,
                told => {
                    wrong += 1;
                    assert!(told.contains(&path) || told.contains("\"x\""), "byte {at} as {to}: {told}");
                }
            }
        }
    }
    assert!(wrong > 100 && read > 100, "{wrong} {read}");
}

/// A text that a dictionary has once and many rows point at takes no more memory than a batch may.
#[test]
fn batches_of_long_texts_are_short() {
    let dir = Dir::new();
    let long = "x".repeat(900 << 10);
    let texts: StringArray = (0..500).map(|_| Some(long.as_str())).collect();
    dir.write("a.parquet", &one(texts));
    assert!(std::fs::metadata(dir.path("a.parquet")).unwrap().len() < 4 << 20);
    let history = dir.open("a.parquet");
    let records = history.read(&history.pieces(&[]).unwrap()[0], &wanted(&[("x", DataType::Utf8)])).unwrap();
    let rows: Vec<usize> = records.map(|records| records.unwrap().len()).collect();
    assert_eq!(rows.iter().sum::<usize>(), 500);
    assert!(rows.iter().all(|rows| *rows <= 80), "{rows:?}");
}

/// The schema that Arrow left says text, and Parquet's own bytes: then nobody has looked whether they are text.
#[test]
fn bytes_are_no_text_because_a_hint_says_so() {
    let dir = Dir::new();
    let path = dir.path("a.parquet");
    let text = RecordBatch::try_from_iter(one(StringArray::from(vec!["a"]))).unwrap();
    let bytes = RecordBatch::try_from_iter(one(BinaryArray::from_vec(vec![&[0xff], b"a"]))).unwrap();
    let mut properties = WriterProperties::builder().build();
    parquet::arrow::add_encoded_arrow_schema_to_metadata(&text.schema(), &mut properties);
    let options = parquet::arrow::arrow_writer::ArrowWriterOptions::new();
    let options = options.with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(File::create(&path).unwrap(), bytes.schema(), options).unwrap();
    writer.write(&bytes).unwrap();
    writer.close().unwrap();
    let history = dir.open("a.parquet");
    assert_eq!(history.schema().unwrap().field(0).data_type(), &DataType::Binary);
    assert_eq!(read(&history, &[("x", DataType::Binary)]).0.column(0).as_ref(), bytes.column(0).as_ref());
}

#[test]
fn a_name_that_a_file_has_twice_is_told_to_who_uses_it() {
    let dir = Dir::new();
    let x = |name| Field::new(name, DataType::Int64, true);
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let columns = vec![values.clone(), values.clone(), values];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![x("x"), x("y"), x("x")])), columns).unwrap();
    let file = File::create(dir.path("a.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let path = dir.path("a.parquet");
    assert_eq!(told(&dir, &DataType::Int64), format!("reading {path} as Parquet: it has two columns \"x\""));
    assert_eq!(read(&dir.open("a.parquet"), &[("y", DataType::Int64)]).0.num_rows(), 1);
}

#[test]
fn columns_of_two_types_are_widened() {
    let decimal = |value, precision, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap())
    };
    let (narrow, wide): (ArrayRef, ArrayRef) =
        (Arc::new(Int32Array::from(vec![-7])), Arc::new(Int64Array::from(vec![1 << 40])));
    let (single, double): (ArrayRef, ArrayRef) =
        (Arc::new(Float32Array::from(vec![0.5])), Arc::new(Float64Array::from(vec![0.1])));
    let (byte, short): (ArrayRef, ArrayRef) =
        (Arc::new(UInt8Array::from(vec![200])), Arc::new(Int16Array::from(vec![-1])));
    let binary: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"ab"]));
    let large: ArrayRef = Arc::new(LargeBinaryArray::from_vec(vec![b"cd"]));
    let view: ArrayRef = Arc::new(BinaryViewArray::from_iter_values([b"cd"]));
    let fixed: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([b"cd"].into_iter()).unwrap());
    let text = |array: &ArrayRef, at| arrow::util::display::array_value_to_string(array, at).unwrap();
    let rows: Vec<(&ArrayRef, &ArrayRef, DataType, [&str; 2])> = vec![
        (&narrow, &wide, DataType::Int64, ["-7", "1099511627776"]),
        (&wide, &narrow, DataType::Int64, ["1099511627776", "-7"]),
        (&byte, &short, DataType::Int16, ["200", "-1"]),
        (&single, &double, DataType::Float64, ["0.5", "0.1"]),
        (&narrow, &single, DataType::Float64, ["-7.0", "0.5"]),
        (&binary, &large, DataType::Binary, ["6162", "6364"]),
        (&binary, &view, DataType::Binary, ["6162", "6364"]),
        (&binary, &fixed, DataType::Binary, ["6162", "6364"]),
    ];
    let (cents, exact) = (decimal(125, 5, 2), decimal(5, 9, 4));
    let (least, greatest): (ArrayRef, ArrayRef) =
        (Arc::new(Int64Array::from(vec![i64::MIN])), Arc::new(UInt64Array::from(vec![u64::MAX])));
    let rows = rows.into_iter().chain([
        (&cents, &exact, DataType::Decimal128(9, 4), ["1.2500", "0.0005"]),
        (&least, &greatest, DataType::Decimal128(20, 0), ["-9223372036854775808", "18446744073709551615"]),
        (&cents, &greatest, DataType::Decimal128(22, 2), ["1.25", "18446744073709551615.00"]),
        (&least, &cents, DataType::Decimal128(21, 2), ["-9223372036854775808.00", "1.25"]),
    ]);
    for (one, two, expected, values) in rows {
        let dir = Dir::new();
        dir.write("a.parquet", &[("x", one.clone())]);
        dir.write("b.parquet", &[("x", two.clone())]);
        let history = dir.open("*.parquet");
        assert_eq!(history.schema().unwrap().field(0).data_type(), &expected);
        let (batch, _) = read(&history, &[("x", expected.clone())]);
        assert_eq!([text(batch.column(0), 0), text(batch.column(0), 1)], values, "{expected}");
    }
}

#[test]
fn columns_of_two_types_harm_nobody_who_does_not_name_them() {
    let dir = Dir::new();
    let list = |field: &str| -> ArrayRef {
        let field = Field::new(field, DataType::Int64, true);
        let mut builder = ListBuilder::new(Int64Builder::new()).with_field(field);
        builder.append_value([Some(1)]);
        Arc::new(builder.finish())
    };
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let x: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    dir.write("a.parquet", &[("x", x.clone()), ("u", x.clone()), ("l", list("item"))]);
    dir.write("b.parquet", &[("x", x), ("u", texts), ("l", list("element"))]);
    let history = dir.open("*.parquet");
    let schema = history.schema().unwrap();
    let why = |name: &str| schema.field_with_name(name).unwrap().metadata().get(UNUSABLE).cloned();
    let (a, b) = (dir.path("a.parquet"), dir.path("b.parquet"));
    assert_eq!(why("x"), None);
    assert_eq!(why("u"), Some(format!("column \"u\" has two types: Int64 in {a}, but Utf8 in {b}")));
    assert_eq!(why("l"), None, "what the elements are called says nothing");
    assert_eq!(read(&history, &[("x", DataType::Int64)]).0.num_rows(), 2);
}
