//! The manifest: everything of a checkpoint but the parts, and how to tell whether those are whole.

use std::collections::BTreeMap;

use headwater_connectors::storage::Storage;
use serde::{Deserialize, Serialize};

use super::generations::{self, Starts};
use super::store::{CHECKPOINTS, StateStore, part_name};
use super::{KEPT, Part, Position};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::run::Mode;

/// The format that this version writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Begins with the generation that wrote it: see `generations`.
    pub number: u64,
    /// What the state means: see `fingerprint`.
    pub fingerprint: u64,
    /// Every tick up to it is in the state.
    pub t: i64,
    /// By source: see `Announcement`.
    pub horizons: Vec<i64>,
    pub mode: Mode,
    /// The run had reached its end.
    pub finished: bool,
    pub plan: Plan,
    pub positions: Vec<Position>,
    pub parts: Vec<Part>,
    /// By sink: the length of its changelog, in bytes; and that of the dead letters.
    pub changelogs: Vec<Option<u64>>,
    pub letters: Option<u64>,
}

impl Manifest {
    /// Makes the checkpoint one, unless a newer start has taken over, and removes what nobody needs any more.
    pub fn commit(&self, store: &StateStore, starts: &Starts) -> Result<(), Failure> {
        let generation = generations::of_number(self.number);
        let name = part_name(self.number, MANIFEST);
        let text = serde_json::to_vec(self).expect("a manifest is plain data");
        is_newest(store, generation)?;
        if !store.patiently(|| store.storage.create(&name, &text))? {
            let shown = store.storage.shown(&name);
            return Err(Failure::Running(format!("{shown} is there already: another process writes this state")));
        }
        is_newest(store, generation)?;
        for old in store.patiently(|| self.unneeded(&store.storage, starts))? {
            let dir = format!("{CHECKPOINTS}/{old}");
            // First of all it is no checkpoint any more.
            store.patiently(|| store.storage.remove(&format!("{dir}/{MANIFEST}")))?;
            store.patiently(|| store.storage.remove(&dir))?;
        }
        Ok(())
    }

    /// The numbers up to this one's that are not among the last few checkpoints: older ones, and what never became one.
    fn unneeded(&self, storage: &Storage, starts: &Starts) -> Result<Vec<u64>, headwater_connectors::Error> {
        let mut numbers = numbers(storage)?;
        numbers.retain(|number, _| *number <= self.number);
        let counts = |(number, whole): &(&u64, &bool)| **whole && starts.count(**number);
        let kept: Vec<u64> = numbers.iter().rev().filter(counts).map(|(number, _)| *number).take(KEPT).collect();
        Ok(numbers.into_keys().filter(|number| !kept.contains(number)).collect())
    }

    /// Whether every part is there as it was written.
    fn check(&self, store: &StateStore) -> Result<Result<(), String>, Failure> {
        for part in &self.parts {
            if let Err(why) = store.part(self.number, part)? {
                return Ok(Err(why));
            }
        }
        Ok(Ok(()))
    }
}

fn is_newest(store: &StateStore, generation: u64) -> Result<(), Failure> {
    let newest = store.patiently(|| generations::newest(&store.storage))?;
    if newest > generation { Err(generations::overtaken(&store.storage, newest, generation)) } else { Ok(()) }
}

/// The numbers of the checkpoints, and whether they have a manifest.
fn numbers(storage: &Storage) -> Result<BTreeMap<u64, bool>, headwater_connectors::Error> {
    let mut numbers = BTreeMap::new();
    for name in storage.list(CHECKPOINTS)? {
        let mut parts = name.split('/').skip(1);
        if let Some(number) = parts.next().and_then(|number| number.parse().ok()) {
            *numbers.entry(number).or_default() |= parts.next() == Some(MANIFEST);
        }
    }
    Ok(numbers)
}

/// Takes the state over from earlier starts. `fresh`: without any of their checkpoints, which are removed. Returns the newest
/// checkpoint that is whole, and all starts, this one the last.
pub fn take_over(store: &StateStore, fresh: bool) -> Result<(Option<Manifest>, Starts), Failure> {
    let mut starts = Starts::read(&store.storage)?;
    let numbers = numbers(&store.storage)?;
    let counting = |(number, whole): (&u64, &bool)| (*whole && starts.count(*number)).then_some(*number);
    let numbers: Vec<u64> = if fresh { vec![] } else { numbers.iter().filter_map(counting).collect() };
    starts.take(&store.storage, numbers.last().copied().unwrap_or(0))?;
    if fresh {
        store.storage.remove(CHECKPOINTS)?;
    }
    for number in numbers.into_iter().rev() {
        match read(store, number)? {
            Ok(manifest) => return Ok((Some(manifest), starts)),
            Err(why) => tracing::warn!("checkpoint {number} is damaged, the one before is used: {why}"),
        }
    }
    Ok((None, starts))
}

fn read(store: &StateStore, number: u64) -> Result<Result<Manifest, String>, Failure> {
    let name = part_name(number, MANIFEST);
    let shown = store.storage.shown(&name);
    let Some((text, _)) = store.storage.read(&name)? else { return Ok(Err(format!("{shown} is gone"))) };
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    if let Ok(Head { format }) = serde_json::from_slice(&text)
        && format != FORMAT
    {
        return Err(Failure::Running(format!(
            "{shown} has the state format {format}; this version reads {FORMAT} alone\n  hint: run the version that wrote it, or start anew with --fresh"
        )));
    }
    let manifest = match serde_json::from_slice::<Manifest>(&text) {
        Ok(manifest) => manifest,
        Err(e) => return Ok(Err(format!("{shown}: {e}"))),
    };
    Ok(manifest.check(store)?.map(|()| manifest))
}
