//! What can go wrong while generating and scoring.

use std::sync::Arc;

/// Errors of sampling, generation and scoring.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InferError {
    /// There is nothing to condition on.
    #[error("the prompt is empty: a model predicts from at least one token, so give it some text")]
    EmptyPrompt,
    /// A prompt id is outside the vocabulary.
    #[error("token id {id} is outside the model's vocabulary of {vocab_size}")]
    UnknownToken {
        /// The id.
        id: u32,
        /// How many there are.
        vocab_size: usize,
    },
    /// A prompt is to be scored that does not fit into the context.
    #[error("the prompt has {tokens} tokens, and the model's context holds {limit}: give a shorter one")]
    PromptTooLong {
        /// Its length.
        tokens: usize,
        /// What there is room for.
        limit: usize,
    },
    /// A text to be scored has no token that another one predicts.
    #[error("{tokens} token{}: scoring needs at least 2, because nothing predicts the first; give a longer text", if *tokens == 1 { "" } else { "s" })]
    NothingToScore {
        /// Its length.
        tokens: usize,
    },
    /// A setting of the sampler has a value that means nothing.
    #[error("{field} = {value}: it must be {allowed}")]
    Setting {
        /// The field of [`SamplerConfig`](crate::SamplerConfig).
        field: &'static str,
        /// What it has.
        value: String,
        /// What it may have.
        allowed: String,
    },
    /// Nothing is left to choose from.
    #[error("every possible token is banned or has a bias of -inf: leave at least one")]
    AllBanned,
    /// The device could not hand its results over.
    #[error("reading from the device failed: {0}")]
    Device(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The model's output is not a distribution.
    #[error("the logits at position {position} hold {what}: the checkpoint's weights are damaged or it diverged")]
    BadLogits {
        /// Absolute position of the token to be drawn.
        position: usize,
        /// "NaN", "no finite value", …
        what: &'static str,
    },
}

impl InferError {
    /// What a device said when it did not hand its results over.
    pub fn device(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Device(Arc::new(source))
    }
}
