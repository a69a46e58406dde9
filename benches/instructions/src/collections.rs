//! The paths of tables, views and links.

use std::rc::Rc;

use differential_dataflow::input::Input;
use headwater_operators::relational::join::{JoinKind, Nulls, join};
use headwater_operators::relational::links::{By, ENTITY, Node, links as linked};
use headwater_operators::table::{Place, Row, Table, Version};
use rand::Rng;
use rand::rngs::StdRng;
use timely::dataflow::operators::probe::Handle;

use crate::paths::{KEYS, PACE, rng};

/// Changes that a tick brings.
const CHANGES: usize = 10;

/// For ten events a version, a tenth of them late: it is put in its place, and each event finds what was in force at its time.
pub fn lookup(count: usize) {
    let mut rng = rng();
    let (mut table, mut found) = (Table::default(), 0);
    let name = |rng: &mut StdRng| format!("merchant-{:05}", rng.random_range(0..KEYS)).into_bytes();
    for n in 0..count {
        let now = n as i64 * PACE;
        if n % 10 == 0 {
            let late = if rng.random_range(0..10) == 0 { rng.random_range(0..1_000 * PACE) } else { 0 };
            let row = Some(Rc::new(Row { values: (n as i64).to_be_bytes().into(), undecoded: None }));
            table.insert(&name(&mut rng), Version { from: now - late, place: Place::Log(n as i64), row, eff: now });
        }
        if n % 1_000 == 0 {
            table.forget(now - 5_000 * PACE);
        }
        found += usize::from(table.pick(&name(&mut rng), now).is_some());
    }
    assert!(count < 1_000 || found > 0);
}

/// Rows of two sides, one of each key, of which one becomes another: ten a tick.
pub fn view(count: usize) {
    timely::execute_directly(move |worker| {
        let probe = Handle::new();
        let (mut left, mut right) = worker.dataflow::<i64, _, _>(|scope| {
            let (left_in, left) = scope.new_collection();
            let (right_in, right) = scope.new_collection();
            let nulls = Nulls { left: vec![], right: vec![] };
            join(left, right, JoinKind::Inner, nulls).probe_with(&probe);
            (left_in, right_in)
        });
        let mut rng = rng();
        let key = |key: u32| format!("card-{key:06}").into_bytes();
        let row = |of: u32, version: u64| (key(of), [key(of), version.to_be_bytes().to_vec()].concat());
        let mut versions = vec![0; KEYS as usize];
        for of in 0..KEYS {
            left.insert(row(of, 0));
            right.insert(row(of, 0));
        }
        let mut tick = 0;
        let mut advance = |left: &mut _, right: &mut _| {
            tick += 1;
            to(left, tick);
            to(right, tick);
            worker.step_while(|| probe.less_than(&tick));
        };
        advance(&mut left, &mut right);
        for n in 0..count {
            let of = rng.random_range(0..KEYS);
            let version = &mut versions[of as usize];
            left.update(row(of, *version), -1);
            *version += 1;
            left.update(row(of, *version), 1);
            if n % CHANGES == CHANGES - 1 {
                advance(&mut left, &mut right);
            }
        }
    });
}

/// Cards that have a device by two and two, and now and then one of the next two: such links come and go, ten a tick.
pub fn links(count: usize) {
    timely::execute_directly(move |worker| {
        let probe = Handle::new();
        let (mut cards, mut edges) = worker.dataflow::<i64, _, _>(|scope| {
            let (cards_in, cards) = scope.new_collection();
            let (edges_in, edges) = scope.new_collection();
            let links = linked(cards, edges, By::Things, 100);
            links.rows.probe_with(&probe);
            links.crowded.probe_with(&probe);
            (cards_in, edges_in)
        });
        let card = |of: u32| Node::new(ENTITY, format!("card-{of:06}").as_bytes());
        let edge = |of: u32, next: u32| (card(of), Node::new(1, format!("device-{:06}", of / 2 + next).as_bytes()));
        let (mut rng, mut there) = (rng(), vec![false; KEYS as usize]);
        for of in 0..KEYS {
            cards.insert(card(of));
            edges.insert(edge(of, 0));
        }
        let mut tick = 0;
        let mut advance = |cards: &mut _, edges: &mut _| {
            tick += 1;
            to(cards, tick);
            to(edges, tick);
            worker.step_while(|| probe.less_than(&tick));
        };
        advance(&mut cards, &mut edges);
        for n in 0..count {
            let of = rng.random_range(0..KEYS);
            let is_there = &mut there[of as usize];
            edges.update(edge(of, 1), if *is_there { -1 } else { 1 });
            *is_there = !*is_there;
            if n % CHANGES == CHANGES - 1 {
                advance(&mut cards, &mut edges);
            }
        }
    });
}

fn to<D: differential_dataflow::Data>(
    input: &mut differential_dataflow::input::InputSession<i64, D, isize>,
    tick: i64,
) {
    input.advance_to(tick);
    input.flush();
}
