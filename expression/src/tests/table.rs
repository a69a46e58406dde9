//! Every line of `cases.txt`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::super::{Evaluated, Expression, path};

const CASES: &str = include_str!("../cases.txt");

fn data_type(name: &str) -> DataType {
    match name {
        "float64" => DataType::Float64,
        "float32" => DataType::Float32,
        "int64" => DataType::Int64,
        "i32" => DataType::Int32,
        "decimal" => DataType::Decimal128(12, 2),
        "text" => DataType::Utf8,
        "bool" => DataType::Boolean,
        "time" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "date" => DataType::Date32,
        other => panic!("no type {other}"),
    }
}

/// The table at the head of the cases: names, types, rows.
pub(super) fn rows() -> RecordBatch {
    let table = CASES.lines().skip_while(|line| !line.contains('|')).take_while(|line| line.contains('|'));
    let cells: Vec<Vec<&str>> = table.map(|line| line.split('|').map(str::trim).collect()).collect();
    RecordBatch::try_from_iter(cells[0].iter().enumerate().map(|(at, name)| {
        let texts: StringArray = cells[2..].iter().map(|row| (row[at] != "null").then_some(row[at])).collect();
        (*name, cast(&texts, &data_type(cells[1][at])).unwrap())
    }))
    .unwrap()
}

pub(super) fn shown(evaluated: &Evaluated) -> Vec<String> {
    let formatter = ArrayFormatter::try_new(&evaluated.values, &FormatOptions::new().with_null("null")).unwrap();
    let failed = |row| evaluated.failed.as_ref().is_some_and(|failed| failed.value(row));
    let show = |row| match formatter.value(row).to_string() {
        _ if failed(row) => "!".to_owned(),
        empty if empty.is_empty() => "''".to_owned(),
        text => text,
    };
    (0..evaluated.values.len()).map(show).collect()
}

/// As records have their columns: by path.
fn by_path(rows: &RecordBatch) -> RecordBatch {
    let fields = rows.schema_ref().fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_name(path::text(&[field.name()])));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, rows.columns().to_vec()).unwrap()
}

fn outcome(sql: &str, rows: &RecordBatch) -> String {
    match Expression::compile(sql, &rows.schema()) {
        Ok(expression) => {
            let evaluated = expression.evaluate(&by_path(rows), &|_| None);
            assert_eq!(evaluated.values.data_type(), expression.data_type(), "{sql}");
            let nulls = evaluated.values.nulls().cloned();
            let failed = evaluated.failed.clone();
            for row in failed.iter().flat_map(|failed| failed.set_indices()) {
                assert!(nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)), "{sql}: a value in a failed row");
            }
            format!("{}: {}", expression.data_type(), shown(&evaluated).join(" | "))
        }
        Err(error) => {
            assert!(error.offset.is_none_or(|at| sql.is_char_boundary(at)), "{sql}: {error:?}");
            format!("error {}: {error}", error.offset.map_or("-".to_owned(), |at| at.to_string()))
        }
    }
}

/// Sections of cases, each an expression (which may go on in indented lines) and its outcome after `=>`.
#[test]
fn cases() {
    let rows = rows();
    let mut told = String::new();
    let mut wrong = 0;
    let body = CASES.split_once("\n\n# ---").unwrap().1;
    for case in body.lines().skip(1).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (sql, expected) = case.rsplit_once("  =>  ").unwrap_or((case, ""));
        let sql = sql.replace("\\n", "\n");
        let got = outcome(&sql, &rows);
        if got != expected {
            wrong += 1;
            told += &format!("{}  =>  {got}\n", sql.replace('\n', "\\n"));
        }
    }
    assert_eq!(wrong, 0, "what these give:\n{told}");
}

#[test]
fn normal_values_are_one_bit_pattern() {
    let odd: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![
        f64::from_bits(0xfff8_0000_0000_0001),
        f64::from_bits(0x7ff0_0000_0000_0001),
        -0.0,
        -1.0,
    ]));
    let batch = RecordBatch::try_from_iter([("x", odd)]).unwrap();
    for sql in ["x", "x + 0", "-(-x)", "CASE WHEN x IS NOT NULL THEN x END", "-1 * (x - x)"] {
        let values = Expression::compile(sql, &batch.schema()).unwrap().evaluate(&batch, &|_| None).values;
        let floats = arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>(&values);
        for x in floats.values() {
            let bits = if x.is_nan() { f64::NAN.to_bits() } else { (x + 0.0).to_bits() };
            assert_eq!(x.to_bits(), bits, "{sql}: {x}");
        }
    }
}

#[test]
fn columns_are_those_named_whatever_is_looked_at() {
    let schema = rows().schema();
    for (sql, columns) in [
        ("qty", &["qty"][..]),
        ("userId + qty * userId", &["userId", "qty"]),
        ("FALSE AND qty > 0", &["qty"]),
        ("coalesce(1, amount)", &["amount"]),
        ("CASE qty WHEN 1 THEN amount ELSE price END", &["qty", "amount", "price"]),
        ("CASE WHEN ok THEN user ELSE status END", &["ok", "user", "status"]),
        ("n32 BETWEEN qty AND userId", &["n32", "qty", "userId"]),
        ("position(user IN status)", &["user", "status"]),
        ("\"a.b\" IN (1, qty)", &["\"a.b\"", "qty"]),
        ("TRUE", &[]),
    ] {
        assert_eq!(Expression::compile(sql, &schema).unwrap().columns(), columns, "{sql}");
    }
}

#[test]
fn a_plain_column_is_shared() {
    let rows = rows();
    for expression in [
        Expression::column(&["userId"], &rows.schema()).unwrap(),
        Expression::compile("\"userId\"", &rows.schema()).unwrap(),
        Expression::compile("(userId)", &rows.schema()).unwrap(),
    ] {
        let values = expression.evaluate(&rows, &|_| None).values;
        assert!(Arc::ptr_eq(&values, rows.column_by_name("userId").unwrap()));
    }
    let error = Expression::column(&["user_id"], &rows.schema()).unwrap_err();
    assert_eq!(error.to_string(), "unknown column `user_id`, did you mean `userId`?");
}

#[test]
fn workers_share_expressions() {
    fn shared<T: Clone + Send + Sync>() {}
    shared::<Expression>();
}

/// A test's thread has a stack of 2 MiB, as a worker's.
#[test]
fn a_deep_expression_is_refused_before_it_overflows_a_stack() {
    let rows = rows();
    let chain = |terms: usize| vec!["qty = 1"; terms].join(" OR ");
    let evaluated = Expression::compile(&chain(150), &rows.schema()).unwrap().evaluate(&rows, &|_| None);
    assert_eq!(shown(&evaluated), ["false", "false", "false", "null", "false"]);
    for deep in [chain(250), chain(1600), format!("{}1{}", "(".repeat(5000), ")".repeat(5000)), "-".repeat(9000)] {
        assert!(Expression::compile(&deep, &rows.schema()).is_err());
    }
    let error = Expression::compile(&chain(5000), &rows.schema()).unwrap_err();
    assert_eq!(error.to_string(), "the expression is longer than 16384 bytes");
}
