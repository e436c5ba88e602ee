//! What can go wrong in the lab.

use std::path::PathBuf;

/// Why an experiment cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Of the layers below.
    #[error(transparent)]
    Tril(#[from] tril::Error),
    /// A text asks no problem of the task.
    #[error("`{text}` is not a problem that this model was trained on: give {expected}")]
    Problem {
        /// The text.
        text: String,
        /// What it could be.
        expected: String,
    },
    /// A checkpoint was not made by the lab.
    #[error("{}: {detail}; `tril lab sums --out DIR` and `tril lab parity --out DIR` save models for this", path.display())]
    NotOfTheLab {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A model cannot be kept where it is to be.
    #[error("{}: it {detail}; name another directory", path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
        /// What stands there.
        detail: String,
    },
    /// A setting cannot be.
    #[error("{0}")]
    Setting(String),
}

macro_rules! from_layers {
    ($($error:ty),*) => {$(
        impl From<$error> for LabError {
            fn from(error: $error) -> Self {
                Self::Tril(error.into())
            }
        }
    )*};
}

from_layers!(
    tril_model::ModelError,
    tril_text::TextError,
    tril_train::TrainError,
    tril_infer::InferError,
    tril::RequestError
);
