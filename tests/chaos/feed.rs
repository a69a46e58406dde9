//! The topics of a table and of a source whose records replace one another.

use std::fmt::Write;
use std::path::Path;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::support::{SECOND, Topic};

pub const PARTITIONS: usize = 2;

/// A record: its partition, its key, and what it says; `None`: a tombstone.
type Made = (usize, String, Option<Value>);

/// What a topic is called behind the job's name, how often a record comes for one of the main topic, and what makes one that
/// arrives at a time; `whole`: one that a history may hold; `moves`: some come in another partition than the others of their key.
pub type Kind = (&'static str, f64, fn(&mut StdRng, i64, bool, bool) -> Made);

pub const SHOPS: Kind = ("shops", 0.04, shop);
pub const ORDERS: Kind = ("orders", 0.4, order);

pub struct Feed {
    pub name: &'static str,
    often: f64,
    make: fn(&mut StdRng, i64, bool, bool) -> Made,
    has_history: bool,
    moves: bool,
    history: String,
    offsets: [usize; PARTITIONS],
}

impl Feed {
    pub fn new((name, often, make): Kind, has_history: bool, moves: bool) -> Feed {
        Feed { name, often, make, has_history, moves, history: String::new(), offsets: [0; PARTITIONS] }
    }

    /// Now and then a record. `old`: it is history too.
    pub fn step(&mut self, topic: &Topic, a: i64, now: i64, old: bool, rng: &mut StdRng) {
        if !rng.random_bool(self.often) {
            return;
        }
        let (p, key, value) = (self.make)(rng, a, old && self.has_history, self.moves);
        let text = value.as_ref().map(Value::to_string);
        topic.send_with_key(p, (Some(key.as_bytes()), text.as_deref().map(str::as_bytes)), now);
        if let Some(mut value) = value.filter(|_| old && self.has_history) {
            (value["p"], value["o"]) = (p.into(), self.offsets[p].into());
            writeln!(self.history, "{value}").unwrap();
        }
        self.offsets[p] += 1;
    }

    pub fn write_history(&self, dir: &Path) {
        if self.has_history {
            std::fs::write(dir.join(format!("{}.jsonl", self.name)), &self.history).unwrap();
        }
    }
}

/// Now, a moment ago, or some seconds ago.
fn late(rng: &mut StdRng, a: i64) -> i64 {
    a - match rng.random_range(0..10) {
        0..2 => rng.random_range(0..3 * SECOND),
        2 => rng.random_range(0..20 * SECOND),
        _ => rng.random_range(0..20_000),
    }
}

fn shop(rng: &mut StdRng, a: i64, whole: bool, moves: bool) -> Made {
    let shop: usize = rng.random_range(0..22);
    let home = if moves && rng.random_bool(0.02) { 1 - shop % 2 } else { shop % 2 };
    if !whole && rng.random_bool(0.08) {
        return (shop % 2, format!("m{shop}"), None);
    }
    let (ts, owner, rate) = (late(rng, a), rng.random_range(0..6), rng.random_range(-1..6));
    let owner = rng.random_bool(0.95).then(|| format!("o{owner}"));
    (home, format!("m{shop}"), Some(json!({ "m": format!("m{shop}"), "ts": ts, "a": a, "rate": rate, "owner": owner })))
}

fn order(rng: &mut StdRng, a: i64, whole: bool, moves: bool) -> Made {
    let id: usize = rng.random_range(0..400);
    let home = if moves && rng.random_bool(0.01) { 1 - id % 2 } else { id % 2 };
    let name = format!("i{id}");
    if !whole && rng.random_bool(0.04) {
        return (id % 2, name, None);
    }
    let gone = rng.random_bool(0.06);
    // Some are from the future, so that a later record is visible first.
    let ahead = if rng.random_bool(0.1) { rng.random_range(0..2 * SECOND) } else { 0 };
    let ts = if gone && rng.random() { Value::Null } else { (late(rng, a) + ahead).into() };
    let k = rng.random_bool(0.97).then(|| format!("k{}", rng.random_range(0..60)));
    let (m, x) = (format!("m{}", rng.random_range(0..20)), rng.random_range(-1000..1000));
    (home, name.clone(), Some(json!({ "id": name, "ts": ts, "a": a, "k": k, "m": m, "x": x, "gone": gone })))
}
