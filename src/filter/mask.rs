//! A bitmap over the rows of one batch.

/// One bit per row. Bits beyond the length are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMask {
    bits: Vec<u64>,
    len: usize,
}

impl RowMask {
    /// Makes a mask with every row in it.
    pub fn all(len: usize) -> Self {
        Self::from_words(vec![u64::MAX; len.div_ceil(64)], len)
    }

    /// Makes a mask with no row in it.
    pub fn none(len: usize) -> Self {
        Self::from_words(vec![0; len.div_ceil(64)], len)
    }

    /// Makes a mask with the first `count` rows in it.
    pub fn first(count: usize, len: usize) -> Self {
        let word = |at: usize| match count.saturating_sub(at * 64) {
            0 => 0,
            rest @ 1..64 => (1 << rest) - 1,
            _ => u64::MAX,
        };
        Self::from_words((0..len.div_ceil(64)).map(word).collect(), len)
    }

    /// Makes a mask of the rows for which `test` is true; it is called once per row, in order.
    pub fn from_fn(len: usize, mut test: impl FnMut(usize) -> bool) -> Self {
        let mut bits = Vec::with_capacity(len.div_ceil(64));
        for start in (0..len).step_by(64) {
            let count = (len - start).min(64);
            let word = (0..count).fold(0, |word, bit| word | u64::from(test(start + bit)) << bit);
            bits.push(word);
        }
        Self { bits, len }
    }

    /// Makes a mask of words, lowest bit first; bits beyond the length are cleared, words missing are zero.
    pub fn from_words(mut bits: Vec<u64>, len: usize) -> Self {
        bits.resize(len.div_ceil(64), 0);
        let mut mask = Self { bits, len };
        mask.clear_tail();
        mask
    }

    /// Number of rows it is over.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is over no rows at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of rows in it.
    pub fn count(&self) -> usize {
        self.bits
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Its rows, 64 a word, lowest bit first.
    pub fn words(&self) -> &[u64] {
        &self.bits
    }

    /// Whether a row is in it; false beyond the length.
    pub fn contains(&self, row: usize) -> bool {
        self.bits
            .get(row / 64)
            .is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Puts a row in or takes it out; rows beyond the length are ignored.
    pub fn set(&mut self, row: usize, inside: bool) {
        if row >= self.len {
            return;
        }
        let bit = 1 << (row % 64);
        let word = &mut self.bits[row / 64];
        *word = if inside { *word | bit } else { *word & !bit };
    }

    /// Keeps the rows that are in both. Masks of one batch have one length; a shorter one lacks rows.
    pub fn and(&mut self, other: &Self) {
        for (at, word) in self.bits.iter_mut().enumerate() {
            *word &= other.bits.get(at).copied().unwrap_or(0);
        }
    }

    /// Adds the other's rows.
    pub fn or(&mut self, other: &Self) {
        for (word, more) in self.bits.iter_mut().zip(&other.bits) {
            *word |= more;
        }
        self.clear_tail();
    }

    /// Turns every row around.
    pub fn not(&mut self) {
        for word in &mut self.bits {
            *word = !*word;
        }
        self.clear_tail();
    }

    /// Lists the rows in it, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.bits.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(at * 64 + bit)
            })
        })
    }

    fn clear_tail(&mut self) {
        let used = self.len % 64;
        if let Some(last) = self.bits.last_mut().filter(|_| used != 0) {
            *last &= (1 << used) - 1;
        }
    }
}
