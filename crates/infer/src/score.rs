//! How a model sees a text that is already there: each token's probability, rank and alternatives, and how uncertain the
//! model was. Token ids go in, numbers come out.

use burn::tensor::Tensor;
use rayon::prelude::*;
use serde::Serialize;
use tril_model::{ForwardContext, Gpt, TokenLosses, WindowBatch};

use crate::InferError;
use crate::logit_row::LogitRow;
use crate::sequence::check_ids;

/// Logits that are held at once, unless a single window has more.
const MAX_LOGITS: usize = 1 << 23;

/// What is asked of [`score`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreOptions {
    /// The text is cut into consecutive windows that predict so many tokens, each from an empty context.
    pub seq_len: usize,
    /// How many of the most probable tokens are named at each place.
    pub alternatives: usize,
}

/// One token as the model saw it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenScore {
    /// ln p(token | context), in nats: the negative of its loss.
    pub logprob: f64,
    /// 1 + the number of tokens that the model held more probable; among equals the lowest id comes first.
    pub rank: usize,
    /// −Σ p ln p over the vocabulary, in nats: the loss that the model itself expected here.
    pub entropy: f64,
    /// Tokens before it in its window.
    pub context: usize,
    /// The most probable tokens with their log-probabilities, best first.
    #[serde(skip_serializing)]
    pub alternatives: Vec<(u32, f64)>,
}

/// Scores every token but the first, which nothing predicts.
///
/// Windows are those of [`WindowBatch::cut`], as in `tril_train::evaluate`: window k reads `ids[k·seq_len..]` and predicts
/// the `seq_len` tokens that follow one place later, so all but the text's first are predicted once. Each log-probability
/// is the negative of the same loss, so the mean agrees with that of an evaluation but for the order in which it is summed
/// up.
///
/// # Errors
/// [`InferError::NothingToScore`] without a single target, [`InferError::UnknownToken`], [`InferError::Device`];
/// [`InferError::BadLogits`] for a NaN, +∞, or a row without a finite number.
pub fn score(gpt: &Gpt, ids: &[u32], options: &ScoreOptions) -> Result<Vec<TokenScore>, InferError> {
    check_ids(ids, gpt.config().vocab_size)?;
    let Some(targets) = ids.len().checked_sub(1).filter(|targets| *targets > 0) else {
        return Err(InferError::NothingToScore { tokens: ids.len() });
    };
    let seq_len = options.seq_len.min(targets);
    let batch_size = (MAX_LOGITS / (seq_len * gpt.config().vocab_size)).max(1);
    let batches = WindowBatch::cut(ids.len(), seq_len, batch_size).into_iter();
    let scores = batches.map(|batch| windows(gpt, ids, &batch, options)).collect::<Result<Vec<_>, _>>()?;
    Ok(scores.concat())
}

/// Scores the tokens that some windows predict.
fn windows(gpt: &Gpt, ids: &[u32], batch: &WindowBatch, options: &ScoreOptions) -> Result<Vec<TokenScore>, InferError> {
    let read = |values: Tensor<1>| values.try_into_vec_as::<f32>().map_err(InferError::device);
    let TokenLosses { logits, losses } = gpt.window_losses(ids, batch, ForwardContext::default());
    let (logits, losses) = (read(logits.flatten(0, 1))?, read(losses)?);
    let WindowBatch { begin, seq_len, .. } = *batch;
    let one = |(place, row): (usize, &[f32])| {
        let distribution =
            LogitRow::of(row).map_err(|what| InferError::BadLogits { position: begin + place + 1, what })?;
        let target = ids[begin + place + 1] as usize;
        Ok(TokenScore {
            // 0 − loss, and not −loss, which would print a certain token's as −0.
            logprob: 0.0 - f64::from(losses[place]),
            rank: rank(row, target),
            entropy: distribution.entropy(),
            context: place % seq_len + 1,
            alternatives: distribution.best(options.alternatives),
        })
    };
    logits.par_chunks(gpt.config().vocab_size).enumerate().map(one).collect()
}

/// 1 + how many ids come before `target` in order of descending logit, then ascending id.
fn rank(logits: &[f32], target: usize) -> usize {
    let own = logits[target];
    let before = |(id, logit): &(usize, &f32)| **logit > own || (**logit == own && *id < target);
    1 + logits.iter().enumerate().filter(before).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_from_one_and_the_lowest_id_is_first_among_equals() {
        let logits = [0.5, 2.0, -1.0, 2.0, 0.5];
        assert_eq!([0, 1, 2, 3, 4].map(|id| rank(&logits, id)), [3, 1, 5, 2, 4]);
    }

    #[test]
    fn the_best_are_in_order_of_rank_with_their_logprobs() {
        let logits = [0.0, 3f32.ln(), f32::NEG_INFINITY, 3f32.ln(), 0.0];
        let distribution = LogitRow::of(&logits).expect("numbers");
        let best = distribution.best(9);
        assert_eq!(best.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 3, 0, 4, 2]);
        assert_eq!(distribution.best(2), best[..2]);
        assert_eq!(distribution.best(0), []);
        for ((_, logprob), expected) in best.iter().zip([0.375, 0.375, 0.125, 0.125, 0.0]) {
            assert!((logprob.exp() - expected).abs() < 1e-7, "{best:?}");
        }
    }

    #[test]
    fn the_entropy_is_zero_when_certain_and_ln_n_when_all_are_equal() {
        let entropy = |logits: &[f32]| LogitRow::of(logits).expect("numbers").entropy();
        assert!((entropy(&[7.0; 5]) - 5f64.ln()).abs() < 1e-12);
        assert_eq!(entropy(&[0.0, f32::NEG_INFINITY]), 0.0);
        assert!((entropy(&[300.0, 300.0, -300.0]) - 2f64.ln()).abs() < 1e-12, "large logits do not overflow");
    }

    #[test]
    fn rows_that_are_no_distribution_are_told_apart() {
        let what = |logits: &[f32]| LogitRow::of(logits).err();
        assert_eq!(what(&[0.0, f32::NAN]), Some("NaN"));
        assert_eq!(what(&[0.0, f32::INFINITY]), Some("infinity"));
        assert_eq!(what(&[f32::NEG_INFINITY]), Some("no finite value"));
    }
}
