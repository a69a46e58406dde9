//! A table's columns, as its log says them in JSON.

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType;
use serde_json::Value;

use super::log::Mapping;
use crate::format::value_of_text;
use crate::history::lake::{Column, Place, schema};
use crate::history::parquet::schema::micros;

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
    schema::fields(of, |name, field| column(name, field, mapping, depth))
}

fn physical_name(of: &Value, name: &str, mapping: Mapping) -> String {
    let named = of["metadata"]["delta.columnMapping.physicalName"].as_str().filter(|_| mapping != Mapping::No);
    named.unwrap_or(name).to_owned()
}

fn column(name: &str, of: &Value, mapping: Mapping, depth: usize) -> Result<Column, String> {
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

fn typed(name: &str, place: Place, of: &Value, mapping: Mapping, depth: usize) -> Result<Column, String> {
    let depth = schema::deeper(depth)?;
    // What is in lists and maps lies there alone, whatever it is called.
    let inside =
        |name: &str, called: &str, key: &str| typed(name, Place::Named(called.to_owned()), &of[key], mapping, depth);
    Ok(match of["type"].as_str() {
        Some("struct") => Column::of_struct(name, place, fields(of, mapping, depth)?),
        Some("array") => Column::of_list(name, place, inside("item", "element", "elementType")?),
        Some("map") => {
            Column::of_map(name, place, inside("key", "key", "keyType")?, inside("value", "value", "valueType")?)
        }
        _ => Column::of_type(name, place, of, primitive),
    })
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
        _ => return None,
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
