//! SQL expressions: refused, or values for a few events; row by row the same.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute::take_record_batch;
use headwater_expression::{Expression, bytes_of};

use super::Target;

pub(super) struct Expressions;

impl Target for Expressions {
    fn name(&self) -> &'static str {
        "expression"
    }

    fn samples(&self) -> Vec<Vec<u8>> {
        let examples = [
            "CASE WHEN status = 'approved' THEN amount * qty END",
            "coalesce(amount, 0) + qty % 7 - abs(-qty)",
            "CAST(code AS BIGINT) > 1 AND length(status) BETWEEN 1 AND 9 OR ok IS NOT TRUE",
            "lpad(code, qty, status) || repeat(status, 3)",
            "repeat(status, 300000) || rpad(code, 900000, 'ab')",
            "date_trunc('hour', ts) + INTERVAL '1 day' > TIMESTAMP '2026-01-01T00:00:00Z'",
            "regexp_replace(status, '([a-z])(.)', '$2\\1', 'g') LIKE '%a_b'",
            "round(price / 3, 2) IN (1.5, price) AND substr(code, 2, qty) <> upper(status)",
            "extract(epoch FROM ts) + date_part('dow', ts)",
        ];
        examples.iter().map(|example| example.as_bytes().to_vec()).collect()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "qty",
            "amount",
            "code",
            "status",
            "ts",
            "price",
            "ok",
            "NULL",
            "9223372036854775807",
            "-1",
            "1e300",
            "'é'",
            "(",
            ")",
            ",",
            " AND ",
            " / ",
            " << ",
            "CAST(",
            " AS DECIMAL(38, 10))",
            "repeat(",
            "replace(",
            "to_char(",
            "translate(",
            "split_part(",
            "to_timestamp(",
            "power(",
            "factorial(",
            "date_bin(",
            "INTERVAL '1 month'",
            "[",
            "{",
            "::",
            "CASE WHEN ",
            " END",
        ]
    }

    fn read(&self, input: &[u8]) {
        let batch = events();
        let text = String::from_utf8_lossy(input);
        let expression = match Expression::compile(&text, &batch.schema()) {
            Ok(expression) => expression,
            Err(e) => return assert!(e.offset.is_none_or(|at| text.is_char_boundary(at)), "{e:?}"),
        };
        let all = expression.evaluate(&batch, &|_| None);
        // Where there is little room, it is the same or nothing.
        if let Some(some) = expression.evaluate_within(&batch, &|_| None, 1 << 20) {
            assert_eq!((&some.values, &some.failed), (&all.values, &all.failed), "{text}");
            assert!(bytes_of(&some.values) <= 1 << 20, "{text}");
        }
        for row in 0..batch.num_rows() {
            let event = take_record_batch(&batch, &UInt32Array::from(vec![row as u32])).unwrap();
            let alone = expression.evaluate(&event, &|_| None);
            let failed = all.failed.as_ref().is_some_and(|failed| failed.value(row));
            assert_eq!(failed, alone.failed.is_some_and(|failed| failed.value(0)), "row {row} of {text}");
            assert_eq!(&all.values.slice(row, 1), &alone.values, "row {row} of {text}");
        }
    }
}

fn events() -> RecordBatch {
    let times = vec![Some(0), None, Some(-1), Some(1_767_264_300_500_000), Some(i64::MAX)];
    RecordBatch::try_from_iter([
        ("qty", Arc::new(Int64Array::from(vec![Some(0), Some(3), None, Some(i64::MIN), Some(i64::MAX)])) as ArrayRef),
        ("amount", Arc::new(Float64Array::from(vec![Some(0.5), Some(-1.0), Some(f64::NAN), Some(1e300), None]))),
        ("code", Arc::new(StringArray::from(vec![Some("1"), Some("x("), Some(""), None, Some("2026-01-01")]))),
        ("status", Arc::new(StringArray::from(vec![Some("é"), Some("day"), Some("%Y"), Some("a,b"), None]))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("price", Arc::new(Decimal128Array::from(vec![Some(1), Some(-250), None, Some(0), Some(10i128.pow(37))]))),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false)]))),
    ])
    .unwrap()
}
