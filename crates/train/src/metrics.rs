//! `metrics.jsonl`: one JSON object a step, one an evaluation and one a sample.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tril_model::{ModelError, files};

use crate::run_dir::METRICS;
use crate::{Evaluation, StepReport, TrainError};

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MetricsRecord {
    /// One optimizer step.
    Step {
        /// Its number, from 1.
        step: u64,
        /// Mean loss of its batch, in nats.
        loss: f64,
        /// Before clipping.
        grad_norm: f64,
        /// Used by this step.
        learning_rate: f64,
        /// Target tokens a second, this step alone.
        tokens_per_second: f64,
    },
    /// One evaluation on the validation text.
    Evaluation {
        /// Steps taken before it.
        step: u64,
        /// The result.
        #[serde(flatten)]
        evaluation: Evaluation,
    },
    /// What the model wrote at an evaluation, if whoever observes the run made a text.
    Sample {
        /// Steps taken before it.
        step: u64,
        /// The text, its prompt included.
        text: String,
    },
}

impl MetricsRecord {
    /// The line for a step that took `seconds` for `tokens` targets.
    pub fn step(report: StepReport, tokens: usize, seconds: f64) -> Self {
        let StepReport { step, loss, grad_norm, learning_rate } = report;
        Self::Step { step, loss, grad_norm, learning_rate, tokens_per_second: (tokens as f64 / seconds).round() }
    }
}

/// Reads the metrics of a run, in order. A last line that is not whole is left out: the run is being written.
///
/// - run: its directory
///
/// # Errors
/// [`TrainError::NoRun`] where there are none; [`TrainError::Model`] for a file that cannot be read, or that holds what no run
/// has written.
pub fn read_metrics(run: &Path) -> Result<Vec<MetricsRecord>, TrainError> {
    let path = run.join(METRICS);
    if !path.is_file() {
        let detail = format!("it has no {METRICS}, to which a run writes as it trains");
        return Err(TrainError::NoRun { path: run.to_owned(), detail });
    }
    let bytes = files::read(&path)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = (1..).zip(text.split_inclusive('\n')).filter(|(_, line)| line.ends_with('\n'));
    let record = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| ModelError::corrupt(&path, format!("line {number}: {error}")).into())
    };
    lines.map(record).collect()
}

/// The open file.
pub struct MetricsFile {
    path: PathBuf,
    file: File,
    /// What the file is to hold once a checkpoint was saved; lines that go on from an earlier one are still in it.
    pending: Option<String>,
}

impl MetricsFile {
    /// Opens the file for appending after `step`. What lies beyond that, half-written lines included, is cut off when
    /// [`MetricsFile::commit`] is first called: until then nothing has taken its place.
    ///
    /// # Errors
    /// [`TrainError::Model`] for what the file system refuses.
    pub fn open(path: &Path, step: u64) -> Result<Self, TrainError> {
        let mut pending = None;
        if path.exists() {
            let bytes = files::read(path)?;
            let kept = lines_to(&bytes, step);
            pending = (kept.as_bytes() != bytes).then_some(kept);
        }
        Ok(Self { path: path.to_owned(), file: append(path)?, pending })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// [`TrainError::Model`] for what the file system refuses.
    pub fn push(&mut self, record: &MetricsRecord) -> Result<(), TrainError> {
        let line = serde_json::to_string(record).map_err(|source| failed(&self.path, source.into()))? + "\n";
        if let Some(pending) = &mut self.pending {
            pending.push_str(&line);
            return Ok(());
        }
        self.file.write_all(line.as_bytes()).map_err(|source| failed(&self.path, source))
    }

    /// Has the file hold what was added, after a checkpoint was saved.
    ///
    /// # Errors
    /// [`TrainError::Model`] for what the file system refuses.
    pub fn commit(&mut self) -> Result<(), TrainError> {
        if let Some(pending) = self.pending.take() {
            files::write_file(&self.path, pending.as_bytes())?;
            self.file = append(&self.path)?;
        }
        Ok(())
    }
}

/// The whole lines of a file that lie at `step` or before it.
pub(crate) fn lines_to(bytes: &[u8], step: u64) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_inclusive('\n').filter(|line| step_of(line).is_some_and(|of| of <= step)).collect()
}

fn append(path: &Path) -> Result<File, TrainError> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|source| failed(path, source))
}

/// The step of a whole line.
fn step_of(line: &str) -> Option<u64> {
    if !line.ends_with('\n') {
        return None;
    }
    serde_json::from_str::<serde_json::Value>(line).ok()?.get("step")?.as_u64()
}

fn failed(path: &Path, source: std::io::Error) -> TrainError {
    TrainError::Model(ModelError::Io { action: "write", path: path.to_owned(), source })
}
