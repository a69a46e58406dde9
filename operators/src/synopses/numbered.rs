//! Values told apart by number while somebody holds them, so that a table of many of them has small entries.

use std::collections::HashMap;
use std::hash::Hasher;

use ahash::RandomState;

use crate::value::Ordered;

/// Value -> a dense number, and back. A number that nobody holds any more is used again.
#[derive(Default)]
pub struct NumberedValues {
    numbers: HashMap<Ordered, u32, RandomState>,
    values: Vec<Ordered>,
    holders: Vec<u32>,
    free: Vec<u32>,
}

impl NumberedValues {
    /// The number of a value. A new one is to be held before the next is asked for.
    ///
    /// # Panics
    /// On more than 2^32 values.
    pub fn number(&mut self, value: Ordered) -> u32 {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.values.push(Ordered::Word(0));
            self.holders.push(0);
            u32::try_from(self.values.len() - 1).expect("more than 2^32 distinct values of a column on one worker")
        });
        self.values[number as usize] = value.clone();
        self.numbers.insert(value, number);
        number
    }

    /// The value of a number that is held.
    pub fn value(&self, number: u32) -> &Ordered {
        &self.values[number as usize]
    }

    /// The number of a value that somebody holds.
    pub fn find(&self, value: &Ordered) -> Option<u32> {
        self.numbers.get(value).copied()
    }

    /// All values that somebody holds, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Ordered)> {
        self.numbers.iter().map(|(value, number)| (*number, value))
    }

    /// One more holds it.
    pub fn hold(&mut self, number: u32) {
        self.holders[number as usize] += 1;
    }

    /// One less holds it.
    pub fn release(&mut self, number: u32) {
        let holders = &mut self.holders[number as usize];
        *holders -= 1;
        if *holders == 0 {
            let value = std::mem::replace(&mut self.values[number as usize], Ordered::Word(0));
            self.numbers.remove(&value);
            self.free.push(number);
        }
    }
}

/// Hashes numbers, which are dense: one multiplication spreads them.
#[derive(Clone, Copy, Default)]
pub struct ByNumber(u64);

impl Hasher for ByNumber {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing; the map looks at the top bits and at the low ones.
        let spread = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again() {
        let mut values = NumberedValues::default();
        let a = values.number(Ordered::Text("a".into()));
        values.hold(a);
        let b = values.number(Ordered::Text("b".into()));
        values.hold(b);
        values.hold(b);
        assert_eq!(values.number(Ordered::Text("a".into())), a);
        values.release(a);
        values.release(b);
        assert_eq!(values.number(Ordered::Word(7)), a);
        assert_eq!(*values.value(b), Ordered::Text("b".into()));
    }
}
