//! How many values rows have in lists, by the levels that their pages begin with: known before a value is decoded.

/// Counts the values of rows by their levels of repetition: a row begins where that is 0.
pub(super) struct LongestRow {
    /// Bits of a level.
    width: usize,
    /// Of the row that is being counted.
    values: usize,
    pub longest: usize,
}

impl LongestRow {
    pub fn new(most: i16) -> LongestRow {
        LongestRow { width: (u16::BITS - most.unsigned_abs().leading_zeros()) as usize, values: 0, longest: 0 }
    }

    fn add(&mut self, level: usize, count: usize) {
        match (level, count) {
            (0, 1..) => self.values = 1,
            (0, 0) => {}
            _ => self.values = self.values.saturating_add(count),
        }
        self.longest = self.longest.max(self.values);
    }

    /// As runs of one level, or of eight times so many in bits. `None`: they end too early.
    pub fn runs(&mut self, mut levels: &[u8], mut left: usize) -> Option<()> {
        while left > 0 {
            let (mut head, mut shift) = (0u64, 0);
            loop {
                let (byte, rest) = levels.split_first()?;
                levels = rest;
                head |= u64::from(byte & 0x7f).checked_shl(shift)?;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let count = usize::try_from(head >> 1).ok()?;
            if head & 1 == 0 {
                let (level, rest) = levels.split_at_checked(self.width.div_ceil(8))?;
                levels = rest;
                let level = level.iter().rev().fold(0, |level, byte| (level << 8) | usize::from(*byte));
                self.add(level, count.min(left));
                left -= count.min(left);
            } else {
                // The last run may be cut to the bytes that its values need.
                let values = count.saturating_mul(8).min(left);
                let (bits, rest) = levels.split_at(count.saturating_mul(self.width).min(levels.len()));
                levels = rest;
                for at in 0..values {
                    self.add(bit(bits, at * self.width, self.width, |byte, at| (byte >> at) & 1)?, 1);
                }
                left -= values;
            }
        }
        Some(())
    }

    /// As the first writers had them: bits alone, the highest of a byte first.
    pub fn bits(&mut self, levels: &[u8], values: usize) -> Option<()> {
        for at in 0..values {
            // What the level is does not matter, but whether it is 0.
            self.add(bit(levels, at * self.width, self.width, |byte, at| (byte >> (7 - at)) & 1)?, 1);
        }
        Some(())
    }
}

/// Whether any of so many bits is set, and so the level is not 0.
fn bit(bits: &[u8], from: usize, width: usize, of: impl Fn(u8, usize) -> u8) -> Option<usize> {
    let mut any = 0;
    for at in from..from + width {
        any |= of(*bits.get(at / 8)?, at % 8);
    }
    Some(any.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_row_by_its_levels() {
        let runs = |most, levels: &[u8], values| {
            let mut longest = LongestRow::new(most);
            longest.runs(levels, values).map(|()| longest.longest)
        };
        assert_eq!(runs(1, &[2, 0, 8, 1, 2, 0], 6), Some(5), "0 1 1 1 1 0");
        assert_eq!(runs(1, &[3, 0b0110_1110], 8), Some(4), "0 1 1 1 0 1 1 0");
        assert_eq!(runs(3, &[3, 0b0011_1000], 4), Some(3), "0 2 3 0 of two bits, cut to what is needed");
        assert_eq!(runs(1, &[0xfe, 0xff, 0xff, 0xff, 0x0f, 1], 9), Some(9), "a run that claims more");
        assert_eq!(runs(1, &[2], 1), None);
        assert_eq!(runs(1, &[3], 1), None);
        assert_eq!(runs(1, &[0xff; 20], 1), None);
        let mut longest = LongestRow::new(1);
        assert_eq!(longest.bits(&[0b0111_0100], 8), Some(()));
        assert_eq!(longest.longest, 4);
        // A row goes on in the next page.
        assert_eq!(longest.runs(&[10, 1], 5), Some(()));
        assert_eq!(longest.longest, 6);
    }
}
