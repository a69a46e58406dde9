//! The bytes of an Avro record, read by the schema that wrote them.
//!
//! Whatever the bytes say, no more is read than there is: a length is believed as far as bytes follow, values that take no bytes are
//! counted, and what is nested too deep is refused. `None`: the bytes are no such value.

use super::schema::{Id, Kind, Schema};

/// How deep values may lie in one another.
pub(super) const DEPTH_MAX: usize = 100;
/// How many values without a byte (nulls in an array, empty records) one record may have.
const EMPTY_MAX: usize = 1 << 16;

#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    empty: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, empty: 0 }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    pub fn at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    pub fn long(&mut self) -> Option<i64> {
        let mut word = 0u64;
        for (at, byte) in self.bytes.iter().take(10).enumerate() {
            // Of the tenth byte one bit is left.
            if at == 9 && *byte > 1 {
                return None;
            }
            word |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[at + 1..];
                return Some((word >> 1) as i64 ^ -((word & 1) as i64));
            }
        }
        None
    }

    pub fn int(&mut self) -> Option<i32> {
        self.long()?.try_into().ok()
    }

    pub fn boolean(&mut self) -> Option<bool> {
        match self.take(1)?[0] {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub fn float(&mut self) -> Option<f32> {
        Some(f32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    pub fn double(&mut self) -> Option<f64> {
        Some(f64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.long()?).ok()?;
        self.take(len)
    }

    /// Which branch of a union, or which symbol of an enum.
    pub fn choice(&mut self, of: usize) -> Option<usize> {
        usize::try_from(self.long()?).ok().filter(|choice| *choice < of)
    }

    /// How many items the next block has; 0: there is none any more. Its size in bytes, if it says it.
    fn block(&mut self) -> Option<(u64, Option<usize>)> {
        let count = self.long()?;
        let size = if count < 0 { Some(usize::try_from(self.long()?).ok()?) } else { None };
        Some((count.unsigned_abs(), size))
    }

    /// Reads each item of an array or a map.
    pub fn items(&mut self, mut item: impl FnMut(&mut Cursor<'a>) -> Option<()>) -> Option<()> {
        loop {
            let (count, size) = self.block()?;
            if count == 0 {
                return Some(());
            }
            let left = self.bytes.len();
            for _ in 0..count {
                self.one(&mut item)?;
            }
            if size.is_some_and(|size| size != left - self.bytes.len()) {
                return None;
            }
        }
    }

    /// Reads one value, which is counted if it takes no bytes.
    pub fn one(&mut self, item: &mut impl FnMut(&mut Cursor<'a>) -> Option<()>) -> Option<()> {
        let left = self.bytes.len();
        item(self)?;
        if self.bytes.len() == left {
            self.empty += 1;
        }
        (self.empty <= EMPTY_MAX).then_some(())
    }

    /// Passes over a value.
    pub fn skip(&mut self, schema: &Schema, id: Id, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match schema.kind(id) {
            Kind::Null => Some(()),
            Kind::Boolean => self.boolean().map(drop),
            Kind::Int => self.int().map(drop),
            Kind::Long => self.long().map(drop),
            Kind::Float => self.float().map(drop),
            Kind::Double => self.double().map(drop),
            Kind::Bytes | Kind::Text => self.bytes().map(drop),
            Kind::Fixed(size) => self.take(*size).map(drop),
            Kind::Enum { symbols, .. } => self.choice(symbols.len()).map(drop),
            Kind::Union(branches) => {
                let branch = self.choice(branches.len())?;
                self.skip(schema, branches[branch], depth)
            }
            Kind::Record { fields, .. } => {
                self.one(&mut |cursor| fields.iter().try_for_each(|field| cursor.skip(schema, field.of, depth)))
            }
            Kind::Array(item) => self.skip_items(|cursor| cursor.skip(schema, *item, depth)),
            Kind::Map(value) => self.skip_items(|cursor| {
                cursor.bytes()?;
                cursor.skip(schema, *value, depth)
            }),
        }
    }

    /// As `items`; blocks that say their size are not looked into.
    fn skip_items(&mut self, mut item: impl FnMut(&mut Cursor<'a>) -> Option<()>) -> Option<()> {
        loop {
            match self.block()? {
                (0, _) => return Some(()),
                (_, Some(size)) => drop(self.take(size)?),
                (count, None) => {
                    for _ in 0..count {
                        self.one(&mut item)?;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (bytes, expected) in [
            (&[0u8][..], Some(0)),
            (&[1], Some(-1)),
            (&[2], Some(1)),
            (&[0x80, 0x01], Some(64)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Some(i64::MIN)),
            (&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Some(i64::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], None),
            (&[0x80; 11], None),
            (&[0x80], None),
            (&[], None),
        ] {
            assert_eq!(Cursor::new(bytes).long(), expected, "{bytes:?}");
        }
        assert_eq!(Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x10]).int(), None);
    }

    #[test]
    fn what_takes_no_bytes_has_an_end() {
        let of = |text: &str| Schema::parse(text, &[]).unwrap();
        let nulls = of(r#"{"type":"array","items":"null"}"#);
        let skip = |schema: &Schema, bytes: &[u8]| {
            let mut cursor = Cursor::new(bytes);
            cursor.skip(schema, schema.root, DEPTH_MAX).filter(|()| cursor.at_end())
        };
        assert_eq!(skip(&nulls, &[6, 0]), Some(()));
        // 2^62 of them.
        assert_eq!(skip(&nulls, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]), None);
        let chain = of(r#"{"type":"record","name":"r","fields":[{"name":"next","type":["null","r"]}]}"#);
        assert_eq!(skip(&chain, &[2, 2, 0]), Some(()));
        assert_eq!(skip(&chain, &[[2; 5000].as_slice(), &[0]].concat()), None);
        let bytes = of(r#""bytes""#);
        assert_eq!(skip(&bytes, &[0xfe, 0xff, 0xff, 0xff, 0x7f, 1]), None);
        assert_eq!(skip(&bytes, &[1]), None);
    }
}
