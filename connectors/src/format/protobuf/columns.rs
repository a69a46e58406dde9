//! The columns of a Protobuf message.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::unusable::unusable;

/// How many fields a message may have, over all levels.
const FIELDS_MAX: usize = 100_000;
/// How deep a column's type may be nested.
const DEPTH_MAX: usize = 100;

/// The columns of a message.
pub(super) fn columns(message: &MessageDescriptor) -> Result<SchemaRef, String> {
    let mut typing = Typing { around: vec![message.full_name().to_owned()], fields: 0 };
    let fields: Vec<Field> = message.fields().map(|field| typing.field(&field, false)).collect();
    if typing.fields > FIELDS_MAX {
        return Err(format!("the message has more than {FIELDS_MAX} fields"));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// What a message of the standard library stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum WellKnown {
    Timestamp,
    /// The value of its first field, or null.
    Wrapper,
}

pub(super) fn well_known(message: &MessageDescriptor) -> Option<WellKnown> {
    match message.full_name().strip_prefix("google.protobuf.")? {
        "Timestamp" => Some(WellKnown::Timestamp),
        "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value" | "UInt32Value" | "BoolValue"
        | "StringValue" | "BytesValue" => Some(WellKnown::Wrapper),
        _ => None,
    }
}

struct Typing {
    /// The messages that one stands in, by name.
    around: Vec<String>,
    fields: usize,
}

impl Typing {
    fn field(&mut self, field: &FieldDescriptor, in_list: bool) -> Field {
        self.fields += 1;
        match self.of_field(field, in_list) {
            Ok(data_type) => Field::new(field.name(), data_type, true),
            Err(why) => unusable(field.name(), format!("`{}` {why}", field.name())),
        }
    }

    fn of_field(&mut self, field: &FieldDescriptor, in_list: bool) -> Result<DataType, String> {
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let value = self.of_kind(&entry.map_entry_value_field().kind(), true)?;
            let pair = vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)];
            let entries = Field::new("entries", DataType::Struct(pair.into()), false);
            return Ok(DataType::Map(Arc::new(entries), false));
        }
        match field.is_list() {
            true => Ok(DataType::new_list(self.of_kind(&field.kind(), true)?, true)),
            false => self.of_kind(&field.kind(), in_list),
        }
    }

    /// `in_list`: it is decoded with what is around it, by way of text, which has no bytes.
    fn of_kind(&mut self, kind: &Kind, in_list: bool) -> Result<DataType, String> {
        Ok(match kind {
            Kind::Double => DataType::Float64,
            Kind::Float => DataType::Float32,
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => DataType::Int32,
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => DataType::Int64,
            Kind::Uint32 | Kind::Fixed32 => DataType::UInt32,
            Kind::Uint64 | Kind::Fixed64 => DataType::UInt64,
            Kind::Bool => DataType::Boolean,
            Kind::String | Kind::Enum(_) => DataType::Utf8,
            Kind::Bytes if in_list => DataType::Utf8,
            Kind::Bytes => DataType::Binary,
            Kind::Message(message) => match well_known(message) {
                Some(WellKnown::Timestamp) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                Some(WellKnown::Wrapper) => {
                    let value = message.get_field(1).ok_or("wraps nothing")?;
                    return self.of_kind(&value.kind(), in_list);
                }
                None => return self.of_message(message, in_list),
            },
        })
    }

    fn of_message(&mut self, message: &MessageDescriptor, in_list: bool) -> Result<DataType, String> {
        if self.around.iter().any(|name| name == message.full_name()) || self.fields > FIELDS_MAX {
            return Err("holds messages of its own type, without an end: no column has such a type".into());
        }
        if self.around.len() > DEPTH_MAX {
            return Err(format!("lies more than {DEPTH_MAX} levels deep"));
        }
        self.around.push(message.full_name().to_owned());
        let fields: Vec<Field> = message.fields().map(|field| self.field(&field, in_list)).collect();
        self.around.pop();
        Ok(DataType::Struct(fields.into()))
    }
}
