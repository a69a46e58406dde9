//! An event's outcome is its own: a batch gives row by row what each row gives alone, however the batch is cut.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::take_record_batch;
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
    let row = |row| shown(&expression.evaluate(&by_itself(batch, row), &|_| None)).remove(0);
    (0..batch.num_rows()).map(row).collect()
}

/// Not as a slice: there are functions that look at all that lies in memory.
fn by_itself(batch: &RecordBatch, row: usize) -> RecordBatch {
    take_record_batch(batch, &UInt32Array::from(vec![row as u32])).unwrap()
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

/// Every function that may be called, every operator and every cast, with arguments of every type that they take, from columns
/// and from literals.
#[test]
fn every_function_and_operator_on_every_column() {
    let rng = &mut StdRng::seed_from_u64(7);
    let names: Vec<&str> = super::super::dialect::DIALECT.pure_names().collect::<BTreeSet<_>>().into_iter().collect();
    let mut called = BTreeSet::new();
    for name in &names {
        for _ in 0..120 {
            let arguments: Vec<&str> = (0..rng.random_range(0..4)).map(|_| argument(rng)).collect();
            if is_the_same_cut(rng, &format!("{name}({})", arguments.join(", "))) {
                called.insert(*name);
            }
        }
    }
    assert!(called.len() > 100, "only {} functions: {called:?}", called.len());
    let operators = "+ - * / % = <> < <= > >= & | << >> || ~ ~* !~ !~* AND OR LIKE ILIKE";
    for operator in operators.split(' ').chain(["IS DISTINCT FROM", "IS NOT DISTINCT FROM", "SIMILAR TO", "NOT LIKE"]) {
        let sql = |rng: &mut StdRng| format!("{} {operator} {}", argument(rng), argument(rng));
        let compiled = (0..1000).filter(|_| {
            let sql = sql(rng);
            is_the_same_cut(rng, &sql)
        });
        assert!(compiled.count() > 0, "{operator}");
    }
    let types = "BOOLEAN TINYINT SMALLINT INT BIGINT INT_UNSIGNED BIGINT_UNSIGNED REAL DOUBLE DECIMAL(9,3) VARCHAR DATE TIMESTAMP";
    for data_type in types.split(' ').map(|name| name.replace('_', " ")) {
        for column in COLUMNS.split(' ') {
            for sql in [format!("CAST({column} AS {data_type})"), format!("TRY_CAST({column} AS {data_type})")] {
                is_the_same_cut(rng, &sql);
            }
        }
    }
    for prefix in ["-", "- -", "NOT "] {
        COLUMNS.split(' ').for_each(|column| _ = is_the_same_cut(rng, &format!("{prefix}{column}")));
    }
}

const COLUMNS: &str = "i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 text code bytes ts day price wide ok list words";

fn argument<'a>(rng: &mut StdRng) -> &'a str {
    let literals = "1 'a' -2 0.5 'day' '%Y' '[a-z]+' 'g' NULL 300000 INTERVAL_'1_day' TRUE";
    let all: Vec<&str> = COLUMNS.split(' ').chain(literals.split(' ')).collect();
    match *all.choose(rng).unwrap() {
        "INTERVAL_'1_day'" => "INTERVAL '1 day'",
        one => one,
    }
}

/// Whether it compiles; on random events of every type it then gives, however they are cut, what they give by themselves.
fn is_the_same_cut(rng: &mut StdRng, sql: &str) -> bool {
    let batch = all_types(rng);
    let Ok(expression) = Expression::compile(sql, &batch.schema()) else { return false };
    let alone = alone(&expression, &batch);
    assert_eq!(shown(&expression.evaluate(&batch, &|_| None)), alone, "{sql} on {batch:?}");
    assert_eq!(cut_at_random(rng, &expression, &batch), alone, "cut: {sql} on {batch:?}");
    true
}

fn all_types(rng: &mut StdRng) -> RecordBatch {
    const ROWS: usize = 5;
    /// Some of these, or null.
    fn some<T: Copy>(rng: &mut StdRng, from: &[T]) -> Vec<Option<T>> {
        (0..ROWS).map(|_| from.choose(rng).copied().filter(|_| rng.random_bool(0.85))).collect()
    }
    macro_rules! integers {
        ($rng:ident, $native:ident, $array:ident) => {
            Arc::new($array::from(some($rng, &[0, 1, 2, 7, $native::MIN, $native::MAX, $native::MAX / 2]))) as ArrayRef
        };
    }
    let micros = [0, -1, 1_767_264_300_500_000, 86_400_000_000, i64::MAX, i64::MIN];
    let decimals = [0, 1, -250, 99_999, 10i128.pow(37)];
    let columns: Vec<ArrayRef> = vec![
        integers!(rng, i8, Int8Array),
        integers!(rng, i16, Int16Array),
        integers!(rng, i32, Int32Array),
        integers!(rng, i64, Int64Array),
        integers!(rng, u8, UInt8Array),
        integers!(rng, u16, UInt16Array),
        integers!(rng, u32, UInt32Array),
        integers!(rng, u64, UInt64Array),
        Arc::new(Float32Array::from(some(rng, &[0.0, -0.5, 1e30, f32::NAN, f32::INFINITY]))),
        Arc::new(Float64Array::from(some(rng, &[0.5, -1.0, 0.0, 1e300, f64::NAN, f64::NEG_INFINITY]))),
        Arc::new(StringArray::from(some(rng, &["é", "day", "%Y", "a,b", "", "x(", "2026-01-01"]))),
        Arc::new(StringArray::from(some(rng, &["1", "-7", "0", "99999999999999999999", "x", "1e3"]))),
        Arc::new(BinaryArray::from(some::<&[u8]>(rng, &[b"text", b"", b"1", &[0xff, 0xfe]]))),
        Arc::new(TimestampMicrosecondArray::from(some(rng, &micros)).with_timezone("UTC")),
        Arc::new(Date32Array::from(some(rng, &[0, -1, 20_454, i32::MAX, i32::MIN]))),
        Arc::new(Decimal128Array::from(some(rng, &decimals[..4])).with_precision_and_scale(12, 2).unwrap()),
        Arc::new(Decimal128Array::from(some(rng, &decimals)).with_precision_and_scale(38, 1).unwrap()),
        Arc::new(BooleanArray::from(some(rng, &[true, false]))),
        Arc::new(numbers(rng, ROWS)),
        Arc::new(words(rng, ROWS)),
    ];
    RecordBatch::try_from_iter_with_nullable(COLUMNS.split(' ').zip(columns).map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn numbers(rng: &mut StdRng, rows: usize) -> ListArray {
    let mut lists = ListBuilder::new(Int64Builder::new());
    for _ in 0..rows {
        (0..rng.random_range(0..4)).for_each(|_| {
            lists.values().append_option([Some(0), Some(7), Some(i64::MIN), None].choose(rng).copied().flatten());
        });
        lists.append(rng.random_bool(0.8));
    }
    lists.finish()
}

fn words(rng: &mut StdRng, rows: usize) -> ListArray {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for _ in 0..rows {
        (0..rng.random_range(0..4)).for_each(|_| {
            lists.values().append_option([Some("a"), Some("é"), Some(""), None].choose(rng).copied().flatten());
        });
        lists.append(rng.random_bool(0.8));
    }
    lists.finish()
}

/// Against exact arithmetic: every integer type, at its ends.
#[test]
fn integers_never_wrap() {
    let ends: [(&str, i128, i128); 8] = [
        ("TINYINT", i8::MIN.into(), i8::MAX.into()),
        ("SMALLINT", i16::MIN.into(), i16::MAX.into()),
        ("INT", i32::MIN.into(), i32::MAX.into()),
        ("BIGINT", i64::MIN.into(), i64::MAX.into()),
        ("TINYINT UNSIGNED", 0, u8::MAX.into()),
        ("SMALLINT UNSIGNED", 0, u16::MAX.into()),
        ("INT UNSIGNED", 0, u32::MAX.into()),
        ("BIGINT UNSIGNED", 0, u64::MAX.into()),
    ];
    for (data_type, least, greatest) in ends {
        let values = [least, least + 1, -1, 0, 1, 2, greatest / 2, greatest / 2 + 1, greatest - 1, greatest];
        let values: Vec<i128> = values.into_iter().filter(|value| (least..=greatest).contains(value)).collect();
        let pairs: Vec<(i128, i128)> = values.iter().flat_map(|a| values.iter().map(|b| (*a, *b))).collect();
        let column = |of: fn(&(i128, i128)) -> i128| -> ArrayRef {
            Arc::new(pairs.iter().map(|pair| Some(of(pair).to_string())).collect::<StringArray>())
        };
        let batch = RecordBatch::try_from_iter([("a", column(|pair| pair.0)), ("b", column(|pair| pair.1))]).unwrap();
        let (a, b) = (format!("CAST(a AS {data_type})"), format!("CAST(b AS {data_type})"));
        type Exact = fn(i128, i128) -> Option<i128>;
        let operations: [(String, Exact); 9] = [
            (format!("{a} + {b}"), |a, b| a.checked_add(b)),
            (format!("{a} - {b}"), |a, b| a.checked_sub(b)),
            (format!("{a} * {b}"), |a, b| a.checked_mul(b)),
            (format!("{a} / {b}"), |a, b| a.checked_div(b)),
            (format!("{a} % {b}"), |a, b| a.checked_rem(b)),
            (format!("{a} << {b}"), |a, b| a.checked_mul(2i128.pow(u32::try_from(b.min(126)).ok()?))),
            (format!("{a} >> {b}"), |a, b| Some(a >> u32::try_from(b.min(127)).ok()?)),
            (format!("-{a}"), |a, _| Some(-a)),
            (format!("abs({a})"), |a, _| Some(a.abs())),
        ];
        for (sql, exact) in operations {
            let expression = match Expression::compile(&sql, &batch.schema()) {
                Ok(expression) => expression,
                Err(error) => {
                    assert!(sql.starts_with('-') && least == 0, "{sql}: {error}");
                    continue;
                }
            };
            // A function keeps the type of what it is given, arithmetic has 64 bits.
            let keeps = sql.starts_with("abs") || data_type == "BIGINT UNSIGNED";
            let (least, greatest) = if keeps { (least, greatest) } else { (i64::MIN.into(), i64::MAX.into()) };
            let fits = |value: &i128| (least..=greatest).contains(value);
            let expected = pairs.iter().map(|(a, b)| exact(*a, *b).filter(fits).map_or("!".into(), |x| x.to_string()));
            let got = shown(&expression.evaluate(&batch, &|_| None));
            assert_eq!(got, expected.collect::<Vec<String>>(), "{sql} of {pairs:?}");
        }
    }
}

/// A cast of bytes to text looks at all bytes that lie below a slice.
#[test]
fn bytes_that_are_no_text_fail_alone() {
    let bytes = BinaryArray::from_iter([Some(&b"ann"[..]), Some(b"bob"), Some(&[0xff]), None, Some(b"eve")]);
    let batch = RecordBatch::try_from_iter([("brand", Arc::new(bytes) as ArrayRef)]).unwrap();
    let expression = Expression::compile("CAST(brand AS VARCHAR)", &batch.schema()).unwrap();
    let expected = ["ann", "bob", "!", "null", "eve"];
    assert_eq!(shown(&expression.evaluate(&batch, &|_| None)), expected);
    for (row, expected) in expected.iter().enumerate() {
        assert_eq!(shown(&expression.evaluate(&batch.slice(row, 1), &|_| None)), [*expected]);
    }
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
