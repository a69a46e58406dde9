//! A table's columns, as its log says them in JSON.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{DataType, Field};
use serde_json::Value;

use super::log::Mapping;
use crate::format::value_of_text;
use crate::history::lake::{Column, Place};
use crate::history::parquet::schema::micros;
use crate::unusable::unusable;

const DEPTH_MAX: usize = 64;

pub(super) struct Columns {
    pub columns: Vec<Column>,
    /// By column: the name that partitions have it under.
    pub physical: Vec<String>,
}

/// Reads a schema. The error says what is wrong with it.
pub(super) fn read(text: &str, mapping: Mapping) -> Result<Columns, String> {
    let schema: Value = serde_json::from_str(text).map_err(|e| format!("its schema is no JSON: {e}"))?;
    let columns = fields(&schema, mapping, 0)?;
    let physical = columns.iter().zip(schema["fields"].as_array().into_iter().flatten());
    let physical = physical.map(|(column, of)| physical_name(of, column.field.name(), mapping)).collect();
    Ok(Columns { columns, physical })
}

fn fields(of: &Value, mapping: Mapping, depth: usize) -> Result<Vec<Column>, String> {
    let fields = of["fields"].as_array().ok_or("its schema has a struct without `fields`")?;
    fields.iter().map(|field| column(field, mapping, depth)).collect()
}

fn physical_name(of: &Value, name: &str, mapping: Mapping) -> String {
    let named = of["metadata"]["delta.columnMapping.physicalName"].as_str().filter(|_| mapping != Mapping::No);
    named.unwrap_or(name).to_owned()
}

fn column(of: &Value, mapping: Mapping, depth: usize) -> Result<Column, String> {
    let name = of["name"].as_str().ok_or("its schema has a field without a name")?;
    let place = match mapping {
        Mapping::ById => {
            let id = of["metadata"]["delta.columnMapping.id"].as_i64().and_then(|id| i32::try_from(id).ok());
            let id = id.ok_or_else(|| format!("its schema does not say the number of {name:?}"))?;
            Place::Numbered { id, names: vec![] }
        }
        Mapping::No | Mapping::ByName => Place::Named(physical_name(of, name, mapping)),
    };
    typed(name, place, &of["type"], mapping, depth)
}

/// A field of a type. A type that no column has makes it one that nobody can use.
fn typed(name: &str, place: Place, of: &Value, mapping: Mapping, depth: usize) -> Result<Column, String> {
    if depth > DEPTH_MAX {
        return Err(format!("its schema is nested more than {DEPTH_MAX} deep"));
    }
    let depth = depth + 1;
    let field = |data_type| Field::new(name, data_type, true);
    let (field, inside) = match of["type"].as_str() {
        Some("struct") => {
            let inside = fields(of, mapping, depth)?;
            let fields = inside.iter().map(|column| column.field.clone());
            (field(DataType::Struct(fields.collect::<Vec<_>>().into())), inside)
        }
        // What is in lists and maps lies there alone, whatever it is called.
        Some("array") => {
            let item = typed("item", Place::Named("element".into()), &of["elementType"], mapping, depth)?;
            (field(DataType::new_list(item.field.data_type().clone(), true)), vec![item])
        }
        Some("map") => {
            let key = typed("key", Place::Named("key".into()), &of["keyType"], mapping, depth)?;
            let value = typed("value", Place::Named("value".into()), &of["valueType"], mapping, depth)?;
            let pair = vec![key.field.clone().with_nullable(false), value.field.clone()];
            let entries = Field::new("entries", DataType::Struct(pair.into()), false);
            (field(DataType::Map(Arc::new(entries), false)), vec![key, value])
        }
        _ => match of.as_str().and_then(primitive) {
            Some(data_type) => (field(data_type), vec![]),
            None => {
                let shown = of.as_str().map_or_else(|| of.to_string(), str::to_owned);
                (unusable(name, format!("column {name:?} is of the type {shown}, which is not known here")), vec![])
            }
        },
    };
    Ok(Column { field, place, inside })
}

fn primitive(name: &str) -> Option<DataType> {
    Some(match name {
        "string" => DataType::Utf8,
        "long" => DataType::Int64,
        "integer" => DataType::Int32,
        "short" => DataType::Int16,
        "byte" => DataType::Int8,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "binary" => DataType::Binary,
        "date" => DataType::Date32,
        "timestamp" | "timestamp_ntz" => micros(),
        _ => {
            let (precision, scale) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            (1..=38).contains(&precision).then_some(DataType::Decimal128(precision, scale))?
        }
    })
}

/// The value of a partition, one row. `text`: `None` or empty is null. `None`: it is none of this type.
pub(super) fn constant(text: Option<&str>, data_type: &DataType) -> Option<ArrayRef> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Some(new_null_array(data_type, 1)) };
    match data_type {
        DataType::Timestamp(..) => {
            // As Spark writes it, in UTC, or as RFC 3339.
            let mut text = text.replacen(' ', "T", 1);
            if !text.ends_with('Z') {
                text.push('Z');
            }
            value_of_text(Some(&text), data_type, 1)
        }
        _ => value_of_text(Some(text), data_type, 1),
    }
}
