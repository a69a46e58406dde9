//! State as bytes, for checkpoints: each piece says itself how it is written and read. Integers are as short as they can be.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What was read is no state of this plan: it is damaged, or written by another version.
#[derive(Debug, thiserror::Error)]
#[error("a saved state that cannot be read: {0}")]
pub struct Damaged(pub String);

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_varint_encoding().allow_trailing_bytes()
}

/// Appends a value.
///
/// # Panics
/// On a value whose length is not known, which none of ours is.
pub fn put<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    options().serialize_into(out, value).expect("a value of known length");
}

/// Takes the next value off.
///
/// # Errors
/// The bytes are no such value.
pub fn get<T: DeserializeOwned>(input: &mut &[u8]) -> Result<T, Damaged> {
    options().deserialize_from(input).map_err(|e| Damaged(e.to_string()))
}

/// Arrays of any length, as serde has them up to 32.
pub mod limbs {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer, const N: usize>(limbs: &[u64; N], serializer: S) -> Result<S::Ok, S::Error> {
        limbs.as_slice().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u64; N], D::Error> {
        let limbs = Vec::<u64>::deserialize(deserializer)?;
        limbs.try_into().map_err(|other: Vec<u64>| D::Error::invalid_length(other.len(), &"as many limbs as there are"))
    }
}
