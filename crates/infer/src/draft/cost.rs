//! What it costs to check a guess. Estimates: they decide how many tokens are guessed, and change none. `tril bench guesses`
//! measures what they estimate, and docs/performance.md says what was found.

use tril_model::{GptConfig, WeightFormat};

/// Bytes of weights that are taken to stay in the processor's caches from one token to the next.
const CACHED_BYTES: usize = 16 << 20;

/// One more position, as a share of a pass over one, where weights are at hand: a row more has to be computed, and the pass
/// over one row is already slower than its products alone.
const AT_HAND: f64 = 0.3;

/// The same where reading the weights from memory takes most of the time.
const FROM_MEMORY: f64 = 0.13;

/// What one more sequence costs in a pass, in positions: it has keys and values of its own, and the small operations.
const SEQUENCE: f64 = 1.5;

/// What one more position of a sequence costs in a pass over one position, as a share of that pass.
pub fn position_cost(config: &GptConfig, weights: WeightFormat) -> f64 {
    let bytes = size_of::<f32>() * (config.block_weights() + config.d_model * config.vocab_size);
    // Rounded weights are read so much sooner that computing takes as large a share as it does in the caches.
    if weights == WeightFormat::F32 && bytes > CACHED_BYTES { FROM_MEMORY } else { AT_HAND }
}

/// What one more position of each of some sequences costs, as a share of a pass that has one of each.
///
/// - cost: of one more position of one sequence, as a share of a pass over one
#[must_use]
pub fn position_cost_together(cost: f64, sequences: usize) -> f64 {
    let others = sequences.saturating_sub(1) as f64;
    cost * sequences as f64 / (1.0 + SEQUENCE * cost * others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_costs_less_where_weights_come_from_memory_and_more_of_the_pass_among_others() {
        let config = |d_model, n_layers| {
            let config = GptConfig { d_model, n_layers, n_heads: 4, vocab_size: 65, ..GptConfig::default() };
            config.resolve().expect("a sound config")
        };
        let cost = |config: &GptConfig| position_cost(config, WeightFormat::F32);
        let (small, large) = (config(128, 4), config(384, 6));
        assert!(cost(&large) < cost(&small));
        assert_eq!(position_cost(&large, WeightFormat::Int8), cost(&small));
        for cost in [cost(&small), cost(&large)] {
            let shares: Vec<f64> = [1, 2, 8, 64].map(|sequences| position_cost_together(cost, sequences)).into();
            assert_eq!(shares[0], cost);
            assert!(shares.is_sorted() && shares[3] < SEQUENCE.recip(), "{shares:?}");
        }
    }
}
