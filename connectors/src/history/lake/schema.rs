//! Schemas as both kinds of tables say them in JSON: structs of fields, lists, maps, and types by name. They differ in how a field says where
//! it lies, and in what types are called.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use serde_json::Value;

use super::{Column, Place};
use crate::unusable::unusable;

const DEPTH_MAX: usize = 64;

/// How deep a type lies that is inside of one.
pub(in crate::history) fn deeper(depth: usize) -> Result<usize, String> {
    if depth > DEPTH_MAX { Err(format!("its schema is nested more than {DEPTH_MAX} deep")) } else { Ok(depth + 1) }
}

/// The fields of a struct, each with its name.
pub(in crate::history) fn fields(
    of: &Value,
    column: impl Fn(&str, &Value) -> Result<Column, String>,
) -> Result<Vec<Column>, String> {
    let fields = of["fields"].as_array().ok_or("its schema has a struct without `fields`")?;
    let field = |field: &Value| column(field["name"].as_str().ok_or("its schema has a field without a name")?, field);
    fields.iter().map(field).collect()
}

impl Column {
    fn new(name: &str, place: Place, data_type: DataType, inside: Vec<Column>) -> Column {
        Column { field: Field::new(name, data_type, true), place, inside }
    }

    pub(in crate::history) fn of_struct(name: &str, place: Place, inside: Vec<Column>) -> Column {
        let fields = inside.iter().map(|column| column.field.clone()).collect::<Vec<_>>();
        Column::new(name, place, DataType::Struct(fields.into()), inside)
    }

    pub(in crate::history) fn of_list(name: &str, place: Place, item: Column) -> Column {
        Column::new(name, place, DataType::new_list(item.field.data_type().clone(), true), vec![item])
    }

    pub(in crate::history) fn of_map(name: &str, place: Place, key: Column, value: Column) -> Column {
        let pair = vec![key.field.clone().with_nullable(false), value.field.clone()];
        let entries = Field::new("entries", DataType::Struct(pair.into()), false);
        Column::new(name, place, DataType::Map(Arc::new(entries), false), vec![key, value])
    }

    /// Of a type by its name. One that no column has makes it one that nobody can use.
    pub(in crate::history) fn of_type(
        name: &str,
        place: Place,
        of: &Value,
        known: impl Fn(&str) -> Option<DataType>,
    ) -> Column {
        let text = of.as_str();
        match text.and_then(|text| known(text).or_else(|| decimal(text))) {
            Some(data_type) => Column::new(name, place, data_type, vec![]),
            None => {
                let shown = text.map_or_else(|| of.to_string(), str::to_owned);
                let why = format!("column {name:?} is of the type {shown}, which is not known here");
                Column { field: unusable(name, why), place, inside: vec![] }
            }
        }
    }
}

/// `decimal(18, 2)`
fn decimal(text: &str) -> Option<DataType> {
    let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    (1..=38).contains(&precision).then_some(DataType::Decimal128(precision, scale))
}
