//! Fields that did not decode.

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use std::sync::Arc;

use super::super::Expression;
use super::table::shown;

fn batch() -> RecordBatch {
    RecordBatch::try_from_iter([
        ("qty", Arc::new(Int64Array::from(vec![Some(1), None, Some(3), None, Some(0)])) as _),
        ("code", Arc::new(StringArray::from(vec![Some("1"), Some("2"), None, None, Some("x")])) as _),
        ("other", Arc::new(Int64Array::from(vec![None; 5])) as _),
    ])
    .unwrap()
}

fn undecoded(column: &str) -> Option<BooleanBuffer> {
    match column {
        "qty" => Some(vec![false, true, false, true, false].into()),
        "code" => Some(vec![false, false, true, false, false].into()),
        "other" => Some(vec![true; 5].into()),
        _ => None,
    }
}

#[test]
fn a_row_fails_whose_named_field_did_not_decode() {
    for (sql, expected) in [
        ("qty", ["1", "!", "3", "!", "0"]),
        ("qty IS NULL", ["false", "!", "false", "!", "false"]),
        ("code", ["1", "2", "!", "null", "x"]),
        ("coalesce(qty, 7)", ["1", "!", "3", "!", "0"]),
        ("TRUE OR qty > 1", ["true", "!", "true", "!", "true"]),
        ("coalesce(code, CAST(qty AS VARCHAR))", ["1", "!", "!", "!", "x"]),
        // also where another row fails by itself
        ("10 / qty", ["10", "!", "3", "!", "!"]),
        ("CAST(code AS BIGINT)", ["1", "2", "!", "null", "!"]),
        ("CAST(code AS BIGINT) + qty", ["2", "!", "!", "!", "!"]),
        // and where the nulls that stand there would fail
        ("CASE WHEN qty IS NULL THEN 1 / 0 ELSE qty END", ["1", "!", "3", "!", "0"]),
        ("other", ["!", "!", "!", "!", "!"]),
        ("1 / other", ["!", "!", "!", "!", "!"]),
        ("CASE WHEN other IS NULL THEN 1 / 0 ELSE other END", ["!", "!", "!", "!", "!"]),
        ("7", ["7", "7", "7", "7", "7"]),
    ] {
        let evaluated = Expression::compile(sql, &batch().schema()).unwrap().evaluate(&batch(), &undecoded);
        assert_eq!(shown(&evaluated), expected, "{sql}");
        for row in evaluated.failed.iter().flat_map(|failed| failed.set_indices()) {
            assert!(evaluated.values.is_null(row), "{sql}: a value in a failed row");
        }
    }
}

#[test]
fn nothing_is_undecoded() {
    let expression = Expression::compile("qty + 1", &batch().schema()).unwrap();
    for none in [None, Some(BooleanBuffer::new_unset(5))] {
        let evaluated = expression.evaluate(&batch(), &|_| none.clone());
        assert_eq!(evaluated.failed, None);
        assert_eq!(shown(&evaluated), ["2", "null", "4", "null", "1"]);
    }
}

#[test]
fn an_empty_batch_gives_nothing() {
    for sql in ["qty", "10 / qty", "CASE WHEN qty = 0 THEN 1 / 0 ELSE qty END", "TRUE"] {
        let expression = Expression::compile(sql, &batch().schema()).unwrap();
        let evaluated = expression.evaluate(&batch().slice(0, 0), &|_| None);
        assert_eq!((evaluated.values.len(), evaluated.failed), (0, None), "{sql}");
        assert_eq!(evaluated.values.data_type(), expression.data_type(), "{sql}");
    }
}

#[test]
fn columns_are_found_by_name() {
    let expression = Expression::compile("CAST(code AS BIGINT) + qty", &batch().schema()).unwrap();
    let turned = batch().project(&[2, 1, 0]).unwrap();
    assert_eq!(shown(&expression.evaluate(&turned, &|_| None)), ["2", "null", "null", "null", "!"]);
}
