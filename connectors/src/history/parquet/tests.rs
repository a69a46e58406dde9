//! Files written by the `parquet` crate, read back: values, pieces and their statistics, and files that change.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::BooleanBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::schema::micros;
use super::*;
use crate::Payload;
use crate::history::Range;

mod nested;
mod said;

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    fn write(&self, name: &str, columns: &[(&str, ArrayRef)]) {
        self.write_groups(name, columns, 1 << 20);
    }

    fn write_groups(&self, name: &str, columns: &[(&str, ArrayRef)], rows: usize) {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, c)| (*n, c.clone(), true))).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows)).build();
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn open(&self, pattern: &str) -> ParquetHistory {
        open(&self.path(pattern), None).unwrap()
    }
}

fn wanted(columns: &[(&str, DataType)]) -> Wanted {
    let fields: Vec<Field> = columns.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect();
    Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: 1_000_000 }
}

/// All records of all pieces, as one batch and which did not decode by column.
fn read(history: &ParquetHistory, columns: &[(&str, DataType)]) -> (RecordBatch, Vec<Vec<bool>>) {
    let wanted = wanted(columns);
    let mut batches = Vec::new();
    let mut undecoded = vec![Vec::new(); columns.len()];
    for piece in history.pieces(&[]).unwrap() {
        let mut rows = 0;
        for records in history.read(&piece, &wanted).unwrap() {
            let records = records.unwrap();
            assert!(matches!(records.payload, Payload::Row) && records.malformed.is_none() && records.len() <= 8192);
            for (all, bits) in undecoded.iter_mut().zip(&records.undecoded) {
                all.extend(bits.as_ref().unwrap_or(&BooleanBuffer::new_unset(records.len())));
            }
            rows += records.len();
            batches.push(records.batch);
        }
        assert_eq!(rows as u64, piece.rows);
    }
    (concat_batches(&wanted.schema, &batches).unwrap(), undecoded)
}

fn one(column: impl Array + 'static) -> Vec<(&'static str, ArrayRef)> {
    vec![("x", Arc::new(column) as ArrayRef)]
}

fn times(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

#[test]
fn columns_come_as_the_job_sees_them() {
    let dictionary: DictionaryArray<Int32Type> = [Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), Some("a")]));
    let seconds = vec![Some(1), Some(-1), None];
    let decimals = || Decimal128Array::from(vec![Some(125), None]).with_precision_and_scale(5, 2).unwrap();
    let same = |column: ArrayRef| (column.clone(), column);
    let rows: Vec<(ArrayRef, ArrayRef)> = vec![
        (Arc::new(dictionary), texts.clone()),
        (Arc::new(LargeStringArray::from(vec![Some("a"), None, Some("b"), Some("a")])), texts.clone()),
        (Arc::new(StringViewArray::from(vec![Some("a"), None, Some("b"), Some("a")])), texts.clone()),
        same(texts),
        (
            Arc::new(TimestampNanosecondArray::from(vec![Some(1999), Some(-1), Some(-1000), Some(-1001), None])),
            times(vec![Some(1), Some(-1), Some(-1), Some(-2), None]),
        ),
        (Arc::new(TimestampMillisecondArray::from(seconds.clone())), times(vec![Some(1_000), Some(-1_000), None])),
        (Arc::new(TimestampSecondArray::from(seconds.clone())), times(vec![Some(1_000_000), Some(-1_000_000), None])),
        (Arc::new(TimestampMicrosecondArray::from(seconds.clone())), times(seconds.clone())),
        (Arc::new(TimestampMicrosecondArray::from(seconds.clone()).with_timezone("+02:00")), times(seconds)),
        (Arc::new(Date64Array::from(vec![Some(-86_400_000), None])), Arc::new(Date32Array::from(vec![Some(-1), None]))),
        same(Arc::new(Date32Array::from(vec![Some(-1), None]))),
        same(Arc::new(decimals())),
        (
            Arc::new(Decimal64Array::from(vec![Some(125), None]).with_precision_and_scale(5, 2).unwrap()),
            Arc::new(decimals()),
        ),
        same(Arc::new(Int8Array::from(vec![Some(-128), None]))),
        same(Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
        same(Arc::new(BooleanArray::from(vec![Some(true), None]))),
        same(Arc::new(Float64Array::from(vec![Some(1.5), None]))),
    ];
    for (written, expected) in rows {
        let dir = Dir::new();
        dir.write("a.parquet", &[("x", written.clone())]);
        let history = dir.open("*.parquet");
        let schema = history.schema().unwrap();
        assert_eq!(schema.field(0).data_type(), expected.data_type(), "of {}", written.data_type());
        let (batch, undecoded) = read(&history, &[("x", expected.data_type().clone())]);
        assert_eq!(batch.column(0), &expected, "of {}", written.data_type());
        assert!(!undecoded[0].contains(&true));
    }
}

#[test]
fn floats_have_one_zero_and_one_nan() {
    let odd = f64::from_bits(0xfff8_0000_0000_0001);
    let dir = Dir::new();
    let narrow = Float32Array::from(vec![Some(-0.0), Some(f32::from_bits(0xffc0_0001)), Some(1.5), None]);
    dir.write(
        "a.parquet",
        &[
            ("x", Arc::new(Float64Array::from(vec![Some(-0.0), Some(odd), Some(1.5), None])) as ArrayRef),
            ("y", Arc::new(narrow)),
        ],
    );
    let (batch, _) = read(&dir.open("a.parquet"), &[("x", DataType::Float64), ("y", DataType::Float32)]);
    let bits: Vec<_> = batch.column(0).as_primitive::<Float64Type>().iter().map(|x| x.map(f64::to_bits)).collect();
    assert_eq!(bits, [Some(0), Some(f64::NAN.to_bits()), Some(1.5f64.to_bits()), None]);
    let bits: Vec<_> = batch.column(1).as_primitive::<Float32Type>().iter().map(|x| x.map(f32::to_bits)).collect();
    assert_eq!(bits, [Some(0), Some(f32::NAN.to_bits()), Some(1.5f32.to_bits()), None]);
}

#[test]
fn a_time_that_overflows_does_not_decode() {
    let dir = Dir::new();
    dir.write("a.parquet", &one(TimestampMillisecondArray::from(vec![Some(1), None, Some(i64::MAX), Some(i64::MIN)])));
    let history = dir.open("a.parquet");
    let (batch, undecoded) = read(&history, &[("x", micros())]);
    assert_eq!(batch.column(0), &times(vec![Some(1_000), None, None, None]));
    assert_eq!(undecoded, [[false, false, true, true]]);
    assert_eq!(history.pieces(&["x"]).unwrap()[0].statistics, [None]);
}

#[test]
fn files_are_joined_by_name_and_lack_is_null() {
    let dir = Dir::new();
    let ints = |values: &[i64]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let texts = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    dir.write("dt=1/b.parquet", &[("id", texts(&["b1", "b2"])), ("x", ints(&[1, 2]))]);
    dir.write("dt=1/c.parquet", &[("x", ints(&[3])), ("y", ints(&[30])), ("id", texts(&["c1"]))]);
    dir.write("dt=2/a.parquet", &[("z", Arc::new(NullArray::new(1)) as ArrayRef), ("x", Arc::new(NullArray::new(1)))]);
    let history = dir.open("**/*.parquet");
    let schema = history.schema().unwrap();
    let names: Vec<String> = schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    assert_eq!(names, ["id Utf8", "x Int64", "y Int64", "z Null"]);
    let (batch, _) = read(&history, &[("y", DataType::Int64), ("id", DataType::Utf8), ("x", DataType::Int64)]);
    assert_eq!(batch.column(0).as_ref(), &Int64Array::from(vec![None, None, Some(30), None]));
    assert_eq!(batch.column(1).as_ref(), &StringArray::from(vec![Some("b1"), Some("b2"), Some("c1"), None]));
    assert_eq!(batch.column(2).as_ref(), &Int64Array::from(vec![Some(1), Some(2), Some(3), None]));
    // Nothing of these is in any file.
    let (batch, _) = read(&history, &[("none", DataType::Utf8)]);
    assert_eq!((batch.num_rows(), batch.column(0).null_count()), (4, 4));
    let rows = |piece| history.read(piece, &wanted(&[])).unwrap().map(|r| r.unwrap().len()).sum::<usize>();
    assert_eq!(history.pieces(&[]).unwrap().iter().map(rows).sum::<usize>(), 4);
}

#[test]
fn pieces_are_row_groups_with_exact_ranges() {
    let dir = Dir::new();
    let nanos = TimestampNanosecondArray::from(vec![Some(-1), Some(1999), None, None, None, Some(5_000)]);
    dir.write_groups(
        "a.parquet",
        &[
            ("ts", Arc::new(nanos) as ArrayRef),
            ("n", Arc::new(Int32Array::from(vec![Some(3), Some(-4), Some(5), None, None, None]))),
            ("u", Arc::new(UInt32Array::from(vec![1, u32::MAX, 2, 3, 4, 5]))),
            ("big", Arc::new(UInt64Array::from(vec![1, u64::MAX, 2, 3, 4, 5]))),
            ("f", Arc::new(Float64Array::from(vec![1.0; 6]))),
            ("empty", Arc::new(NullArray::new(6))),
        ],
        2,
    );
    let range = |min, max, nulls| Some(Range { bounds: Some((min, max)), nulls });
    let none = |nulls| Some(Range { bounds: None, nulls });
    let max = i64::from(u32::MAX);
    let expected = [
        [range(-1, 1, 0), range(-4, 3, 0), range(1, max, 0), None, None, none(2)],
        [none(2), range(5, 5, 1), range(2, 3, 0), range(2, 3, 0), None, none(2)],
        [range(5, 5, 1), none(2), range(4, 5, 0), range(4, 5, 0), None, none(2)],
    ];
    let history = dir.open("a.parquet");
    let pieces = history.pieces(&["ts", "n", "u", "big", "f", "elsewhere"]).unwrap();
    assert_eq!(pieces.len(), 3);
    for (row_group, (piece, expected)) in pieces.iter().zip(expected).enumerate() {
        assert_eq!((piece.file, piece.row_group, piece.rows), (0, row_group, 2));
        assert!(piece.bytes > 0);
        assert_eq!(piece.statistics, expected);
    }
    let (batch, _) = read(&history, &[("ts", micros()), ("u", DataType::UInt32)]);
    assert_eq!(batch.column(0), &times(vec![Some(-1), Some(1), None, None, None, Some(5)]));
    assert_eq!(batch.column(1).as_ref(), &UInt32Array::from(vec![1, u32::MAX, 2, 3, 4, 5]));
}

#[test]
fn without_statistics_there_is_no_range() {
    let dir = Dir::new();
    let batch = RecordBatch::try_from_iter(one(Int64Array::from(vec![1]))).unwrap();
    let properties =
        WriterProperties::builder().set_statistics_enabled(parquet::file::properties::EnabledStatistics::None).build();
    let file = File::create(dir.path("a.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert_eq!(dir.open("a.parquet").pieces(&["x"]).unwrap()[0].statistics, [None]);
}

#[test]
fn long_row_groups_come_in_batches() {
    let dir = Dir::new();
    let keys: StringArray = (0..30_000).map(|n| Some(format!("card-{}", n % 100))).collect();
    dir.write_groups(
        "a.parquet",
        &[("n", Arc::new(Int64Array::from_iter_values(0..30_000)) as ArrayRef), ("k", Arc::new(keys.clone()))],
        20_000,
    );
    let history = dir.open("a.parquet");
    assert_eq!(history.pieces(&[]).unwrap().len(), 2);
    let (batch, _) = read(&history, &[("k", DataType::Utf8), ("n", DataType::Int64)]);
    assert_eq!(batch.column(0).as_ref(), &keys);
    assert_eq!(batch.column(1).as_ref(), &Int64Array::from_iter_values(0..30_000));
}

#[test]
fn times_of_old_writers_are_read_beyond_2262() {
    let dir = Dir::new();
    let schema = Arc::new(parse_message_type("message m { optional int96 x; }").unwrap());
    let mut writer =
        SerializedFileWriter::new(File::create(dir.path("a.parquet")).unwrap(), schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    // Nanoseconds of the day, and the Julian day: 2440588 is 1970-01-01.
    let time = |nanos: u64, day: u32| {
        let mut time = Int96::new();
        time.set_data(nanos as u32, (nanos >> 32) as u32, day);
        time
    };
    let values = [time(1_999, 2_440_588), time(86_399_999_999_999, 2_440_587), time(0, 2_440_588 + 365_000)];
    column.typed::<Int96Type>().write_batch(&values, Some(&[1, 1, 0, 1]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let history = dir.open("a.parquet");
    assert_eq!(history.schema().unwrap().field(0).data_type(), &micros());
    assert_eq!(history.pieces(&["x"]).unwrap()[0].statistics, [None]);
    let (batch, _) = read(&history, &[("x", micros())]);
    assert_eq!(batch.column(0), &times(vec![Some(1), Some(-1), None, Some(365_000 * 86_400_000_000)]));
}

#[test]
fn columns_that_nobody_can_use_harm_nobody() {
    let dir = Dir::new();
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None]);
    let of = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Int64, true)),
        Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef,
    )]);
    dir.write(
        "a.parquet",
        &[
            ("l", Arc::new(list) as ArrayRef),
            ("s", Arc::new(of)),
            ("d", Arc::new(DurationSecondArray::from(vec![1, 2]))),
            ("x", Arc::new(Int64Array::from(vec![1, 2]))),
        ],
    );
    let history = dir.open("a.parquet");
    assert!(matches!(history.schema().unwrap().field(0).data_type(), DataType::List(_)));
    assert_eq!(
        history.pieces(&["x", "s"]).unwrap()[0].statistics,
        [Some(Range { bounds: Some((1, 2)), nulls: 0 }), None]
    );
    let (batch, _) = read(&history, &[("x", DataType::Int64)]);
    assert_eq!(batch.column(0).as_ref(), &Int64Array::from(vec![1, 2]));
}

#[test]
fn wrong_files_are_named() {
    let dir = Dir::new();
    dir.write("a.parquet", &one(Int64Array::from(vec![1])));
    std::fs::write(dir.path("c.txt"), "this is a text and no table, and is long enough").unwrap();
    std::fs::write(dir.path("d.txt"), "").unwrap();
    let message = |pattern: &str| open(&dir.path(pattern), None).err().unwrap().to_string();
    let a = dir.path("a.parquet");
    for name in ["c.txt", "d.txt"] {
        assert!(message(name).starts_with(&format!("reading {} as Parquet: ", dir.path(name))), "{}", message(name));
    }
    assert!(message("*.csv").starts_with(&format!("no file matches {}", dir.path("*.csv"))));
    let history = dir.open("a.parquet");
    let Err(Error::Config(message)) = history.read(&history.pieces(&[]).unwrap()[0], &wanted(&[("x", DataType::Utf8)]))
    else {
        panic!("a wrong type is read")
    };
    assert_eq!(message, format!("column \"x\" is Int64 in {a}, and Utf8 is wanted"));
}

#[test]
fn odd_names_of_files_are_found() {
    let dir = Dir::new();
    for name in [
        "a b.parquet",
        "100%.parquet",
        "a#b?c.parquet",
        "\u{e9}.parquet",
        "dt=2026-01-01 10:00/x~1.parquet",
        "%20.parquet",
    ] {
        dir.write(name, &one(Int64Array::from(vec![1])));
    }
    assert_eq!(read(&dir.open("**/*.parquet"), &[("x", DataType::Int64)]).0.num_rows(), 6);
}

#[test]
fn a_path_may_lead_up() {
    let dir = Dir::new();
    dir.write("data/a.parquet", &one(Int64Array::from(vec![1])));
    dir.write("elsewhere/deep/b.parquet", &one(Int64Array::from(vec![2, 3])));
    std::os::unix::fs::symlink(dir.path("elsewhere/deep"), dir.path("data/link")).unwrap();
    for (pattern, rows) in [("elsewhere/../data/*.parquet", 1), ("data/link/../deep/*.parquet", 2)] {
        let history = dir.open(pattern);
        assert_eq!(read(&history, &[("x", DataType::Int64)]).0.num_rows(), rows, "{pattern}");
        assert!(open("nothing/here", Some(history.pinned())).is_ok());
    }
    let pinned = dir.open("elsewhere/../data/*.parquet").pinned().clone();
    std::fs::remove_dir_all(dir.path("elsewhere")).unwrap();
    assert!(matches!(open("nothing/here", Some(&pinned)), Err(Error::Changed(_))));
}

#[test]
fn a_file_that_changes_or_goes_after_the_pin_is_refused() {
    let columns = wanted(&[("x", DataType::Int64)]);
    let rewrites: [fn(&Dir, &Path); 3] = [
        |dir, _| dir.write("a.parquet", &one(Int64Array::from(vec![1, 2, 3, 4]))),
        |_, path| {
            // The same bytes, written anew by somebody.
            let bytes = std::fs::read(path).unwrap();
            std::fs::remove_file(path).unwrap();
            std::fs::write(path, bytes).unwrap();
            let earlier = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
            File::options().write(true).open(path).unwrap().set_modified(earlier).unwrap();
        },
        |_, path| std::fs::remove_file(path).unwrap(),
    ];
    for (case, rewrite) in rewrites.iter().enumerate() {
        let dir = Dir::new();
        dir.write("a.parquet", &one(Int64Array::from(vec![1])));
        dir.write("b.parquet", &one(Int64Array::from(vec![2])));
        let history = dir.open("*.parquet");
        let pieces = history.pieces(&["x"]).unwrap();
        let pinned: Pinned = serde_json::from_str(&serde_json::to_string(history.pinned()).unwrap()).unwrap();
        assert_eq!(&pinned, history.pinned());
        dir.write("c.parquet", &one(Int64Array::from(vec![3])));
        let again = open("nothing/here", Some(&pinned)).unwrap();
        assert_eq!(again.pieces(&["x"]).unwrap(), pieces);

        rewrite(&dir, Path::new(&dir.path("a.parquet")));
        let changed = history.read(&pieces[0], &columns).unwrap().next().unwrap().unwrap_err();
        assert!(
            matches!(&changed, Error::Changed(m) if m.starts_with(&dir.path("a.parquet"))),
            "case {case}: {changed}"
        );
        assert!(matches!(open("nothing/here", Some(&pinned)), Err(Error::Changed(_))), "case {case}");
        assert_eq!(history.read(&pieces[1], &columns).unwrap().next().unwrap().unwrap().len(), 1);
    }
}

#[test]
fn a_reader_may_be_on_any_thread() {
    let dir = Dir::new();
    dir.write_groups("a.parquet", &one(Int64Array::from_iter_values(0..1_000)), 100);
    let history = dir.open("a.parquet");
    let pieces = history.pieces(&[]).unwrap();
    let columns = wanted(&[("x", DataType::Int64)]);
    let sum: i64 = std::thread::scope(|scope| {
        let read = |piece| {
            let batches = history.read(piece, &columns).unwrap().map(Result::unwrap);
            batches.map(|r| r.batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>()).sum::<i64>()
        };
        let threads: Vec<_> = pieces.iter().map(|piece| scope.spawn(move || read(piece))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(sum, 499_500);
}
