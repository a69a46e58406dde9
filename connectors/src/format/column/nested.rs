//! Columns that hold others: lists, structs and maps, decoded from a value's JSON.
//!
//! A value inside that does not decode fails the whole of it: it is null, and the record is told.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBufferBuilder, ListArray, MapArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};

use super::{Column, Reading, Slot, Value};
use crate::format::json::object::Object;
use crate::format::json::scan::{Scanner, Span};
use crate::format::json::text::{unescape, value_at};

/// A column of lists, structs or maps; `None`: the type is another one.
pub(super) fn slot(data_type: &DataType, reading: &Reading) -> Option<Box<dyn Slot>> {
    match data_type {
        DataType::List(item) => Some(Box::new(Lists {
            field: item.clone(),
            item: Column::new(item.data_type(), reading),
            ends: Ends::default(),
            memory: Memory::default(),
        })),
        DataType::Struct(fields) => Some(Box::new(Structs {
            object: Object::of_names(fields.iter().map(|field| field.name().as_str())),
            spans: vec![Span::MISSING; fields.len()],
            inside: fields.iter().map(|field| Column::new(field.data_type(), reading)).collect(),
            fields: fields.clone(),
            valid: BooleanBufferBuilder::new(0),
            memory: Memory::default(),
        })),
        DataType::Map(entries, sorted) => {
            let DataType::Struct(pair) = entries.data_type() else { return None };
            let [key, value] = &pair[..] else { return None };
            Some(Box::new(Maps {
                entries: entries.clone(),
                sorted: *sorted,
                key: Column::new(key.data_type(), reading),
                value: Column::new(value.data_type(), reading),
                pair: pair.clone(),
                ends: Ends::default(),
                memory: Memory::default(),
            }))
        }
        _ => None,
    }
}

/// Kept for its memory.
#[derive(Default)]
struct Memory {
    open: Vec<u8>,
    plain: String,
}

/// Adds the value at a span, or null; whether it decoded.
fn push_at(column: &mut Column, text: &str, span: &Span, plain: &mut String) -> bool {
    match value_at(text, span, plain) {
        Some(value) => column.push(value),
        None => {
            column.push_null();
            false
        }
    }
}

/// Where the values of lists end, and which lists are there.
struct Ends {
    ends: Vec<i32>,
    valid: BooleanBufferBuilder,
}

impl Default for Ends {
    fn default() -> Ends {
        Ends { ends: vec![0], valid: BooleanBufferBuilder::new(0) }
    }
}

impl Ends {
    /// One more list, up to `end`. What a list that is not there may hold is nobody's.
    fn push(&mut self, end: usize, is_there: bool) {
        self.ends.push(i32::try_from(end).unwrap_or_else(|_| panic!("a batch with more than 2^31 elements of lists")));
        self.valid.append(is_there);
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, NullBuffer) {
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        (OffsetBuffer::new(ScalarBuffer::from(ends)), NullBuffer::new(self.valid.finish()))
    }
}

struct Lists {
    field: FieldRef,
    item: Column,
    ends: Ends,
    memory: Memory,
}

impl Lists {
    /// Adds the elements; whether it is a list and all of them decoded.
    fn elements(&mut self, text: &str) -> Option<bool> {
        let mut scanner = Scanner::new(text);
        scanner.expect(b'[')?;
        scanner.space();
        let mut decoded = true;
        while !scanner.eat(b']') {
            let span = scanner.value(&mut self.memory.open)?;
            decoded &= push_at(&mut self.item, text, &span, &mut self.memory.plain);
            scanner.space();
            if scanner.eat(b',') {
                scanner.space();
            }
        }
        Some(decoded)
    }
}

impl Slot for Lists {
    fn push(&mut self, value: Value) -> bool {
        let decoded = if let Value::Nested(text) = value { self.elements(text) == Some(true) } else { false };
        self.ends.push(self.item.len(), decoded);
        decoded
    }

    fn push_null(&mut self) {
        self.ends.push(self.item.len(), false);
    }

    fn finish(&mut self) -> ArrayRef {
        let (ends, valid) = self.ends.finish();
        Arc::new(ListArray::new(self.field.clone(), ends, self.item.finish(), Some(valid)))
    }
}

struct Structs {
    object: Object,
    /// By field: where its value lies.
    spans: Vec<Span>,
    inside: Vec<Column>,
    fields: Fields,
    valid: BooleanBufferBuilder,
    memory: Memory,
}

impl Slot for Structs {
    fn push(&mut self, value: Value) -> bool {
        let Value::Nested(text) = value else {
            self.push_null();
            return false;
        };
        self.spans.fill(Span::MISSING);
        if self.object.scan(&mut Scanner::new(text), &mut self.memory.open, &mut self.spans).is_none() {
            self.push_null();
            return false;
        }
        let mut decoded = true;
        for (column, span) in self.inside.iter_mut().zip(&self.spans) {
            decoded &= push_at(column, text, span, &mut self.memory.plain);
        }
        self.valid.append(decoded);
        decoded
    }

    fn push_null(&mut self) {
        self.inside.iter_mut().for_each(Column::push_null);
        self.valid.append(false);
    }

    fn finish(&mut self) -> ArrayRef {
        let valid = NullBuffer::new(self.valid.finish());
        if self.fields.is_empty() {
            return Arc::new(StructArray::new_empty_fields(valid.len(), Some(valid)));
        }
        let inside = self.inside.iter_mut().map(Column::finish).collect();
        Arc::new(StructArray::new(self.fields.clone(), inside, Some(valid)))
    }
}

struct Maps {
    entries: FieldRef,
    sorted: bool,
    key: Column,
    value: Column,
    pair: Fields,
    ends: Ends,
    memory: Memory,
}

impl Maps {
    /// Adds the entries, of a repeated key the last; whether it is an object and all of it decoded.
    fn pairs(&mut self, text: &str) -> Option<bool> {
        let mut scanner = Scanner::new(text);
        scanner.expect(b'{')?;
        scanner.space();
        let (mut spans, mut places): (Vec<(String, Span)>, HashMap<String, usize>) = Default::default();
        while !scanner.eat(b'}') {
            let key = scanner.string()?;
            let key = unescape(&text[key.start..key.end], &mut self.memory.plain)?.to_owned();
            scanner.colon()?;
            let span = scanner.value(&mut self.memory.open)?;
            match places.get(&key) {
                Some(place) => spans[*place].1 = span,
                None => {
                    places.insert(key.clone(), spans.len());
                    spans.push((key, span));
                }
            }
            scanner.space();
            if scanner.eat(b',') {
                scanner.space();
            }
        }
        let mut decoded = true;
        for (key, span) in &spans {
            decoded &= self.key.push(Value::Text(key));
            decoded &= push_at(&mut self.value, text, span, &mut self.memory.plain);
        }
        Some(decoded)
    }
}

impl Slot for Maps {
    fn push(&mut self, value: Value) -> bool {
        let decoded = if let Value::Nested(text) = value { self.pairs(text) == Some(true) } else { false };
        self.ends.push(self.key.len(), decoded);
        decoded
    }

    fn push_null(&mut self) {
        self.ends.push(self.key.len(), false);
    }

    fn finish(&mut self) -> ArrayRef {
        let (ends, valid) = self.ends.finish();
        let pairs = StructArray::new(self.pair.clone(), vec![self.key.finish(), self.value.finish()], None);
        Arc::new(MapArray::new(self.entries.clone(), ends, pairs, Some(valid), self.sorted))
    }
}
