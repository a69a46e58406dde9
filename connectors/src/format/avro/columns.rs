//! The columns of an Avro record, by its reader's schema.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as Columns, SchemaRef, TimeUnit};

use super::schema::{Id, Kind, Logical, Schema};
use crate::unusable::unusable;

/// How many fields a schema may have, over all levels: a type may stand in many places.
const FIELDS_MAX: usize = 100_000;

/// The columns that a schema gives. The error says why it gives none.
pub(super) fn columns(schema: &Schema) -> Result<SchemaRef, String> {
    let Kind::Record { fields, .. } = schema.kind(schema.root) else {
        return Err("the schema of its values is no record, so there are no columns".into());
    };
    let mut typing = Typing { schema, around: vec![schema.root], fields: 0 };
    let fields: Vec<Field> = fields.iter().map(|field| typing.field(&field.name, field.of, false)).collect();
    if typing.fields > FIELDS_MAX {
        return Err(format!("the schema has more than {FIELDS_MAX} fields"));
    }
    Ok(Arc::new(Columns::new(fields)))
}

/// How deep a column's type may be nested.
const DEPTH_MAX: usize = 100;

struct Typing<'a> {
    schema: &'a Schema,
    /// The types that one stands in.
    around: Vec<Id>,
    fields: usize,
}

impl Typing<'_> {
    fn field(&mut self, name: &str, id: Id, in_list: bool) -> Field {
        self.fields += 1;
        match self.data_type(id, in_list) {
            Ok(data_type) => Field::new(name, data_type, true),
            Err(why) => unusable(name, format!("`{name}` {why}")),
        }
    }

    /// `in_list`: it is decoded with what is around it, by way of text, which has no bytes.
    fn data_type(&mut self, id: Id, in_list: bool) -> Result<DataType, String> {
        if self.around.contains(&id) || self.fields > FIELDS_MAX {
            return Err("holds values of its own type, without an end: no column has such a type".into());
        }
        if self.around.len() > DEPTH_MAX {
            return Err(format!("lies more than {DEPTH_MAX} levels deep"));
        }
        let of = self.schema.of(id);
        Ok(match (&of.kind, of.logical) {
            (_, Some(Logical::Decimal { precision, scale })) => DataType::Decimal128(precision, scale),
            (_, Some(Logical::Date)) => DataType::Date32,
            (_, Some(Logical::OfDay(_))) if !in_list => DataType::Time64(TimeUnit::Microsecond),
            (_, Some(Logical::OfDay(_))) => return Err("is a time of day in a list, which has no column's type".into()),
            (_, Some(Logical::Time(_))) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            (_, Some(Logical::Uuid)) => DataType::Utf8,
            (Kind::Null, _) => DataType::Null,
            (Kind::Boolean, _) => DataType::Boolean,
            (Kind::Int, _) => DataType::Int32,
            (Kind::Long, _) => DataType::Int64,
            (Kind::Float, _) => DataType::Float32,
            (Kind::Double, _) => DataType::Float64,
            (Kind::Text | Kind::Enum { .. }, _) => DataType::Utf8,
            (Kind::Bytes | Kind::Fixed(_), _) if in_list => DataType::Utf8,
            (Kind::Bytes | Kind::Fixed(_), _) => DataType::Binary,
            (Kind::Array(item), _) => {
                let item = self.inside(id, |typing| typing.data_type(*item, true))?;
                DataType::new_list(item, true)
            }
            (Kind::Map(value), _) => {
                let value = self.inside(id, |typing| typing.data_type(*value, true))?;
                let pair = vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)];
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false)
            }
            (Kind::Record { fields, .. }, _) => self.inside(id, |typing| {
                let fields = fields.iter().map(|field| typing.field(&field.name, field.of, in_list));
                DataType::Struct(fields.collect::<Vec<_>>().into())
            }),
            (Kind::Union(branches), _) => return self.union(branches, in_list),
        })
    }

    fn inside<T>(&mut self, id: Id, read: impl FnOnce(&mut Self) -> T) -> T {
        self.around.push(id);
        let found = read(self);
        self.around.pop();
        found
    }

    /// What all branches can be without a loss; null is any of them.
    fn union(&mut self, branches: &[Id], in_list: bool) -> Result<DataType, String> {
        let mut joined = DataType::Null;
        for branch in branches {
            let data_type = self.data_type(*branch, in_list)?;
            joined = wider(&joined, &data_type).ok_or_else(|| {
                let what = "may be of types that no column holds together";
                format!("{what} ({joined} and {data_type}): name its type in [sources.NAME.schema], and others do not decode")
            })?;
        }
        Ok(joined)
    }
}

fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::*;
    Some(match (a, b) {
        (a, b) if a == b => a.clone(),
        (Null, other) | (other, Null) => other.clone(),
        (Int32, Int64) | (Int64, Int32) => Int64,
        (Float32, Float64) | (Float64, Float32) | (Int32, Float64) | (Float64, Int32) => Float64,
        (Utf8, Binary) | (Binary, Utf8) => Utf8,
        _ => return None,
    })
}
