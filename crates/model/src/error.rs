//! What a user can get wrong about a model or its checkpoint.

use std::path::{Path, PathBuf};

use crate::files;

/// What caused an error.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Errors of building, loading and saving a model. Each message says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A field of [`crate::GptConfig`] has a value that no model can have.
    #[error("[model] {0}")]
    Config(String),
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// "read", "write", …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Something does not fit into memory.
    #[error("{what}: that takes at least {} GiB of memory, and {} GiB are there; lower one of them", gibibytes(*needed), gibibytes(u128::from(*limit)))]
    Memory {
        /// The settings that ask for it.
        what: String,
        /// The least that it takes, in bytes.
        needed: u128,
        /// Bytes that there are.
        limit: u64,
    },
    /// There is no checkpoint at the path.
    #[error("no checkpoint at {path}: {detail}; train a model, or give the path of another")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// Which file is missing.
        detail: String,
    },
    /// A file of the checkpoint is truncated, corrupted or does not fit the others.
    #[error("{path} is not a usable checkpoint file: {source}; restore it from a copy or use another checkpoint")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: BoxError,
    },
    /// Something cannot be put into a file's format.
    #[error("cannot serialise {what}: {source}")]
    Serialize {
        /// A file's name, or "tensors".
        what: &'static str,
        /// Why.
        source: BoxError,
    },
    /// A parameter is absent, or has another shape than the config asks for.
    #[error("{0}")]
    Parameter(String),
}

impl ModelError {
    /// A file that is no usable part of a checkpoint, and why.
    pub fn corrupt(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Corrupt { path: path.to_owned(), source: source.into() }
    }

    /// Whether whoever asked can mend it, by another path or setting; otherwise a disk failed or is full.
    #[must_use]
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Io { action: "write" | "rename" | "remove", .. } | Self::Serialize { .. } => false,
            Self::Io { source, .. } => !files::is_disk_full(source),
            _ => true,
        }
    }
}

/// Bytes as a number of GiB with one digit after the point.
fn gibibytes(bytes: u128) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 30))
}
