//! How a record says by which schema it was written.
//!
//! ```text
//! headers                  __value_schema_id: 1 g g g g g g g g g g g g g g g g     value: the record alone
//!                          __value_schema_id: 0 i i i i
//! before the value         0 i i i i value...            a number, the highest byte first
//!                          1 g g g g g g g g g g g g g g g g value...
//! ```

use std::fmt;

use crate::message::Message;

const HEADER: &str = "__value_schema_id";

/// By which a registry knows a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WriterId {
    /// Of this registry alone.
    Number(u32),
    /// The same in all.
    Guid([u8; 16]),
}

/// A record that says its schema.
pub(crate) struct Framed<'a> {
    pub id: WriterId,
    /// What stands behind the id in the header, where it is in one.
    pub before: Option<&'a [u8]>,
    /// The record without the id.
    pub value: &'a [u8],
}

/// How a record may say its schema: what its header has comes first.
pub(crate) fn framed<'a>(message: &Message<'a>) -> impl Iterator<Item = Framed<'a>> {
    let header = message.around.and_then(|around| around.header(HEADER)).and_then(split);
    let of_header = header.map(|(id, rest)| Framed { id, before: Some(rest), value: message.value });
    let of_value = split(message.value).map(|(id, value)| Framed { id, before: None, value });
    of_header.into_iter().chain(of_value)
}

/// The id of a record's schema, and the record without it. `None`: it says none.
pub(crate) fn unframed<'a>(message: &Message<'a>) -> Option<(WriterId, &'a [u8])> {
    let found = framed(message).find(|framed| framed.before.is_none_or(<[u8]>::is_empty));
    found.map(|framed| (framed.id, framed.value))
}

fn split(bytes: &[u8]) -> Option<(WriterId, &[u8])> {
    match bytes.split_first()? {
        (0, rest) => {
            rest.split_first_chunk().map(|(number, rest)| (WriterId::Number(u32::from_be_bytes(*number)), rest))
        }
        (1, rest) => rest.split_first_chunk().map(|(guid, rest)| (WriterId::Guid(*guid), rest)),
        _ => None,
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriterId::Number(number) => write!(f, "{number}"),
            WriterId::Guid(guid) => {
                for (at, byte) in guid.iter().enumerate() {
                    if matches!(at, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use headwater_clocks::{Arrival, Offset};

    use super::*;
    use crate::message::Envelope;

    struct Headers(Vec<u8>);

    impl Envelope for Headers {
        fn key(&self) -> Option<&[u8]> {
            None
        }

        fn stamp(&self) -> Option<Arrival> {
            None
        }

        fn partition(&self) -> i32 {
            0
        }

        fn offset(&self) -> Offset {
            Offset::at(0)
        }

        fn header(&self, name: &str) -> Option<&[u8]> {
            (name == HEADER).then_some(&self.0)
        }
    }

    #[test]
    fn ids_before_the_value_and_in_headers() {
        let guid = [0x89, 0x79, 0x1b, 0x5b, 0x86, 0x32, 0x41, 0x0c, 0xb6, 0x0a, 0x25, 0x40, 0xb8, 0x51, 0xb0, 0x1a];
        let number = WriterId::Number;
        let of_guid = [&[1], &guid[..]].concat();
        for (header, value, expected) in [
            (&[][..], &[0, 0, 0, 1, 2, 9][..], Some((number(258), &[9][..]))),
            (&[], &[0, 0, 0, 0, 7], Some((number(7), &[]))),
            (&[], &[0, 0, 0, 0], None),
            (&[], &[], None),
            (&[], b"{}", None),
            (&of_guid, &[0, 0, 0, 0, 7], Some((WriterId::Guid(guid), &[0, 0, 0, 0, 7]))),
            (&[0, 0, 0, 0, 8], &[9], Some((number(8), &[9]))),
            // What is no id in a header is somebody else's.
            (&[0, 0, 0, 0, 8, 1], &[0, 0, 0, 0, 7, 9], Some((number(7), &[9]))),
        ] {
            let headers = Headers(header.to_vec());
            let message = Message { value, around: (!header.is_empty()).then_some(&headers as &dyn Envelope) };
            assert_eq!(unframed(&message), expected, "{header:?} {value:?}");
        }
        assert_eq!(WriterId::Guid(guid).to_string(), "89791b5b-8632-410c-b60a-2540b851b01a");
    }
}
