//! Counter-based randomness: a draw is named by what it is for, never by what was drawn before it.
//!
//! ChaCha8 is a function of a key, a stream number and a counter, so any draw can be made again by itself: a resumed
//! run, another thread or another batch gets the same one.

use rand::{Rng, SeedableRng};
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
    /// A problem of the lab; `a` is which series of problems it belongs to, `b` its number in it.
    Problem = 6,
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

/// Draws from the normal distribution with mean 0 and standard deviation 1, without end, by Box and Muller (1958).
///
/// Each pair is made of two uniform numbers u₁ in (0, 1] and u₂ in [0, 1), multiples of 2⁻⁵³, and has the same bits on
/// every platform.
pub fn normals(mut rng: impl Rng) -> impl Iterator<Item = f64> {
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    std::iter::repeat_with(move || {
        let [first, second] = std::array::from_fn(|_| rng.next_u64() >> 11);
        let radius = (-2.0 * libm::log((first + 1) as f64 * STEP)).sqrt();
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * (second as f64 * STEP));
        [radius * cos, radius * sin]
    })
    .flatten()
}

/// A hash that is the same on every machine and for ever (FNV-1a, over words), to make a key of a name or a text.
pub fn hash(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(count: usize) -> Vec<f64> {
        normals(generator(1337, Purpose::Parameters, 0, 7, 0)).take(count).collect()
    }

    #[test]
    fn normals_follow_the_normal_distribution() {
        let draws = draws(1_000_000);
        let mean = |power: fn(f64) -> f64| draws.iter().map(|x| power(*x)).sum::<f64>() / draws.len() as f64;
        // Five standard errors of each moment.
        for (moment, expected, error) in [
            (mean(|x| x), 0.0, 5e-3),
            (mean(|x| x * x), 1.0, 5.0 * 2_f64.sqrt() * 1e-3),
            (mean(|x| x * x * x), 0.0, 5.0 * 15_f64.sqrt() * 1e-3),
            (mean(|x| x * x * x * x), 3.0, 5.0 * 96_f64.sqrt() * 1e-3),
        ] {
            assert!((moment - expected).abs() < error, "{moment}, and not {expected}");
        }
        // Φ at some places.
        for (border, expected) in [(-2.0, 0.022_750), (-1.0, 0.158_655), (0.5, 0.691_462), (3.0, 0.998_650)] {
            let below = draws.iter().filter(|x| **x < border).count() as f64 / draws.len() as f64;
            let error = 5e-3 * f64::sqrt(expected * (1.0 - expected));
            assert!((below - expected).abs() < error, "{below} lie below {border}, and not {expected}");
        }
        let neighbours = draws.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / draws.len() as f64;
        assert!(neighbours.abs() < 5e-3, "neighbours go together: {neighbours}");
    }

    #[test]
    fn normals_have_the_same_bits_on_every_platform() {
        let bits: Vec<u64> = draws(4).into_iter().map(f64::to_bits).collect();
        let expected = [0x3fc9_942c_5937_bbd3, 0xbfda_e95e_b1b9_e983, 0x3ff1_8926_cd86_0c31, 0xbfde_e7f9_136b_d0e4];
        assert_eq!(bits, expected, "{bits:#018x?}");
    }
}
