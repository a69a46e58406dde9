//! Keys as records: all that is known of a record without a value, and of one that only says that its row is gone.

use arrow::datatypes::DataType;
use serde_json::Value;

use crate::Wanted;
use crate::records::KEY;

/// Makes records of JSON of keys.
pub(crate) struct Keys {
    /// The columns of the key by name, and whether they are of text.
    columns: Vec<(String, bool)>,
}

impl Keys {
    /// `None`: nobody asks for records without a value.
    pub fn of(wanted: &Wanted) -> Option<Keys> {
        let is_key = wanted.schema.fields().iter().filter(|field| field.metadata().contains_key(KEY));
        let columns: Vec<(String, bool)> =
            is_key.map(|field| (field.name().clone(), *field.data_type() == DataType::Utf8)).collect();
        (!columns.is_empty()).then_some(Keys { columns })
    }

    /// A record that has a key's columns alone: of a JSON object with these, with or without its schema part; of one column also of its JSON or
    /// its text. Of what is none of these, one that is malformed.
    pub fn record(&self, key: Option<&[u8]>) -> Vec<u8> {
        let text = key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
        match serde_json::from_str(text) {
            Ok(Value::Object(mut object)) => match object.remove("payload") {
                Some(Value::Object(payload)) if object.contains_key("schema") => Value::Object(payload).to_string(),
                Some(payload) if object.contains_key("schema") => self.of_one(&payload.to_string()),
                _ => text.to_owned(),
            },
            Ok(Value::Array(_)) => String::new(),
            Ok(Value::String(_)) => self.of_one(text),
            // A number is the text of a text column.
            Ok(_) if !self.is_text() => self.of_one(text),
            _ if key.is_some_and(|key| !key.is_empty() && std::str::from_utf8(key).is_ok()) => {
                self.of_one(&Value::String(text.to_owned()).to_string())
            }
            _ => String::new(),
        }
        .into_bytes()
    }

    fn is_text(&self) -> bool {
        self.columns.iter().all(|(_, is_text)| *is_text)
    }

    /// `value`: of the only column, as JSON.
    fn of_one(&self, value: &str) -> String {
        match self.columns.as_slice() {
            [(name, _)] => format!("{{{}:{value}}}", Value::String(name.clone())),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn keys(columns: &[(&str, DataType)]) -> Keys {
        let metadata = HashMap::from([(KEY.to_owned(), String::new())]);
        let field = |(name, of): &(&str, DataType)| Field::new(*name, of.clone(), true).with_metadata(metadata.clone());
        let mut fields: Vec<Field> = columns.iter().map(field).collect();
        fields.push(Field::new("other", DataType::Utf8, true));
        Keys::of(&Wanted { schema: Arc::new(Schema::new(fields)), time_unit_ns: 1 }).unwrap()
    }

    #[test]
    fn keys_become_records() {
        let (text, number) = (keys(&[("id", DataType::Utf8)]), keys(&[("id", DataType::Int64)]));
        let two = keys(&[("id", DataType::Utf8), ("n", DataType::Int64)]);
        let none = "";
        for (key, of_text, of_number, of_two) in [
            (r#"{"id":"a","n":1}"#, r#"{"id":"a","n":1}"#, r#"{"id":"a","n":1}"#, r#"{"id":"a","n":1}"#),
            (
                r#"{"schema":{},"payload":{"id":"a","n":1}}"#,
                r#"{"id":"a","n":1}"#,
                r#"{"id":"a","n":1}"#,
                r#"{"id":"a","n":1}"#,
            ),
            (r#"{"schema":null,"payload":7}"#, r#"{"id":7}"#, r#"{"id":7}"#, none),
            (r#""a b""#, r#"{"id":"a b"}"#, r#"{"id":"a b"}"#, none),
            ("a b", r#"{"id":"a b"}"#, r#"{"id":"a b"}"#, none),
            ("17", r#"{"id":"17"}"#, r#"{"id":17}"#, none),
            ("[1]", none, none, none),
            ("", none, none, none),
        ] {
            let made = [&text, &number, &two].map(|keys| String::from_utf8(keys.record(Some(key.as_bytes()))).unwrap());
            assert_eq!(made, [of_text, of_number, of_two], "{key}");
        }
        assert_eq!((text.record(None), text.record(Some(b"\xff"))), (vec![], vec![]));
    }
}
