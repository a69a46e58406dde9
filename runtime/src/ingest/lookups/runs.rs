//! What waits for its turn, in runs that are in order. What comes together mostly is in order already, so that little is sorted or searched for.

use std::collections::{BTreeMap, VecDeque};

/// Values by key. Those of one key have the order in which they came.
pub(super) struct Runs<K, V> {
    /// By the key of its first value that is still there, and the number of the run.
    runs: BTreeMap<(K, u64), VecDeque<(K, V)>>,
    pushed: u64,
}

impl<K, V> Default for Runs<K, V> {
    fn default() -> Runs<K, V> {
        Runs { runs: BTreeMap::new(), pushed: 0 }
    }
}

impl<K: Ord + Copy, V> Runs<K, V> {
    /// Puts in what has come together.
    pub(super) fn push(&mut self, mut run: Vec<(K, V)>) {
        run.sort_by_key(|(key, _)| *key);
        if let Some((first, _)) = run.first() {
            self.runs.insert((*first, self.pushed), run.into());
            self.pushed += 1;
        }
    }

    /// The first key.
    pub(super) fn first(&self) -> Option<K> {
        self.runs.keys().next().map(|(key, _)| *key)
    }

    /// Takes out the first values, none behind `upto`, and at most so many.
    pub(super) fn take(&mut self, upto: K, most: usize) -> Vec<(K, V)> {
        let mut taken = vec![];
        while taken.len() < most {
            let Some(first) = self.runs.first_entry().filter(|first| first.key().0 <= upto) else { break };
            let ((_, number), mut run) = first.remove_entry();
            let next = self.runs.keys().next().copied();
            let is_next = |key: K| key <= upto && next.is_none_or(|next| (key, number) < next);
            while taken.len() < most
                && let Some(value) = run.pop_front_if(|(key, _)| is_next(*key))
            {
                taken.push(value);
            }
            if let Some((key, _)) = run.front() {
                self.runs.insert((*key, number), run);
            }
        }
        taken
    }

    /// Of each run the first value.
    pub(super) fn fronts(&self) -> impl Iterator<Item = &V> {
        self.runs.values().filter_map(VecDeque::front).map(|(_, value)| value)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.runs.values().flatten().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    /// However they come and are taken, they have the order of a stable sort.
    #[test]
    fn agrees_with_a_sort() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(3);
        for _ in 0..200 {
            let (mut runs, mut all) = (Runs::default(), vec![]);
            let mut came = 0;
            for _ in 0..20 {
                let run: Vec<(i32, i32)> = (0..rng.random_range(0..9))
                    .map(|_| {
                        came += 1;
                        (rng.random_range(0..12), came)
                    })
                    .collect();
                all.extend(run.clone());
                runs.push(run);
                all.sort_by_key(|(key, _)| *key);
                let (upto, most) = (rng.random_range(-1..12), rng.random_range(0..9));
                let first = all.iter().take_while(|(key, _)| *key <= upto).count().min(most);
                let expected: Vec<(i32, i32)> = all.drain(..first).collect();
                assert_eq!(runs.take(upto, most), expected);
                assert_eq!(runs.first(), all.first().map(|(key, _)| *key));
                assert_eq!(runs.values().count(), all.len());
                assert!(all.first().is_none_or(|(_, first)| runs.fronts().any(|front| front == first)));
            }
        }
    }
}
