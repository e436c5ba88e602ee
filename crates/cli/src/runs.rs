//! What people call a run: a path, or a name under `runs/`, where runs go that are given no place.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use tril::{ComputeDevice, Model, WeightFormat};
use tril_model::checkpoint;
use tril_train::{RunDir, TrainError};

use crate::open::quoted;
use crate::shown;

/// Where runs go that are given no place.
const RUNS: &str = "runs";
/// A file that every run has.
const METRICS: &str = "metrics.jsonl";

/// At most so many runs are named in a message.
const MAX_NAMED: usize = 8;

/// The directory of a new run of this name: `runs/NAME`, or where that is taken with the next number, `runs/NAME-2`; and
/// the one that is taken.
pub fn for_new(name: &Path) -> (PathBuf, Option<PathBuf>) {
    let first = default_of(name);
    if !is_taken(&first) {
        return (first, None);
    }
    let numbered = |number: u32| {
        let mut name = first.clone().into_os_string();
        name.push(format!("-{number}"));
        PathBuf::from(name)
    };
    let free = (2..).map(numbered).find(|path| !is_taken(path)).unwrap_or_else(|| first.clone());
    (free, Some(first))
}

/// The directory of a run of this name.
pub fn default_of(name: &Path) -> PathBuf {
    Path::new(RUNS).join(name)
}

fn is_taken(path: &Path) -> bool {
    match path.read_dir() {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.symlink_metadata().is_ok(),
    }
}

/// Opens the model that a user means: a path, or the name of a run under `runs/`.
///
/// # Errors
/// Where there is none; a directory of several runs is told with their names.
pub fn model(path: &Path, device: &ComputeDevice) -> Result<Model> {
    let model = Model::open(meant(path)?, device)?;
    note_notes(&model);
    Ok(model)
}

/// The same with its weights rounded.
///
/// # Errors
/// As [`model`], and where there is not the memory for them.
pub fn rounded_model(path: &Path, weights: WeightFormat, device: &ComputeDevice) -> Result<Model> {
    let model = model(path, device)?.with_weights(weights)?;
    if weights != WeightFormat::F32 && !device.is_cpu() {
        note!("[on this device rounded weights are read as f32: --weights {weights} makes nothing faster]");
    }
    Ok(model)
}

/// Says what was left out or changed when a model was read.
pub fn note_notes(model: &Model) {
    for note in model.notes() {
        note!("[{note}]");
    }
}

/// The directory of a run that a user means, for a command that opens no model; a checkpoint is taken for its run.
///
/// # Errors
/// For a directory of several runs, told with their names, and where there is no run.
pub fn existing(path: &Path) -> Result<PathBuf> {
    let path = meant(path)?;
    let has_metrics = |dir: &Path| dir.join(METRICS).is_file();
    if has_metrics(&path) {
        return Ok(path);
    }
    if let Some(run) = path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_owned()))
        && path.join(checkpoint::WEIGHTS).is_file()
        && has_metrics(&run)
    {
        return Ok(run);
    }
    bail!("{}: no run is there, which has a metrics.jsonl; name the directory of one", path.display());
}

/// The path that a user means: this one, or that of the run of this name under `runs/`.
///
/// # Errors
/// For a directory of several runs, which is told with their names.
pub fn meant(path: &Path) -> Result<PathBuf> {
    if !path.exists() {
        let named = Path::new(RUNS).join(path);
        if path.is_relative() && named.is_dir() {
            note!("[{} is taken for {}]", shown::path(path), shown::path(&named));
            return Ok(named);
        }
        return Ok(path.to_owned());
    }
    let runs = runs_in(path);
    if !runs.is_empty() && !holds_a_model(path) {
        bail!("{} holds runs, and is none itself; name one of them: {}", path.display(), listed(&runs));
    }
    Ok(path.to_owned())
}

/// Whether a directory is a run with a checkpoint, a checkpoint or a model in Hugging Face layout.
fn holds_a_model(dir: &Path) -> bool {
    // A damaged run is one too.
    let is_run = !matches!(RunDir::check_free(dir, false), Ok(()) | Err(TrainError::Foreign(_)));
    dir.join(checkpoint::CONFIG).is_file() || is_run
}

/// Whether a directory that is named for a text is that of a run or a model: one of its texts may have the name of a config.
pub fn is_no_text(dir: &Path) -> bool {
    [[METRICS, "config.toml"], [checkpoint::CONFIG, checkpoint::WEIGHTS]]
        .iter()
        .any(|names| names.iter().all(|name| dir.join(name).is_file()))
}

/// The runs and checkpoints that lie in a directory, in the order of their names.
pub fn runs_in(dir: &Path) -> Vec<PathBuf> {
    let entries = dir.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut runs: Vec<PathBuf> = entries.filter(|path| path.is_dir() && holds_a_model(path)).collect();
    runs.sort();
    runs
}

/// The checkpoints that a run keeps, for a message to somebody who names one of it that is not there.
pub fn kept_beside(path: &Path) -> Option<String> {
    let run = path.parent().filter(|run| !path.exists() && holds_a_model(run))?;
    let kept = runs_in(run);
    (!kept.is_empty()).then(|| format!("{} keeps {}, its best and its last", quoted(run), listed(&kept)))
}

/// The runs under `runs/`, for a message to somebody who names none of them.
pub fn known() -> Option<String> {
    let runs = runs_in(Path::new(RUNS));
    (!runs.is_empty()).then(|| format!("there {} {}", if runs.len() == 1 { "is" } else { "are" }, listed(&runs)))
}

fn listed(runs: &[PathBuf]) -> String {
    let named: Vec<String> = runs.iter().take(MAX_NAMED).map(|run| quoted(run)).collect();
    let more = if runs.len() > MAX_NAMED { format!(", … ({} in all)", runs.len()) } else { String::new() };
    named.join(", ") + &more
}
