//! Values out of bytes, and numbers out of a seed: the same every time.

use self_heal::judge::Time;

/// Bytes that are taken from the front. When they run out there are zeros and empty texts.
pub struct Pieces<'a>(&'a [u8]);

impl<'a> Pieces<'a> {
    pub fn new(bytes: &'a [u8]) -> Pieces<'a> {
        Pieces(bytes)
    }

    pub fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        for (place, byte) in bytes.iter_mut().zip(self.take(8)) {
            *place = *byte;
        }
        u64::from_le_bytes(bytes)
    }

    /// Mostly near the others, now and then anywhere.
    pub fn time(&mut self) -> Time {
        match self.byte() {
            0..16 => Time(self.number() as i64),
            near => Time(1_790_000_000_000 + i64::from(near) * 40_000),
        }
    }

    pub fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| value(self))
    }

    pub fn list<T>(&mut self, most: usize, mut value: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| value(self)).collect()
    }

    pub fn text(&mut self) -> String {
        let length = self.below(48);
        String::from_utf8_lossy(self.take(length)).into_owned()
    }

    /// A name that may stand in a path.
    pub fn name(&mut self) -> String {
        const SAFE: &[u8] = b"abcXYZ_019.-";
        let length = 1 + self.below(16);
        let name = self.take(length).iter();
        let safe = name.map(|byte| char::from(SAFE[usize::from(*byte) % SAFE.len()]));
        let name: String = safe.collect();
        format!("A{name}")
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }
}

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled"): small, and the
/// same numbers for the same seed on every machine.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end.max(1) as u64) as usize
    }
}
