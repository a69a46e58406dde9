//! Derived columns: SQL over the row's own key and columns, evaluated on the row.
//!
//! ```text
//! tx_1h  tx_30d  ratio = tx_1h * 1.0 / nullif(tx_30d, 0)
//! 3      60      0.05
//! 0      0       null
//! ```
//!
//! Nothing of it is state: a row and its retraction have the same derived values, whoever asks and however often.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Int8Type, Schema, SchemaRef};
use headwater_expression::{Expression, in_parts};
use headwater_operators::value::Kind;

use super::input::expression;
use crate::base::fault::Faults;
use crate::job::Derived;
use crate::job::validate::types;

/// A group's derived columns, in their order.
#[derive(Default)]
pub struct DerivedColumns {
    columns: Vec<(String, Expression)>,
}

impl DerivedColumns {
    /// `row`: the key and the columns that they may name. `None`: there are faults.
    pub fn compile(derived: &[Derived], row: &[(String, DataType)], faults: &mut Faults) -> Option<DerivedColumns> {
        let fields: Vec<Field> = row.iter().map(|(name, of)| Field::new(name, of.clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let columns: Vec<_> = derived.iter().map(|column| compile_one(column, &schema, faults)).collect();
        Some(DerivedColumns { columns: columns.into_iter().collect::<Option<_>>()? })
    }

    /// Their names and types.
    pub fn fields(&self) -> impl Iterator<Item = (String, DataType)> {
        self.columns.iter().map(|(name, expression)| (name.clone(), expression.data_type().clone()))
    }

    /// The columns that one of them names.
    pub fn named(&self, index: usize) -> &[String] {
        self.columns[index].1.columns()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Their values over rows, at most `ROWS_MAX`, with the key and the columns; and the rows that have a null since one of them failed, if any has.
    pub fn of(&self, rows: &RecordBatch) -> (Vec<ArrayRef>, Option<BooleanBuffer>) {
        let evaluated: Vec<_> = self.columns.iter().map(|(_, column)| column.evaluate(rows, &|_| None)).collect();
        let failed = evaluated.iter().filter_map(|column| column.failed.clone()).reduce(|a, b| &a | &b);
        (evaluated.into_iter().map(|column| column.values).collect(), failed)
    }

    /// Changes (see `headwater_operators::changes`) with the derived columns behind the others, in `schema`, a few rows at a time; and how many
    /// rows came that have a null since one of them failed.
    pub fn add_to(&self, changes: &RecordBatch, schema: &SchemaRef) -> (Vec<RecordBatch>, u64) {
        let parts = in_parts(changes.num_rows()).map(|rows| changes.slice(rows.start, rows.len()));
        let (parts, failures): (Vec<_>, Vec<_>) = parts.map(|part| self.add_to_part(&part, schema)).unzip();
        (parts, failures.into_iter().sum())
    }

    fn add_to_part(&self, changes: &RecordBatch, schema: &SchemaRef) -> (RecordBatch, u64) {
        let mut columns = changes.columns().to_vec();
        let behind = columns.split_off(columns.len() - 2);
        let (values, failed) = self.of(changes);
        columns.extend(values);
        let diffs = behind[1].as_primitive::<Int8Type>();
        let failures = failed.map_or(0, |failed| failed.set_indices().filter(|row| diffs.value(*row) > 0).count());
        columns.extend(behind);
        (RecordBatch::try_new(schema.clone(), columns).expect("columns of the schema's types"), failures as u64)
    }
}

fn compile_one(column: &Derived, row: &SchemaRef, faults: &mut Faults) -> Option<(String, Expression)> {
    let expression = expression(&column.of, row, faults)?;
    if Kind::of(expression.data_type()).is_some() {
        return Some((column.name.clone(), expression));
    }
    let found = types::display(expression.data_type());
    faults.error(
        column.of.at,
        format!("a derived column needs a value of one of the types that features have, this is a {found}"),
    );
    None
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int8Array, Int64Array, StringArray};
    use headwater_expression::ROWS_MAX;
    use headwater_operators::changes;

    use super::*;

    /// What a row gives, and whether it fails, depends on it alone: of many rows no more are looked at together than texts have room for.
    #[test]
    fn many_rows_are_derived_in_parts() {
        let rows = 2 * ROWS_MAX + 7;
        let row = Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("n", DataType::Int64, true)]);
        let row = Arc::new(row);
        let compiled = |sql: &str| Expression::compile(sql, &row).unwrap();
        let columns = [("text", "repeat('ab', k % 3)"), ("inverse", "1 / (k % 2)")];
        let derived = DerivedColumns { columns: columns.map(|(name, sql)| (name.to_owned(), compiled(sql))).into() };
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("k", numbers.clone()),
            ("n", numbers.clone()),
            ("_time", numbers),
            ("_diff", Arc::new(Int8Array::from_iter_values((0..rows).map(|row| if row % 4 == 0 { 1 } else { -1 })))),
        ];
        let changes = RecordBatch::try_from_iter(columns).unwrap();
        let schema = changes::schema(
            &[("k".to_owned(), DataType::Int64)],
            false,
            &[("n".to_owned(), DataType::Int64)].into_iter().chain(derived.fields()).collect::<Vec<_>>(),
        );
        let (parts, failures) = derived.add_to(&changes, &schema);
        assert_eq!(parts.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [ROWS_MAX, ROWS_MAX, 7]);
        assert_eq!(failures as usize, rows.div_ceil(4), "rows that come and fail");
        let texts = parts.iter().flat_map(|part| part["text"].as_string::<i32>().iter());
        let expected: StringArray = (0..rows).map(|row| Some("ab".repeat(row % 3))).collect();
        assert!(texts.eq(expected.iter()));
        assert_eq!(derived.add_to(&changes.slice(0, 0), &schema), (vec![], 0));
    }
}
