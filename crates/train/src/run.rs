//! The loop of a run: steps, evaluations, checkpoints, until the end or a stop.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tril_model::Gpt;

use crate::evaluate::{Evaluation, evaluate};
use crate::metrics::{Metrics, Record};
use crate::run_dir::{Best, Progress, RunDir};
use crate::trainer::finite;
use crate::{StepReport, TrainConfig, TrainError, Trainer, TrainingText};

/// Sees a run as it goes: a progress bar, a log, a test.
pub trait Observer {
    /// After each step; `tokens` target tokens took `seconds`.
    fn step(&mut self, report: &StepReport, tokens: usize, seconds: f64);
    /// After each evaluation; `is_best` if no loss was lower.
    fn evaluation(&mut self, step: u64, evaluation: &Evaluation, is_best: bool);
    /// After each step and its evaluation, with the model as it stands.
    fn model(&mut self, step: u64, model: &dyn Fn() -> Gpt);
}

/// A run and all that it works with.
pub struct Session {
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
    /// The best evaluation before this session.
    pub best: Option<Best>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All steps are taken. The evaluation is of the last model.
    Finished {
        /// On the whole validation text.
        evaluation: Evaluation,
        /// The lowest loss of the run.
        best: Best,
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
pub fn run(session: &mut Session, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome, TrainError> {
    let TrainConfig { steps, batch_size, seq_len, eval_interval, checkpoint_interval, .. } = session.config;
    let tokens = batch_size * seq_len;
    let mut metrics = Metrics::open(&session.dir.metrics(), session.trainer.step_count())?;
    let mut saved_at = None;
    let mut last_evaluation = None;
    while session.trainer.step_count() < steps {
        let begin = Instant::now();
        let report = session.trainer.step(&session.training)?;
        let seconds = begin.elapsed().as_secs_f64();
        let step = report.step;
        metrics.push(&Record::step(report, tokens, seconds))?;
        observer.step(&report, tokens, seconds);

        let mut is_best = false;
        if step.is_multiple_of(eval_interval) || step == steps {
            let evaluation = session.evaluate()?;
            finite(step, "the validation loss", evaluation.loss)?;
            is_best = session.best.is_none_or(|best| evaluation.loss < best.loss);
            if is_best {
                session.best = Some(Best { step, loss: evaluation.loss });
            }
            last_evaluation = Some(evaluation);
            metrics.push(&Record::Evaluation { step, evaluation })?;
            observer.evaluation(step, &evaluation, is_best);
        }
        let stopping = stop.load(Ordering::Relaxed);
        if is_best || step.is_multiple_of(checkpoint_interval) || step == steps || stopping {
            saved_at = Some(session.save()?);
        }
        observer.model(step, &|| session.trainer.model());
        if let (true, Some(checkpoint)) = (stopping && step < steps, saved_at.take()) {
            return Ok(Outcome::Stopped { step, checkpoint });
        }
    }
    if steps == 0 && session.best.is_none() {
        // A model as it begins, for whoever wants to look at one.
        let evaluation = session.evaluate()?;
        finite(0, "the validation loss", evaluation.loss)?;
        metrics.push(&Record::Evaluation { step: 0, evaluation })?;
        observer.evaluation(0, &evaluation, true);
        session.best = Some(Best { step: 0, loss: evaluation.loss });
        session.save()?;
        last_evaluation = Some(evaluation);
    }
    // A run that is resumed after its last step has nothing to do but to say how good it is.
    let evaluation = last_evaluation.map_or_else(|| session.evaluate(), Ok)?;
    let best = session.best.unwrap_or(Best { step: steps, loss: evaluation.loss });
    Ok(Outcome::Finished { evaluation, best })
}

impl Session {
    fn evaluate(&self) -> Result<Evaluation, TrainError> {
        let TrainConfig { batch_size, seq_len, .. } = self.config;
        evaluate(&self.trainer.model(), &self.validation, self.validation_bytes, seq_len, batch_size)
    }

    fn save(&mut self) -> Result<PathBuf, TrainError> {
        self.trainer.check_weights()?;
        let progress = Progress { step: self.trainer.step_count(), best: self.best, text_key: self.training.key() };
        self.dir.save(&self.trainer, &progress)
    }
}
