//! What can go wrong while generating.

/// Errors of sampling and generation.
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
