//! What is counted of a side of a text while its pieces become tokens, one after another.

use serde::{Deserialize, Serialize};
use tril_text::UnknownCharacters;

/// Of a text that is measured, the bytes of so many of its first tokens are kept, so that a part of it can be measured.
pub const SPELT_KEPT: usize = 1 << 22;

/// Counts of the pieces so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Tokens, those that end documents among them.
    pub tokens: usize,
    /// Bytes that they spell.
    pub bytes: usize,
    /// Bytes that the first of them spells, which nothing predicts.
    first: Option<usize>,
    /// Length of the text in characters.
    pub chars: usize,
    /// How often each id stands there.
    pub counts: Vec<u64>,
    /// Hash of the ids: FNV-1a over words.
    pub key: u64,
    /// Characters for which a token stands that says no more of them.
    pub unknown: UnknownCharacters,
    /// Whether the bytes of the first tokens are kept.
    keeps: SpeltBytes,
    /// What each of the first tokens spells.
    #[serde(skip)]
    pub spelt: Vec<u32>,
}

/// Whether it is kept what each token spells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SpeltBytes {
    Kept,
    Forgotten,
}

impl Tally {
    /// Of nothing yet, in a vocabulary of this size.
    pub fn new(vocab_size: usize, keeps: SpeltBytes) -> Self {
        Self {
            tokens: 0,
            bytes: 0,
            first: None,
            chars: 0,
            counts: vec![0; vocab_size],
            key: 0xcbf2_9ce4_8422_2325,
            unknown: UnknownCharacters::default(),
            keeps,
            spelt: Vec::new(),
        }
    }

    /// One more token, and the bytes of the text that it spells.
    pub fn add(&mut self, id: u32, spelt: usize) {
        self.first.get_or_insert(spelt);
        self.tokens += 1;
        self.bytes += spelt;
        self.counts[id as usize] += 1;
        self.key = (self.key ^ u64::from(id)).wrapping_mul(0x100_0000_01b3);
        if self.keeps == SpeltBytes::Kept && self.spelt.len() < SPELT_KEPT {
            self.spelt.push(u32::try_from(spelt).unwrap_or(u32::MAX));
        }
    }

    /// Bytes that all tokens but the first spell.
    pub fn predicted_bytes(&self) -> usize {
        self.bytes - self.first.unwrap_or(0)
    }
}
