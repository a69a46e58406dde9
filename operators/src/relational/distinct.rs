//! The keys that any row has: each once.

use std::collections::HashMap;

use super::by_tick::{PerTick, by_key, by_tick};
use super::rows::{Bytes, Change, Keyed, Rows};

/// The keys of rows, each once, whatever rows have it.
pub fn distinct<'scope>(rows: Keyed<'scope>) -> Rows<'scope> {
    by_tick(rows, "distinct", |_, _| Distinct::default())
}

/// How many rows there are of each key.
#[derive(Default)]
struct Distinct(HashMap<Bytes, isize>);

impl PerTick for Distinct {
    fn tick(&mut self, changes: Vec<Change>, out: &mut Vec<(Bytes, isize)>) {
        for (key, changes) in by_key(&changes) {
            let diff: isize = changes.iter().map(|(_, diff)| diff).sum();
            let before = self.0.get(key).copied().unwrap_or(0);
            let after = before + diff;
            match after {
                0 => drop(self.0.remove(key)),
                _ => drop(self.0.insert(key.clone(), after)),
            }
            let told = isize::from(after > 0) - isize::from(before > 0);
            if told != 0 {
                out.push((key.clone(), told));
            }
        }
    }
}
