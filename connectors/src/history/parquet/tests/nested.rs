//! Columns inside of others: by path, with what a file says of them, and joined over files whose structs differ.

use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::Fields;

use super::*;
use crate::UNUSABLE;

fn of(fields: Vec<(&str, ArrayRef)>, valid: Option<Vec<bool>>) -> ArrayRef {
    let (names, columns): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let fields = names.iter().zip(&columns).map(|(name, c)| Field::new(*name, c.data_type().clone(), true));
    Arc::new(StructArray::new(fields.collect::<Fields>(), columns, valid.map(NullBuffer::from)))
}

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// Three rows of `p { u { id, t, s }, l [ { x } ], m }`.
fn nested() -> ArrayRef {
    let id: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let t: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![5, 6, i64::MAX]));
    let s: ArrayRef = Arc::new(LargeStringArray::from(vec!["a", "b", "c"]));
    let u = of(vec![("id", id), ("t", t), ("s", s)], Some(vec![true, true, false]));
    let x = of(vec![("x", Arc::new(Float64Array::from(vec![-0.0, 1.5])) as ArrayRef)], None);
    let item = Arc::new(Field::new("element", x.data_type().clone(), true));
    let l: ArrayRef = Arc::new(LargeListArray::new(item, OffsetBuffer::from_lengths([2, 0, 0]), x, None));
    let mut m = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for _ in 0..3 {
        m.keys().append_value("k");
        m.values().append_value(7);
        m.append(true).unwrap();
    }
    of(vec![("u", u), ("l", l), ("m", Arc::new(m.finish()))], Some(vec![true, true, true]))
}

#[test]
fn a_part_of_a_column_is_read_alone() {
    let dir = Dir::new();
    dir.write("a.parquet", &[("p", nested()), ("x.y", longs(&[4, 5, 6]))]);
    let history = dir.open("a.parquet");
    let columns =
        [("p.u.id", DataType::Int64), ("p.u.t", micros()), ("p.u.s", DataType::Utf8), ("\"x.y\"", DataType::Int64)];
    let (batch, undecoded) = read(&history, &columns);
    assert_eq!(batch.column(0).as_ref(), &Int64Array::from(vec![Some(1), None, None]));
    assert_eq!(batch.column(1).as_ref(), times(vec![Some(5_000), Some(6_000), None]).as_ref());
    assert_eq!(batch.column(2).as_ref(), &StringArray::from(vec![Some("a"), Some("b"), None]));
    assert_eq!(batch.column(3).as_ref(), &Int64Array::from(vec![4, 5, 6]));
    assert!(undecoded.iter().all(|bits| !bits.contains(&true)));
    let known = |bounds, nulls| Some(Range { bounds: Some(bounds), nulls });
    let statistics = &history.pieces(&["p.u.id", "p.u.t", "p.l", "p.nothing.x", "\"x.y\""]).unwrap()[0].statistics;
    let none = Some(Range { bounds: None, nulls: 3 });
    assert_eq!(*statistics, [known((1, 1), 2), known((5_000, 6_000), 1), None, none, known((4, 6), 0)]);

    // A list, a struct and a map as wholes, in the types that the job sees.
    let schema = history.schema().unwrap();
    let DataType::Struct(fields) = schema.field(0).data_type() else { panic!("no struct") };
    let wholes: Vec<(String, DataType)> =
        fields.iter().map(|f| (format!("p.{}", f.name()), f.data_type().clone())).collect();
    let wholes: Vec<(&str, DataType)> = wholes.iter().map(|(name, t)| (name.as_str(), t.clone())).collect();
    let (batch, undecoded) = read(&history, &wholes);
    let shown = |column: usize, row| arrow::util::display::array_value_to_string(batch.column(column), row).unwrap();
    assert_eq!(shown(0, 0), "{id: 1, t: 1970-01-01T00:00:00.005Z, s: a}");
    assert_eq!([shown(1, 0), shown(1, 1)], ["[{x: 0.0}, {x: 1.5}]", "[]"]);
    assert_eq!(shown(2, 2), "{k: 7}");
    assert!(batch.column(0).is_null(2) && undecoded.iter().all(|bits| !bits.contains(&true)));
}

#[test]
fn a_time_inside_that_overflows_fails_the_whole_of_it() {
    let dir = Dir::new();
    let list = |values: ArrayRef| -> ArrayRef {
        let item = Arc::new(Field::new("item", values.data_type().clone(), true));
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([1, 1, 1]), values, None))
    };
    let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![Some(1), Some(i64::MAX), None]));
    dir.write("a.parquet", &[("l", list(millis.clone())), ("s", of(vec![("t", millis)], None))]);
    let history = dir.open("a.parquet");
    let schema = history.schema().unwrap();
    let types = |at: usize| schema.field(at).data_type().clone();
    let (batch, undecoded) = read(&history, &[("l", types(0)), ("s", types(1)), ("s.t", micros())]);
    for (column, undecoded) in undecoded.iter().enumerate() {
        assert_eq!(undecoded, &[false, true, false], "{column}");
        assert!(batch.column(column).is_null(1) && batch.column(column).is_valid(0));
    }
}

#[test]
fn structs_that_differ_are_joined() {
    let dir = Dir::new();
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["t"]));
    let a = of(vec![("x", narrow.clone()), ("y", narrow), ("u", text.clone())], None);
    let b = of(vec![("z", text), ("x", longs(&[1 << 40])), ("u", longs(&[1]))], None);
    dir.write("a.parquet", &[("s", a)]);
    dir.write("b.parquet", &[("s", b)]);
    let history = dir.open("*.parquet");
    let schema = history.schema().unwrap();
    let DataType::Struct(fields) = schema.field(0).data_type() else { panic!("no struct") };
    let (x, y, u, z) = (&fields[0], &fields[1], &fields[2], &fields[3]);
    assert_eq!([x.data_type(), y.data_type(), z.data_type()], [&DataType::Int64, &DataType::Int32, &DataType::Utf8]);
    let (one, two) = (dir.path("a.parquet"), dir.path("b.parquet"));
    assert_eq!(u.metadata()[UNUSABLE], format!("column \"s.u\" has two types: Utf8 in {one}, but Int64 in {two}"));
    let (batch, _) = read(&history, &[("s.x", DataType::Int64), ("s.z", DataType::Utf8), ("s.y", DataType::Int32)]);
    assert_eq!(batch.column(0).as_ref(), &Int64Array::from(vec![1, 1 << 40]));
    assert_eq!(batch.column(1).as_ref(), &StringArray::from(vec![None, Some("t")]));
    assert_eq!(batch.column(2).as_ref(), &Int32Array::from(vec![Some(1), None]));
    let (batch, _) = read(&history, &[("s", schema.field(0).data_type().clone())]);
    let shown = |row| arrow::util::display::array_value_to_string(batch.column(0), row).unwrap();
    assert_eq!([shown(0), shown(1)], ["{x: 1, y: 1, u: , z: }", "{x: 1099511627776, y: , u: , z: t}"]);
}

/// A list is read as often as it is wanted, each time with the fields that are.
#[test]
fn a_list_of_structs_is_read_by_field() {
    let dir = Dir::new();
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]));
    let item = of(vec![("x", longs(&[1, 2, 3])), ("s", texts), ("y", longs(&[4, 5, 6]))], None);
    let lists: ArrayRef = Arc::new(ListArray::new(
        Arc::new(Field::new("element", item.data_type().clone(), true)),
        OffsetBuffer::from_lengths([2, 0, 1]),
        item,
        Some(NullBuffer::from(vec![true, false, true])),
    ));
    dir.write("a.parquet", &[("p", of(vec![("l", lists)], None))]);
    let history = dir.open("a.parquet");
    let field = |name: &str, names: &[&str]| {
        let types = names.iter().map(|name| match *name {
            "s" => Field::new("s", DataType::Utf8, true),
            name => Field::new(name, DataType::Int64, true),
        });
        let of = DataType::new_list(DataType::Struct(types.collect()), true);
        Field::new(name, of, true).with_metadata([(crate::PATH.to_owned(), "p.l".to_owned())].into())
    };
    let fields = vec![field("one", &["y"]), field("two", &["s", "z"]), field("none", &[])];
    let wanted = Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: 1 };
    let piece = history.pieces(&[]).unwrap().remove(0);
    let records = history.read(&piece, &wanted).unwrap().next().unwrap().unwrap();
    let shown = |column: usize| {
        let values = records.batch.column(column);
        let text = |row| arrow::util::display::array_value_to_string(values, row).unwrap();
        (0..3).map(|row| if values.is_null(row) { "null".into() } else { text(row) }).collect::<Vec<_>>()
    };
    assert_eq!(shown(0), ["[{y: 4}, {y: 5}]", "null", "[{y: 6}]"]);
    assert_eq!(shown(1), ["[{s: a, z: }, {s: , z: }]", "null", "[{s: c, z: }]"]);
    assert_eq!(shown(2), ["[{}, {}]", "null", "[{}]"]);
}

/// Only what is named is read: what lies beside it may be damaged.
#[test]
fn what_lies_beside_is_not_read() {
    let dir = Dir::new();
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..1000).map(|n| format!("text {n}"))));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
    dir.write("a.parquet", &[("s", of(vec![("beside", texts), ("x", numbers)], None))]);
    let path = dir.path("a.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4..300].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let history = dir.open("a.parquet");
    let (batch, _) = read(&history, &[("s.x", DataType::Int64)]);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(999), 999);
    let piece = &history.pieces(&[]).unwrap()[0];
    let outcome = history.read(piece, &wanted(&[("s.beside", DataType::Utf8)])).unwrap().collect::<Result<Vec<_>>>();
    assert!(outcome.unwrap_err().to_string().starts_with(&format!("reading {path} as Parquet: ")));
}

/// Lists of a few texts of some bytes each, which take few bytes in a file: `rows` rows of `values` each.
fn lists_of_texts(dir: &Dir, name: &str, (few, bytes): (usize, usize), (rows, values): (usize, usize)) {
    let few_texts = StringArray::from_iter_values((0..few).map(|n| format!("{n:04}{}", "x".repeat(bytes - 4))));
    let keys = Int32Array::from_iter_values((0..rows * values).map(|n| (n % few) as i32));
    let texts: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(few_texts)));
    let item = Arc::new(Field::new("item", texts.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(vec![values; rows]);
    dir.write(name, &[("l", Arc::new(ListArray::new(item, offsets, texts, None)) as ArrayRef)]);
}

#[test]
fn lists_ask_for_no_more_memory_than_their_pages() {
    let dir = Dir::new();
    lists_of_texts(&dir, "many.parquet", (1, 100_000), (20, 100));
    lists_of_texts(&dir, "one.parquet", (1, 700_000), (1, 2000));
    lists_of_texts(&dir, "tags.parquet", (400, 16), (2, 70_000));
    assert!(std::fs::metadata(dir.path("one.parquet")).unwrap().len() < 1 << 20);
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let wanted = wanted(&[("l", list)]);
    let batches = |name: &str| {
        let history = dir.open(name);
        let piece = history.pieces(&[]).unwrap().remove(0);
        history
            .read(&piece, &wanted)
            .unwrap()
            .map(|records| records.map(|records| records.len()))
            .collect::<Result<Vec<_>>>()
    };
    // Each row has 10 MB.
    assert_eq!(batches("many.parquet").unwrap(), [6, 6, 6, 2]);
    // However long a list is, short texts are short.
    assert_eq!(batches("tags.parquet").unwrap(), [2]);
    let told = batches("one.parquet").unwrap_err().to_string();
    assert!(told.contains("one.parquet") && told.contains("a row of 2000 values of up to 700"), "{told}");
}
