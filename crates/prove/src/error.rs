//! What can go wrong while proving, verifying and measuring costs.

use tril_infer::InferError;

/// Errors of proofs, verification and cost measurements.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The prompt, the settings, the logits or the device.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// Proofs compare predictions, and here is nothing to predict or nothing to predict from.
    #[error("the text has {tokens} token{}: proofs need at least 2; give a longer one", if *tokens == 1 { "" } else { "s" })]
    TooShort {
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
    /// A shape to be measured that no model can have.
    #[error(transparent)]
    Model(#[from] tril_model::ModelError),
    /// A step to be measured that no run can take.
    #[error(transparent)]
    Train(#[from] tril_train::TrainError),
    /// The system gives no threads to compare.
    #[error("cannot start threads to compare: {source}")]
    Threads {
        /// What the thread pool said.
        #[from]
        source: rayon::ThreadPoolBuildError,
    },
}

/// What would fit.
fn room(limit: usize, prompt: usize) -> String {
    match (limit + 1).checked_sub(prompt).filter(|new| *new > 0) {
        Some(new) => format!("at most {new} fit after it"),
        None => "give a shorter one".to_owned(),
    }
}
