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
use headwater_expression::Expression;
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

    /// Their values over rows with the key and the columns; and the rows that have a null since one of them failed, if any has.
    pub fn of(&self, rows: &RecordBatch) -> (Vec<ArrayRef>, Option<BooleanBuffer>) {
        let evaluated: Vec<_> = self.columns.iter().map(|(_, column)| column.evaluate(rows, &|_| None)).collect();
        let failed = evaluated.iter().filter_map(|column| column.failed.clone()).reduce(|a, b| &a | &b);
        (evaluated.into_iter().map(|column| column.values).collect(), failed)
    }

    /// Changes (see `headwater_operators::changes`) with the derived columns behind the others, in `schema`; and how many rows came
    /// that have a null since one of them failed.
    pub fn add_to(&self, changes: &RecordBatch, schema: &SchemaRef) -> (RecordBatch, u64) {
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
