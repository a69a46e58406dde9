//! A random job and a random log.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::model::{Event, Group, Job, Log, Window};

const SECOND: i64 = 1_000_000;
/// 2026-01-05, a Monday.
const START: i64 = 1_767_571_200 * SECOND;

/// How events come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Style {
    /// Most are soon there, some some minutes late, and each partition is in the order of arrival.
    Natural,
    /// Hours late, before their time, and in any order.
    Extreme,
    /// Times are multiples of a minute: many are the same, and many lie on the bounds of windows.
    Ties,
}

#[derive(Debug)]
pub struct Case {
    pub job: Job,
    pub log: Log,
    /// The partitions of the records, in an order in which they may have come.
    pub order: Vec<usize>,
}

impl Case {
    /// `events`: how many, of how many keys.
    pub fn random(style: Style, events: Range<usize>, keys: u32, seed: u64) -> Case {
        let mut rng = StdRng::seed_from_u64(seed);
        let job = job(style, &mut rng);
        let partitions = rng.random_range(1..=4);
        let mut log = vec![vec![]; partitions];
        let mut order = vec![];
        let mut now = START;
        for _ in 0..rng.random_range(events) {
            now += SECOND * [0, 1, 20, 90, 400].choose(&mut rng).unwrap();
            let p = rng.random_range(0..partitions);
            log[p].push(event(style, now, keys, &mut rng));
            order.push(p);
        }
        if rng.random_bool(0.3) {
            // One partition is read long before another.
            order.sort_unstable();
        } else if rng.random() {
            order.shuffle(&mut rng);
        }
        Case { job, log, order }
    }

    /// Every place at which history and stream may meet: how many records of each partition have come.
    pub fn cuts(&self) -> Vec<Vec<usize>> {
        let mut cuts = vec![vec![0; self.log.len()]];
        for p in &self.order {
            let mut next = cuts[cuts.len() - 1].clone();
            next[*p] += 1;
            cuts.push(next);
        }
        cuts
    }

    /// The same events with the same effective times, in another number of partitions.
    pub fn parted_anew(&self, rng: &mut StdRng) -> Log {
        let mut all = vec![];
        for partition in &self.log {
            let mut eff = i64::MIN;
            for event in partition {
                eff = eff.max(event.a());
                all.push(Event { arrived: Some(eff), ..event.clone() });
            }
        }
        all.shuffle(rng);
        all.sort_by_key(Event::a);
        let mut log = vec![vec![]; rng.random_range(1..=5)];
        for event in all {
            log.choose_mut(rng).push(event);
        }
        log
    }
}

trait ChooseMut<T> {
    fn choose_mut(&mut self, rng: &mut StdRng) -> &mut T;
}

impl<T> ChooseMut<T> for Vec<T> {
    fn choose_mut(&mut self, rng: &mut StdRng) -> &mut T {
        let at = rng.random_range(0..self.len());
        &mut self[at]
    }
}

fn job(style: Style, rng: &mut StdRng) -> Job {
    let ticks: &[i64] = if style == Style::Ties { &[1, 60] } else { &[1, 7, 60] };
    let tick = SECOND * ticks.choose(rng).unwrap();
    let lateness = SECOND * [0, 0, 60, 300, 3600].choose(rng).unwrap();
    let mut lengths: Vec<Option<i64>> = [60, 300, 1800, 7200].iter().map(|s| Some(s * SECOND)).collect();
    lengths.shuffle(rng);
    lengths.truncate(rng.random_range(1..3));
    lengths.extend(rng.random_bool(0.3).then_some(None));
    let size = SECOND * [60, 300, 600].choose(rng).unwrap();
    let every = SECOND * [60, 240, 300, 900].choose(rng).unwrap();
    let gap = SECOND * [60, 120, 420].choose(rng).unwrap();
    let all = [
        ("trailing", Window::Trailing(lengths)),
        ("tumbling", Window::Hopping { size, every: size }),
        ("hopping", Window::Hopping { size, every }),
        ("session", Window::Session { gap }),
    ];
    let mut groups = vec![];
    while groups.is_empty() {
        let some = all.iter().filter(|_| rng.random_bool(0.75)).cloned().collect::<Vec<_>>();
        groups = some.into_iter().map(|(name, window)| group(name, window, lateness, rng)).collect();
    }
    Job { tick, lateness, groups }
}

fn group(name: &'static str, window: Window, lateness: i64, rng: &mut StdRng) -> Group {
    let (least, usual) = match window {
        Window::Trailing(_) => (0, 0),
        Window::Hopping { size, .. } => (lateness, lateness + size),
        Window::Session { gap } => (lateness + gap, lateness + gap),
    };
    let retain = if rng.random() { usual } else { least + SECOND * [0, 0, 50, 3600].choose(rng).unwrap() };
    Group { name, window, retain }
}

fn event(style: Style, now: i64, keys: u32, rng: &mut StdRng) -> Event {
    let behind = |most: i64, rng: &mut StdRng| SECOND * rng.random_range(0..=most);
    let (mut ts, mut a) = match style {
        Style::Natural => {
            let late = if rng.random_bool(0.3) { behind(600, rng) } else { behind(5, rng) };
            (now - late, now)
        }
        Style::Extreme | Style::Ties => {
            let a = if rng.random() { now } else { now - behind(900, rng) };
            let ts = match rng.random_range(0..4) {
                0 => a,
                1 => a - behind(600, rng),
                2 => a - behind(10_000, rng),
                _ => a + behind(500, rng),
            };
            (ts, a)
        }
    };
    if style == Style::Ties {
        (ts, a) = (ts.div_euclid(60 * SECOND) * 60 * SECOND, a.div_euclid(60 * SECOND) * 60 * SECOND);
    } else if rng.random_bool(0.2) {
        ts += rng.random_range(0..SECOND);
    }
    if style == Style::Natural {
        ts = ts.min(a);
    }
    let arrived = (style == Style::Natural || rng.random_bool(0.9)).then_some(a);
    let key = rng.random_bool(0.95).then(|| format!("k{}", rng.random_range(0..keys)));
    Event { key, x: rng.random_bool(0.85).then(|| rng.random_range(-5..10)), ts, arrived }
}
