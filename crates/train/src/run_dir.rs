//! The directory of a run: `config.toml`, `metrics.jsonl`, checkpoints named by their step, and `checkpoints.json`,
//! which tells which of them is the best and which the last.
//!
//! A checkpoint is never overwritten while something refers to it: a new one is written under its own name, then
//! `checkpoints.json` is replaced, then what nothing refers to is removed.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use tril_model::{ModelError, checkpoint, files, tensor_file};

use crate::optimizer::Optimizer;
use crate::{OptimizerKind, TrainError, Trainer};

/// The resolved recipe, in the run directory and in each checkpoint.
const RECIPE: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const INDEX: &str = "checkpoints.json";
/// The optimizer's state, beside the model in a checkpoint.
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";
/// [`TrainProgress`], beside the model in a checkpoint.
const PROGRESS: &str = "train.json";

/// The lowest validation loss so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BestCheckpoint {
    /// Steps taken before it.
    pub step: u64,
    /// In nats a token.
    pub loss: f64,
}

/// Where a run stands: with the weights and moments beside it, all that resuming needs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainProgress {
    /// Steps taken.
    pub step: u64,
    /// The best evaluation so far.
    pub best: Option<BestCheckpoint>,
    /// [`crate::TrainingText::key`] of the training text.
    pub text_key: u64,
}

/// `checkpoints.json`: names of directories beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Index {
    best: Option<String>,
    last: Option<String>,
}

/// The directory of one run.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    recipe: String,
    tokenizer: Vec<u8>,
    index: Index,
}

impl RunDir {
    /// Makes the directory of a new run. With `replace`, what an earlier run left in it is removed, and nothing else.
    ///
    /// # Errors
    /// As [`RunDir::check_free`]; [`TrainError::Model`] for what the file system refuses.
    pub fn create(path: &Path, recipe: String, tokenizer: Vec<u8>, replace: bool) -> Result<Self, TrainError> {
        let dir = Self { path: path.to_owned(), recipe, tokenizer, index: Index::default() };
        Self::check_free(path, replace)?;
        if Self::holds_run(path) {
            dir.remove_file(INDEX)?;
            dir.remove_unreferenced()?;
        }
        std::fs::create_dir_all(path).map_err(|source| io("create", path, source))?;
        // First what tells a run from a directory that holds a config.toml of the user's.
        files::write_file(&dir.metrics(), b"")?;
        files::write_file(&path.join(RECIPE), dir.recipe.as_bytes())?;
        Ok(dir)
    }

    /// Whether a run has left anything at this path.
    pub fn holds_run(path: &Path) -> bool {
        [METRICS, INDEX].iter().any(|name| path.join(name).exists())
    }

    /// Refuses a directory that a new run may not take: one that holds a run, unless that is to be replaced, and one
    /// that holds anything else.
    ///
    /// # Errors
    /// [`TrainError::Occupied`] and [`TrainError::OccupiedUnsaved`] for a run, [`TrainError::Foreign`] for anything
    /// else; [`TrainError::Model`] for a directory that cannot be listed.
    pub fn check_free(path: &Path, replace: bool) -> Result<(), TrainError> {
        match Self::holds_run(path) {
            true if replace => Ok(()),
            true if path.join(INDEX).exists() => Err(TrainError::Occupied(path.to_owned())),
            true => Err(TrainError::OccupiedUnsaved(path.to_owned())),
            false if !path.is_dir() => Ok(()),
            false => {
                let entries = std::fs::read_dir(path).map_err(|source| io("list", path, source))?;
                let is_leftover = |name: &str| name.starts_with('.') && name.ends_with(".partial");
                let mut names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
                match names.all(|name| is_leftover(&name.to_string_lossy())) {
                    true => Ok(()),
                    false => Err(TrainError::Foreign(path.to_owned())),
                }
            }
        }
    }

    /// Opens the run at `path`, or the run whose checkpoint `path` is, and finds the checkpoint to continue from: the
    /// last, or the one given.
    ///
    /// # Errors
    /// [`TrainError::NoRun`], [`TrainError::NothingSaved`]; [`TrainError::Model`] for a file that is missing or damaged.
    pub fn open(path: &Path) -> Result<(Self, PathBuf), TrainError> {
        let no_run = |detail: &str| TrainError::NoRun { path: path.to_owned(), detail: detail.into() };
        let is_checkpoint = path.join(checkpoint::WEIGHTS).exists();
        let (run, from) = if is_checkpoint {
            let absolute = path.canonicalize().map_err(|source| io("open", path, source))?;
            let run = absolute.parent().ok_or_else(|| no_run("it has no parent directory"))?;
            (run.to_owned(), path.to_owned())
        } else {
            let index = match read_index(path)? {
                Some(index) => index,
                None if Self::holds_run(path) => return Err(TrainError::NothingSaved(path.to_owned())),
                None => return Err(no_run("no run has written anything there")),
            };
            let last = index.last.ok_or_else(|| TrainError::NothingSaved(path.to_owned()))?;
            (path.to_owned(), path.join(last))
        };
        if !Self::holds_run(&run) {
            return Err(no_run("the directory around this checkpoint is not that of a run"));
        }
        let recipe = String::from_utf8_lossy(&read_part(&from.join(RECIPE))?).into_owned();
        let tokenizer = read_part(&from.join(checkpoint::TOKENIZER))?;
        // A checkpoint that is named itself needs no index; saving the next one writes it anew.
        let index = read_index(&run).ok().flatten().unwrap_or_default();
        Ok((Self { path: run, recipe, tokenizer, index }, from))
    }

    /// The checkpoint that a path means: itself, or the best of the run at that path, or the last if none is best.
    ///
    /// # Errors
    /// [`TrainError::Model`] if the run's `checkpoints.json` is damaged.
    pub fn find_checkpoint(path: &Path) -> Result<PathBuf, TrainError> {
        if path.join(checkpoint::WEIGHTS).exists() {
            return Ok(path.to_owned());
        }
        let index = read_index(path)?.unwrap_or_default();
        Ok(index.best.or(index.last).map_or_else(|| path.to_owned(), |name| path.join(name)))
    }

    /// The run's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last checkpoint, once there is one.
    pub fn last(&self) -> Option<PathBuf> {
        self.index.last.as_ref().map(|name| self.path.join(name))
    }

    /// The checkpoint of the lowest validation loss, unless it was removed; often the last.
    pub fn best(&self) -> Option<PathBuf> {
        self.index.best.as_ref().map(|name| self.path.join(name))
    }

    /// The resolved recipe, as TOML.
    pub fn recipe(&self) -> &str {
        &self.recipe
    }

    /// Replaces the recipe of a run that is resumed with other settings.
    ///
    /// # Errors
    /// [`TrainError::Model`] for what the file system refuses.
    pub fn set_recipe(&mut self, recipe: String) -> Result<(), TrainError> {
        self.recipe = recipe;
        Ok(files::write_file(&self.path.join(RECIPE), self.recipe.as_bytes())?)
    }

    /// Where the metrics are.
    pub fn metrics(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// The checkpoint of a step.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.path.join(format!("step-{step:06}"))
    }

    /// Forgets what came after the checkpoint that a run continues from.
    ///
    /// # Errors
    /// [`TrainError::Model`] for what the file system refuses.
    pub fn rewind(&mut self, progress: &TrainProgress) -> Result<(), TrainError> {
        self.refer(progress.best.map(|best| best.step), progress.step)
    }

    /// Saves the trainer's state as the last checkpoint, and as the best if its step is the best.
    ///
    /// # Errors
    /// [`TrainError::Foreign`] if something else stands in its place; [`TrainError::Model`] for what the file system
    /// refuses.
    pub fn save(&mut self, trainer: &Trainer, progress: &TrainProgress) -> Result<PathBuf, TrainError> {
        let target = self.checkpoint(progress.step);
        if target.symlink_metadata().is_ok() && !is_checkpoint(&target) {
            return Err(TrainError::Foreign(target));
        }
        let mut files = checkpoint::model_files(&trainer.model())?;
        files.push((checkpoint::TOKENIZER, self.tokenizer.clone()));
        files.push((OPTIMIZER, tensor_file::tensors_to_bytes(&trainer.optimizer().tensors())?));
        files.push((RECIPE, self.recipe.clone().into_bytes()));
        files.push((PROGRESS, to_json(PROGRESS, progress)?));
        files::write_dir(&target, &files)?;
        self.refer(progress.best.map(|best| best.step), progress.step)?;
        Ok(target)
    }

    /// Reads what a checkpoint holds beside the model.
    ///
    /// # Errors
    /// [`TrainError::Model`] where a file is missing or damaged.
    pub fn load(
        from: &Path,
        gpt: &tril_model::Gpt,
        kind: OptimizerKind,
        device: &Device,
    ) -> Result<(Optimizer, TrainProgress), TrainError> {
        let path = from.join(PROGRESS);
        let progress: TrainProgress = serde_json::from_slice(&read_part(&path)?)
            .map_err(|error| ModelError::Corrupt { path, detail: error.to_string() })?;
        let path = from.join(OPTIMIZER);
        require(&path)?;
        let tensors = tensor_file::read_tensors(&path)?;
        if progress.step == 0 {
            // Before the first step there is no state.
            return Ok((Optimizer::default(), progress));
        }
        let optimizer = Optimizer::from_tensors(tensors, gpt, kind, device)
            .map_err(|error| ModelError::Corrupt { path, detail: error.to_string() })?;
        Ok((optimizer, progress))
    }

    /// Makes `checkpoints.json` name these two, then removes the checkpoints that it does not name. A best checkpoint
    /// that the user has removed is not named.
    fn refer(&mut self, best: Option<u64>, last: u64) -> Result<(), TrainError> {
        let name = |step: u64| self.checkpoint(step).file_name().map(|name| name.to_string_lossy().into_owned());
        let best = best.filter(|step| self.checkpoint(*step).exists());
        self.index = Index { best: best.and_then(name), last: name(last) };
        files::write_file(&self.path.join(INDEX), &to_json(INDEX, &self.index)?)?;
        self.remove_unreferenced()
    }

    fn remove_unreferenced(&self) -> Result<(), TrainError> {
        let entries = std::fs::read_dir(&self.path).map_err(|source| io("list", &self.path, source))?;
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let named = [&self.index.best, &self.index.last].iter().any(|kept| kept.as_deref() == Some(&name));
            let path = entry.path();
            if is_checkpoint_name(&name) && !named && (name.starts_with('.') || is_checkpoint(&path)) {
                remove_checkpoint(&path)?;
            }
        }
        Ok(())
    }

    fn remove_file(&self, name: &str) -> Result<(), TrainError> {
        let path = self.path.join(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(io("remove", &path, source)),
            _ => Ok(()),
        }
    }
}

/// Whether a directory is a whole checkpoint that a run has written, and no link to one.
fn is_checkpoint(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) && path.join(PROGRESS).is_file()
}

/// Removes the files of a checkpoint, and its directory unless the user keeps something else there.
fn remove_checkpoint(path: &Path) -> Result<(), TrainError> {
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    // The file by which a checkpoint is known goes last.
    let names = [checkpoint::CONFIG, checkpoint::TOKENIZER, checkpoint::WEIGHTS, OPTIMIZER, RECIPE, PROGRESS];
    for file in names.map(|name| path.join(name)) {
        match std::fs::remove_file(&file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", &file, source)),
            _ => {}
        }
    }
    match std::fs::remove_dir(path) {
        Err(source) if source.kind() != std::io::ErrorKind::DirectoryNotEmpty => Err(io("remove", path, source)),
        _ => Ok(()),
    }
}

/// Whether a run gives this name to a directory, whole or half-written.
fn is_checkpoint_name(name: &str) -> bool {
    let whole = name.strip_prefix('.').and_then(|name| name.strip_suffix(".partial")).unwrap_or(name);
    let digits = whole.strip_prefix("step-").unwrap_or_default();
    digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A run's index; `None` if it has none yet.
fn read_index(run: &Path) -> Result<Option<Index>, TrainError> {
    let path = run.join(INDEX);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read(&path)?;
    let index = serde_json::from_slice(&bytes);
    Ok(Some(index.map_err(|error| ModelError::Corrupt { path, detail: error.to_string() })?))
}

/// Refuses a checkpoint without this file.
fn require(path: &Path) -> Result<(), TrainError> {
    let present = path.exists();
    let missing = || ModelError::Corrupt { path: path.to_owned(), detail: "there is no such file".into() };
    if present { Ok(()) } else { Err(missing().into()) }
}

/// Reads a file that a checkpoint must have.
fn read_part(path: &Path) -> Result<Vec<u8>, TrainError> {
    require(path)?;
    Ok(files::read(path)?)
}

fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, TrainError> {
    let failed = |source: serde_json::Error| ModelError::Serialize { what, source: source.into() };
    let text = serde_json::to_string_pretty(value).map_err(failed)?;
    Ok((text + "\n").into_bytes())
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> TrainError {
    TrainError::Model(ModelError::Io { action, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_run_gives_are_taken_for_checkpoints() {
        for name in ["step-000500", "step-1000000", ".step-000500.partial"] {
            assert!(is_checkpoint_name(name), "{name}");
        }
        for name in ["step-by-step", "step-", "step-5", "step-000500.bak", ".step-000500", "000500", "notes"] {
            assert!(!is_checkpoint_name(name), "{name}");
        }
    }
}
