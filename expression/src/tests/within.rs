//! Values that are many times what they are made from: as many of them as there is room for.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;

use super::super::{Expression, bytes_of};

const ROWS: usize = 300;

/// Of every seventh row the length is none.
fn batch() -> RecordBatch {
    let lengths = (0..ROWS as i64).map(|row| if row % 7 == 3 { 2 << 20 } else { 500_000 + row });
    RecordBatch::try_from_iter([
        ("k", Arc::new(StringArray::from(vec!["a"; ROWS])) as _),
        ("n", Arc::new(Int64Array::from_iter_values(lengths)) as _),
    ])
    .unwrap()
}

fn compiled(sql: &str) -> Expression {
    Expression::compile(sql, &batch().schema()).unwrap()
}

fn undecoded(column: &str) -> Option<BooleanBuffer> {
    (column == "k").then(|| (0..ROWS).map(|row| row == 5).collect())
}

#[test]
fn more_than_there_is_room_for_is_not_made() {
    for sql in ["repeat(k, n)", "lpad(k, n)", "k || repeat(k, 500000)"] {
        let expression = compiled(sql);
        assert!(expression.evaluate_within(&batch(), &|_| None, 8 << 20).is_none(), "{sql}");
        assert!(expression.evaluate_within(&batch(), &undecoded, 8 << 20).is_none(), "{sql}");
        let few = expression.evaluate_within(&batch().slice(0, 10), &|_| None, 8 << 20).unwrap();
        assert!(bytes_of(&few.values) > 4 << 20 && bytes_of(&few.values) <= 8 << 20, "{sql}");
        let one = expression.evaluate_within(&batch().slice(0, 1), &|_| None, 1).unwrap();
        assert_eq!(one.values.as_string::<i32>().value(0), few.values.as_string::<i32>().value(0), "{sql}");
    }
    assert!(compiled("length(k) + n").evaluate_within(&batch(), &|_| None, 8 << 20).is_some());
}

#[test]
fn who_has_no_fewer_rows_gets_what_there_is_room_for() {
    let expression = compiled("repeat(k, n)");
    for undecoded in [undecoded as fn(&str) -> Option<BooleanBuffer>, |_| None] {
        let (some, is_whole) = expression.evaluate_some(&batch(), &undecoded, 8 << 20);
        assert!(!is_whole && some.values.len() == ROWS);
        assert!(some.failed.unwrap().value(ROWS - 1), "the last is past it");
        assert!(bytes_of(&some.values) <= 9 << 20);
        let (all, is_whole) = expression.evaluate_some(&batch(), &undecoded, usize::MAX);
        let failed = all.failed.unwrap();
        let expected = |row: usize| row % 7 == 3 || (row == 5 && undecoded("k").is_some());
        assert!(is_whole && (0..ROWS).all(|row| failed.value(row) == expected(row)));
    }
}
