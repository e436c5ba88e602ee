//! What one more position of a sequence costs in a pass: what decides whether a guess is worth being checked.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use serde::Serialize;
use tril_infer::LanguageModel;
use tril_model::{Gpt, KvCache};

use super::{BenchShape, MIN_REPETITIONS, SEED, WARM_UP, ids};
use crate::ProveError;

/// Positions of a sequence that a pass is measured over: the last token alone, and with 1, 3, 7 and 15 guesses.
const POSITIONS: [usize; 5] = [1, 2, 4, 8, 16];

/// What passes over more and fewer positions took.
#[derive(Debug, Clone, Serialize)]
pub struct GuessReport {
    /// Numbers that are learnt.
    pub params: usize,
    /// Of the model.
    pub n_layers: usize,
    /// Of the model.
    pub d_model: usize,
    /// Of the model.
    pub vocab_size: usize,
    /// Sequences that share a pass.
    pub batch_size: usize,
    /// Tokens of each sequence before the pass.
    pub held: usize,
    /// Passes over each number of positions.
    pub repetitions: usize,
    /// What generation takes one more position of each sequence to cost, as a share of a pass over one of each.
    pub assumed_cost: f64,
    /// One for each number of positions.
    pub passes: Vec<PassTime>,
}

/// Passes over so many positions of each sequence.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PassTime {
    /// Of each sequence.
    pub positions: usize,
    /// Median.
    pub seconds: f64,
    /// What one more position of each sequence costs, as a share of a pass over one of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

/// Measures passes over some positions of each of several sequences for `seconds`, after a warm-up of a fifth of it. Passes
/// over more and fewer positions take turns, so that what slows the machine meets all of them.
///
/// # Errors
/// [`ProveError::Model`] for a shape that cannot be, [`ProveError::Infer`] for a device that fails.
pub fn bench_guesses(
    shape: &BenchShape,
    batch_size: usize,
    seconds: f64,
    device: &Device,
) -> Result<GuessReport, ProveError> {
    let gpt = Gpt::new(shape.model.clone(), SEED, device)?.with_weights(shape.weights);
    let config = gpt.config().clone();
    let held = config.max_seq_len / 2;
    let text = ids(held + POSITIONS[POSITIONS.len() - 1], config.vocab_size);
    let mut caches: Vec<KvCache> = (0..batch_size).map(|_| LanguageModel::new_cache(&gpt)).collect();
    for cache in caches.iter_mut().filter(|_| held > 0) {
        LanguageModel::last_logits(&gpt, &text[..held], Some(cache))?;
    }
    // A window's cache has room for some.
    let mut fits = |positions: &usize| {
        held + positions <= config.max_seq_len && gpt.reserve(&mut caches[0], *positions) == *positions
    };
    let counts: Vec<usize> = POSITIONS.into_iter().filter(|positions| fits(positions)).collect();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); counts.len()];
    let begin = Instant::now();
    let mut is_warm = false;
    loop {
        for (positions, times) in counts.iter().zip(&mut times) {
            let inputs = text[held..held + positions].repeat(batch_size);
            let lengths = vec![*positions; batch_size];
            for cache in &mut caches {
                let room = gpt.reserve(cache, *positions);
                assert!(room >= *positions, "a cache has room for {room} positions, and not for {positions}");
            }
            let begin = Instant::now();
            gpt.extend(&inputs, &lengths, &mut caches)?;
            let time = begin.elapsed().as_secs_f64();
            for cache in &mut caches {
                let is_back = cache.rewind(held);
                assert!(is_back, "a cache with room for {positions} positions more goes back to {held}");
            }
            if is_warm {
                times.push(time);
            }
        }
        let elapsed = begin.elapsed().as_secs_f64();
        is_warm |= elapsed >= WARM_UP * seconds;
        if times[0].len() >= MIN_REPETITIONS && elapsed >= (1.0 + WARM_UP) * seconds {
            break;
        }
    }
    let repetitions = times[0].len();
    let medians = times.iter_mut().map(|times| {
        times.sort_by(f64::total_cmp);
        times[(times.len() - 1) / 2]
    });
    let medians: Vec<f64> = medians.collect();
    let cost = |seconds: f64, positions: usize| match positions {
        1 => None,
        _ => Some((seconds / medians[0] - 1.0) / (positions - 1) as f64),
    };
    let passes = counts.iter().zip(&medians).map(|(positions, seconds)| PassTime {
        positions: *positions,
        seconds: *seconds,
        cost: cost(*seconds, *positions),
    });
    Ok(GuessReport {
        params: gpt.num_params(),
        n_layers: config.n_layers,
        d_model: config.d_model,
        vocab_size: config.vocab_size,
        batch_size,
        held,
        repetitions,
        assumed_cost: tril_infer::position_cost_together(gpt.position_cost(), batch_size),
        passes: passes.collect(),
    })
}
