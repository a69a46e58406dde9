//! How much memory a backfill takes for what it keeps, and how a user says that.

use std::sync::atomic::{AtomicI64, Ordering};

/// Bytes that are left.
pub struct Budget(AtomicI64);

impl Budget {
    pub fn new(bytes: u64) -> Budget {
        Budget(AtomicI64::new(i64::try_from(bytes).unwrap_or(i64::MAX)))
    }

    /// Takes bytes, if so many are left.
    pub fn take(&self, bytes: usize) -> bool {
        let bytes = bytes as i64;
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| (left >= bytes).then_some(left - bytes))
            .is_ok()
    }

    pub fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes as i64, Ordering::Relaxed);
    }
}

const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Bytes as they are written: `512MiB`, `2GB`, `1.5GiB`.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size: expected a number with a unit, like 512MiB or 2GB");
    let text = text.trim();
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (number, factor) = match unit {
        Some((unit, factor)) => (text[..text.len() - unit.len()].trim(), *factor),
        None => return Err(wrong()),
    };
    let bytes = number.parse::<f64>().map_err(|_| wrong())? * factor as f64;
    if !(bytes >= LEAST as f64 && bytes < i64::MAX as f64) {
        return Err(format!("`{text}` is too little or too much: expected 16MiB or more"));
    }
    Ok(bytes as u64)
}

const LEAST: u64 = 16 << 20;

/// Files that were just written mostly lie in memory that nobody else wants, so more would hardly be faster.
const MOST_UNASKED: u64 = 2 << 30;

/// Where nothing is said: a quarter of what the machine, or the container, has, and no more than [`MOST_UNASKED`].
pub fn by_default() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    let all = machine.into_iter().chain(container).min().unwrap_or(4 << 30);
    (all / 4).clamp(LEAST, MOST_UNASKED)
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("512MiB", Some(512 << 20)),
            ("2GB", Some(2_000_000_000)),
            ("1.5GiB", Some(3 << 29)),
            ("64 MiB", Some(64 << 20)),
            ("1KiB", None),
            ("512", None),
            ("GiB", None),
            ("-1GiB", None),
            ("nanGiB", None),
            ("1e30TB", None),
        ] {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
        assert_eq!(of_machine("MemTotal:       24684544 kB\nMemFree: 1 kB\n"), Some(24_684_544 << 10));
        assert!((LEAST..=MOST_UNASKED).contains(&by_default()));
    }

    #[test]
    fn no_more_than_there_is() {
        let budget = Budget::new(10);
        assert!(budget.take(7) && !budget.take(4) && budget.take(3));
        budget.give_back(5);
        assert!(budget.take(5) && !budget.take(1));
    }
}
