//! The loop of a run: steps, evaluations, checkpoints, until the end or a stop.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tril_model::Gpt;

use crate::evaluate::{Evaluation, evaluate};
use crate::metrics::{MetricsFile, MetricsRecord};
use crate::run_dir::{BestCheckpoint, RunDir, TrainProgress};
use crate::trainer::finite;
use crate::{StepReport, TrainConfig, TrainError, Trainer, TrainingText};

/// Sees a run as it goes: a progress bar, a log, a test.
pub trait TrainObserver {
    /// After each step; `tokens` target tokens took `seconds`.
    fn step(&mut self, report: &StepReport, tokens: usize, seconds: f64);
    /// After each evaluation; `is_best` if no loss was lower.
    fn evaluation(&mut self, step: u64, evaluation: &Evaluation, is_best: bool);
    /// After each step and its evaluation, with the model as it stands.
    fn model(&mut self, step: u64, model: &dyn Fn() -> Gpt);
    /// After each evaluation: a text that the model as it stands writes, to be kept among the metrics. None unless an
    /// observer makes one, since nothing here knows text.
    fn sample(&mut self, _step: u64, _model: &dyn Fn() -> Gpt) -> Option<String> {
        None
    }
}

/// A run and all that it works with.
pub struct TrainingRun {
    /// The model and optimizer.
    pub trainer: Trainer,
    /// Where files go.
    pub dir: RunDir,
    /// The `[train]` section.
    pub config: TrainConfig,
    /// The training side.
    pub training: TrainingText,
    /// The validation side, as ids.
    pub validation: Vec<u32>,
    /// Bytes that the validation tokens after the first stand for.
    pub validation_bytes: usize,
    /// The best evaluation before this run.
    pub best: Option<BestCheckpoint>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainOutcome {
    /// All steps are taken. The evaluation is of the last model.
    Finished {
        /// On the whole validation text.
        evaluation: Evaluation,
        /// The lowest loss of the run.
        best: BestCheckpoint,
    },
    /// It was asked to stop, and saved.
    Stopped {
        /// Steps taken.
        step: u64,
        /// The last checkpoint.
        checkpoint: PathBuf,
    },
}

/// Trains to the last step, or until `stop` is set, which lets the step at hand finish.
///
/// # Errors
/// [`TrainError`]; checkpoints written before stay as they are.
pub fn train(
    run: &mut TrainingRun,
    observer: &mut dyn TrainObserver,
    stop: &AtomicBool,
) -> Result<TrainOutcome, TrainError> {
    let TrainConfig { steps, batch_size, seq_len, eval_interval, checkpoint_interval, .. } = run.config;
    let tokens = batch_size * seq_len;
    let mut metrics = MetricsFile::open(&run.dir.metrics(), run.trainer.step_count())?;
    let mut saved_at = None;
    let mut last_evaluation = None;
    while run.trainer.step_count() < steps {
        let begin = Instant::now();
        let report = run.trainer.step(&run.training)?;
        let seconds = begin.elapsed().as_secs_f64();
        let step = report.step;
        metrics.push(&MetricsRecord::step(report, tokens, seconds))?;
        observer.step(&report, tokens, seconds);

        let mut is_best = false;
        if step.is_multiple_of(eval_interval) || step == steps {
            let evaluation = run.evaluate()?;
            finite(step, "the validation loss", evaluation.loss)?;
            is_best = run.best.is_none_or(|best| evaluation.loss < best.loss);
            if is_best {
                run.best = Some(BestCheckpoint { step, loss: evaluation.loss });
            }
            last_evaluation = Some(evaluation);
            metrics.push(&MetricsRecord::Evaluation { step, evaluation })?;
            observer.evaluation(step, &evaluation, is_best);
            if let Some(text) = observer.sample(step, &|| run.trainer.model()) {
                metrics.push(&MetricsRecord::Sample { step, text })?;
            }
        }
        let stopping = stop.load(Ordering::Relaxed);
        if is_best || step.is_multiple_of(checkpoint_interval) || step == steps || stopping {
            saved_at = Some(run.save()?);
            metrics.commit()?;
        }
        observer.model(step, &|| run.trainer.model());
        if let (true, Some(checkpoint)) = (stopping && step < steps, saved_at.take()) {
            return Ok(TrainOutcome::Stopped { step, checkpoint });
        }
    }
    if steps == 0 && run.best.is_none() {
        // A model as it begins, for whoever wants to look at one.
        let evaluation = run.evaluate()?;
        finite(0, "the validation loss", evaluation.loss)?;
        metrics.push(&MetricsRecord::Evaluation { step: 0, evaluation })?;
        observer.evaluation(0, &evaluation, true);
        run.best = Some(BestCheckpoint { step: 0, loss: evaluation.loss });
        run.save()?;
        metrics.commit()?;
        last_evaluation = Some(evaluation);
    }
    // A run that is resumed after its last step has nothing to do but to say how good it is.
    let evaluation = last_evaluation.map_or_else(|| run.evaluate(), Ok)?;
    let best = run.best.unwrap_or(BestCheckpoint { step: steps, loss: evaluation.loss });
    Ok(TrainOutcome::Finished { evaluation, best })
}

impl TrainingRun {
    fn evaluate(&self) -> Result<Evaluation, TrainError> {
        let TrainConfig { batch_size, seq_len, .. } = self.config;
        evaluate(&self.trainer.model(), &self.validation, self.validation_bytes, seq_len, batch_size)
    }

    fn save(&mut self) -> Result<PathBuf, TrainError> {
        self.trainer.check_weights()?;
        let progress =
            TrainProgress { step: self.trainer.step_count(), best: self.best, text_key: self.training.key() };
        self.dir.save(&self.trainer, &progress)
    }
}
