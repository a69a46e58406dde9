//! Numbers as people read them.

use std::fmt::{Display, Formatter, Result};

/// `1,234,567`.
#[derive(Clone, Copy, Debug)]
pub struct HumanCount(pub u64);

impl Display for HumanCount {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let digits = self.0.to_string();
        let (first, rest) = digits.split_at((digits.len() - 1) % 3 + 1);
        f.write_str(first)?;
        (0..rest.len()).step_by(3).try_for_each(|at| write!(f, ",{}", &rest[at..at + 3]))
    }
}

/// `1.43 MiB`.
#[derive(Clone, Copy, Debug)]
pub struct HumanBytes(pub u64);

impl Display for HumanBytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (mut number, mut units) = (self.0 as f64, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].iter());
        let mut unit = None;
        while number >= 1024.0 {
            (number, unit) = (number / 1024.0, units.next());
        }
        match unit {
            Some(unit) => write!(f, "{number:.2} {unit}"),
            None => write!(f, "{number} B"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_in_groups() {
        let all: Vec<String> =
            [0, 12, 999, 1_000, 12_345, 1_234_567, u64::MAX].map(|n| HumanCount(n).to_string()).into();
        assert_eq!(all, ["0", "12", "999", "1,000", "12,345", "1,234,567", "18,446,744,073,709,551,615"]);
    }

    #[test]
    fn bytes_in_units() {
        let all: Vec<String> = [0, 1_023, 1_024, 1_500, 1_500_000, 1_048_575, 1_500_000_000, u64::MAX]
            .map(|n| HumanBytes(n).to_string())
            .into();
        let told = ["0 B", "1023 B", "1.00 KiB", "1.46 KiB", "1.43 MiB", "1024.00 KiB", "1.40 GiB", "16.00 EiB"];
        assert_eq!(all, told);
    }
}
