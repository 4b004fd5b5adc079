//! An input made of the seeds by a few small changes, as a fuzzer makes them.

use super::bodies::Chance;

/// Bytes that parsers treat in a way of their own.
const ODD: &[u8] = b"\0\n\r\t \"'\\/-.:,=*#[]{}+09aZ\x1b\x7f\x80\xc3\xff";

/// The longest input.
const LONGEST: usize = 8192;

pub fn mutated(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = seeds[chance.below(seeds.len())].clone();
    for _ in 0..1 + chance.below(4) {
        change(&mut input, seeds, chance);
    }
    input.truncate(LONGEST);
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    let end = at + chance.below((input.len() - at).min(32) + 1);
    match chance.below(8) {
        0 if at < input.len() => input[at] ^= 1 << chance.below(8),
        1 if at < input.len() => input[at] = ODD[chance.below(ODD.len())],
        2 => input.insert(at, ODD[chance.below(ODD.len())]),
        3 => drop(input.drain(at..end)),
        4 => {
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        5 => {
            let other = &seeds[chance.below(seeds.len())];
            let from = chance.below(other.len() + 1);
            let to = from + chance.below((other.len() - from).min(64) + 1);
            input.splice(at..end, other[from..to].iter().copied());
        }
        6 => input.truncate(at.max(1)),
        _ => {
            let number = [
                0,
                1,
                255,
                65_535,
                u64::from(u32::MAX),
                i64::MAX as u64,
                u64::MAX,
            ];
            let number = number[chance.below(number.len())].to_string();
            input.splice(at..end, number.bytes());
        }
    }
}
