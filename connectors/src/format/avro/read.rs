//! Values of a record, as the reader has them: those of a column, and as JSON what holds others.

use super::resolve::{As, Node, NodeId, Resolver, Step};
use super::schema::Logical;
use super::wire::Cursor;
use crate::format::as_json::{DAY_US, LOST, TEXT_MAX, comma, write_value};
use crate::format::text::write_string;
use crate::format::time::integer_us;
use crate::format::value::{Value, signed};

impl Resolver {
    /// The value that is ahead. `Some(None)`: it does not decode. `plain` is memory.
    pub fn value<'a: 'v, 'v>(
        &self,
        node: NodeId,
        cursor: &mut Cursor<'a>,
        plain: &'v mut Vec<u8>,
        depth: usize,
    ) -> Option<Option<Value<'v>>> {
        plain.clear();
        match self.node(node) {
            Node::Union(branches) => {
                let branch = cursor.choice(branches.len())?;
                self.value(branches[branch], cursor, plain, depth.checked_sub(1)?)
            }
            Node::Array(_) | Node::Map(_) | Node::Record(_) => {
                self.json(node, cursor, plain, depth)?;
                Some(std::str::from_utf8(plain).ok().map(Value::Nested))
            }
            Node::Enum(symbols) => {
                let symbol = symbols[cursor.choice(symbols.len())?].as_deref();
                plain.extend(symbol.unwrap_or_default().as_bytes());
                Some(symbol.and_then(|_| std::str::from_utf8(plain).ok().map(Value::Text)))
            }
            Node::Fixed(16, As::Logical(Logical::Uuid)) => {
                write_uuid(plain, cursor.take(16)?);
                Some(std::str::from_utf8(plain).ok().map(Value::Text))
            }
            _ => self.plain(node, cursor, depth),
        }
    }

    /// A value that holds no others, and is as it lies there.
    fn plain<'a>(&self, node: NodeId, cursor: &mut Cursor<'a>, depth: usize) -> Option<Option<Value<'a>>> {
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok().map(Value::Text);
        Some(match self.node(node) {
            Node::Null => Some(Value::Null),
            Node::Boolean => Some(Value::Bool(cursor.boolean()?)),
            Node::Int(of) => number(i64::from(cursor.int()?), *of),
            Node::Long(of) => number(cursor.long()?, *of),
            Node::Float => Some(Value::Float(f64::from(cursor.float()?))),
            Node::Double => Some(Value::Float(cursor.double()?)),
            Node::Text => text(cursor.bytes()?),
            Node::Bytes(of) => bytes(cursor.bytes()?, *of),
            Node::Fixed(size, of) => bytes(cursor.take(*size)?, *of),
            Node::Lost | Node::Enum(_) | Node::Union(_) | Node::Array(_) | Node::Map(_) | Node::Record(_) => {
                let (schema, of) = self.written(node);
                cursor.skip(schema, of, depth)?;
                None
            }
        })
    }

    /// Appends the value that is ahead as JSON.
    fn json(&self, node: NodeId, cursor: &mut Cursor, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        if out.len() > TEXT_MAX {
            return None;
        }
        match self.node(node) {
            Node::Union(branches) => {
                let branch = cursor.choice(branches.len())?;
                self.json(branches[branch], cursor, out, depth)
            }
            Node::Array(item) => {
                out.push(b'[');
                let start = out.len();
                cursor.items(|cursor| {
                    comma(out, start);
                    self.json(*item, cursor, out, depth)
                })?;
                out.push(b']');
                Some(())
            }
            Node::Map(value) => {
                out.push(b'{');
                let start = out.len();
                cursor.items(|cursor| {
                    comma(out, start);
                    write_string(out, std::str::from_utf8(cursor.bytes()?).ok()?);
                    out.push(b':');
                    self.json(*value, cursor, out, depth)
                })?;
                out.push(b'}');
                Some(())
            }
            Node::Record(steps) => cursor.one(&mut |cursor| self.record(steps, cursor, out, depth)),
            Node::Enum(symbols) => {
                match &symbols[cursor.choice(symbols.len())?] {
                    Some(symbol) => write_string(out, symbol),
                    None => out.extend(LOST),
                }
                Some(())
            }
            Node::Fixed(16, As::Logical(Logical::Uuid)) => {
                out.push(b'"');
                write_uuid(out, cursor.take(16)?);
                out.push(b'"');
                Some(())
            }
            _ => {
                write_value(out, self.plain(node, cursor, depth)?);
                Some(())
            }
        }
    }

    fn record(&self, steps: &[Step], cursor: &mut Cursor, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        out.push(b'{');
        let start = out.len();
        let name = |out: &mut Vec<u8>, name: &str| {
            comma(out, start);
            write_string(out, name);
            out.push(b':');
        };
        for step in steps {
            match step {
                Step::Skip(of) => cursor.skip(&self.writer, *of, depth)?,
                Step::Read { name: of, node } => {
                    name(out, of);
                    self.json(*node, cursor, out, depth)?;
                }
                Step::Add { name: of, default: Some(default) } => {
                    name(out, of);
                    self.json(default.node, &mut Cursor::new(&default.bytes), out, depth)?;
                }
                Step::Add { name: of, default: None } => {
                    name(out, of);
                    out.extend(LOST);
                }
            }
        }
        out.push(b'}');
        Some(())
    }
}

fn number(value: i64, of: As) -> Option<Value<'static>> {
    match of {
        As::Logical(Logical::Date) => i32::try_from(value).ok().map(Value::Date),
        As::Logical(Logical::Time(unit_ns)) => integer_us(i128::from(value), unit_ns).map(Value::Time),
        As::Logical(Logical::OfDay(unit_ns)) => {
            integer_us(i128::from(value), unit_ns).filter(|us| (0..DAY_US).contains(us)).map(Value::OfDay)
        }
        _ => Some(Value::Int(i128::from(value))),
    }
}

fn bytes(bytes: &[u8], of: As) -> Option<Value<'_>> {
    match of {
        As::Logical(Logical::Decimal { scale, .. }) => signed(bytes).map(|digits| Value::Decimal(digits, scale)),
        _ => Some(Value::Bytes(bytes)),
    }
}

fn write_uuid(out: &mut Vec<u8>, bytes: &[u8]) {
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
}
