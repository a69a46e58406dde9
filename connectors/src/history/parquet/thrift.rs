//! A walk over Thrift's compact protocol that trusts no length: what lists and texts claim to hold must fit the bytes left.
//!
//! The Parquet library reserves memory by what a header says before it reads what is there, and follows nesting by recursion.
//! Where a claim is absurd that ends the process, which no caller can catch. So a footer and every page's header are walked
//! here first: with nothing allocated, and errors in place of trust.

/// How deep structures may lie in each other. Parquet's own reach about ten.
const DEPTH_MAX: usize = 64;

pub(super) type Walked<T> = Result<T, String>;

/// The types of the protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Bool,
    Byte,
    /// Of 16, 32 and 64 bits alike.
    Int,
    Double,
    Bytes,
    List,
    Map,
    Struct,
    Uuid,
}

/// The bytes that are left.
pub(super) struct Walk<'a>(pub &'a [u8]);

impl Walk<'_> {
    /// Walks the fields of a structure. `visit` gets each one's id and type, and says whether it has read it; what it leaves is
    /// passed over.
    pub fn fields(&mut self, mut visit: impl FnMut(&mut Self, i16, Kind) -> Walked<bool>) -> Walked<()> {
        self.fields_at(0, &mut visit)
    }

    fn fields_at(&mut self, depth: usize, visit: &mut dyn FnMut(&mut Self, i16, Kind) -> Walked<bool>) -> Walked<()> {
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            if head & 0x0f == 0 {
                return Ok(());
            }
            id = match head >> 4 {
                0 => i16::try_from(self.int()?).map_err(|_| "a field's number is out of range")?,
                step => id.checked_add(step.into()).ok_or("a field's number is out of range")?,
            };
            let kind = kind(head & 0x0f)?;
            // The value of a boolean field is its type.
            if kind != Kind::Bool && !visit(self, id, kind)? {
                self.skip(kind, depth)?;
            }
        }
    }

    /// The number of elements of a list, and their type.
    pub fn list(&mut self) -> Walked<(usize, Kind)> {
        let head = self.byte()?;
        let size = match head >> 4 {
            15 => usize::try_from(self.varint()?).unwrap_or(usize::MAX),
            size => size.into(),
        };
        if size > self.0.len() {
            return Err(format!("a list of {size} elements in {} bytes", self.0.len()));
        }
        Ok((size, kind(head & 0x0f)?))
    }

    /// An integer of any width.
    pub fn int(&mut self) -> Walked<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn skip(&mut self, kind: Kind, depth: usize) -> Walked<()> {
        if depth == DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
        match kind {
            Kind::Bool | Kind::Byte => self.take(1),
            Kind::Int => self.varint().map(drop),
            Kind::Double => self.take(8),
            Kind::Uuid => self.take(16),
            Kind::Bytes => {
                let length = self.varint()?;
                self.take(usize::try_from(length).unwrap_or(usize::MAX))
            }
            Kind::List => {
                let (size, of) = self.list()?;
                (0..size).try_for_each(|_| self.skip(of, depth + 1))
            }
            Kind::Map => {
                let size = self.varint()?;
                if size == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                let (key, value) = (self::kind(kinds >> 4)?, self::kind(kinds & 0x0f)?);
                (0..size).try_for_each(|_| {
                    self.skip(key, depth + 1)?;
                    self.skip(value, depth + 1)
                })
            }
            Kind::Struct => self.fields_at(depth + 1, &mut |_, _, _| Ok(false)),
        }
    }

    fn varint(&mut self) -> Walked<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number of more than 64 bits".into())
    }

    fn byte(&mut self) -> Walked<u8> {
        let (first, rest) = self.0.split_first().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, bytes: usize) -> Walked<()> {
        self.0 =
            self.0.get(bytes..).ok_or_else(|| format!("a value of {bytes} bytes, where {} are left", self.0.len()))?;
        Ok(())
    }
}

fn kind(code: u8) -> Walked<Kind> {
    Ok(match code {
        1 | 2 => Kind::Bool,
        3 => Kind::Byte,
        4..=6 => Kind::Int,
        7 => Kind::Double,
        8 => Kind::Bytes,
        9 | 10 => Kind::List,
        11 => Kind::Map,
        12 => Kind::Struct,
        13 => Kind::Uuid,
        other => return Err(format!("no type has the number {other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_its_bytes_is_refused() {
        let deep = [0x1c].repeat(200);
        let rows: &[(&[u8], Result<(), &str>)] = &[
            (&[0], Ok(())),
            (&[0x15, 0x02, 0], Ok(())),                // 1: i32
            (&[0x11, 0x12, 0x13, 7, 0], Ok(())),       // booleans, a byte
            (&[0x18, 2, b'a', b'b', 0], Ok(())),       // 1: text
            (&[0x19, 0x25, 2, 4, 0], Ok(())),          // 1: list of two i32
            (&[0x1b, 0, 0], Ok(())),                   // 1: an empty map
            (&[0x1b, 1, 0x85, 1, b'a', 2, 0], Ok(())), // 1: a map of text to i32
            (&[0x1c, 0x15, 2, 0, 0], Ok(())),          // 1: struct
            (&[0x05, 0x04, 0x02, 0], Ok(())),          // the id 2, written out
            (&[0x15, 0x02], Err("it ends too early")),
            (&[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f, 0], Err("a value of 4294967295 bytes, where 1 are left")),
            (&[0x19, 0xf5, 0xff, 0xff, 0x03, 0], Err("a list of 65535 elements in 1 bytes")),
            (&[0x1b, 0xff, 0xff, 0x03, 0x55, 2], Err("it ends too early")),
            (&[0x1f, 0], Err("no type has the number 15")),
            (&[0x15; 12], Err("it ends too early")),
            (&[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Err("a number of more than 64 bits")),
            (&deep, Err("it is nested more than 64 deep")),
        ];
        for (bytes, expected) in rows {
            let walked = Walk(bytes).fields(|_, _, _| Ok(false));
            assert_eq!(walked, expected.map_err(String::from), "{bytes:x?}");
        }
    }

    #[test]
    fn fields_are_visited() {
        let mut seen = vec![];
        let bytes = [0x15, 0x07, 0x28, 1, b'x', 0x16, 0x08, 0];
        Walk(&bytes)
            .fields(|walk, id, kind| {
                let value = if kind == Kind::Int { Some(walk.int()?) } else { None };
                seen.push((id, value));
                Ok(value.is_some())
            })
            .unwrap();
        assert_eq!(seen, [(1, Some(-4)), (3, None), (4, Some(4))]);
    }
}
