//! How far lines were written, as a checkpoint keeps it: a value under a name, `{"Bytes":17}`. Only the kind of sink that wrote it knows both.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How far lines were written at a checkpoint: from there they are taken up again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Value>", into = "BTreeMap<String, Value>")]
pub struct SinkPosition {
    form: String,
    value: Value,
}

impl SinkPosition {
    /// `form` is the kind's own, and stays what it is: checkpoints have it.
    pub fn new(form: &str, value: impl Into<Value>) -> SinkPosition {
        SinkPosition { form: form.to_owned(), value: value.into() }
    }

    /// The value of a position of this form; `None`: another kind wrote it.
    pub fn read<T: DeserializeOwned>(&self, form: &str) -> Option<T> {
        (self.form == form).then(|| T::deserialize(&self.value).ok()).flatten()
    }
}

impl From<SinkPosition> for BTreeMap<String, Value> {
    fn from(SinkPosition { form, value }: SinkPosition) -> Self {
        BTreeMap::from([(form, value)])
    }
}

impl TryFrom<BTreeMap<String, Value>> for SinkPosition {
    type Error = &'static str;

    fn try_from(map: BTreeMap<String, Value>) -> Result<Self, Self::Error> {
        let mut entries = map.into_iter();
        match (entries.next(), entries.next()) {
            (Some((form, value)), None) => Ok(SinkPosition { form, value }),
            _ => Err("a position of lines is one value under one name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_keeps_a_value_under_its_form() {
        for (text, bytes, topic) in [
            (r#"{"Bytes":18446744073709551615}"#, Some(u64::MAX), None),
            (r#"{"Topic":"a"}"#, None, Some("a".to_owned())),
        ] {
            let position: SinkPosition = serde_json::from_str(text).unwrap();
            assert_eq!((position.read("Bytes"), position.read("Topic")), (bytes, topic));
            assert_eq!(serde_json::to_string(&position).unwrap(), text);
        }
        assert_eq!(SinkPosition::new("Bytes", 7u64), serde_json::from_str(r#"{"Bytes":7}"#).unwrap());
        assert!(serde_json::from_str::<SinkPosition>(r#"{"Bytes":7,"Topic":"a"}"#).is_err());
        assert!(serde_json::from_str::<SinkPosition>("{}").is_err());
    }
}
