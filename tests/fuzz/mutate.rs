//! One input out of others: bits turned, bytes taken out and put in, numbers that are large, parts of another one.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

const CHANGES_MAX: usize = 6;
const BYTES: [u8; 9] = [0x00, 0x01, 0x0f, 0x7f, 0x80, 0xff, b'"', b'{', b'\n'];
const NUMBERS: [u64; 8] = [0, 1, 0x7fff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];

pub(super) fn mutated(rng: &mut StdRng, samples: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut input = samples.choose(rng).cloned().unwrap_or_default();
    for _ in 0..rng.random_range(1..=CHANGES_MAX) {
        change(rng, &mut input, samples, words);
    }
    input
}

fn change(rng: &mut StdRng, input: &mut Vec<u8>, samples: &[Vec<u8>], words: &[&str]) {
    let at = place(rng, input.len());
    let end = (at + rng.random_range(1..32)).min(input.len());
    match rng.random_range(0..10) {
        0 | 1 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
        2 if at < input.len() => input[at] = *BYTES.choose(rng).unwrap_or(&0),
        3 if at < input.len() => input[at] = rng.random(),
        4 => drop(input.drain(at..end)),
        5 => {
            let part = input[at..end].to_vec();
            let times = rng.random_range(1..5);
            drop(input.splice(at..at, part.repeat(times)));
        }
        6 => {
            let bytes = NUMBERS.choose(rng).unwrap_or(&0).to_le_bytes();
            let width = *[2, 4, 8].choose(rng).unwrap_or(&4);
            drop(input.splice(at..(at + width).min(input.len()), bytes[..width].iter().copied()));
        }
        7 => {
            let other = samples.choose(rng).cloned().unwrap_or_default();
            let from = place(rng, other.len());
            let part = &other[from..(from + rng.random_range(1..64)).min(other.len())];
            drop(input.splice(at..end, part.iter().copied()));
        }
        8 if !words.is_empty() => {
            let word = words.choose(rng).unwrap_or(&"");
            drop(input.splice(at..at, word.bytes()));
        }
        9 => input.truncate(at.max(input.len() / 2)),
        _ => {
            let byte = *BYTES.choose(rng).unwrap_or(&0);
            drop(input.splice(at..at, std::iter::repeat_n(byte, rng.random_range(1..9))));
        }
    }
}

/// Anywhere; often near the end, where some formats say what they hold.
fn place(rng: &mut StdRng, length: usize) -> usize {
    let from = if rng.random_bool(0.5) { length - length / 4 } else { 0 };
    if from >= length { length } else { rng.random_range(from..length) }
}
