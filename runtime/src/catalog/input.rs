//! What a column aggregates: its `of`, at the events that pass its `where`.
//!
//! ```text
//! amount where ok        amount  ok       value
//!                        5       true     5
//!                        7       false    null     not looked at: it may fail, or not decode
//!                        9       failed   null     the event is the group's dead letter, and counts elsewhere
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, prep_null_mask_filter, take};
use arrow::datatypes::{DataType, SchemaRef};
use headwater_expression::{Evaluated, Expression};

use crate::base::fault::Faults;
use crate::job::validate::types;
use crate::job::{Column, Named};

/// The input of one column or of several. Without an `of` its value is true: that is what there is to count.
pub struct Input {
    filter: Option<Expression>,
    of: Option<Expression>,
}

impl Input {
    /// Of a column that has an input: an `of`, a `where`, or both. `None`: there are faults.
    pub fn compile(column: &Column, schema: &SchemaRef, faults: &mut Faults) -> Option<Input> {
        let filter = column.filter.as_ref().map(|text| condition(text, "where", schema, faults));
        let of = column.of.as_ref().map(|text| expression(text, schema, faults));
        let is_broken = matches!(filter, Some(None)) || matches!(of, Some(None));
        (!is_broken).then(|| Input { filter: filter.flatten(), of: of.flatten() })
    }

    /// Of its values.
    pub fn data_type(&self) -> &DataType {
        self.of.as_ref().map_or(&DataType::Boolean, Expression::data_type)
    }

    /// What it is made of.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.of.iter().chain(&self.filter)
    }

    /// The columns that it names.
    pub fn columns(&self) -> impl Iterator<Item = &String> {
        self.expressions().flat_map(Expression::columns)
    }

    /// Its values over a batch, as long as they have no more than so many bytes: see `Expression::evaluate_within`.
    pub fn evaluate_within(
        &self,
        batch: &RecordBatch,
        undecoded: &dyn Fn(&str) -> Option<BooleanBuffer>,
        bytes_max: usize,
    ) -> Option<Evaluated> {
        let Some(filter) = &self.filter else {
            let of = self.of.as_ref().expect("an input has an `of` or a `where`");
            return of.evaluate_within(batch, undecoded, bytes_max);
        };
        let Evaluated { values, failed } = filter.evaluate(batch, undecoded);
        let passes = match values.as_boolean() {
            values if values.null_count() > 0 => prep_null_mask_filter(values),
            values => values.clone(),
        };
        let Some(of) = &self.of else { return Some(Evaluated { values: trues(passes.values()), failed }) };
        let columns: Vec<usize> =
            of.columns().iter().filter_map(|name| batch.schema_ref().index_of(name).ok()).collect();
        let narrow = batch.project(&columns).expect("columns of its own");
        let narrow = filter_record_batch(&narrow, &passes).expect("as many of both");
        let undecoded = |name: &str| {
            let all = undecoded(name)?;
            Some(passes.values().set_indices().map(|row| all.value(row)).collect())
        };
        Some(spread(of.evaluate_within(&narrow, &undecoded, bytes_max)?, passes.values(), failed))
    }
}

/// SQL over the source's columns. `None`: there are faults.
pub fn expression(text: &Named, schema: &SchemaRef, faults: &mut Faults) -> Option<Expression> {
    Expression::compile(&text.text, schema).map_err(|e| faults.error(text.at, e.message)).ok()
}

/// A `where`, or another key that says which. `None`: there are faults.
pub fn condition(text: &Named, key: &str, schema: &SchemaRef, faults: &mut Faults) -> Option<Expression> {
    let condition = expression(text, schema, faults)?;
    if *condition.data_type() == DataType::Boolean {
        return Some(condition);
    }
    let found = types::display(condition.data_type());
    faults.error(text.at, format!("`{key}` must be true or false, this is a {found}"));
    None
}

/// True where it holds, null elsewhere.
fn trues(holds: &BooleanBuffer) -> ArrayRef {
    Arc::new(BooleanArray::new(holds.clone(), Some(holds.clone().into())))
}

/// What came of the rows that pass, in their places among all.
fn spread(inner: Evaluated, passes: &BooleanBuffer, outer: Option<BooleanBuffer>) -> Evaluated {
    let mut places = vec![None; passes.len()];
    (0..).zip(passes.set_indices()).for_each(|(place, row)| places[row] = Some(place));
    let inner_failed =
        inner.failed.map(|failed| places.iter().map(|place| place.is_some_and(|p| failed.value(p as usize))).collect());
    let failed = [outer, inner_failed].into_iter().flatten().reduce(|a, b| &a | &b);
    let values = take(&inner.values, &UInt32Array::from(places), None).expect("places of its own");
    Evaluated { values, failed }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::job;

    /// An input of the column, over rows (x, s), of which `s` of the last did not decode.
    #[track_caller]
    fn check(column: &str, expected: [Option<i64>; 5], expected_failed: &[usize]) {
        let text = format!(
            "name = \"j\"\n[sources.s]\nevent_time = \"x\"\nschema = {{ x = \"int64\", s = \"string\" }}\n\
             history = {{ type = \"jsonl\", path = \"*.jsonl\" }}\n\
             [features.f]\nsource = \"s\"\nkey = \"s\"\ncolumns.c = {{ {column}, window = \"all\" }}\n"
        );
        let (job, _) =
            job::parse::parse("job.toml", Path::new("/"), &text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
        let x: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(0), None, Some(4), Some(5)]));
        let s: ArrayRef = Arc::new(StringArray::from(vec![Some("1"), Some("2"), Some("x"), None, None]));
        let batch = RecordBatch::try_from_iter_with_nullable([("x", x, true), ("s", s, true)]).unwrap();
        let mut faults = Faults::new("job.toml");
        let column = &job.groups.iter().next().unwrap().columns[0];
        let input = Input::compile(column, &batch.schema(), &mut faults).unwrap_or_else(|| panic!("{faults}"));
        let undecoded = |name: &str| (name == "s").then(|| (0..5).map(|row| row == 4).collect());
        let Evaluated { values, failed } = input.evaluate_within(&batch, &undecoded, usize::MAX).unwrap();
        let found: Vec<Option<i64>> = match input.data_type() {
            DataType::Boolean => values.as_boolean().iter().map(|value| value.map(i64::from)).collect(),
            _ => values.as_primitive::<Int64Type>().iter().collect(),
        };
        assert_eq!(found, expected, "{text}");
        let failed: Vec<usize> = failed.iter().flat_map(BooleanBuffer::set_indices).collect();
        assert_eq!(failed, expected_failed, "{text}");
    }

    #[test]
    fn a_value_is_there_where_its_condition_holds() {
        check("agg = \"sum\", of = \"x\"", [Some(1), Some(0), None, Some(4), Some(5)], &[]);
        check("agg = \"sum\", of = \"x\", where = \"x > 0\"", [Some(1), None, None, Some(4), Some(5)], &[]);
        check("agg = \"count\", where = \"x > 0\"", [Some(1), None, None, Some(1), Some(1)], &[]);
        check("agg = \"sum\", of = \"1\", where = \"x > 0\"", [Some(1), None, None, Some(1), Some(1)], &[]);
        check("agg = \"count\", where = \"x is not null\"", [Some(1), Some(1), None, Some(1), Some(1)], &[]);
        // Only those that pass are looked at,
        check("agg = \"sum\", of = \"1 / x\"", [Some(1), None, None, Some(0), Some(0)], &[1]);
        check("agg = \"sum\", of = \"1 / x\", where = \"x <> 0\"", [Some(1), None, None, Some(0), Some(0)], &[]);
        // and where the condition fails, so does the column.
        check("agg = \"count\", where = \"1 / x > 0\"", [Some(1), None, None, None, None], &[1]);
        check("agg = \"count\", where = \"cast(s as bigint) > 0\"", [Some(1), Some(1), None, None, None], &[2, 4]);
        check("agg = \"sum\", of = \"x\", where = \"s <> '2'\"", [Some(1), None, None, None, None], &[4]);
        check("agg = \"sum\", of = \"cast(s as bigint)\", where = \"x > 3\"", [None; 5], &[4]);
        check("agg = \"count\", where = \"x > 9\"", [None; 5], &[]);
    }
}
