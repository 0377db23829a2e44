//! A seeded generator: the same seed gives the same run.

/// SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to `end`, which it does not reach.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A few of them, in their order.
    pub(super) fn some<T: Clone>(&mut self, from: &[T], count: usize) -> Vec<T> {
        let n = from.len().div_ceil(count.max(1)).max(1);
        from.iter().filter(|_| self.one_in(n)).cloned().collect()
    }

    /// Characters of Base64, as hashes and signatures have them.
    pub(super) fn base64(&mut self, count: usize, is_url_safe: bool) -> String {
        const ALPHABET: &[u8; 62] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let others = if is_url_safe { ['-', '_'] } else { ['+', '/'] };
        (0..count)
            .map(|_| {
                let index = self.below(64);
                ALPHABET
                    .get(index)
                    .map_or_else(|| others[index - 62], |byte| char::from(*byte))
            })
            .collect()
    }
}
