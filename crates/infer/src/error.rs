//! What can go wrong while generating, scoring and proving.

/// Errors of sampling, generation, scoring and proofs.
#[derive(Debug, thiserror::Error)]
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
    /// Proofs compare predictions, and here is nothing to predict or nothing to predict from.
    #[error("the text has {tokens} token{}: proofs take at least 2; give a longer one", if *tokens == 1 { "" } else { "s" })]
    TooShortToProve {
        /// Its length.
        tokens: usize,
    },
    /// A text to be scored has no token that another one predicts.
    #[error("{tokens} token{}: scoring takes at least 2, as the first is predicted by nothing; give a longer text", if *tokens == 1 { "" } else { "s" })]
    NothingToScore {
        /// Its length.
        tokens: usize,
    },
    /// A context ends before the tokens do that are to be generated without cutting it.
    #[error("a context of {limit} tokens has no room for a prompt of {prompt} and {new} new tokens: {}", room(*.limit, *.prompt))]
    ContextTooShort {
        /// Tokens of the longest context.
        limit: usize,
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens to generate.
        new: usize,
    },
    /// The system gives no threads to compare.
    #[error("threads to compare could not be had: {0}")]
    Threads(String),
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
    #[error("reading the logits from the device failed: {0}")]
    Device(String),
    /// The model's output is not a distribution.
    #[error("the logits at position {position} hold {what}: the checkpoint's weights are damaged or it diverged")]
    BadLogits {
        /// Absolute position of the token to be drawn.
        position: usize,
        /// "NaN", "no finite value", …
        what: &'static str,
    },
}

/// What would fit.
fn room(limit: usize, prompt: usize) -> String {
    match (limit + 1).checked_sub(prompt).filter(|new| *new > 0) {
        Some(new) => format!("at most {new} fit after it"),
        None => "give a shorter one".to_owned(),
    }
}
