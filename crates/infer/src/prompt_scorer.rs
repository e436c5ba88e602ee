//! How probable a model finds the tokens of a prompt, as a generator sees them: one sequence from its first token, in chunks
//! that others can go between, with a cache from which it is continued.

use rayon::prelude::*;
use tril_model::{ForwardContext, Gpt, KvCache};

use crate::InferError;
use crate::logit_row::LogitRow;
use crate::sequence::{PrefixCache, check_prompt};

/// Logits that a chunk has at most, unless a single position has more.
const MAX_LOGITS: usize = 1 << 22;

/// One token of a prompt as the model saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// ln p(token | the tokens before it).
    pub logprob: f64,
    /// The tokens that the model finds most probable in its place, with the logarithms of their probabilities, best first
    /// and the lowest ids first among equals. Where the token is one of them, both numbers are the same bits.
    pub top_logprobs: Vec<(u32, f64)>,
}

/// A prompt that is being scored.
#[derive(Debug)]
pub struct PromptScorer {
    ids: Vec<u32>,
    top_logprobs: usize,
    cache: KvCache,
    scores: Vec<TokenLogprob>,
}

impl PromptScorer {
    /// Begins with a prompt. In a model whose context has an end, the prompt must fit into it.
    ///
    /// - top_logprobs: how many of the most probable tokens are named at each place
    ///
    /// # Errors
    /// [`InferError::EmptyPrompt`], [`InferError::UnknownToken`], [`InferError::PromptTooLong`].
    pub fn new(gpt: &Gpt, ids: Vec<u32>, top_logprobs: usize) -> Result<Self, InferError> {
        check_prompt(&ids, gpt.config().vocab_size)?;
        if let Some(limit) = gpt.config().context_limit().filter(|limit| ids.len() > *limit) {
            return Err(InferError::PromptTooLong { tokens: ids.len(), limit });
        }
        Ok(Self { cache: gpt.new_cache(1), scores: Vec::with_capacity(ids.len() - 1), ids, top_logprobs })
    }

    /// Computes at most so many positions more; the bits do not depend on how many. True once all are.
    ///
    /// # Errors
    /// [`InferError::Device`]; [`InferError::BadLogits`] for a NaN, +∞, or a row without a finite number.
    pub fn step(&mut self, gpt: &Gpt, positions: usize) -> Result<bool, InferError> {
        let (vocab_size, begin) = (gpt.config().vocab_size, self.cache.position());
        let positions = positions.min(MAX_LOGITS / vocab_size).max(1);
        let chunk = &self.ids[begin..self.ids.len().min(begin + positions)];
        if chunk.is_empty() {
            return Ok(true);
        }
        let logits = gpt.forward_with(gpt.inputs(chunk, 1), ForwardContext::cached(&mut self.cache)); // [1, chunk, vocab_size]
        let logits = logits.try_into_vec_as::<f32>().map_err(InferError::device)?;
        let next = &self.ids[begin + 1..self.ids.len().min(begin + 1 + chunk.len())];
        let score = |(place, (row, id)): (usize, (&[f32], &u32))| {
            let row = LogitRow::of(row).map_err(|what| InferError::BadLogits { position: begin + place + 1, what })?;
            Ok(TokenLogprob { logprob: row.logprob(*id as usize), top_logprobs: row.best(self.top_logprobs) })
        };
        let rows = logits.par_chunks(vocab_size).zip(next).enumerate();
        let scores = rows.map(score).collect::<Result<Vec<_>, InferError>>()?;
        self.scores.extend(scores);
        Ok(self.cache.position() == self.ids.len())
    }

    /// The scores of all tokens but the first, which nothing predicts, and what the prompt can be continued from.
    pub fn finish(self) -> (Vec<TokenLogprob>, PrefixCache) {
        let tokens = self.ids[..self.cache.position()].to_vec();
        (self.scores, PrefixCache::new(tokens, self.cache))
    }
}
