//! What names the outcome of a run: SHA-256 of the files that hold it.
//!
//! Both files hold tensors alone, in the order of their names, so their bytes are a function of the values: no time,
//! path, device or history enters.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tril_model::{checkpoint, files};

use crate::TrainError;
use crate::run_dir::OPTIMIZER;

/// SHA-256 of a checkpoint's files, in hexadecimal digits as `sha256sum` prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointHashes {
    /// Of `model.safetensors`, the weights.
    pub model: String,
    /// Of `optimizer.safetensors`, the optimizer's state.
    pub optimizer: String,
}

impl CheckpointHashes {
    /// Of the files that lie in a checkpoint's directory.
    ///
    /// # Errors
    /// [`TrainError::Model`] if one cannot be read.
    pub fn of(checkpoint: &Path) -> Result<Self, TrainError> {
        Ok(Self { model: model_sha256(checkpoint)?, optimizer: sha256(&checkpoint.join(OPTIMIZER))? })
    }
}

/// The first of them alone, for a checkpoint that may have no optimizer's state. Of a model of another tool: of its one
/// file, or of the shards of a directory, one after another in the order of their names.
///
/// # Errors
/// As [`CheckpointHashes::of`].
pub fn model_sha256(checkpoint: &Path) -> Result<String, TrainError> {
    let whole = checkpoint.join(checkpoint::WEIGHTS);
    if checkpoint.is_file() {
        return sha256(checkpoint);
    }
    let shards = if whole.exists() { Vec::new() } else { shards(checkpoint) };
    if shards.is_empty() {
        return sha256(&whole);
    }
    let mut digest = Sha256::new();
    for shard in shards {
        digest.update(files::read(&shard)?);
    }
    Ok(hexadecimal(&digest.finalize()))
}

/// The safetensors files of a directory, by name.
fn shards(dir: &Path) -> Vec<PathBuf> {
    let entries = dir.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut shards: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "safetensors")).collect();
    shards.sort();
    shards
}

fn sha256(path: &Path) -> Result<String, TrainError> {
    Ok(hexadecimal(&Sha256::digest(files::read(path)?)))
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
