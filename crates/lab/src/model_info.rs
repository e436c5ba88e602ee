//! What the lab writes beside a checkpoint, so that a model can be asked about the task that it has learnt.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tril::{Model, Tokenizer};
use tril_model::{Gpt, checkpoint, files};

use crate::{Format, LabError, Task};

/// What the lab knows of a model that it saved, beside the checkpoint's own files.
const LAB_FILE: &str = "lab.json";

/// What a saved model was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabModelInfo {
    /// The task, with its hidden subset.
    pub task: Task,
    /// The format of its texts.
    pub format: Format,
    /// The seed of its run.
    pub seed: u64,
}

impl LabModelInfo {
    /// Saves a model as a checkpoint below `out`.
    pub(crate) fn save(&self, gpt: &Gpt, tokenizer: &Tokenizer, out: &Path) -> Result<PathBuf, LabError> {
        let dir = out.join(format!("{}-{}-{}", self.task.name(), self.format.name(), self.seed));
        let mut written = checkpoint::model_files(gpt)?;
        written.push((checkpoint::TOKENIZER, tokenizer.to_json()?.into_bytes()));
        let info = serde_json::to_string_pretty(self).map_err(|error| LabError::Setting(error.to_string()))?;
        written.push((LAB_FILE, (info + "\n").into_bytes()));
        files::write_dir(&dir, &written)?;
        Ok(dir)
    }

    /// What the lab knows of a checkpoint that it saved.
    ///
    /// # Errors
    /// [`LabError::NotOfTheLab`].
    pub fn of(model: &Model) -> Result<Self, LabError> {
        let not_of_the_lab = |detail: String| LabError::NotOfTheLab { path: model.path().to_owned(), detail };
        let path = model.path().join(LAB_FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| not_of_the_lab(format!("{LAB_FILE} cannot be read ({error})")))?;
        let info: Self = serde_json::from_str(&text)
            .map_err(|error| not_of_the_lab(format!("{LAB_FILE} is not what the lab writes ({error})")))?;
        if let Task::Parity { subset } = &info.task
            && (subset.is_empty() || subset.iter().any(|place| *place >= crate::task::PARITY_BITS))
        {
            return Err(not_of_the_lab(format!("{LAB_FILE} names bits that no problem has")));
        }
        Ok(info)
    }
}
