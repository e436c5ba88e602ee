//! What can go wrong while generating and proving.

/// Errors of sampling, generation and proofs.
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
    /// The system gives no threads to compare.
    #[error("threads to compare could not be had: {0}")]
    Threads(String),
    /// A temperature that no distribution has.
    #[error("temperature = {0}: it must be 0 (greedy) or a positive number")]
    Temperature(f64),
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
