//! Which entities hang together because they share something, directly or through others: connected components, kept up to date.
//!
//! ```text
//! cards and devices   a-1  b-1   b-2  c-2   d-3       rows   a: component a, size 3, shared 2   (b and c the same)
//!                                                            d: component d, size 1, shared 1
//! b-2 goes            a-1  b-1        c-2   d-3       rows   a, b: component a, size 2, shared 1     c: component c, size 1, shared 1
//! ```
//!
//! How: entities and things are the nodes of a graph. Of what is linked to too many no edge is kept. Each node then takes the smallest label
//! that reaches it, which differential's iteration corrects where edges come or go: it follows only what changes. Labels are hashes first,
//! so that few steps change most of them; a component is called by its smallest entity all the same, once it is known.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use differential_dataflow::VecCollection;
use differential_dataflow::algorithms::graphs::propagate::propagate_at;
use headwater_clocks::Tick;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A label sets out the sooner the smaller it is, in rounds by its leading zeros; all that are not smaller than this set out at once. So most
/// components, which are small, take few rounds, and in a large one few labels set out before its own has reached everything.
const COMMON: u64 = 1 << 57;

/// What is shared: which kind of thing, or that it is an entity.
pub const ENTITY: u32 = 0;

/// An entity, or a thing that entities share.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Node {
    hash: u64,
    kind: u32,
    bytes: Bytes,
}

impl Node {
    /// `kind`: `ENTITY`, or of a thing, which is another one for each kind. `bytes`: in an order that is that of the values.
    pub fn new(kind: u32, bytes: &[u8]) -> Node {
        Node { hash: xxh3_64_with_seed(bytes, u64::from(kind)), kind, bytes: Bytes(bytes.into()) }
    }

    /// Whether it is an entity.
    pub fn is_entity(&self) -> bool {
        self.kind == ENTITY
    }

    /// What it was made of.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes.0
    }
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{:?}", self.kind, self.bytes())
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Bytes(Arc<[u8]>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        Ok(Bytes(Vec::<u8>::deserialize(deserializer)?.into()))
    }
}

/// What an entity hangs together with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Row {
    /// The smallest entity of those that hang together.
    pub component: Node,
    /// How many they are.
    pub size: u64,
    /// How many different things they share.
    pub shared: u64,
}

/// What is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Entities by things.
    Things,
    /// Entities by themselves: each edge is one of two entities.
    Entities,
}

/// Entities, or things, as differences.
pub type Nodes<'scope> = VecCollection<'scope, Tick, Node, isize>;
/// What links them, as differences.
pub type Edges<'scope> = VecCollection<'scope, Tick, (Node, Node), isize>;

/// The rows of entities, and what is linked to too many to link any.
pub struct Links<'scope> {
    /// By entity, its row.
    pub rows: VecCollection<'scope, Tick, (Node, Row), isize>,
    /// Things, or entities, that more than so many share or are linked to.
    pub crowded: Nodes<'scope>,
}

/// `entities`: all that have a row, as often as they like. `edges`: of an entity and a thing, or of two entities, as often as they like.
/// `max_degree`: a thing that more entities share links none of them; an entity that is linked to more others neither.
pub fn links<'scope>(entities: Nodes<'scope>, edges: Edges<'scope>, by: By, max_degree: u64) -> Links<'scope> {
    // Each edge once, by an end that may be crowded; of a crowded one instead a mark.
    let turned = edges.clone().map(|(a, b)| (b, a));
    let ends = match by {
        By::Things => turned,
        By::Entities => turned.concat(edges),
    };
    let limited = ends.reduce_named("degrees", move |node: &Node, others, out| {
        let degree = others.iter().filter(|(other, _)| *other != node).count() as u64;
        match degree > max_degree {
            true => out.push((End::Crowded, 1)),
            false => out.extend(others.iter().map(|(other, _)| (End::Edge((*other).clone()), 1))),
        }
    });
    let crowded = limited.clone().filter(|(_, end)| *end == End::Crowded).map(|(node, _)| node);
    let kept = limited.flat_map(|(node, end)| match end {
        End::Edge(other) => Some((node, other)),
        End::Crowded => None,
    });
    let both_ways = kept.clone().map(|(node, other)| (other, node)).concat(kept);
    let edges = match by {
        By::Things => both_ways,
        // Kept at both ends.
        By::Entities => both_ways.reduce_named("edges", |_, others, out| {
            let both = others.iter().filter(|(_, count)| *count == 2);
            out.extend(both.map(|(other, _)| ((*other).clone(), 1)));
        }),
    };
    let nodes = entities.distinct().map(|node| (node.clone(), node));
    let labels = propagate_at(edges, nodes, |label: &Node| label.hash.min(COMMON));
    let rows = labels.map(|(node, label)| (label, node)).reduce_named("components", |_, members, out| {
        let is_entity = |node: &&Node| node.is_entity();
        let members = || members.iter().map(|(node, _)| *node);
        let size = members().filter(is_entity).count() as u64;
        let shared = members().count() as u64 - size;
        let smallest = members().filter(is_entity).min_by(|a, b| a.bytes.cmp(&b.bytes));
        let Some(component) = smallest.cloned() else { return };
        let row = Row { component, size, shared };
        out.extend(members().filter(is_entity).map(|entity| ((entity.clone(), row.clone()), 1)));
    });
    Links { rows: rows.map(|(_, row)| row), crowded }
}

/// An edge's other end; or that there are too many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum End {
    Crowded,
    Edge(Node),
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Arc as Shared, Mutex};

    use differential_dataflow::input::Input;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use timely::dataflow::operators::probe::Handle;

    use super::*;

    type Edge = (Node, Node);
    /// By entity: its component, size, and what is shared.
    type Rows = BTreeMap<Vec<u8>, (Vec<u8>, u64, u64)>;

    /// What changes at one tick.
    #[derive(Clone, Default)]
    struct Step {
        entities: Vec<(Node, isize)>,
        edges: Vec<(Edge, isize)>,
    }

    fn card(n: u8) -> Node {
        Node::new(ENTITY, &[n])
    }

    fn thing(kind: u32, n: u8) -> Node {
        Node::new(kind, &[n])
    }

    /// Union-find over what is there.
    fn model(entities: &[Node], edges: &[Edge], by: By, max_degree: u64) -> (Rows, usize) {
        let mut joins: BTreeMap<Node, BTreeSet<Node>> = BTreeMap::new();
        for (a, b) in edges {
            joins.entry(a.clone()).or_default().insert(b.clone());
            joins.entry(b.clone()).or_default().insert(a.clone());
        }
        let is_crowded = |node: &Node| {
            let others = joins.get(node).map_or(0, |others| others.iter().filter(|other| *other != node).count());
            (by == By::Entities || !node.is_entity()) && others as u64 > max_degree
        };
        let mut parents: BTreeMap<Node, Node> = entities.iter().map(|node| (node.clone(), node.clone())).collect();
        fn root(parents: &mut BTreeMap<Node, Node>, node: &Node) -> Node {
            let parent = parents.entry(node.clone()).or_insert_with(|| node.clone()).clone();
            if parent == *node { parent } else { root(parents, &parent) }
        }
        for (a, b) in edges.iter().filter(|(a, b)| !is_crowded(a) && !is_crowded(b)) {
            let (a, b) = (root(&mut parents, a), root(&mut parents, b));
            parents.insert(a, b);
        }
        let mut members: BTreeMap<Node, Vec<Node>> = BTreeMap::new();
        for node in parents.keys().cloned().collect::<Vec<_>>() {
            members.entry(root(&mut parents, &node)).or_default().push(node);
        }
        let mut rows = Rows::new();
        for members in members.values() {
            let entities: Vec<&Node> = members.iter().filter(|node| node.is_entity()).collect();
            let Some(first) = entities.iter().map(|node| node.bytes().to_vec()).min() else { continue };
            let shared = (members.len() - entities.len()) as u64;
            let row = |node: &&Node| (node.bytes().to_vec(), (first.clone(), entities.len() as u64, shared));
            rows.extend(entities.iter().map(row));
        }
        (rows, joins.keys().filter(|node| is_crowded(node)).count())
    }

    /// The rows after each step, and how many are crowded, by several workers.
    fn run(workers: usize, steps: &[Step], by: By, max_degree: u64) -> Vec<(Rows, usize)> {
        let (told, steps) = (Shared::new(Mutex::new(vec![])), Shared::new(steps.to_vec()));
        let (out, given) = (told.clone(), steps.clone());
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let probe = Handle::new();
            let (out, crowded) = (out.clone(), out.clone());
            let (mut entities, mut edges) = worker.dataflow(|scope| {
                let (entities_in, entities) = scope.new_collection();
                let (edges_in, edges) = scope.new_collection();
                let links = links(entities, edges, by, max_degree);
                let rows = links.rows.inspect(move |((node, row), time, diff)| {
                    let row = (row.component.bytes().to_vec(), row.size, row.shared);
                    out.lock().unwrap().push((*time, Ok((node.bytes().to_vec(), row)), *diff));
                });
                let nodes = links.crowded.inspect(move |(_, time, diff)| {
                    crowded.lock().unwrap().push((*time, Err(()), *diff));
                });
                rows.probe_with(&probe);
                nodes.probe_with(&probe);
                (entities_in, edges_in)
            });
            let (index, peers) = (worker.index(), worker.peers());
            for (at, step) in given.iter().enumerate() {
                let mine = |n: usize| n % peers == index;
                let own = step.entities.iter().enumerate().filter(|(n, _)| mine(*n));
                own.for_each(|(_, (node, diff))| entities.update(node.clone(), *diff));
                let own = step.edges.iter().enumerate().filter(|(n, _)| mine(*n));
                own.for_each(|(_, (edge, diff))| edges.update(edge.clone(), *diff));
                let next = Tick::from_us(at as i64 + 1);
                entities.advance_to(next);
                edges.advance_to(next);
                entities.flush();
                edges.flush();
                worker.step_while(|| probe.less_than(&next));
            }
        });
        drop(guards.expect("workers start"));
        let told = told.lock().unwrap();
        let after = |at: usize| {
            let mut counts: BTreeMap<_, isize> = BTreeMap::new();
            let known = told.iter().filter(|(time, ..)| *time <= Tick::from_us(at as i64));
            known.for_each(|(_, what, diff)| *counts.entry(what.clone()).or_default() += diff);
            let crowded = counts.remove(&Err(())).unwrap_or(0) as usize;
            let mut rows = Rows::new();
            for (what, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
                let (entity, row) = what.expect("what is crowded was counted");
                assert_eq!((count, rows.insert(entity, row)), (1, None), "one row an entity");
            }
            (rows, crowded)
        };
        (0..steps.len()).map(after).collect()
    }

    /// Edges come and go at random: after each step the rows are what union-find gives.
    #[test]
    fn rows_are_those_of_union_find() {
        for seed in 0..12 {
            let mut rng = StdRng::seed_from_u64(seed);
            let by = if seed % 3 == 0 { By::Entities } else { By::Things };
            let (cards, max_degree) = (rng.random_range(3..20u8), rng.random_range(1..5));
            let (mut there, mut edges, mut steps, mut expected) = (vec![], vec![], vec![], vec![]);
            for _ in 0..25 {
                let mut step = Step::default();
                for _ in 0..rng.random_range(0..8) {
                    if rng.random_bool(0.4) && !edges.is_empty() {
                        let gone: Edge = edges.swap_remove(rng.random_range(0..edges.len()));
                        step.edges.push((gone, -1));
                    } else {
                        let other = match by {
                            By::Entities => card(rng.random_range(0..cards)),
                            By::Things => thing(rng.random_range(1..3), rng.random_range(0..8)),
                        };
                        let edge = (card(rng.random_range(0..cards)), other);
                        // Of an edge that comes twice one may go, and it is still there.
                        step.edges.push((edge.clone(), 1));
                        edges.push(edge);
                    }
                }
                // Whoever has an edge is an entity.
                let now: Vec<Node> =
                    edges.iter().flat_map(|(a, b)| [a, b]).filter(|node| node.is_entity()).cloned().collect();
                let now: Vec<Node> = now.into_iter().chain([card(200)]).collect();
                step.entities.extend(now.iter().map(|node| (node.clone(), 1)));
                step.entities.extend(there.drain(..).map(|node| (node, -1)));
                expected.push(model(&now, &edges, by, max_degree));
                there = now;
                steps.push(step);
            }
            for workers in [1, 3] {
                let found = run(workers, &steps, by, max_degree);
                assert!(found == expected, "seed {seed}, {workers} workers, {by:?}:\n{found:?}\n{expected:?}");
            }
        }
    }

    #[test]
    fn a_ring_falls_apart() {
        let edge = |a: u8, b: u8| (card(a), thing(1, b));
        let come = |edges: &[Edge]| Step {
            entities: edges.iter().map(|(card, _)| (card.clone(), 1)).collect(),
            edges: edges.iter().map(|edge| (edge.clone(), 1)).collect(),
        };
        let go = Step { entities: vec![], edges: vec![(edge(2, 1), -1)] };
        let steps = [come(&[edge(1, 1), edge(2, 1), edge(2, 2), edge(3, 2), edge(4, 3)]), go];
        let found = run(1, &steps, By::Things, 100);
        let row = |component: u8, size, shared| (vec![component], size, shared);
        let whole = [row(1, 3, 2), row(1, 3, 2), row(1, 3, 2), row(4, 1, 1)];
        assert_eq!(found[0].0.values().cloned().collect::<Vec<_>>(), whole);
        let apart = [row(1, 1, 1), row(2, 2, 1), row(2, 2, 1), row(4, 1, 1)];
        assert_eq!(found[1].0.values().cloned().collect::<Vec<_>>(), apart);
    }
}
