//! What can go wrong, whichever part of the toolkit it went wrong in.

use std::path::PathBuf;

use tril_data::DataError;
use tril_formats::FormatError;
use tril_infer::InferError;
use tril_model::{ModelError, WeightFormat, files};
use tril_prove::ProveError;
use tril_text::TextError;
use tril_train::TrainError;

use crate::bare_text::BareTextError;
use crate::device::DeviceError;
use crate::draft::DraftError;
use crate::known_hashes::KnownHashesError;
use crate::receipt::ReceiptError;
use crate::recipe::RecipeError;

/// Any error of this library. Each message says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of a model or its checkpoint.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Of a text or a tokenizer.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Of a model of another tool.
    #[error(transparent)]
    Format(FormatError),
    /// Of a corpus.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Of training or of a run's directory.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Of sampling, generation or scoring.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// Of proofs, verification or measurements.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// Of a recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// Of the choice of a device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Of what guesses tokens.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// Of a text without a receipt.
    #[error(transparent)]
    BareText(#[from] BareTextError),
    /// Of the hashes that recipes are known to end in.
    #[error(transparent)]
    KnownHashes(#[from] KnownHashesError),
    /// Of a receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// A tokenizer has other ids than the model beside it.
    #[error(
        "{}: the tokenizer does not fit the model: {} has {tokens} tokens, {} says vocab_size = {vocab_size}; restore both from the same checkpoint",
        path.display(), tril_model::checkpoint::TOKENIZER, tril_model::checkpoint::CONFIG
    )]
    TokenizerMismatch {
        /// The checkpoint.
        path: PathBuf,
        /// Tokens of the tokenizer.
        tokens: usize,
        /// Tokens of the model.
        vocab_size: usize,
    },
    /// A model whose weights were rounded is asked for what only the weights of its checkpoint are good for.
    #[error("{}: its weights were rounded to {weights} when it was opened, and {why}: open it with f32 instead", path.display())]
    Rounded {
        /// The checkpoint.
        path: PathBuf,
        /// What they were rounded to.
        weights: WeightFormat,
        /// What cannot be done with them.
        why: &'static str,
    },
    /// A recipe asks for a vocabulary that its tokenizer does not have.
    #[error("model.vocab_size = {asked}, but the tokenizer has {tokens} tokens: set it to 0 to take the tokenizer's")]
    VocabSize {
        /// What the recipe asks for.
        asked: usize,
        /// What there is.
        tokens: usize,
    },
    /// The held-out text cannot be measured.
    #[error(
        "the validation text has {tokens} tokens, but measuring a loss takes at least 2: raise data.validation_fraction, or give a longer text"
    )]
    NothingToValidate {
        /// What it has.
        tokens: usize,
    },
    /// The held-out text is unknown to the tokenizer from its first token to its last.
    #[error(
        "no token of the tokenizer spells any of the validation text, so there is nothing to measure: give it a tokenizer that knows the text; kinds `byte` and `bpe` write any"
    )]
    NothingSpelt,
    /// A run is to go on as what it is not.
    #[error("{0}")]
    CannotResume(String),
    /// A model is to be trained as what it is not.
    #[error("{0}")]
    CannotFineTune(String),
    /// The text that a run was trained on cannot be opened where it was.
    #[error("the run's text: {source}; if it has moved, name its new place")]
    TextMoved {
        /// What is wrong with the old place.
        source: DataError,
    },
    /// A part of its text that a model is to be measured on was not held out, or nobody knows which it was.
    #[error("{}: {detail}", path.display())]
    NotHeldOut {
        /// The checkpoint.
        path: PathBuf,
        /// Why not, and what to do.
        detail: String,
    },
    /// Something else stands where a directory or a file is to be written.
    #[error("{}: there is something there already, and only what was written by such a command is replaced; name another place", path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
    },
    /// What a prompt, a setting or a line of something is wrong with, and in which of them.
    #[error("{place}: {source}")]
    In {
        /// Which.
        place: String,
        /// What is wrong.
        source: Box<Error>,
    },
}

impl From<FormatError> for Error {
    /// What is wrong with a checkpoint of this toolkit is told as it is everywhere.
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Model(error) => Self::Model(error),
            FormatError::Text(error) => Self::Text(error),
            other => Self::Format(other),
        }
    }
}

impl Error {
    /// Says in which of several prompts, settings or files it went wrong.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Self::In { place: place.into(), source: Box::new(self) }
    }

    /// Whether whoever asked can mend it, by another path, text or setting; otherwise a device, a disk or a run failed.
    #[must_use]
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Model(error) => error.is_user_error(),
            Self::Data(error) => error.is_user_error(),
            Self::Format(error) => error.is_user_error(),
            Self::Train(error) => error.is_user_error(),
            Self::Infer(error) => is_user_error(error),
            Self::Prove(error) => is_user_error(error),
            Self::Device(error) => error.is_user_error(),
            Self::In { source, .. } => source.is_user_error(),
            _ => true,
        }
    }
}

/// The same of any error of this workspace, by itself; others are taken for the user's.
#[must_use]
pub fn is_user_error(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<Error>() {
        error.is_user_error()
    } else if let Some(error) = error.downcast_ref::<ModelError>() {
        error.is_user_error()
    } else if let Some(error) = error.downcast_ref::<DataError>() {
        error.is_user_error()
    } else if let Some(error) = error.downcast_ref::<TrainError>() {
        error.is_user_error()
    } else if let Some(error) = error.downcast_ref::<ProveError>() {
        match error {
            ProveError::Threads { .. } => false,
            ProveError::Infer(error) => is_user_error(error),
            ProveError::Model(error) => error.is_user_error(),
            ProveError::Train(error) => error.is_user_error(),
            _ => true,
        }
    } else if let Some(error) = error.downcast_ref::<DeviceError>() {
        error.is_user_error()
    } else if let Some(error) = error.downcast_ref::<std::io::Error>() {
        !files::is_disk_full(error)
    } else {
        !matches!(error.downcast_ref::<InferError>(), Some(InferError::Device(_)))
    }
}

/// Whether this is about a device that gave no result, in the words of what drives it.
#[must_use]
pub fn is_device_failure(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_infer = |error: &InferError| matches!(error, InferError::Device(_));
    let of_train = |error: &TrainError| matches!(error, TrainError::Device(_));
    let of_prove = |error: &ProveError| match error {
        ProveError::Infer(error) => of_infer(error),
        ProveError::Train(error) => of_train(error),
        _ => false,
    };
    match error.downcast_ref::<Error>() {
        Some(Error::Infer(error)) => of_infer(error),
        Some(Error::Train(error)) => of_train(error),
        Some(Error::Prove(error)) => of_prove(error),
        Some(Error::In { source, .. }) => is_device_failure(&**source),
        Some(_) => false,
        None => {
            error.downcast_ref().is_some_and(of_infer)
                || error.downcast_ref().is_some_and(of_train)
                || error.downcast_ref().is_some_and(of_prove)
        }
    }
}
