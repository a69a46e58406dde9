//! Columns inside of others, lists and maps.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef};

use super::super::Expression;
use super::table::shown;

fn of(fields: Vec<(&str, ArrayRef)>, nulls: Option<NullBuffer>) -> ArrayRef {
    let (names, columns): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let fields = names.iter().zip(&columns).map(|(name, c)| Field::new(*name, c.data_type().clone(), true));
    Arc::new(StructArray::new(fields.collect::<Fields>(), columns, nulls))
}

/// The columns of a source, nested as they are.
fn source() -> SchemaRef {
    let user = of(vec![("id", Arc::new(Int64Array::new_null(1))), ("a.b", Arc::new(StringArray::new_null(1)))], None);
    let item = user.data_type().clone();
    let payload = of(vec![("user", user), ("raw", Arc::new(BinaryArray::new_null(1)))], None);
    let DataType::Struct(fields) = payload.data_type() else { unreachable!() };
    let list = |item| DataType::new_list(item, true);
    let more = [Field::new("tags", list(DataType::Int64), true), Field::new("items", list(item), true)];
    let payload = DataType::Struct(fields.iter().cloned().chain(more.map(Arc::new)).collect());
    let map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new()).finish().data_type().clone();
    Arc::new(Schema::new(vec![
        Field::new("payload", payload, true),
        Field::new("x.y", DataType::Int64, true),
        Field::new("attributes", map, true),
        Field::new("n", DataType::Int64, true),
        Field::new("raw", DataType::Binary, true),
    ]))
}

/// What is read of them: by path.
fn batch() -> RecordBatch {
    let tags =
        ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(3), None, Some(5)]), Some(vec![]), None]);
    let mut attributes = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for keys in [&["a", "b"][..], &[]] {
        for (value, key) in (1..).zip(keys) {
            attributes.keys().append_value(key);
            attributes.values().append_value(value);
        }
        attributes.append(true).unwrap();
    }
    attributes.append(false).unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 9]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["p", "q", "r"]));
    let items = of(vec![("id", ids), ("a.b", names)], None);
    let item = Arc::new(Field::new("item", items.data_type().clone(), true));
    let lengths = arrow::buffer::OffsetBuffer::from_lengths([2, 1, 0]);
    let columns: [(&str, ArrayRef); 8] = [
        ("payload.user.id", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("payload.user.\"a.b\"", Arc::new(StringArray::from(vec!["u", "v", "w"]))),
        ("payload.tags", Arc::new(tags)),
        ("payload.items", Arc::new(ListArray::new(item, lengths, items, None))),
        ("\"x.y\"", Arc::new(Int64Array::from(vec![10, 20, 30]))),
        ("attributes", Arc::new(attributes.finish())),
        ("n", Arc::new(Int64Array::from(vec![Some(1), Some(-1), None]))),
        ("raw", Arc::new(BinaryArray::from(vec![&b"ab"[..], b"\xff", b"AB"]))),
    ];
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn paths_lists_and_maps() {
    let id = "payload.user.id";
    let rows: &[(&str, &[&str], &str)] = &[
        ("payload.user.id", &[id], "1 | null | 3"),
        (
            "payload['user'].id + 1",
            &[],
            "error 0: behind brackets a field is written in brackets, as in items[1]['price']",
        ),
        ("payload.user['id'] + 1", &[id], "2 | null | 4"),
        ("payload['user']['id'] IS NULL", &[id], "false | true | false"),
        ("get_field(payload, 'user', 'id')", &[id], "1 | null | 3"),
        ("get_field(payload.user, 'id')", &[id], "1 | null | 3"),
        ("payload.user.\"a.b\" || '!'", &["payload.user.\"a.b\""], "u! | v! | w!"),
        ("\"x.y\" + payload.user.id + n", &["\"x.y\"", id, "n"], "12 | null | null"),
        ("payload.tags[1]", &["payload.tags"], "3 | null | null"),
        ("payload.tags[n]", &["payload.tags", "n"], "3 | null | null"),
        ("array_element(payload.tags, -1)", &["payload.tags"], "5 | null | null"),
        ("payload.tags[4]", &["payload.tags"], "null | null | null"),
        ("array_length(payload.tags)", &["payload.tags"], "3 | 0 | null"),
        ("array_length(payload.tags) - 1 > n", &["payload.tags", "n"], "true | false | null"),
        ("array_contains(payload.tags, 5)", &["payload.tags"], "true | false | null"),
        ("array_contains(payload.tags, n + 2)", &["payload.tags", "n"], "true | false | null"),
        ("array_max(payload.tags)", &["payload.tags"], "5 | null | null"),
        ("array_min(payload.tags) + 1", &["payload.tags"], "4 | null | null"),
        ("array_position(payload.tags, 5)", &["payload.tags"], "3 | null | null"),
        ("payload.items[1]['id']", &["payload.items"], "7 | 9 | null"),
        ("payload.items[2]['a.b']", &["payload.items"], "q | null | null"),
        ("array_length(payload.items)", &["payload.items"], "2 | 1 | 0"),
        ("attributes['b']", &["attributes"], "2 | null | null"),
        ("attributes.a", &["attributes"], "1 | null | null"),
        ("coalesce(attributes['z'], n)", &["attributes", "n"], "1 | -1 | null"),
        ("raw", &["raw"], "ab | ! | AB"),
        ("lower(raw)", &["raw"], "ab | ! | ab"),
        ("raw = 'ab'", &["raw"], "true | false | false"),
        ("encode(raw, 'hex')", &["raw"], "6162 | ff | 4142"),
        ("payload.usr.id", &[], "error 0: `payload.usr.id`: `payload` has no field `usr`, did you mean `user`?"),
        (
            "payload.x",
            &[],
            "error 0: `payload.x`: `payload` has no field `x`; there are `user`, `raw`, `tags`, `items`",
        ),
        ("payload.user.idd", &[], "error 0: `payload.user.idd`: `payload.user` has no field `idd`, did you mean `id`?"),
        (
            "1 + payload.user.id.x",
            &[],
            "error 4: `payload.user.id.x`: `payload.user.id` is of type Int64, and has no fields",
        ),
        ("x.y", &[], "error 0: `x.y`: the column is written \"x.y\""),
        ("paylod.user", &[], "error 0: `paylod.user`: unknown column `paylod`, did you mean `payload`?"),
        ("user", &[], "error 0: unknown column `user`, did you mean `payload.user`?"),
        ("payload.tags", &[], "error -: an expression of type List(Int64) is not supported"),
        ("n['x']", &[], "error 0: `n.x`: `n` is of type Int64, and has no fields"),
    ];
    for (sql, columns, expected) in rows {
        match Expression::compile(sql, &source()) {
            Ok(expression) => {
                assert_eq!(expression.columns(), *columns, "{sql}");
                assert_eq!(shown(&expression.evaluate(&batch(), &|_| None)).join(" | "), *expected, "{sql}");
                for row in 0..3 {
                    let alone = shown(&expression.evaluate(&batch().slice(row, 1), &|_| None));
                    assert_eq!(alone[0], expected.split(" | ").nth(row).unwrap(), "{sql}, row {row} alone");
                }
            }
            Err(e) => {
                let at = e.offset.map_or("-".to_owned(), |at| at.to_string());
                assert_eq!(format!("error {at}: {e}"), *expected, "{sql}");
            }
        }
    }
}

#[test]
fn what_does_not_decode_fails_what_names_it() {
    let undecoded = |name: &str| (name == "payload.user.id").then(|| BooleanBuffer::from(vec![false, true, false]));
    for (sql, expected) in [
        ("payload.user.id", "1 | ! | 3"),
        ("payload.user.id IS NULL", "false | ! | false"),
        ("payload.user.\"a.b\"", "u | v | w"),
    ] {
        let expression = Expression::compile(sql, &source()).unwrap();
        assert_eq!(shown(&expression.evaluate(&batch(), &undecoded)).join(" | "), expected, "{sql}");
    }
}

#[test]
fn a_column_by_its_path() {
    for (path, expected) in [
        (&["payload", "user", "id"][..], Ok("payload.user.id")),
        (&["x.y"], Ok("\"x.y\"")),
        (&["payload", "user", "a.b"], Ok("payload.user.\"a.b\"")),
        (&["nothing"], Err("unknown column `nothing`; there are `payload`, `x.y`, `attributes`, `n`, `raw`")),
    ] {
        let column = Expression::column(path, &source());
        let is_column = column.as_ref().map(Expression::is_column).map_err(|e| e.message.as_str());
        assert_eq!(is_column, expected.map(|_| true));
        assert_eq!(column.as_ref().map(|column| column.columns()[0].as_str()).ok(), expected.ok());
    }
    assert!(!Expression::column(&["raw"], &source()).unwrap().is_column());
}
