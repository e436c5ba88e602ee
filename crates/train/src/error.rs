//! What can go wrong while training.

use std::path::PathBuf;

use tril_model::ModelError;

/// What caused an error.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Errors of a training run. Each message says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A field of `[train]` or `[optimizer]` has a value that cannot be.
    #[error("{0}")]
    Config(String),
    /// The training text is shorter than one window.
    #[error(
        "the training text has {tokens} tokens, but a window needs seq_len + 1 = {needed}: give a longer text, a smaller train.seq_len, or another data.validation_fraction"
    )]
    TooShort {
        /// What it has.
        tokens: usize,
        /// What it needs.
        needed: usize,
    },
    /// A text to be measured has no token that another one predicts.
    #[error("{0} tokens: a loss needs at least 2; give a longer text")]
    NothingToPredict(usize),
    /// The output directory holds a run that cannot be resumed.
    #[error("{0} holds a run that saved no checkpoint yet: replace it, or choose another directory")]
    OccupiedUnsaved(PathBuf),
    /// The output directory is taken.
    #[error("{0} already holds a run: continue it, replace it, or choose another directory")]
    Occupied(PathBuf),
    /// A place that a run would write to holds something that no run has written.
    #[error("{0} is not empty and was not made by a run: name another directory, so that nothing in it is lost")]
    Foreign(PathBuf),
    /// Another process writes to the directory.
    #[error(
        "{0} is the directory of a run that goes on in another process: wait for its end, stop it, or choose another directory"
    )]
    Busy(PathBuf),
    /// Going on from a checkpoint would replace later ones.
    #[error(
        "{} is not the last checkpoint of its run: going on from it would remove {} and what the run learned since",
        from.display(), last.display()
    )]
    LaterCheckpoint {
        /// Where to go on from.
        from: PathBuf,
        /// What would be lost.
        last: PathBuf,
    },
    /// The directory holds no run.
    #[error("{path} holds no run to resume: {detail}")]
    NoRun {
        /// The directory.
        path: PathBuf,
        /// What is missing or broken.
        detail: String,
    },
    /// The run can only be begun anew.
    #[error("{0} holds a run that has saved no checkpoint yet: wait for one, or begin it anew")]
    NothingSaved(PathBuf),
    /// The text is not the one that the run began with.
    #[error(
        "the text differs from the one that this run was trained on (or its tokenizer does): resume with the same data, or begin a new run"
    )]
    OtherText,
    /// A loss, a gradient or a weight left the finite numbers.
    #[error(
        "step {step}: {what} is {value}, so the run stopped and saved nothing of it; earlier checkpoints are untouched. Lower optimizer.learning_rate, or set optimizer.max_grad_norm to 1.0"
    )]
    NonFinite {
        /// The step.
        step: u64,
        /// "the loss", "a weight", …
        what: &'static str,
        /// NaN or ±∞.
        value: f64,
    },
    /// Every gradient of the first step is zero.
    #[error(
        "step 1: the loss is {loss:.4} and every gradient is zero, so nothing would be learned; the run stopped and saved nothing. If the device is not the CPU, it computes wrongly: use the device cpu, or a newer driver"
    )]
    NoGradient {
        /// The mean loss of the batch, in nats.
        loss: f64,
    },
    /// A device could not hand its results over.
    #[error("reading from the device failed: {0}")]
    Device(#[source] BoxError),
    /// The system gives no threads to work with.
    #[error("cannot start threads: {0}")]
    Threads(#[source] std::io::Error),
    /// Building, loading or saving the model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl TrainError {
    /// What a device said when it did not hand its results over.
    pub fn device(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Device(source.into())
    }

    /// Whether whoever asked can mend it, by another path, text or setting; otherwise a device, a disk or the run failed.
    #[must_use]
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::NonFinite { .. } | Self::NoGradient { .. } | Self::Device(_) | Self::Threads(_) => false,
            Self::Model(error) => error.is_user_error(),
            _ => true,
        }
    }
}
