//! Files of a table, read under the names of today: written here as writers of tables do.

use std::collections::HashMap;
use std::path::Path as Directory;

use arrow::array::{Int32Array, Int64Array, ListArray, StringArray, StructArray};
use arrow::datatypes::{Fields, Int64Type};
use arrow::util::display::array_value_to_string;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;

/// A field with a number, as tables give their columns.
pub(in crate::history) fn numbered(name: &str, data_type: DataType, id: i32) -> Field {
    let id = HashMap::from([("PARQUET:field_id".to_owned(), id.to_string())]);
    Field::new(name, data_type, true).with_metadata(id)
}

/// Writes a file of row groups of three rows.
pub(in crate::history) fn write(path: &Directory, columns: Vec<(Field, ArrayRef)>) {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(3)).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Every row of a history as text, column by column, `None` where a value is null; and the rows that its pieces say.
pub(in crate::history) fn rows(history: &dyn History, columns: &[(&str, DataType)]) -> Vec<String> {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    let wanted = Wanted { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), time_unit_ns: 1_000_000 };
    let mut all = vec![];
    for piece in history.pieces(&[]).unwrap() {
        let before = all.len();
        for records in history.read(&piece, &wanted).unwrap() {
            let records = records.unwrap();
            assert_eq!(records.batch.schema().fields().len(), columns.len());
            for row in 0..records.len() {
                let shown = records.batch.columns().iter().map(|column| match column.is_null(row) {
                    true => "-".to_owned(),
                    false => array_value_to_string(column, row).unwrap(),
                });
                all.push(shown.collect::<Vec<_>>().join(" "));
            }
        }
        assert_eq!((all.len() - before) as u64, piece.rows);
    }
    all
}

fn column(name: &str, data_type: DataType, id: i32, inside: Vec<Column>) -> Column {
    Column { field: Field::new(name, data_type, true), place: Place::Numbered { id, names: vec![] }, inside }
}

fn table(dir: &Directory, columns: Vec<Column>, deleted: &[u64]) -> Table {
    let deleted: RoaringTreemap = deleted.iter().copied().collect();
    let files = ["b.parquet", "a.parquet"].map(|name| DataFile {
        path: dir.join(name).display().to_string(),
        constants: vec![Arc::new(StringArray::from(vec![name])) as ArrayRef],
        deleted: (name == "a.parquet" && !deleted.is_empty()).then(|| Arc::new(deleted.clone())),
    });
    Table {
        name: "t".into(),
        version: "version 3".into(),
        constant: vec![columns.len() - 1],
        columns,
        files: files.into(),
    }
}

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn structs(fields: Vec<(Field, ArrayRef)>) -> ArrayRef {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = fields.into_iter().unzip();
    Arc::new(StructArray::new(Fields::from(fields), arrays, None))
}

/// Columns are renamed, on every level, and one was dropped and made anew; a number of another one is not the same.
#[test]
fn columns_go_by_their_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let user = |name: &str, rows: i64| {
        structs(vec![
            (numbered(name, DataType::Int64, 5), ints(10..10 + rows)),
            (numbered("gone", DataType::Int64, 6), ints(0..rows)),
        ])
    };
    let items = |name: &str, rows: i64| {
        let inside = structs(vec![(numbered(name, DataType::Int64, 9), ints(20..20 + rows))]);
        let item = numbered("element", inside.data_type().clone(), 8);
        let offsets = arrow::buffer::OffsetBuffer::from_lengths(vec![1; rows as usize]);
        Arc::new(ListArray::new(Arc::new(item), offsets, inside, None)) as ArrayRef
    };
    let file = |name: &str, rows: i64, names: [&str; 4]| {
        let [id, of_user, uid, sku] = names;
        let (users, items) = (user(uid, rows), items(sku, rows));
        write(
            &dir.path().join(name),
            vec![
                (numbered(id, DataType::Int32, 1), Arc::new(Int32Array::from_iter_values(0..rows as i32))),
                (numbered(of_user, users.data_type().clone(), 4), users),
                (numbered("items", items.data_type().clone(), 7), items),
                (numbered("country", DataType::Int64, 99), ints(0..rows)),
            ],
        );
    };
    file("a.parquet", 4, ["old", "person", "number", "article"]);
    file("b.parquet", 1, ["id", "user", "uid", "sku"]);
    let of = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let user_type = DataType::Struct(vec![of("uid", DataType::Int64), of("late", DataType::Utf8)].into());
    let item_type = DataType::Struct(vec![of("sku", DataType::Int64), of("late", DataType::Int64)].into());
    let list_type = DataType::new_list(item_type.clone(), true);
    let columns = vec![
        column("id", DataType::Int64, 1, vec![]),
        column(
            "user",
            user_type.clone(),
            4,
            vec![column("uid", DataType::Int64, 5, vec![]), column("late", DataType::Utf8, 10, vec![])],
        ),
        column(
            "items",
            list_type.clone(),
            7,
            vec![column(
                "item",
                item_type,
                8,
                vec![column("sku", DataType::Int64, 9, vec![]), column("late", DataType::Int64, 11, vec![])],
            )],
        ),
        column("country", DataType::Utf8, 3, vec![]),
        column("file", DataType::Utf8, 2, vec![]),
    ];
    let history = open(table(dir.path(), columns, &[1, 3]), Stores::default(), None).unwrap();
    let found = rows(
        &history,
        &[
            ("id", DataType::Int64),
            ("user.uid", DataType::Int64),
            ("user", user_type),
            ("items", list_type),
            ("country", DataType::Utf8),
            ("file", DataType::Utf8),
        ],
    );
    assert_eq!(
        found,
        [
            "0 10 {uid: 10, late: } [{sku: 20, late: }] - a.parquet",
            "2 12 {uid: 12, late: } [{sku: 22, late: }] - a.parquet",
            "0 10 {uid: 10, late: } [{sku: 20, late: }] - b.parquet",
        ]
    );
    // Where a row is deleted, statistics are of more than there is: nothing is known then.
    let pieces = history.pieces(&["id", "file", "country"]).unwrap();
    let bounds = |piece: &Piece| piece.statistics[0].and_then(|range| range.bounds);
    assert_eq!(
        pieces.iter().map(|piece| (piece.rows, bounds(piece))).collect::<Vec<_>>(),
        [(2, None), (0, None), (1, Some((0, 0)))]
    );
    assert_eq!(pieces[2].statistics[2].map(|range| range.nulls), Some(1));
    let batch = history.partitions(1).unwrap();
    assert_eq!((batch.num_columns(), array_value_to_string(batch.column(0), 0).unwrap()), (1, "b.parquet".into()));
    assert_eq!(history.pinned().version.as_deref(), Some("version 3"));
}

#[test]
fn a_file_that_is_gone_or_another_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.parquet", "b.parquet"] {
        write(&dir.path().join(name), vec![(numbered("id", DataType::Int64, 1), ints(0..2))]);
    }
    let columns = || vec![column("id", DataType::Int64, 1, vec![]), column("file", DataType::Utf8, 2, vec![])];
    let pinned = open(table(dir.path(), columns(), &[]), Stores::default(), None).unwrap().pinned().clone();
    assert_eq!(
        rows(
            &open(table(dir.path(), columns(), &[0]), Stores::default(), Some(&pinned)).unwrap(),
            &[("id", DataType::Int64)]
        ),
        ["1", "0", "1"]
    );
    let other = Table { files: vec![], ..table(dir.path(), columns(), &[]) };
    assert!(
        matches!(open(other, Stores::default(), Some(&pinned)), Err(Error::Changed(what)) if what.contains("other files than were pinned"))
    );
    std::fs::remove_file(dir.path().join("b.parquet")).unwrap();
    for (pinned, expected) in [
        (Some(&pinned), "b.parquet was pinned, and is gone"),
        (None, "b.parquet is gone: it is a file of version 3 of t,"),
    ] {
        let Err(Error::Changed(what)) = open(table(dir.path(), columns(), &[]), Stores::default(), pinned) else {
            panic!()
        };
        assert!(what.contains(expected), "{what}");
    }
}

/// A file of another writer, whose columns have no numbers: by the names that the table says, or not at all.
#[test]
fn columns_without_numbers_need_names() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.parquet", "b.parquet"] {
        write(&dir.path().join(name), vec![(Field::new("was", DataType::Int64, true), ints(5..6))]);
    }
    let columns = |names: &[&str]| {
        let mut id = column("id", DataType::Int64, 1, vec![]);
        id.place = Place::Numbered { id: 1, names: names.iter().map(|name| (*name).to_owned()).collect() };
        let mut file = column("file", DataType::Utf8, 2, vec![]);
        file.place = Place::Named("file".into());
        vec![id, file]
    };
    let Err(Error::World { cause, .. }) = open(table(dir.path(), columns(&[]), &[]), Stores::default(), None) else {
        panic!()
    };
    assert!(cause.contains("no numbers"), "{cause}");
    let history = open(table(dir.path(), columns(&["id", "was"]), &[]), Stores::default(), None).unwrap();
    assert_eq!(rows(&history, &[("id", DataType::Int64)]), ["5", "5"]);
    assert_eq!(history.pieces(&["id"]).unwrap()[0].statistics[0].unwrap().bounds, Some((5, 5)));
    let first = history.pieces(&[]).unwrap().remove(0);
    assert_eq!(
        history
            .read(
                &first,
                &Wanted {
                    schema: Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)])),
                    time_unit_ns: 1
                }
            )
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .batch
            .column(0)
            .as_primitive::<Int64Type>()
            .value(0),
        5
    );
}
