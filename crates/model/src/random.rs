//! Counter-based randomness: a draw is named by what it is for, never by what was drawn before it.
//!
//! ChaCha8 is a function of a key, a stream number and a counter, so any draw can be made again by itself: a resumed
//! run, another thread or another batch gets the same one.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a draw is for. Different purposes never share a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial values of a parameter; `a` is unused, `b` is a hash of the parameter's path.
    Parameters = 1,
    /// The offset and order of the windows of an epoch; `a` is its number, `b` is unused.
    Batch = 2,
    /// Dropout of a row; `a` is the step, `b` the row in the effective batch.
    Dropout = 3,
    /// A sampled token; `a` is the sample index, `b` the absolute position.
    Sample = 4,
    /// Positions and tokens that a proof tries; `a` is the proof, `b` where its piece of the text begins.
    Proof = 5,
}

/// The generator for the draws named (seed, purpose, a, b); `stream` separates draws within that name.
pub fn generator(seed: u64, purpose: Purpose, a: u64, b: u64, stream: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, a, b]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(stream);
    rng
}

/// A hash that is the same on every machine and for ever (FNV-1a, over words), to make a key of a name or a text.
pub fn hash(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x100_0000_01b3))
}
