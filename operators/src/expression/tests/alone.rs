//! An event's outcome is its own: a batch gives row by row what each row gives alone, however the batch is cut.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::array::{Decimal128Array, TimestampMicrosecondArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::super::Expression;
use super::table::{rows, shown};

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.choose(rng).unwrap()
}

/// Half of what it makes may fail on some events.
fn number(rng: &mut StdRng, depth: usize) -> String {
    if depth == 0 {
        return pick(rng, &["qty", "n", "qty", "CAST(code AS BIGINT)", "0", "1", "3", "NULL", "length(code)"])
            .to_owned();
    }
    let (a, b, c) = (number(rng, depth - 1), number(rng, depth - 1), condition(rng, depth - 1));
    match rng.random_range(0..12) {
        0 => format!("({a} / {b})"),
        1 => format!("({a} % {b})"),
        2 => format!("({a} + {b})"),
        3 => format!("({a} * {b})"),
        4 => format!("abs({a})"),
        5 => format!("coalesce({a}, {b})"),
        6 => format!("CASE WHEN {c} THEN {a} END"),
        7 => format!("CASE WHEN {c} THEN {a} ELSE {b} END"),
        8 => format!("CASE {a} WHEN {b} THEN 1 WHEN 2 THEN {a} ELSE {b} END"),
        9 => format!("nullif({a}, {b})"),
        10 => format!("CAST(substr(code, {a}) AS BIGINT)"),
        _ => format!("CASE WHEN {c} THEN {a} WHEN {a} = {b} THEN 1 / 0 ELSE {b} END"),
    }
}

fn condition(rng: &mut StdRng, depth: usize) -> String {
    if depth == 0 {
        return pick(rng, &["ok", "NOT ok", "qty > 1", "n = 0", "code = '1'", "amount > 0", "qty IS NULL", "rare"])
            .to_owned();
    }
    let (a, b, c, d) =
        (number(rng, depth - 1), number(rng, depth - 1), condition(rng, depth - 1), condition(rng, depth - 1));
    match rng.random_range(0..11) {
        0 => format!("({c} AND {d})"),
        1 => format!("({c} OR {d})"),
        2 => format!("(({c} AND {d}) OR {a} < {b})"),
        3 => format!("(rare AND {c})"),
        4 => format!("(NOT rare OR {c})"),
        5 => format!("NOT {c}"),
        6 => format!("{a} IN ({b}, 2, {a} + 1)"),
        7 => format!("{a} BETWEEN {b} AND 5"),
        8 => format!("({a} <= {b})"),
        9 => format!("({c}) IS NOT TRUE"),
        _ => format!("regexp_like(code, '^[0-9]') AND {a} > {b}"),
    }
}

/// With anything below the nulls: what stands there must not matter.
fn events(rng: &mut StdRng, rows: usize) -> RecordBatch {
    let nulls = |rng: &mut StdRng| {
        let share = *[0.0, 0.0, 0.2, 1.0].choose(rng).unwrap();
        Some(NullBuffer::from_iter((0..rows).map(|_| !rng.random_bool(share))))
    };
    let ints = |rng: &mut StdRng| {
        let values: Vec<i64> =
            (0..rows).map(|_| *[0, 0, 1, 2, 3, -1, i64::MAX, i64::MIN].choose(rng).unwrap()).collect();
        Int64Array::new(values.into(), nulls(rng))
    };
    let (qty, n) = (ints(rng), ints(rng));
    let code: Vec<&str> = (0..rows).map(|_| pick(rng, &["1", "2", "0", "x", "", "-7", "12", "1x"])).collect();
    let code = StringArray::from(code);
    let amount: Vec<f64> =
        (0..rows).map(|_| *[0.0, -0.0, 1.5, f64::NAN, f64::INFINITY, -2.0].choose(rng).unwrap()).collect();
    let ok = BooleanArray::new((0..rows).map(|_| rng.random_bool(0.5)).collect::<BooleanBuffer>(), nulls(rng));
    let rare = BooleanArray::from((0..rows).map(|_| rng.random_bool(0.1)).collect::<Vec<_>>());
    RecordBatch::try_from_iter([
        ("qty", Arc::new(qty) as _),
        ("n", Arc::new(n) as _),
        ("code", Arc::new(StringArray::new(code.offsets().clone(), code.values().clone(), nulls(rng))) as _),
        ("amount", Arc::new(Float64Array::new(amount.into(), nulls(rng))) as _),
        ("ok", Arc::new(ok) as _),
        ("rare", Arc::new(rare) as _),
    ])
    .unwrap()
}

fn cut_at_random(rng: &mut StdRng, expression: &Expression, batch: &RecordBatch) -> Vec<String> {
    let mut shown_rows = Vec::new();
    let mut from = 0;
    while from < batch.num_rows() {
        let rows = rng.random_range(1..=batch.num_rows() - from);
        shown_rows.extend(shown(&expression.evaluate(&batch.slice(from, rows), &|_| None)));
        from += rows;
    }
    shown_rows
}

fn alone(expression: &Expression, batch: &RecordBatch) -> Vec<String> {
    let row = |row| shown(&expression.evaluate(&batch.slice(row, 1), &|_| None)).remove(0);
    (0..batch.num_rows()).map(row).collect()
}

#[test]
fn random_expressions_on_random_events() {
    let (mut compiled, mut some_failed, mut some_passed) = (0, 0, 0);
    for seed in 0..1500 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let rows = *[1, 2, 7, 40].choose(rng).unwrap();
        let batch = events(rng, rows);
        let depth = rng.random_range(1..4);
        let sql = if rng.random_bool(0.5) { number(rng, depth) } else { condition(rng, depth) };
        let Ok(expression) = Expression::compile(&sql, &batch.schema()) else { continue };
        compiled += 1;
        let alone = alone(&expression, &batch);
        assert_eq!(shown(&expression.evaluate(&batch, &|_| None)), alone, "seed {seed}: {sql}");
        assert_eq!(cut_at_random(rng, &expression, &batch), alone, "seed {seed}, cut: {sql}");
        some_failed += usize::from(alone.iter().any(|row| row == "!"));
        some_passed += usize::from(alone.iter().any(|row| row != "!"));
    }
    assert!(compiled > 1000 && some_failed > 300 && some_passed > 700, "{compiled} {some_failed} {some_passed}");
}

/// Every function that may be called, with arguments of every type that it takes, from columns and from literals.
#[test]
fn every_function_on_every_column() {
    let rng = &mut StdRng::seed_from_u64(7);
    let batch = odd_events();
    let names: std::collections::BTreeSet<&str> = super::super::dialect::DIALECT.pure_names().collect();
    let arguments =
        ["qty", "amount", "code", "status", "ts", "price", "ok", "1", "'a'", "-2", "0.5", "'day'", "'%Y'", "NULL"];
    let mut called = std::collections::BTreeSet::new();
    for name in names {
        for _ in 0..120 {
            let args: Vec<&str> = (0..rng.random_range(0..4)).map(|_| pick(rng, &arguments)).collect();
            let sql = format!("{name}({})", args.join(", "));
            let Ok(expression) = Expression::compile(&sql, &batch.schema()) else { continue };
            called.insert(name);
            let alone = alone(&expression, &batch);
            assert_eq!(shown(&expression.evaluate(&batch, &|_| None)), alone, "{sql}");
            assert_eq!(cut_at_random(rng, &expression, &batch), alone, "cut: {sql}");
        }
    }
    assert!(called.len() > 100, "only {} functions: {called:?}", called.len());
}

fn odd_events() -> RecordBatch {
    let times = vec![Some(0), None, Some(-1), Some(1_767_264_300_500_000), Some(86_400_000_000)];
    RecordBatch::try_from_iter([
        ("qty", Arc::new(Int64Array::from(vec![Some(0), Some(3), None, Some(-2), Some(40)])) as _),
        ("amount", Arc::new(Float64Array::from(vec![Some(0.5), Some(-1.0), Some(f64::NAN), Some(1e300), None])) as _),
        ("code", Arc::new(StringArray::from(vec![Some("1"), Some("x("), Some(""), None, Some("2026-01-01")])) as _),
        ("status", Arc::new(StringArray::from(vec![Some("é"), Some("day"), Some("%Y"), Some("a,b"), None])) as _),
        ("ts", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) as _),
        ("price", Arc::new(Decimal128Array::from(vec![Some(1), Some(-250), None, Some(0), Some(99_999)])) as _),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false)])) as _),
    ])
    .unwrap()
}

/// A row fails with another's failing beside it, between and around it, and in batches of any size.
#[test]
fn a_failing_row_is_found_wherever_it_is() {
    let schema = rows().schema();
    let expression = Expression::compile("10 / qty", &schema).unwrap();
    for rows in 1..20 {
        for bad in 0..rows {
            let qty: Int64Array = (0..rows).map(|row| if row == bad { 0 } else { 5 }).collect();
            let batch = RecordBatch::try_from_iter([("qty", Arc::new(qty) as _)]).unwrap();
            let evaluated = expression.evaluate(&batch, &|_| None);
            let expected = (0..rows).map(|row| row == bad).collect::<BooleanBuffer>();
            assert_eq!(evaluated.failed, Some(expected));
            assert_eq!(evaluated.values.null_count(), 1);
        }
    }
}
