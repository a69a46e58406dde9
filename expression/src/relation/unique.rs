//! Which columns tell the rows of a node apart.
//!
//! ```text
//! read                 its keys
//! filter, projection   those whose columns are still there; a column that is equal to a constant tells nothing
//! inner, left join     those of the left side, where the right side is joined on a whole key of its own, and the other way round
//! full join on keys    the two keys, as one: coalesce(a.k, b.k)
//! GROUP BY, DISTINCT   its columns
//! ROW_NUMBER() = 1     what it is partitioned by
//! UNION ALL            none
//! ```

use std::collections::BTreeSet;

use arrow::datatypes::DataType;

use super::JoinKind;

/// A part of what tells rows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Column(usize),
    /// The one or the other, whichever is not null: two keys of a full join.
    Either(usize, usize),
}

/// A key: parts that together tell rows apart.
type Key = BTreeSet<Part>;

/// All that is known of it.
#[derive(Clone, Debug, Default)]
pub struct Unique {
    keys: BTreeSet<Key>,
    /// Why there is none.
    why: Option<String>,
}

/// More of them help nobody.
const KEYS_MAX: usize = 32;

impl Unique {
    pub fn of(keys: impl IntoIterator<Item = Vec<usize>>) -> Unique {
        let keys = keys.into_iter().map(|key| key.into_iter().map(Part::Column).collect());
        Unique { keys: keys.collect(), why: None }
    }

    pub fn none(why: impl Into<String>) -> Unique {
        Unique { keys: BTreeSet::new(), why: Some(why.into()) }
    }

    fn with(&self, keys: impl IntoIterator<Item = Key>) -> Unique {
        Unique { keys: keys.into_iter().take(KEYS_MAX).collect(), why: self.why.clone() }
    }

    /// Each part becomes another one, or nothing, and with it the key.
    pub fn map(&self, new: impl Fn(Part) -> Option<Part>) -> Unique {
        self.with(self.keys.iter().filter_map(|key| key.iter().map(|part| new(*part)).collect()))
    }

    /// These columns are the same in all rows.
    pub fn without(&self, constant: &[usize]) -> Unique {
        let is_kept = |part: &&Part| !matches!(part, Part::Column(at) if constant.contains(at));
        self.with(self.keys.iter().map(|key| key.iter().filter(is_kept).copied().collect()))
    }

    /// There is one more.
    pub fn and(&self, key: Vec<usize>) -> Unique {
        self.with([key.into_iter().map(Part::Column).collect()].into_iter().chain(self.keys.iter().cloned()))
    }

    /// Whether there is one row at most.
    pub fn is_one(&self) -> bool {
        self.is_told_by(&[])
    }

    /// Whether these columns tell rows apart.
    fn is_told_by(&self, columns: &[usize]) -> bool {
        let has = |part: &Part| matches!(part, Part::Column(at) if columns.contains(at));
        self.keys.iter().any(|key| key.iter().all(has))
    }

    /// Of a join of two sides, of which the left one has so many columns, on these pairs of columns.
    pub fn joined(&self, right: &Unique, width: usize, kind: JoinKind, on: &[(usize, usize)]) -> Unique {
        use JoinKind::*;
        if matches!(kind, Semi | Anti) {
            return self.clone();
        }
        let (of_left, of_right): (Vec<usize>, Vec<usize>) = on.iter().copied().unzip();
        let (one_left, one_right) = (self.is_told_by(&of_left), right.is_told_by(&of_right));
        let shift = |part: &Part| match *part {
            Part::Column(at) => Part::Column(at + width),
            Part::Either(a, b) => Part::Either(a + width, b + width),
        };
        let shifted: Vec<Key> = right.keys.iter().map(|key| key.iter().map(shift).collect()).collect();
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        if one_right && matches!(kind, Inner | Left) {
            keys.extend(self.keys.iter().cloned());
        }
        if one_left && matches!(kind, Inner | Right) {
            keys.extend(shifted.iter().cloned());
        }
        if one_left && one_right && kind == Full {
            keys.insert(on.iter().map(|(left, right)| Part::Either(*left, right + width)).collect());
        }
        let pairs = self
            .keys
            .iter()
            .flat_map(|left| shifted.iter().map(move |right| left.union(right).copied().collect::<Key>()));
        keys.extend(pairs);
        // Of an inner join either column of a pair will do.
        if kind == Inner {
            for (left, right) in on.iter().map(|(left, right)| (Part::Column(*left), Part::Column(right + width))) {
                let swap = |(from, to): (Part, Part), key: &Key| {
                    key.contains(&from)
                        .then(|| key.iter().map(|part| if *part == from { to } else { *part }).collect::<Key>())
                };
                let more: Vec<Key> = keys
                    .iter()
                    .flat_map(|key| [swap((left, right), key), swap((right, left), key)])
                    .flatten()
                    .collect();
                keys.extend(more);
            }
        }
        let why = self.why.clone().or_else(|| right.why.clone());
        Unique { keys: keys.into_iter().take(KEYS_MAX).collect(), why }
    }

    /// Whether some columns tell rows apart, and what does where they do not.
    pub fn check(&self, key: &[usize], fields: &[(String, DataType)]) -> Result<(), String> {
        if self.is_told_by(key) {
            return Ok(());
        }
        let name = |part: &Part| match part {
            Part::Column(at) => format!("`{}`", fields[*at].0),
            Part::Either(a, b) => format!("coalesce(`{}`, `{}`)", fields[*a].0, fields[*b].0),
        };
        let known = |key: &Key| key.iter().map(name).collect::<Vec<_>>().join(" with ");
        let smallest = self.keys.iter().min_by_key(|key| key.len());
        Err(match (smallest, &self.why) {
            (Some(other), _) => format!("what tells rows apart is {}", known(other)),
            (None, Some(why)) => why.clone(),
            (None, None) => "no columns of the result are known to: keep the keys of what is read, join on whole keys, or use GROUP BY or DISTINCT".to_owned(),
        })
    }
}
