//! The bytes of a Protobuf message: numbered fields, one after the other. `None`: the bytes are no message.

/// How deep groups may lie in one another.
const GROUPS_MAX: usize = 100;

/// A value as it is encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Raw<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
    /// What lies between a group's ends.
    Group,
}

/// What is still to be read of a message.
#[derive(Clone, Copy)]
pub(super) struct Wire<'a>(pub &'a [u8]);

impl<'a> Wire<'a> {
    pub fn at_end(&self) -> bool {
        self.0.is_empty()
    }

    pub fn varint(&mut self) -> Option<u64> {
        let mut word = 0u64;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            // Of the tenth byte one bit is left.
            if at == 9 && *byte > 1 {
                return None;
            }
            word |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Some(word);
            }
        }
        None
    }

    /// The next field's number and value.
    pub fn field(&mut self) -> Option<(u32, Raw<'a>)> {
        let (number, kind) = self.tag()?;
        Some((number, self.value(number, kind, GROUPS_MAX)?))
    }

    fn tag(&mut self) -> Option<(u32, u8)> {
        let tag = u32::try_from(self.varint()?).ok()?;
        (tag >> 3 > 0).then_some((tag >> 3, (tag & 7) as u8))
    }

    /// A value of a wire type.
    pub fn value(&mut self, number: u32, kind: u8, groups: usize) -> Option<Raw<'a>> {
        Some(match kind {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(*self.take(8)?.first_chunk()?),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Raw::Bytes(self.take(len)?)
            }
            3 => {
                let groups = groups.checked_sub(1)?;
                loop {
                    match self.tag()? {
                        (end, 4) => return (end == number).then_some(Raw::Group),
                        (number, kind) => drop(self.value(number, kind, groups)?),
                    }
                }
            }
            5 => Raw::Fixed32(*self.take(4)?.first_chunk()?),
            _ => return None,
        })
    }

    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

/// An integer whose last bit is its sign.
pub(super) fn zigzag(word: u64) -> i64 {
    (word >> 1) as i64 ^ -((word & 1) as i64)
}
