//! Where a run's weights come from that did not begin with fresh ones: `from.json` in the run and in each checkpoint.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tril_model::{parameters, tensor_file};

use crate::{Error, Model};

/// The model that a run began from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Where it was; nothing of it is needed any more.
    pub path: PathBuf,
    /// SHA-256 of its weights as `model.safetensors` holds them in a checkpoint, whatever they were read from.
    pub weights_sha256: String,
    /// SHA-256 of its tokenizer as a checkpoint's `tokenizer.json`.
    pub tokenizer_sha256: String,
}

impl Origin {
    /// Of a model.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Text`] if it cannot be written, which no model that was read does.
    pub(crate) fn of(model: &Model) -> Result<Self, Error> {
        let weights = tensor_file::tensors_to_bytes(&parameters::list(model.gpt().as_ref()))?;
        Ok(Self {
            path: model.path().to_owned(),
            weights_sha256: sha256(&weights),
            tokenizer_sha256: sha256(model.tokenizer().to_json()?.as_bytes()),
        })
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// From the file of a run or a checkpoint; none where that says nothing that can be read, since nothing depends on it.
    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_nothing() {
        let origin = Origin { path: "runs/a".into(), weights_sha256: "1f".into(), tokenizer_sha256: "2e".into() };
        assert_eq!(Origin::from_json(&origin.to_json()), Some(origin));
        assert_eq!(Origin::from_json(b"{}"), None);
    }
}
