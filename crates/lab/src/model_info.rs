//! What the lab writes beside a checkpoint, so that a model can be asked about the task that it has learnt.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tril::{ExistingFiles, Model, Tokenizer};
use tril_model::{Gpt, checkpoint, files};

use crate::{Format, LabError, Task};

/// What the lab knows of a model that it saved, beside the checkpoint's own files.
const LAB_FILE: &str = "lab.json";
/// All that it writes.
const FILES: [&str; 4] = [checkpoint::CONFIG, checkpoint::TOKENIZER, checkpoint::WEIGHTS, LAB_FILE];

/// A directory in which an experiment keeps its models, each as a checkpoint `TASK-FORMAT-SEED`.
#[derive(Debug, Clone, Copy)]
pub struct KeptModels<'a> {
    /// The directory.
    pub dir: &'a Path,
    /// What becomes of a model that an earlier experiment has left at the place of a new one.
    pub existing: ExistingFiles,
}

impl KeptModels<'_> {
    /// Where a model is kept.
    fn path(&self, info: &LabModelInfo) -> PathBuf {
        self.dir.join(format!("{}-{}-{}", info.task.name(), info.format.name(), info.seed))
    }

    /// Looks whether a model can be kept, so that none is trained for a place that it may not take.
    ///
    /// # Errors
    /// [`LabError::Occupied`] where something stands that is not the lab's, or that is to be kept.
    pub(crate) fn check(&self, info: &LabModelInfo) -> Result<(), LabError> {
        let path = self.path(info);
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        let names: Vec<_> = match path.read_dir() {
            Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
            Err(_) => vec!["no directory".into()],
        };
        let is_ours = names.iter().all(|name| FILES.iter().any(|file| name == file)) && path.join(LAB_FILE).is_file();
        let detail = match self.existing {
            _ if names.is_empty() => return Ok(()),
            ExistingFiles::Replace if is_ours => return Ok(()),
            ExistingFiles::Keep if is_ours => "holds a model of an earlier experiment: --force replaces it",
            _ => "holds what the lab did not write, and is left alone",
        };
        Err(LabError::Occupied { path, detail: detail.into() })
    }

    /// Saves a model as a checkpoint.
    pub(crate) fn save(&self, info: &LabModelInfo, gpt: &Gpt, tokenizer: &Tokenizer) -> Result<PathBuf, LabError> {
        let path = self.path(info);
        let mut written = checkpoint::model_files(gpt)?;
        written.push((checkpoint::TOKENIZER, tokenizer.to_json()?.into_bytes()));
        let text = serde_json::to_string_pretty(info).map_err(|error| LabError::Setting(error.to_string()))?;
        written.push((LAB_FILE, (text + "\n").into_bytes()));
        files::write_dir(&path, &written)?;
        Ok(path)
    }
}

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
