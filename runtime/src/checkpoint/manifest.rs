//! The manifest: everything of a checkpoint but the files, and how to tell whether those are whole.
//!
//! `{"xxh3":"0123456789abcdef","format":3,...}`: the hash is that of all that follows its comma.

use std::collections::BTreeMap;

use headwater_clocks::{Eff, Tick, WallClock};
use headwater_connectors::sink::lines::SinkPosition;
use headwater_connectors::storage::Storage;
use serde::{Deserialize, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use super::admissions::SavedLog;
use super::contribution::StateFile;
use super::generations::{self, Starts};
use super::stats::CheckpointInfo;
use super::store::{CHECKPOINTS, StateStore, object_name};
use crate::base::failure::Failure;
use crate::base::id::{CheckpointNumber, Generation, IdVec, ScanId};
use crate::plan::Plan;
use crate::plan::mode::Mode;
use crate::plan::position::Position;

/// The format that this version writes, and those that it reads. (In 2 the ledgers were whole in each checkpoint, and there was no
/// shadow.)
pub const FORMAT: u32 = 3;
const READS: [u32; 2] = [2, FORMAT];

/// How many checkpoints are kept.
const KEPT: usize = 3;

const MANIFEST: &str = "manifest.json";
/// What a manifest is called once its checkpoint was passed over: no start takes it any more, and a person may still look at it.
const SET_ASIDE: &str = "manifest.damaged";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Begins with the generation that wrote it: see `generations`.
    pub number: CheckpointNumber,
    /// Every tick up to it is in the state. `None`: the history is still being read, see `Plan::read`.
    pub t: Option<Tick>,
    /// By the wall clock, when it was asked for: for whoever watches. `None`: an earlier version wrote it.
    #[serde(rename = "begun_us")]
    pub begun: Option<WallClock>,
    /// See `Announcement`.
    pub horizons: IdVec<ScanId, Eff>,
    pub mode: Mode,
    /// The run had reached its end.
    pub finished: bool,
    #[serde(serialize_with = "with_moved")]
    pub plan: Plan,
    pub positions: Vec<Position>,
    #[serde(rename = "parts")]
    pub files: Vec<StateFile>,
    /// What of the log of admissions is known, where the job keeps one. Its files are among the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admissions: Option<SavedLog>,
    /// Where changelogs and dead letters were left: see `names`.
    pub lines: BTreeMap<String, SinkPosition>,
}

/// All versions that read this format ask for `moved`, which says of each scan of a plan which one it was: in a manifest, itself.
fn with_moved<S: Serializer>(plan: &Plan, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Written<'a> {
        #[serde(flatten)]
        plan: &'a Plan,
        moved: Vec<ScanId>,
    }
    Written { plan, moved: plan.scans.ids().collect() }.serialize(serializer)
}

impl Manifest {
    /// Up to where rows are right that go on from it. `None`: the history is still being read.
    pub fn t_of_rows(&self) -> Option<Tick> {
        self.t.max(self.plan.floor)
    }

    /// What is told of it once it is whole.
    fn info(&self) -> CheckpointInfo {
        let bytes = self.files.iter().map(|file| file.bytes).sum();
        CheckpointInfo { number: self.number, t: self.t_of_rows(), begun: self.begun, took: None, bytes }
    }

    /// Makes the checkpoint one, unless a newer start has taken over, and removes what nobody needs any more.
    pub fn commit(&self, store: &StateStore, starts: &Starts) -> Result<(), Failure> {
        let generation = generations::of_number(self.number);
        let name = object_name(self.number, MANIFEST);
        let text = sealed(self);
        is_newest(store, generation)?;
        if !store.patiently(|| store.storage.create(&name, &text))? {
            let shown = store.storage.shown(&name);
            return Err(Failure::Running(format!("{shown} is there already: another process writes this state")));
        }
        is_newest(store, generation)?;
        store.note_use(self.number, &self.files);
        store.stats.committed(self.info());
        for (old, names) in store.patiently(|| self.unneeded(store, starts))? {
            // First of all it is no checkpoint any more.
            store.patiently(|| store.storage.remove(&object_name(old, MANIFEST)))?;
            names.iter().try_for_each(|name| store.patiently(|| store.storage.remove(name)))?;
        }
        Ok(())
    }

    /// By number, up to this one's, what lies there and is neither of the last few checkpoints nor a part of theirs: of older ones, and
    /// of what never became one. Where all goes, that is the directory.
    fn unneeded(
        &self,
        store: &StateStore,
        starts: &Starts,
    ) -> Result<Vec<(CheckpointNumber, Vec<String>)>, headwater_connectors::Error> {
        let all = numbers(&store.storage)?;
        let upto = || all.iter().filter(|(number, _)| **number <= self.number);
        let counts = |(number, found): &(&CheckpointNumber, &CheckpointDir)| found.whole && starts.count(**number);
        let kept: Vec<CheckpointNumber> = upto().rev().filter(counts).map(|(number, _)| *number).take(KEPT).collect();
        let used = store.used_by(&kept, self.number);
        let of_number = |(number, found): (&CheckpointNumber, &CheckpointDir)| {
            let goes = |name: &&String| !used.has(*number, name);
            let names: Vec<String> = found.names.iter().filter(goes).map(|name| object_name(*number, name)).collect();
            let all = names.len() == found.names.len();
            (*number, if all { vec![format!("{CHECKPOINTS}/{number}")] } else { names })
        };
        let old = upto().filter(|(number, _)| !kept.contains(number)).map(of_number);
        Ok(old.filter(|(_, names)| !names.is_empty()).collect())
    }

    /// Whether every part is there as it was written.
    fn check(&self, store: &StateStore) -> Result<Result<(), String>, Failure> {
        for file in &self.files {
            if let Err(why) = store.fetch(file)? {
                return Ok(Err(why));
            }
        }
        Ok(Ok(()))
    }
}

fn is_newest(store: &StateStore, generation: Generation) -> Result<(), Failure> {
    let newest = store.patiently(|| generations::newest(&store.storage))?;
    if newest > generation { Err(generations::overtaken(&store.storage, newest, generation)) } else { Ok(()) }
}

/// What lies in a checkpoint's directory, and whether a manifest is there.
#[derive(Default)]
struct CheckpointDir {
    names: Vec<String>,
    whole: bool,
}

fn numbers(storage: &Storage) -> Result<BTreeMap<CheckpointNumber, CheckpointDir>, headwater_connectors::Error> {
    let mut numbers: BTreeMap<CheckpointNumber, CheckpointDir> = BTreeMap::new();
    for name in storage.list(CHECKPOINTS)? {
        let mut levels = name.splitn(3, '/').skip(1);
        if let Some(number) = levels.next().and_then(|number| number.parse().ok()).map(CheckpointNumber::of) {
            let found = numbers.entry(number).or_default();
            let name = levels.next().unwrap_or_default();
            found.whole |= name == MANIFEST;
            found.names.push(name.to_owned());
        }
    }
    Ok(numbers)
}

/// Takes the state over from earlier starts. `fresh`: without any of their checkpoints, which are removed. Returns the newest
/// checkpoint that is whole, and all starts, this one the last.
pub fn take_over(store: &StateStore, fresh: bool) -> Result<(Option<Manifest>, Starts), Failure> {
    let mut starts = Starts::read(&store.storage)?;
    let numbers = numbers(&store.storage)?;
    let newest = numbers.keys().last().map_or(Generation::NONE, |number| generations::of_number(*number));
    let counting = |(number, found): (&CheckpointNumber, &CheckpointDir)| {
        (found.whole && starts.count(*number)).then_some(*number)
    };
    let numbers: Vec<CheckpointNumber> = if fresh { vec![] } else { numbers.iter().filter_map(counting).collect() };
    starts.take(&store.storage, numbers.last().copied().unwrap_or(CheckpointNumber::NONE), newest)?;
    if fresh {
        store.storage.remove(CHECKPOINTS)?;
    }
    let found = newest_whole(store, &numbers)?;
    for number in &numbers {
        // What is damaged uses nothing.
        read(store, *number)?.iter().for_each(|manifest| store.note_use(manifest.number, &manifest.files));
    }
    if let Some(manifest) = &found {
        store.stats.found(manifest.info());
        // Where reading failed for a moment only, a later start must not come to it: lines are cut back for the older one.
        for passed_over in numbers.iter().filter(|number| **number > manifest.number) {
            set_aside(store, *passed_over)?;
        }
    }
    Ok((found, starts))
}

fn newest_whole(store: &StateStore, numbers: &[CheckpointNumber]) -> Result<Option<Manifest>, Failure> {
    for number in numbers.iter().rev() {
        let whole = match read(store, *number)? {
            Ok(manifest) => manifest.check(store)?.map(|()| manifest),
            Err(why) => Err(why),
        };
        match whole {
            Ok(manifest) => return Ok(Some(manifest)),
            Err(why) => tracing::warn!("checkpoint {number} is damaged, the one before is used: {why}"),
        }
    }
    if !numbers.is_empty() {
        tracing::warn!("no checkpoint is whole: everything is computed anew from the history");
    }
    Ok(None)
}

/// Makes a checkpoint none any more. What is left of it is removed with the next one that is written.
fn set_aside(store: &StateStore, number: CheckpointNumber) -> Result<(), Failure> {
    let name = object_name(number, MANIFEST);
    if let Some((text, _)) = store.storage.read(&name)? {
        store.storage.create(&object_name(number, SET_ASIDE), &text)?;
    }
    Ok(store.storage.remove(&name)?)
}

/// The newest checkpoint, for somebody who only looks. Parts in an object store are not read.
pub fn look(store: &StateStore) -> Result<Option<Manifest>, Failure> {
    let starts = Starts::read(&store.storage)?;
    for (number, _) in numbers(&store.storage)?.into_iter().rev().filter(|(n, found)| found.whole && starts.count(*n)) {
        if let Ok(manifest) = read(store, number)?
            && (store.storage.local().is_none() || manifest.check(store)?.is_ok())
        {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

/// The newest checkpoint, whatever became of its parts.
pub fn newest(store: &StateStore) -> Result<Option<Manifest>, Failure> {
    let starts = Starts::read(&store.storage)?;
    for (number, _) in numbers(&store.storage)?.into_iter().rev().filter(|(n, found)| found.whole && starts.count(*n)) {
        if let Ok(manifest) = read(store, number)? {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

fn read(store: &StateStore, number: CheckpointNumber) -> Result<Result<Manifest, String>, Failure> {
    let name = object_name(number, MANIFEST);
    let shown = store.storage.shown(&name);
    let Some((text, _)) = store.storage.read(&name)? else { return Ok(Err(format!("{shown} is gone"))) };
    let damaged = || Ok(Err(format!("{shown}: it is not as it was written")));
    if text.starts_with(SEAL) && !is_sealed(&text) {
        return damaged();
    }
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    if let Ok(Head { format }) = serde_json::from_slice(&text)
        && !READS.contains(&format)
    {
        return Err(Failure::Running(format!(
            "{shown} has the state format {format}; this version reads {} and {FORMAT}\n  hint: run the version that wrote it, or start anew with --fresh",
            READS[0]
        )));
    }
    if !is_sealed(&text) {
        return damaged();
    }
    Ok(serde_json::from_slice(&text).map_err(|e| format!("{shown}: {e}")))
}

const SEAL: &[u8] = br#"{"xxh3":""#;
const HASH_DIGITS: usize = 16;

fn sealed(manifest: &Manifest) -> Vec<u8> {
    let text = serde_json::to_vec(manifest).expect("a manifest is plain data");
    let rest = &text[1..];
    [SEAL, format!("{:016x}\",", xxh3_64(rest)).as_bytes(), rest].concat()
}

/// Whether a manifest is as it was written. Earlier versions did not seal theirs.
fn is_sealed(text: &[u8]) -> bool {
    let Some(sealed) = text.strip_prefix(SEAL) else { return text.starts_with(br#"{"format":"#) };
    let split = sealed.split_at_checked(HASH_DIGITS);
    let rest = split.and_then(|(hash, rest)| Some((hash, rest.strip_prefix(b"\",")?)));
    rest.is_some_and(|(hash, rest)| hash == format!("{:016x}", xxh3_64(rest)).as_bytes())
}

#[cfg(test)]
mod tests {
    use headwater_operators::group::Piece;

    use super::*;
    use crate::checkpoint::resumption::Start;

    #[test]
    fn a_manifest_with_one_bit_that_is_another_is_damaged() {
        let start = Start {
            plan: Plan { floor: Some(Tick::from_us(7)), ..Plan::of(WallClock::from_us(0), IdVec::new(), IdVec::new()) },
            from: None,
        };
        let text = sealed(&start.first_manifest(Mode::Follow));
        assert!(is_sealed(&text) && serde_json::from_slice::<Manifest>(&text).is_ok());
        for bit in 0..text.len() * 8 {
            let mut other = text.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_sealed(&other), "{}", String::from_utf8_lossy(&other));
        }
        assert!(!is_sealed(&text[..text.len() - 1]) && !is_sealed(b""));
        // As an earlier version wrote it.
        assert!(is_sealed(&serde_json::to_vec(&start.first_manifest(Mode::Follow)).unwrap()));
    }

    const TEXT: &str = include_str!("../../../tests/data/manifest/format-3.json");
    /// With what is left out where there is none of it.
    const OF_COLLECTIONS: &str = include_str!("../../../tests/data/manifest/format-3-collections.json");

    fn take(from: &mut serde_json::Value, at: &str, names: &[&str]) {
        let object = from.pointer_mut(at).and_then(serde_json::Value::as_object_mut).unwrap();
        names.iter().for_each(|name| drop(object.remove(*name).unwrap()));
    }

    /// What stands in a checkpoint, by name: whatever is renamed here, old texts are read, and the same names are written.
    #[test]
    fn the_text_of_a_manifest_is_what_it_was() {
        let manifest: Manifest = serde_json::from_str(TEXT).unwrap();
        let mut expected: serde_json::Value = serde_json::from_str(TEXT).unwrap();
        // It was always null, and may be missing.
        take(&mut expected, "/plan", &["restored"]);
        assert_eq!(serde_json::to_value(&manifest).unwrap(), expected);
        let manifest: Manifest = serde_json::from_str(OF_COLLECTIONS).unwrap();
        let expected: serde_json::Value = serde_json::from_str(OF_COLLECTIONS).unwrap();
        assert_eq!(serde_json::to_value(&manifest).unwrap(), expected);
    }

    /// All of them, one after the other. Whoever adds one comes by here, and gives it a fixture.
    fn next(piece: Piece) -> Option<Piece> {
        Some(match piece {
            Piece::Values => Piece::Units,
            Piece::Units => Piece::Ledger,
            Piece::Ledger => Piece::Pending,
            Piece::Pending => Piece::Versions,
            Piece::Versions => Piece::Held,
            Piece::Held => Piece::Past,
            Piece::Past => Piece::Replaced,
            Piece::Replaced => Piece::Changed,
            Piece::Changed => Piece::Earlier,
            Piece::Earlier => return None,
        })
    }

    /// The fixtures of `tests/formats.rs`: by name their manifests.
    fn fixtures() -> Vec<(String, Manifest)> {
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints");
        let listed = |dir: &std::path::Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let mut all = vec![];
        for dir in listed(&data).filter(|dir| dir.join("state").is_dir()) {
            let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
            // One without a manifest only has what later ones refer to.
            let whole = listed(&dir.join("state/checkpoints")).map(|of| of.join(MANIFEST)).filter(|of| of.is_file());
            for manifest in whole {
                let text = std::fs::read(manifest).unwrap();
                all.push((name.clone(), serde_json::from_slice(&text).unwrap()));
            }
        }
        all
    }

    /// By which `tests/formats.rs` knows that they are.
    #[test]
    fn there_is_a_checkpoint_of_each_format_that_is_read() {
        let all = fixtures();
        for format in READS {
            let name = format!("format-{format}");
            assert!(all.iter().any(|(of, manifest)| *of == name && manifest.format == format), "{format}");
        }
        let texts = [TEXT, OF_COLLECTIONS].map(|text| serde_json::from_str::<Manifest>(text).unwrap());
        for piece in std::iter::successors(Some(Piece::Values), |piece| next(*piece)) {
            let has = |manifest: &Manifest| manifest.files.iter().any(|file| file.piece == piece);
            assert!(all.iter().any(|(_, manifest)| has(manifest)), "no fixture has {piece:?}");
            assert!(texts.iter().any(has), "no text has {piece:?}");
        }
    }

    /// What later versions of format 2 and 3 have added may be missing.
    #[test]
    fn the_text_of_an_earlier_version_is_read() {
        let mut earlier: serde_json::Value = serde_json::from_str(TEXT).unwrap();
        take(&mut earlier, "/plan", &["is_stored", "changelogs", "places", "told_anew"]);
        take(&mut earlier, "/plan/readings/0", &["side", "saved"]);
        take(&mut earlier, "/parts/0", &["workers", "side", "span"]);
        take(&mut earlier, "", &["begun_us"]);
        let manifest: Manifest = serde_json::from_value(earlier).unwrap();
        assert_eq!((manifest.begun, manifest.files[0].workers, manifest.files[0].span), (None, 0, None));
        assert!(
            !manifest.plan.skip_refresh && manifest.plan.destinations.is_empty() && manifest.plan.changelogs.is_empty()
        );
    }
}
