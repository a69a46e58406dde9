//! A table's columns, as its metadata says them in JSON.

use arrow::datatypes::{DataType, TimeUnit};
use serde_json::Value;

use crate::history::lake::{Column, Place, schema};
use crate::history::parquet::schema::micros;

/// `names`: what columns are called in files that do not number them.
pub(super) fn read(of: &Value, names: Value) -> Result<Vec<Column>, String> {
    fields(of, &names, 0)
}

fn fields(of: &Value, names: &Value, depth: usize) -> Result<Vec<Column>, String> {
    schema::fields(of, |name, field| column(name, &field["id"], &field["type"], names, depth))
}

fn column(name: &str, id: &Value, of: &Value, names: &Value, depth: usize) -> Result<Column, String> {
    let depth = schema::deeper(depth)?;
    let id = id.as_i64().and_then(|id| i32::try_from(id).ok());
    let id = id.ok_or_else(|| format!("its schema does not say the number of {name:?}"))?;
    let mapped = names.as_array().into_iter().flatten().find(|of| of["field-id"].as_i64() == Some(i64::from(id)));
    let called = mapped.and_then(|of| of["names"].as_array()).into_iter().flatten();
    let called: Vec<String> = called.filter_map(Value::as_str).map(str::to_owned).collect();
    let below = mapped.map_or(Value::Null, |of| of["fields"].clone());
    let place = Place::Numbered { id, names: called };
    let inside = |name: &str, id: &str, key: &str| column(name, &of[id], &of[key], &below, depth);
    Ok(match of["type"].as_str() {
        Some("struct") => Column::of_struct(name, place, fields(of, &below, depth)?),
        Some("list") => Column::of_list(name, place, inside("item", "element-id", "element")?),
        Some("map") => {
            Column::of_map(name, place, inside("key", "key-id", "key")?, inside("value", "value-id", "value")?)
        }
        _ => Column::of_type(name, place, of, primitive),
    })
}

fn primitive(name: &str) -> Option<DataType> {
    Some(match name {
        "boolean" => DataType::Boolean,
        "int" => DataType::Int32,
        "long" => DataType::Int64,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" | "timestamptz" => micros(),
        "string" => DataType::Utf8,
        "binary" | "uuid" => DataType::Binary,
        _ if name.starts_with("fixed[") => DataType::Binary,
        _ => return None,
    })
}
