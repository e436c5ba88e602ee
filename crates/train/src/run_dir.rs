//! The directory of a run: `config.toml`, `metrics.jsonl`, checkpoints named by their step, and `checkpoints.json`,
//! which tells which of them is the best and which the last.
//!
//! A checkpoint is never overwritten while something refers to it: a new one is written under its own name, then
//! `checkpoints.json` is replaced, then what nothing refers to is removed.

mod index;
mod lock;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use tril_model::{Gpt, ModelError, checkpoint, files, parameters, tensor_file};

use crate::metrics::lines_to;
use crate::metrics_log;
use crate::optimizer::Optimizer;
use crate::{LoraConfig, LowRankFactors, OptimizerKind, TrainConfig, TrainError, Trainer};
use index::{Index, checkpoint_name, is_checkpoint, is_partial, step_of};
use lock::Lock;

/// The resolved recipe, in the run directory and in each checkpoint.
const RECIPE: &str = "config.toml";
pub(crate) const METRICS: &str = "metrics.jsonl";
/// The optimizer's state, beside the model in a checkpoint.
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";
/// Low-rank factors and the matrices that they are added to, beside the merged model in a checkpoint.
const FACTORS: &str = "lora.safetensors";
/// The weights that are trained, beside their average in a checkpoint.
const RAW_WEIGHTS: &str = "raw.safetensors";
/// Where the weights of a run come from that did not begin with fresh ones.
const ORIGIN: &str = "from.json";
/// [`TrainProgress`], beside the model in a checkpoint.
const PROGRESS: &str = "train.json";
/// All files of a checkpoint. The one by which it is known is the last, so that it goes last when they are removed.
const CHECKPOINT_FILES: [&str; 10] = [
    checkpoint::CONFIG,
    checkpoint::TOKENIZER,
    checkpoint::GENERATION,
    checkpoint::WEIGHTS,
    OPTIMIZER,
    FACTORS,
    RAW_WEIGHTS,
    ORIGIN,
    RECIPE,
    PROGRESS,
];
/// Those of them that a checkpoint may lack.
const OPTIONAL_FILES: [&str; 4] = [checkpoint::GENERATION, FACTORS, RAW_WEIGHTS, ORIGIN];

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
    /// Evaluations since the best one; runs of earlier releases do not count them.
    #[serde(default)]
    pub since_best: u64,
}

/// What a checkpoint holds beside the model that goes on.
#[derive(Debug)]
pub struct TrainState {
    /// The optimizer with its state.
    pub optimizer: Optimizer,
    /// Low-rank factors, where those are trained.
    pub factors: Option<LowRankFactors>,
    /// Where the run stands.
    pub progress: TrainProgress,
}

/// What a checkpoint says of its text and of where its weights come from: files that this crate never opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpaqueFiles {
    /// [`checkpoint::TOKENIZER`].
    pub tokenizer: Vec<u8>,
    /// [`checkpoint::GENERATION`]; runs of earlier releases have none.
    pub generation: Option<Vec<u8>>,
    /// `from.json`, of a run that began from the weights of another model.
    pub origin: Option<Vec<u8>>,
}

/// The directory of one run, which no other process writes to while this is there.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    recipe: String,
    opaque: OpaqueFiles,
    index: Index,
    _lock: Lock,
}

impl RunDir {
    /// Makes the directory of a new run. With `replace`, what an earlier run left in it is removed, and nothing else.
    ///
    /// # Errors
    /// As [`RunDir::check_free`]; [`TrainError::Busy`]; [`TrainError::Model`] for what the file system refuses.
    pub fn create(path: &Path, recipe: String, opaque: OpaqueFiles, replace: bool) -> Result<Self, TrainError> {
        Self::check_free(path, replace)?;
        std::fs::create_dir_all(path).map_err(|source| io("create", path, source))?;
        let _lock = take_lock(path)?;
        // Another process may have begun a run in the meantime.
        Self::check_free(path, replace)?;
        // First what tells a run from a directory that holds a config.toml of the user's.
        let index = Index::default();
        index.write(path)?;
        index.remove_others(path)?;
        let dir = Self { path: path.to_owned(), recipe, opaque, index, _lock };
        files::write_file(&dir.metrics(), b"")?;
        metrics_log::remove(path)?;
        files::write_file(&path.join(RECIPE), dir.recipe.as_bytes())?;
        match &dir.opaque.origin {
            Some(origin) => files::write_file(&path.join(ORIGIN), origin)?,
            None => remove_file(&path.join(ORIGIN))?,
        }
        Ok(dir)
    }

    /// Refuses a directory that a new run may not take: one that holds a run, unless that is to be replaced, and one
    /// that holds anything else.
    ///
    /// # Errors
    /// [`TrainError::Occupied`] and [`TrainError::OccupiedUnsaved`] for a run, [`TrainError::Foreign`] for anything
    /// else; [`TrainError::Model`] for a directory that cannot be listed, or whose `checkpoints.json` is no run's.
    pub fn check_free(path: &Path, replace: bool) -> Result<(), TrainError> {
        match Index::read(path)? {
            Some(_) if replace => Ok(()),
            Some(index) if index.last.is_some() => Err(TrainError::Occupied(path.to_owned())),
            Some(_) => Err(TrainError::OccupiedUnsaved(path.to_owned())),
            None if !path.is_dir() => Ok(()),
            None => {
                let entries = std::fs::read_dir(path).map_err(|source| io("list", path, source))?;
                let is_leftover = |name: &str| is_partial(name) || name == lock::FILE;
                let mut names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
                match names.all(|name| is_leftover(&name.to_string_lossy())) {
                    true => Ok(()),
                    false => Err(TrainError::Foreign(path.to_owned())),
                }
            }
        }
    }

    /// Opens the run at `path`, or the run whose checkpoint `path` is, and finds the checkpoint to continue from: the
    /// last, or the one given. Going on from an earlier one than the last replaces the later ones, so `replace` must allow
    /// that. Nothing is changed before the next checkpoint is saved.
    ///
    /// # Errors
    /// [`TrainError::NoRun`], [`TrainError::NothingSaved`], [`TrainError::LaterCheckpoint`], [`TrainError::Busy`];
    /// [`TrainError::Model`] for a file that is missing or damaged.
    pub fn open(path: &Path, replace: bool) -> Result<(Self, PathBuf), TrainError> {
        let no_run = |detail: &str| TrainError::NoRun { path: path.to_owned(), detail: detail.into() };
        let run = if path.join(checkpoint::WEIGHTS).exists() {
            let absolute = path.canonicalize().map_err(|source| io("open", path, source))?;
            let run = absolute.parent().ok_or_else(|| no_run("it has no parent directory"))?;
            if !Index::exists(run) {
                return Err(no_run("the directory around this checkpoint is not that of a run"));
            }
            run.to_owned()
        } else if Index::exists(path) {
            path.to_owned()
        } else {
            return Err(no_run("no run has written anything there"));
        };
        let _lock = take_lock(&run)?;
        let (index, from) = if run == path {
            let index = Index::read(path)?.unwrap_or_default();
            let last = index.last.clone().ok_or_else(|| TrainError::NothingSaved(path.to_owned()))?;
            (index, path.join(last))
        } else {
            // A checkpoint that is named itself needs no index; saving the next one writes it anew.
            let index = Index::read(&run).ok().flatten().unwrap_or_default();
            (index, path.to_owned())
        };
        if let (Some(last), Some(step)) = (index.last(&run), step_of(&from))
            && !replace
            && step_of(&last) > Some(step)
        {
            return Err(TrainError::LaterCheckpoint { from, last });
        }
        let recipe = String::from_utf8_lossy(&read_part(&from.join(RECIPE))?).into_owned();
        let tokenizer = read_part(&from.join(checkpoint::TOKENIZER))?;
        let read = |name: &str| -> Result<Option<Vec<u8>>, ModelError> {
            let path = from.join(name);
            path.exists().then(|| files::read(&path)).transpose()
        };
        let opaque = OpaqueFiles { tokenizer, generation: read(checkpoint::GENERATION)?, origin: read(ORIGIN)? };
        Ok((Self { path: run, recipe, opaque, index, _lock }, from))
    }

    /// Begins another run at `path` as a copy of this one as it stood at a checkpoint.
    ///
    /// - from: the checkpoint, `progress` of which is known
    ///
    /// # Errors
    /// As [`RunDir::create`]; [`TrainError::Model`] for a file that cannot be copied.
    pub fn branch(
        &self,
        from: &Path,
        progress: &TrainProgress,
        path: &Path,
        replace: bool,
    ) -> Result<Self, TrainError> {
        let mut branch = Self::create(path, self.recipe.clone(), self.opaque.clone(), replace)?;
        if self.metrics().exists() {
            let metrics = lines_to(&files::read(&self.metrics())?, progress.step);
            files::write_file(&branch.metrics(), metrics.as_bytes())?;
        }
        let best = progress.best.map(|best| best.step).filter(|step| *step < progress.step);
        let best = best.map(|step| (self.checkpoint(step), step)).filter(|(path, _)| is_checkpoint(path));
        for (source, step) in best.into_iter().chain([(from.to_owned(), progress.step)]) {
            let is_there = |name: &&str| !OPTIONAL_FILES.contains(name) || source.join(name).exists();
            let names = CHECKPOINT_FILES.into_iter().filter(is_there);
            let copies = names.map(|name| Ok((name, files::read(&source.join(name))?)));
            let copies = copies.collect::<Result<Vec<_>, ModelError>>()?;
            files::write_dir(&branch.checkpoint(step), &copies)?;
        }
        branch.refer(progress)?;
        Ok(branch)
    }

    /// The checkpoint that a path means: itself, or the best of the run at that path, or the last if none is best or that
    /// one is gone.
    ///
    /// # Errors
    /// [`TrainError::NothingSaved`] for a run without one; [`TrainError::Model`] if its `checkpoints.json` is damaged.
    pub fn find_checkpoint(path: &Path) -> Result<PathBuf, TrainError> {
        if path.join(checkpoint::WEIGHTS).exists() {
            return Ok(path.to_owned());
        }
        let Some(index) = Index::read(path)? else { return Ok(path.to_owned()) };
        let named = || index.best.as_ref().or(index.last.as_ref()).map(|name| path.join(name));
        let found = index.best(path).or_else(|| index.last(path)).or_else(named);
        found.ok_or_else(|| TrainError::NothingSaved(path.to_owned()))
    }

    /// The run's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last checkpoint, once there is one.
    pub fn last(&self) -> Option<PathBuf> {
        self.index.last(&self.path)
    }

    /// The checkpoint of the lowest validation loss, unless it was removed; often the last.
    pub fn best(&self) -> Option<PathBuf> {
        self.index.best(&self.path)
    }

    /// The resolved recipe, as TOML.
    pub fn recipe(&self) -> &str {
        &self.recipe
    }

    /// Changes the recipe of a run that is resumed with other settings. The next checkpoint brings it to the directory.
    pub fn set_recipe(&mut self, recipe: String) {
        self.recipe = recipe;
    }

    /// Changes what checkpoints say texts begin and end with.
    pub fn set_generation(&mut self, generation: Vec<u8>) {
        self.opaque.generation = Some(generation);
    }

    /// What a checkpoint says of its text and of where its weights come from.
    pub fn opaque(&self) -> &OpaqueFiles {
        &self.opaque
    }

    /// Where the metrics are.
    pub fn metrics(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// The checkpoint of a step.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.path.join(checkpoint_name(step))
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
        let OpaqueFiles { tokenizer, generation, origin } = self.opaque.clone();
        files.push((checkpoint::TOKENIZER, tokenizer));
        files.extend(generation.map(|generation| (checkpoint::GENERATION, generation)));
        files.push((OPTIMIZER, tensor_file::tensors_to_bytes(&trainer.optimizer().tensors())?));
        if let Some(factors) = trainer.factors() {
            files.push((FACTORS, tensor_file::tensors_to_bytes(&factors.tensors())?));
        }
        if trainer.has_average() {
            files.push((RAW_WEIGHTS, tensor_file::tensors_to_bytes(&parameters::list(&trainer.raw_model()))?));
        }
        files.extend(origin.map(|origin| (ORIGIN, origin)));
        files.push((RECIPE, self.recipe.clone().into_bytes()));
        files.push((PROGRESS, to_json(PROGRESS, progress)?));
        files::write_dir(&target, &files)?;
        self.refer(progress)?;
        files::write_file(&self.path.join(RECIPE), self.recipe.as_bytes())?;
        self.index.remove_others(&self.path)?;
        Ok(target)
    }

    /// Has the index name the checkpoints as `progress` knows them, but no best one that the user has removed.
    fn refer(&mut self, progress: &TrainProgress) -> Result<(), TrainError> {
        let best = progress.best.map(|best| best.step).filter(|step| self.checkpoint(*step).exists());
        self.index = Index { best: best.map(checkpoint_name), last: Some(checkpoint_name(progress.step)) };
        self.index.write(&self.path)
    }

    /// What a checkpoint says of where the weights of its run come from; none where they began as fresh ones.
    ///
    /// # Errors
    /// [`TrainError::Model`] where the file cannot be read.
    pub fn origin(from: &Path) -> Result<Option<Vec<u8>>, TrainError> {
        let path = from.join(ORIGIN);
        Ok(path.exists().then(|| files::read(&path)).transpose()?)
    }

    /// How far a checkpoint has come.
    ///
    /// # Errors
    /// [`TrainError::Model`] where `train.json` is missing or damaged.
    pub fn progress(from: &Path) -> Result<TrainProgress, TrainError> {
        let path = from.join(PROGRESS);
        Ok(serde_json::from_slice(&read_part(&path)?).map_err(|error| ModelError::corrupt(&path, error))?)
    }

    /// Reads what a checkpoint holds beside the model.
    ///
    /// # Errors
    /// [`TrainError::Model`] where a file is missing or damaged.
    pub fn load(
        from: &Path,
        gpt: &Gpt,
        kind: OptimizerKind,
        lora: &LoraConfig,
        device: &Device,
    ) -> Result<TrainState, TrainError> {
        let progress = Self::progress(from)?;
        let factors = lora.is_used().then(|| {
            let path = from.join(FACTORS);
            require(&path)?;
            let factors = LowRankFactors::from_tensors(tensor_file::read_tensors(&path)?, gpt, lora, device);
            factors.map_err(|error| TrainError::from(ModelError::corrupt(&path, error)))
        });
        let factors = factors.transpose()?;
        let path = from.join(OPTIMIZER);
        require(&path)?;
        let tensors = tensor_file::read_tensors(&path)?;
        let optimizer = match &factors {
            // Before the first step there is no state.
            _ if progress.step == 0 => Ok(Optimizer::default()),
            Some(factors) => Optimizer::of_factors(tensors, factors, device),
            None => Optimizer::from_tensors(tensors, gpt, kind, device),
        };
        let optimizer = optimizer.map_err(|error| ModelError::corrupt(&path, error))?;
        Ok(TrainState { optimizer, factors, progress })
    }
}

/// The model with the weights that are trained, of a checkpoint whose model is their average; none where it is not.
///
/// - gpt: the model of the checkpoint
/// - config: the settings that it was trained with
///
/// # Errors
/// [`TrainError::Model`] where the file is missing or damaged.
pub fn load_raw_model(
    from: &Path,
    gpt: &Gpt,
    config: &TrainConfig,
    device: &Device,
) -> Result<Option<Gpt>, TrainError> {
    if !config.averages_weights() {
        return Ok(None);
    }
    let path = from.join(RAW_WEIGHTS);
    require(&path)?;
    Ok(Some(checkpoint::load_weights(&path, gpt.config().clone(), device)?))
}

/// Takes the lock of a run, and removes what a killed process has left half-written in it.
fn take_lock(run: &Path) -> Result<Lock, TrainError> {
    let lock = Lock::take(run)?;
    index::remove_partial(run)?;
    Ok(lock)
}

/// Refuses a checkpoint without this file.
fn require(path: &Path) -> Result<(), TrainError> {
    let present = path.exists();
    let missing = || ModelError::corrupt(path, "there is no such file");
    if present { Ok(()) } else { Err(missing().into()) }
}

/// Reads a file that a checkpoint must have.
fn read_part(path: &Path) -> Result<Vec<u8>, TrainError> {
    require(path)?;
    Ok(files::read(path)?)
}

/// Removes a file, if it is there.
pub(crate) fn remove_file(path: &Path) -> Result<(), TrainError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path, source)),
        _ => Ok(()),
    }
}

fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, TrainError> {
    let failed = |source: serde_json::Error| ModelError::Serialize { what, source: source.into() };
    let text = serde_json::to_string_pretty(value).map_err(failed)?;
    Ok((text + "\n").into_bytes())
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> TrainError {
    TrainError::Model(ModelError::Io { action, path: path.to_owned(), source })
}
