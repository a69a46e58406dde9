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

    /// A sequence of all of them.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer, const N: usize>(limbs: &[u64; N], serializer: S) -> Result<S::Ok, S::Error> {
        limbs.as_slice().serialize(serializer)
    }

    /// # Errors
    /// A sequence of another length.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u64; N], D::Error> {
        let limbs = Vec::<u64>::deserialize(deserializer)?;
        limbs.try_into().map_err(|other: Vec<u64>| D::Error::invalid_length(other.len(), &"as many limbs as there are"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::float_sum::FloatSum;
    use crate::exact::squares::SquareSum;
    use crate::value::{Datum, Ordered};

    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T, hex: &str) {
        let mut bytes = vec![];
        put(&mut bytes, &value);
        assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), hex, "{value:?}");
        assert_eq!(get::<T>(&mut &bytes[..]).unwrap(), value);
    }

    /// Checkpoints that are there have these bytes: the order of an enum's variants and of a struct's fields is a part of the format.
    #[test]
    fn bytes_are_what_they_were() {
        check(Datum::Null, "00");
        check(Datum::Word(300), "01fb2c01");
        check(Datum::decimal(1), "020001");
        check(Datum::Text("a".into()), "030161");
        check(Datum::List([Datum::Word(1), Datum::Null].into()), "0402010100");
        check(Ordered::Word(-1), "0001");
        check(Ordered::Wide(-1, 2), "010102");
        check(Ordered::Text("é".into()), "0202c3a9");
        check((-1i64, 2u32, -3i128, true, Some(0.5f64), None::<u8>), "0102050101000000000000e03f00");
        let (mut sum, mut squares) = (FloatSum::default(), SquareSum::default());
        check(sum.clone(), "0000");
        check(squares.clone(), "000000000000");
        sum.add(1.0, false);
        squares.add_int(-3, false);
        check(sum, "fe0000000000000000800000000000000000");
        check(squares, "090000000000");
    }
}
