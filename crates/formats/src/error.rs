//! What a user can get wrong about a model of another tool: what, where, and what to do.

use std::path::{Path, PathBuf};

use tril_model::{ModelError, files};
use tril_text::TextError;

use crate::ExportFormat;

/// So many names stand in a message at most.
const MAX_NAMED: usize = 6;

/// Errors of reading and writing models of other tools.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Of a model, a checkpoint or a file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Of a tokenizer.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Instead of a file there is the note that git leaves where git-LFS has not fetched it.
    #[error(
        "{}: this is a git-LFS pointer, not the file itself; fetch it with `git lfs pull` in that directory",
        path.display()
    )]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// The weights are a pickle of PyTorch's, which can run code when it is read.
    #[error(
        "{}: weights in PyTorch's own format are not read, as they can run code; write model.safetensors beside them: \
         python -c \"from transformers import AutoModelForCausalLM as M; M.from_pretrained('DIR').save_pretrained('DIR')\"",
        path.display()
    )]
    Pickle {
        /// `pytorch_model.bin` or its index.
        path: PathBuf,
    },
    /// A directory has a config and no weights.
    #[error(
        "{}: it has no model.safetensors and no model.safetensors.index.json; download the weights too",
        path.display()
    )]
    NoWeights {
        /// The directory.
        path: PathBuf,
    },
    /// The index of a sharded model names a file that is not there.
    #[error("{}: it names {shard}, which is not there; download this shard too", index.display())]
    MissingShard {
        /// The index.
        index: PathBuf,
        /// The file.
        shard: String,
    },
    /// A field says something that [`tril_model::GptConfig`] cannot say.
    #[error("{}: {field} = {value}: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What it says.
        value: String,
        /// Why that does not fit.
        reason: String,
    },
    /// A file is cut, damaged or does not fit the others.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// There is no tokenizer, or one that is not read.
    #[error("{}: {reason}", path.display())]
    Tokenizer {
        /// The directory or file.
        path: PathBuf,
        /// What is missing or wrong, and what to do.
        reason: String,
    },
    /// A model cannot be written in a format.
    #[error("it cannot be written as {format}: {}", listed(misfits))]
    CannotExport {
        /// The format.
        format: ExportFormat,
        /// Every reason.
        misfits: Vec<Misfit>,
    },
}

/// Why a model does not fit a format: a field, what it says, and why that is in the way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Misfit {
    /// The field, such as `window`.
    pub field: String,
    /// What it says.
    pub value: String,
    /// Why that is in the way, and where there is a way around it, which.
    pub reason: String,
}

impl Misfit {
    pub(crate) fn new(field: &str, value: impl ToString, reason: impl Into<String>) -> Self {
        Self { field: field.to_owned(), value: value.to_string(), reason: reason.into() }
    }
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}: {}", self.field, self.value, self.reason)
    }
}

impl FormatError {
    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn unsupported(path: &Path, field: &str, value: impl ToString, reason: impl Into<String>) -> Self {
        let (field, value, reason) = (field.to_owned(), shortened(&value.to_string()), reason.into());
        Self::Unsupported { path: path.to_owned(), field, value, reason }
    }

    pub(crate) fn unreadable(path: &Path, source: std::io::Error) -> Self {
        Self::Model(ModelError::Io { action: "read", path: path.to_owned(), source })
    }

    /// Whether whoever asked can mend it; otherwise a disk failed or is full.
    #[must_use]
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Model(error) => error.is_user_error(),
            _ => true,
        }
    }
}

impl From<FormatError> for ModelError {
    /// For a [`tril_model::parameters::WeightSource`], which knows no other error.
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Model(error) => error,
            other => Self::Parameter(other.to_string()),
        }
    }
}

/// Reads a whole file, unless it is a pointer to one.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, FormatError> {
    let bytes = files::read(path)?;
    if is_lfs_pointer(&bytes) { Err(FormatError::LfsPointer { path: path.to_owned() }) } else { Ok(bytes) }
}

/// Whether these are the first bytes of the note that git-LFS leaves in place of a file.
pub(crate) fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}

/// Names for a message: the first of them, and how many more there are.
pub(crate) fn named<T: AsRef<str>>(names: &[T]) -> String {
    let first: Vec<String> = names.iter().take(MAX_NAMED).map(|name| format!("`{}`", name.as_ref())).collect();
    match names.len().saturating_sub(MAX_NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn listed(misfits: &[Misfit]) -> String {
    misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A value as a message shows it: a long one is cut.
fn shortened(value: &str) -> String {
    const MAX: usize = 120;
    if value.chars().count() <= MAX { value.to_owned() } else { value.chars().take(MAX).chain("…".chars()).collect() }
}
