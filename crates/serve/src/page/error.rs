//! What can go wrong while a page is filled.

use tril_lab::LabError;

/// Why a view has nothing to show. Each message says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Of the layers below.
    #[error(transparent)]
    Tril(#[from] tril::Error),
    /// Of the lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// What was asked for cannot be.
    #[error("{0}")]
    Request(String),
    /// No model of the lab is there.
    #[error(
        "no model that writes its working is open: `tril lab sums --formats worked --out DIR` trains one, and the page can too"
    )]
    NoWorking,
    /// A document could not be written down.
    #[error("the data of the page cannot be written: {0}")]
    Json(#[from] serde_json::Error),
    /// A directory for a model that the page trains.
    #[error("the model that was trained cannot be kept: {0}")]
    Io(#[from] std::io::Error),
}

impl PageError {
    /// Whether whoever asked can mend it; otherwise a device, a disk or a run failed.
    #[must_use]
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Tril(error) | Self::Lab(LabError::Tril(error)) => error.is_user_error(),
            Self::Lab(_) | Self::Request(_) | Self::NoWorking => true,
            Self::Json(_) | Self::Io(_) => false,
        }
    }
}

macro_rules! from_layers {
    ($($error:ty),*) => {$(
        impl From<$error> for PageError {
            fn from(error: $error) -> Self {
                Self::Tril(error.into())
            }
        }
    )*};
}

from_layers!(
    tril::model::ModelError,
    tril::text::TextError,
    tril::train::TrainError,
    tril::infer::InferError,
    tril::prove::ProveError,
    tril::data::DataError,
    tril::RecipeError,
    tril::RequestError
);
