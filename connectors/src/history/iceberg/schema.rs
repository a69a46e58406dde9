//! A table's columns, as its metadata says them in JSON.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use serde_json::Value;

use crate::history::lake::{Column, Place};
use crate::history::parquet::schema::micros;
use crate::unusable::unusable;

const DEPTH_MAX: usize = 64;

/// `names`: what columns are called in files that do not number them.
pub(super) fn read(schema: &Value, names: Value) -> Result<Vec<Column>, String> {
    fields(schema, &names, 0)
}

fn fields(of: &Value, names: &Value, depth: usize) -> Result<Vec<Column>, String> {
    let fields = of["fields"].as_array().ok_or("its schema has a struct without `fields`")?;
    let field = |field: &Value| {
        let name = field["name"].as_str().ok_or("its schema has a field without a name")?;
        column(name, &field["id"], &field["type"], names, depth)
    };
    fields.iter().map(field).collect()
}

fn column(name: &str, id: &Value, of: &Value, names: &Value, depth: usize) -> Result<Column, String> {
    if depth > DEPTH_MAX {
        return Err(format!("its schema is nested more than {DEPTH_MAX} deep"));
    }
    let id = id.as_i64().and_then(|id| i32::try_from(id).ok());
    let id = id.ok_or_else(|| format!("its schema does not say the number of {name:?}"))?;
    let mapped = names.as_array().into_iter().flatten().find(|of| of["field-id"].as_i64() == Some(i64::from(id)));
    let called = mapped.and_then(|of| of["names"].as_array()).into_iter().flatten();
    let called: Vec<String> = called.filter_map(Value::as_str).map(str::to_owned).collect();
    let below = mapped.map_or(Value::Null, |of| of["fields"].clone());
    let (field, inside) = typed(name, of, &below, depth + 1)?;
    Ok(Column { field, place: Place::Numbered { id, names: called }, inside })
}

/// A field of a type. A type that no column has makes it one that nobody can use.
fn typed(name: &str, of: &Value, names: &Value, depth: usize) -> Result<(Field, Vec<Column>), String> {
    let field = |data_type| Field::new(name, data_type, true);
    Ok(match of["type"].as_str() {
        Some("struct") => {
            let inside = fields(of, names, depth)?;
            let fields = inside.iter().map(|column| column.field.clone());
            (field(DataType::Struct(fields.collect::<Vec<_>>().into())), inside)
        }
        Some("list") => {
            let item = column("item", &of["element-id"], &of["element"], names, depth)?;
            (field(DataType::new_list(item.field.data_type().clone(), true)), vec![item])
        }
        Some("map") => {
            let key = column("key", &of["key-id"], &of["key"], names, depth)?;
            let value = column("value", &of["value-id"], &of["value"], names, depth)?;
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
        _ => {
            let (precision, scale) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            (1..=38).contains(&precision).then_some(DataType::Decimal128(precision, scale))?
        }
    })
}
