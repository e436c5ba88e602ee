//! What becomes of a sequence: one token after another, and an end.

use serde::{Deserialize, Serialize};
use tril_model::KvCache;

use super::PrefixCache;
use crate::InferError;
use crate::sampler::SampledToken;

/// One new token, and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedToken {
    /// The token, and how it was drawn.
    pub sampled: SampledToken,
    /// Its absolute position in the sequence, prompt included.
    pub position: usize,
    /// How many tokens the model saw: the context.
    pub context: usize,
    /// How many positions were computed for it, in however many passes.
    pub computed: usize,
    /// How many of the oldest tokens left the context just before because it was full; usually 0.
    pub dropped: usize,
    /// The most probable tokens after all filters and their probabilities, the most probable first; as many as
    /// [`GenerateOptions::alternatives`](crate::GenerateOptions::alternatives) asks for and are left.
    pub alternatives: Vec<(u32, f64)>,
    /// The tokens with the largest logits as they came and the logarithms of their probabilities, best first and the
    /// lowest ids first among equals; as many as [`GenerateOptions::top_logprobs`](crate::GenerateOptions::top_logprobs) asks
    /// for.
    pub top_logprobs: Vec<(u32, f64)>,
}

/// Why there are no more tokens, or no more text.
///
/// A generator of ids ends for one of the first three reasons. The other two are those of whoever reads its tokens and
/// wants no more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It has as many new tokens as were asked for.
    MaxTokens,
    /// The stop token came, usually end-of-text.
    EndOfText,
    /// The context is full and [`Overflow::Stop`](crate::Overflow::Stop) ends it there.
    ContextFull,
    /// A stop text appeared.
    StopText,
    /// Whoever had asked for it wanted no more.
    Interrupted,
}

/// What becomes of a sequence in one step.
#[derive(Debug)]
pub enum Event<C = KvCache> {
    /// It has one token more.
    Token(GeneratedToken),
    /// It has finished.
    Finished(Box<FinishedSequence<C>>),
    /// Nothing can be drawn from its logits. The other sequences go on.
    Failed(InferError),
}

/// What is left of a sequence.
#[derive(Debug, Clone)]
pub struct FinishedSequence<C = KvCache> {
    /// Why it finished.
    pub reason: FinishReason,
    /// How the stop token was drawn, if it came. It is not part of the text.
    pub stop: Option<GeneratedToken>,
    /// What can be continued later, if there was a cache.
    pub prefix_cache: Option<PrefixCache<C>>,
}
