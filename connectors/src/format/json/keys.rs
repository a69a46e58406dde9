//! Which wanted column a key names.
//!
//! Records of one stream are alike, so the key that comes next is guessed from the keys of the records before: a guess
//! that is right costs one comparison of bytes, and the key need not be looked at.

use std::collections::HashMap;

use super::scan::{Kind, Scanner};
use super::text::unescape;

/// How many keys are remembered; further ones are looked up.
const SEEN_MAX: usize = 64;
/// How many of the keys that come next are tried: optional fields are left out.
const TRIES: usize = 3;

pub(super) struct Keys {
    columns: HashMap<Box<str>, usize>,
    /// Keys as they are spelled, with their quotes, in the order in which they were first met.
    seen: Vec<(Box<str>, Option<usize>)>,
    next: usize,
    plain: String,
}

impl Keys {
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Keys {
        let columns = names.enumerate().map(|(i, name)| (name.into(), i)).collect();
        Keys { columns, seen: Vec::new(), next: 0, plain: String::new() }
    }

    /// A new record begins.
    pub fn restart(&mut self) {
        self.next = 0;
    }

    /// Reads a key and gives its column, if it is wanted. `None`: no key is there.
    pub fn read(&mut self, scanner: &mut Scanner) -> Option<Option<usize>> {
        let rest = scanner.rest();
        for (i, (token, column)) in self.seen.iter().enumerate().skip(self.next).take(TRIES) {
            if rest.starts_with(token.as_bytes()) {
                scanner.at += token.len();
                self.next = i + 1;
                return Some(*column);
            }
        }
        self.read_unforeseen(scanner)
    }

    fn read_unforeseen(&mut self, scanner: &mut Scanner) -> Option<Option<usize>> {
        let span = scanner.string()?;
        let token = scanner.slice(span.start - 1, span.end + 1);
        if let Some(i) = self.seen.iter().position(|(seen, _)| **seen == *token) {
            self.next = i + 1;
            return Some(self.seen[i].1);
        }
        let raw = scanner.slice(span.start, span.end);
        let column = match span.kind {
            Kind::Escaped => unescape(raw, &mut self.plain).and_then(|name| self.columns.get(name)),
            _ => self.columns.get(raw),
        };
        if self.seen.len() < SEEN_MAX {
            self.seen.push((token.into(), column.copied()));
            self.next = self.seen.len();
        }
        Some(column.copied())
    }
}
