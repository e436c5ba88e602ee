//! What can go wrong while training.

use std::path::PathBuf;

use tril_model::ModelError;

/// Errors of a training run. Each message says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A field of `[train]` or `[optimizer]` has a value that cannot be.
    #[error("{0}")]
    Config(String),
    /// A side of the text is shorter than one window.
    #[error(
        "the {side} text has {tokens} tokens, but a window needs seq_len + 1 = {needed}: give a longer text, a smaller train.seq_len, or another data.validation_fraction"
    )]
    TooShort {
        /// "training" or "validation".
        side: &'static str,
        /// What it has.
        tokens: usize,
        /// What it needs.
        needed: usize,
    },
    /// The output directory is taken.
    #[error(
        "{0} already holds a run: continue it with `--resume {0}`, replace it with `--force`, or choose another `--out`"
    )]
    Occupied(PathBuf),
    /// The directory holds no run.
    #[error("{path} holds no run to resume: {detail}")]
    NoRun {
        /// The directory.
        path: PathBuf,
        /// What is missing or broken.
        detail: String,
    },
    /// The text is not the one that the run began with.
    #[error(
        "the text differs from the one that this run was trained on (or its tokenizer does): resume with the same data, or begin a new run"
    )]
    OtherText,
    /// The loss or its gradient left the finite numbers.
    #[error(
        "step {step}: the {what} is {value}, so the run stopped before the update; checkpoints are untouched. Lower optimizer.learning_rate, or set optimizer.max_grad_norm to 1.0"
    )]
    NonFinite {
        /// The step that was not taken.
        step: u64,
        /// "loss" or "gradient norm".
        what: &'static str,
        /// NaN or ±∞.
        value: f64,
    },
    /// A device could not hand its results over.
    #[error("reading from the device failed: {0}")]
    Device(String),
    /// Building, loading or saving the model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
}
