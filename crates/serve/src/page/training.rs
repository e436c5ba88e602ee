//! Runs as they went: losses, learning rate, gradient norm, and what the model wrote meanwhile. `tril plot` draws the same.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tril::data::{Corpus, Split, encode_side};
use tril::model::checkpoint;
use tril::train::{MetricsRecord, RunDir, read_metrics};
use tril::{Recipe, Tokenizer};

use super::PageError;

/// More points than these are drawn as means of several steps.
const MAX_POINTS: usize = 1000;

/// The corpora whose stories come with their probability.
const WITH_FLOOR: [&str; 1] = ["tales"];

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingRun {
    /// The name of its directory.
    pub name: String,
    /// Steps of which each point is the mean; 1 unless the run is long.
    pub stride: usize,
    /// The last step of each point.
    pub step: Vec<u64>,
    /// Mean loss of the batches, in nats a token.
    pub loss: Vec<f64>,
    /// The learning rate.
    pub learning_rate: Vec<f64>,
    /// The norm of the gradient before clipping.
    pub grad_norm: Vec<f64>,
    /// Target tokens a second.
    pub tokens_per_second: Vec<f64>,
    /// Each evaluation on the held-out text.
    pub evaluations: Vec<EvaluationPoint>,
    /// What the model wrote at evaluations.
    pub samples: Vec<RunSample>,
    /// The loss of the process that wrote the held-out text, in nats a token, where it is known: no model can do better but by
    /// chance.
    pub floor: Option<f64>,
}

/// An evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EvaluationPoint {
    /// Steps taken before it.
    pub step: u64,
    /// In nats a token.
    pub loss: f64,
    /// In bits over the bytes of the text.
    pub bits_per_byte: f64,
}

/// A text that a model wrote while it learnt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunSample {
    /// Steps taken before it.
    pub step: u64,
    /// The text, its prompt included.
    pub text: String,
}

/// Reads several runs.
///
/// # Errors
/// As [`read_run`].
pub fn training(runs: &[PathBuf]) -> Result<Vec<TrainingRun>, PageError> {
    runs.iter().map(|run| read_run(run)).collect()
}

/// Reads a run, one that goes on too.
///
/// # Errors
/// [`PageError::Tril`] for a directory without metrics, or with metrics that no run has written.
pub fn read_run(run: &Path) -> Result<TrainingRun, PageError> {
    let records = read_metrics(run)?;
    let count = records.iter().filter(|record| matches!(record, MetricsRecord::Step { .. })).count();
    let stride = count.div_ceil(MAX_POINTS).max(1);
    let mut found = TrainingRun {
        name: name(run),
        stride,
        step: Vec::new(),
        loss: Vec::new(),
        learning_rate: Vec::new(),
        grad_norm: Vec::new(),
        tokens_per_second: Vec::new(),
        evaluations: Vec::new(),
        samples: Vec::new(),
        floor: floor(run),
    };
    let mut steps: Vec<(u64, [f64; 4])> = Vec::with_capacity(count);
    for record in records {
        match record {
            MetricsRecord::Step { step, loss, grad_norm, learning_rate, tokens_per_second } => {
                steps.push((step, [loss, learning_rate, grad_norm, tokens_per_second]));
            }
            MetricsRecord::Evaluation { step, evaluation } => {
                let (loss, bits_per_byte) = (evaluation.loss, evaluation.bits_per_byte);
                found.evaluations.push(EvaluationPoint { step, loss, bits_per_byte });
            }
            MetricsRecord::Sample { step, text } => found.samples.push(RunSample { step, text }),
        }
    }
    for point in steps.chunks(stride) {
        let mean = |of: usize| point.iter().map(|(_, values)| values[of]).sum::<f64>() / point.len() as f64;
        found.step.extend(point.last().map(|(step, _)| *step));
        found.loss.push(mean(0));
        found.learning_rate.push(mean(1));
        found.grad_norm.push(mean(2));
        found.tokens_per_second.push(mean(3));
    }
    Ok(found)
}

/// What a run is called.
pub(super) fn name(run: &Path) -> String {
    let name = run.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| run.display().to_string())
}

/// The floor of a run's validation loss; none where it is not known, or the run has no checkpoint yet to tell its tokens.
fn floor(run: &Path) -> Option<f64> {
    let recipe = Recipe::open(run.join("config.toml")).ok()?;
    if !WITH_FLOOR.contains(&recipe.data.source.as_str()) {
        return None;
    }
    let checkpoint = RunDir::find_checkpoint(run).ok()?;
    let tokenizer = Tokenizer::open(&checkpoint.join(checkpoint::TOKENIZER)).ok()?;
    let corpus = Corpus::open(&recipe.data.source).ok()?;
    let split = Split::new(&corpus, recipe.data.held_out()).ok()?;
    let held_out = encode_side(&tokenizer, &split.validation).ok()?;
    let predicted = held_out.ids.len().checked_sub(1).filter(|tokens| *tokens > 0)?;
    Some(held_out.nats? / predicted as f64)
}
