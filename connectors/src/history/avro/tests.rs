//! Files that `data/make.py` wrote by fastavro, whole and damaged.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use arrow::util::display::array_value_to_string;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::UNUSABLE;

const ROWS: usize = 300;

fn data(name: &str) -> String {
    format!("{}/src/history/avro/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn wanted(fields: &[(&str, DataType)]) -> Wanted {
    let fields = fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Wanted { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), time_unit_ns: 1_000_000 }
}

fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// All records of a history; what its pieces say is held against them.
fn read(history: &AvroHistory, wanted: &Wanted) -> Result<Vec<Records>> {
    let mut all = vec![];
    for piece in history.pieces(&["id"])? {
        let before = all.len();
        for records in history.read(&piece, wanted)? {
            all.push(records?);
        }
        let rows: usize = all[before..].iter().map(Records::len).sum();
        assert_eq!((rows as u64, &piece.statistics), (piece.rows, &vec![None]));
    }
    Ok(all)
}

#[test]
fn every_codec_gives_the_same_records() {
    let wanted = wanted(&[
        ("id", DataType::Int64),
        ("card", DataType::Utf8),
        ("amount", DataType::Decimal128(12, 2)),
        ("at", micros()),
        ("kind", DataType::Utf8),
        ("user.age", DataType::Int32),
        ("labels['x']", DataType::Float64),
        ("nowhere", DataType::Utf8),
    ]);
    let list = Field::new("items", open(&data("null.avro"), None).unwrap().schema.field(6).data_type().clone(), true);
    for codec in ["null", "deflate", "snappy", "zstandard"] {
        let history = open(&data(&format!("{codec}.avro")), None).unwrap();
        let mut fields = wanted.schema.fields().to_vec();
        fields[6] = Arc::new(list.clone());
        let wanted = Wanted { schema: Arc::new(Schema::new(fields)), ..wanted.clone() };
        let all = read(&history, &wanted).unwrap();
        assert_eq!(all.iter().map(Records::len).sum::<usize>(), ROWS, "{codec}");
        let mut n = 0;
        for records in &all {
            assert!(records.malformed.is_none() && records.undecoded.iter().all(Option::is_none), "{codec}");
            let batch = &records.batch;
            for row in 0..batch.num_rows() {
                let id = batch.column(0).as_primitive::<Int64Type>().value(row);
                assert_eq!(id, n);
                let card = batch.column(1).as_string::<i32>();
                assert_eq!(
                    card.is_valid(row).then(|| card.value(row)),
                    (n % 7 != 3).then(|| format!("c{}", n % 5)).as_deref()
                );
                assert_eq!(batch.column(2).as_primitive::<Decimal128Type>().value(row), i128::from(n * 25 - 1000));
                let at = batch.column(3).as_primitive::<TimestampMicrosecondType>().value(row);
                assert_eq!(at, 1_767_225_600_001_000 + n * 1_000_000);
                assert_eq!(batch.column(4).as_string::<i32>().value(row), ["IN", "OUT"][n as usize % 2]);
                let age = batch.column(5).as_primitive::<Int32Type>();
                assert_eq!(age.is_valid(row).then(|| age.value(row)), (n % 4 != 1).then_some(n as i32));
                let items = (0..n % 3).map(|i| format!("{{sku: s{i}, count: {i}}}")).collect::<Vec<_>>().join(", ");
                assert_eq!(array_value_to_string(batch.column(6), row).unwrap(), format!("[{items}]"));
                assert!(batch.column(7).is_null(row));
                n += 1;
            }
        }
    }
}

/// Columns of all files, by name; of two types the wider.
#[test]
fn files_of_several_schemas_are_one_history() {
    let history = open(&data("{null,later,empty}.avro"), None).unwrap();
    let schema = history.schema.clone();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "country", "card", "amount", "at", "kind", "user", "items", "labels", "spare"]);
    assert_eq!(schema.field(0).data_type(), &DataType::Int64);
    assert!(schema.fields().iter().all(|field| !field.metadata().contains_key(UNUSABLE)));
    let all = read(&history, &wanted(&[("id", DataType::Int64), ("country", DataType::Utf8)])).unwrap();
    let rows: Vec<(i64, bool)> = all
        .iter()
        .flat_map(|records| {
            let (id, country) = (records.batch.column(0).as_primitive::<Int64Type>(), records.batch.column(1));
            (0..records.len()).map(|row| (id.value(row), country.is_valid(row))).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(rows.len(), ROWS + 2);
    assert_eq!(rows[..3], [(300, true), (301, true), (0, false)]);
}

#[test]
fn maps_are_read() {
    let history = open(&data("snappy.avro"), None).unwrap();
    let labels = history.schema.field_with_name("labels").unwrap().clone();
    let wanted = Wanted { schema: Arc::new(Schema::new(vec![labels])), time_unit_ns: 1 };
    let first = read(&history, &wanted).unwrap().remove(0);
    let map = first.batch.column(0).as_map();
    assert_eq!(map.value(3).column(1).as_primitive::<Float64Type>().value(0), 1.5);
}

/// What is wrong is told with the file's name; a codec that is not known, by its own.
#[test]
fn what_is_no_such_file_is_told() {
    let told = |bytes: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.avro").display().to_string();
        std::fs::write(&path, bytes).unwrap();
        let read = open(&path, None).and_then(|history| read(&history, &wanted(&[("id", DataType::Int64)])));
        let told = read.map(|records| records.len()).unwrap_err().to_string();
        told.strip_prefix(&format!("reading {path} as Avro: ")).unwrap_or_else(|| panic!("{told}")).to_owned()
    };
    let good = std::fs::read(data("null.avro")).unwrap();
    let mark = b"0123456789abcdef";
    let header = good.windows(16).position(|bytes| bytes == mark).unwrap() + 16;
    let with = |at: usize, bytes: &[u8]| [&good[..at], bytes, &good[at + bytes.len()..]].concat();
    for (bytes, expected) in [
        (b"".to_vec(), "it ends too early"),
        (b"PAR1abcd".to_vec(), "it does not begin as an Avro file does"),
        (good[..header - 20].to_vec(), "it ends too early"),
        (good[..header + 40].to_vec(), "block 1: it ends too early"),
        (with(good.len() - 16, b"x"), "mark than the file's"),
        // One record more than there are, one less.
        (with(header, &[good[header] + 2]), " of block 1 is none"),
        (with(header, &[good[header] - 2]), " bytes behind its "),
        (with(header, &[1]), "block 1 says that it has -1 records"),
        (
            std::fs::read(data("bzip2.avro")).unwrap(),
            "it is packed with \"bzip2\": expected null, deflate, snappy or zstandard",
        ),
        (std::fs::read(data("xz.avro")).unwrap(), "it is packed with \"xz\""),
    ] {
        let found = told(&bytes);
        assert!(found.contains(expected), "{found}: {expected}");
    }
    let snappy = std::fs::read(data("snappy.avro")).unwrap();
    let sum = snappy.len() - 17;
    let broken = [&snappy[..sum], &[!snappy[sum]], &snappy[sum + 1..]].concat();
    assert!(told(&broken).contains("cannot be unpacked: it does not fit its checksum"), "{}", told(&broken));
}

/// Whatever a file holds: its records, or an error.
#[test]
fn damage_ends_in_an_error_or_in_records() {
    let mut rng = StdRng::seed_from_u64(15);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.avro").display().to_string();
    let all =
        wanted(&[("id", DataType::Int64), ("user.name", DataType::Utf8), ("amount", DataType::Decimal128(12, 2))]);
    let mut wrong = 0;
    for n in 0..400 {
        let codec = ["null", "deflate", "snappy", "zstandard"][n % 4];
        let mut bytes = std::fs::read(data(&format!("{codec}.avro"))).unwrap();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        if rng.random_bool(0.2) {
            bytes.truncate(rng.random_range(0..bytes.len()));
        }
        std::fs::write(&path, &bytes).unwrap();
        wrong += usize::from(open(&path, None).and_then(|history| read(&history, &all)).is_err());
    }
    assert!(wrong > 100, "{wrong}");
}

#[test]
fn a_file_that_changes_is_no_longer_the_pinned_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.avro");
    std::fs::copy(data("deflate.avro"), &path).unwrap();
    let history = open(path.to_str().unwrap(), None).unwrap();
    let (pieces, all) = (history.pieces(&[]).unwrap(), wanted(&[("id", DataType::Int64)]));
    std::fs::copy(data("snappy.avro"), &path).unwrap();
    assert!(matches!(history.read(&pieces[0], &all), Err(Error::Changed(_))));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(open(path.to_str().unwrap(), Some(history.pinned())), Err(Error::Changed(_))));
}
