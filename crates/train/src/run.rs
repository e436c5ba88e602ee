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
    /// Of each step, once it is known: on a device that is not the CPU, of several at once. `tokens` target tokens took
    /// `seconds`.
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
    /// What is measured of the validation side, as ids.
    pub validation: Vec<u32>,
    /// Bytes that the validation tokens after the first stand for.
    pub validation_bytes: usize,
    /// The best evaluation before this run.
    pub best: Option<BestCheckpoint>,
    /// Evaluations since then.
    pub since_best: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainOutcome {
    /// All steps are taken. The evaluation is of the last model.
    Finished {
        /// On the validation text.
        evaluation: Evaluation,
        /// The lowest loss of the run.
        best: BestCheckpoint,
    },
    /// Steps are left, but the last evaluations found no new best, as many as `train.patience`. The evaluation is of the
    /// last model, which was saved.
    NoProgress {
        /// Steps taken.
        step: u64,
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

/// Trains to the last step, until evaluations find no new best for too long, or until `stop` is set, which lets the step at
/// hand finish.
///
/// # Errors
/// [`TrainError`]; checkpoints written before stay as they are.
pub fn train(
    run: &mut TrainingRun,
    observer: &mut dyn TrainObserver,
    stop: &AtomicBool,
) -> Result<TrainOutcome, TrainError> {
    let TrainConfig { steps, eval_interval, checkpoint_interval, fetch_interval, .. } = run.config;
    // The first step of all tells whether the device works.
    let first = run.trainer.step_count() + 1;
    let mut since = None;
    let mut metrics = MetricsFile::open(&run.dir.metrics(), run.trainer.step_count())?;
    let mut saved_at = None;
    let mut last_evaluation = None;
    if run.best.is_none() && run.trainer.step_count() == 0 && (steps == 0 || run.dir.opaque().origin.is_some()) {
        // A model as it begins: all that there is to look at, or what training is to improve on.
        let evaluation = run.evaluate()?;
        finite(0, "the validation loss", evaluation.loss)?;
        metrics.push(&MetricsRecord::Evaluation { step: 0, evaluation })?;
        observer.evaluation(0, &evaluation, true);
        run.best = Some(BestCheckpoint { step: 0, loss: evaluation.loss });
        run.save()?;
        metrics.commit()?;
        last_evaluation = Some(evaluation);
    }
    while run.trainer.step_count() < steps && !run.is_out_of_patience() {
        let begin: Instant = *since.get_or_insert_with(Instant::now);
        run.trainer.advance(&run.training)?;
        let step = run.trainer.step_count();
        let is_evaluated = step.is_multiple_of(eval_interval) || step == steps;
        let is_fetched = run.trainer.is_told_at_once() || step == first || step.is_multiple_of(fetch_interval);
        if is_fetched || is_evaluated {
            run.tell(&mut metrics, observer, begin)?;
            since = None;
        }

        let mut is_best = false;
        if is_evaluated {
            let evaluation = run.evaluate()?;
            finite(step, "the validation loss", evaluation.loss)?;
            is_best = run.best.is_none_or(|best| evaluation.loss < best.loss);
            run.since_best += 1;
            if is_best {
                run.best = Some(BestCheckpoint { step, loss: evaluation.loss });
                run.since_best = 0;
            }
            last_evaluation = Some(evaluation);
            metrics.push(&MetricsRecord::Evaluation { step, evaluation })?;
            observer.evaluation(step, &evaluation, is_best);
            if let Some(text) = observer.sample(step, &|| run.trainer.model()) {
                metrics.push(&MetricsRecord::Sample { step, text })?;
            }
        }
        let stopping = stop.load(Ordering::Relaxed);
        let is_last = step == steps || run.is_out_of_patience();
        if is_best || step.is_multiple_of(checkpoint_interval) || is_last || stopping {
            if since.take().is_some() {
                run.tell(&mut metrics, observer, begin)?;
            }
            saved_at = Some(run.save()?);
            metrics.commit()?;
        }
        observer.model(step, &|| run.trainer.model());
        if let (true, Some(checkpoint)) = (stopping && !is_last, saved_at.take()) {
            return Ok(TrainOutcome::Stopped { step, checkpoint });
        }
    }
    // A run that is resumed after its last step has nothing to do but to say how good it is.
    let evaluation = last_evaluation.map_or_else(|| run.evaluate(), Ok)?;
    let step = run.trainer.step_count();
    let best = run.best.unwrap_or(BestCheckpoint { step, loss: evaluation.loss });
    if step < steps {
        return Ok(TrainOutcome::NoProgress { step, evaluation, best });
    }
    Ok(TrainOutcome::Finished { evaluation, best })
}

impl TrainingRun {
    /// Has the reports of the steps since `begin` go where they belong. What a step broke is found here at the latest, and so
    /// before anything is measured or saved.
    fn tell(
        &mut self,
        metrics: &mut MetricsFile,
        observer: &mut dyn TrainObserver,
        begin: Instant,
    ) -> Result<(), TrainError> {
        let tokens = self.config.batch_size * self.config.seq_len;
        let reports = self.trainer.take_reports()?;
        let seconds = begin.elapsed().as_secs_f64() / reports.len() as f64;
        for report in reports {
            metrics.push(&MetricsRecord::step(report, tokens, seconds))?;
            observer.step(&report, tokens, seconds);
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<Evaluation, TrainError> {
        let (seq_len, rows) = (self.config.measured_seq_len(), self.config.measured_rows());
        evaluate(&self.trainer.model(), &self.validation, self.validation_bytes, seq_len, rows)
    }

    /// Whether the last evaluations found no new best, too many in a row.
    pub fn is_out_of_patience(&self) -> bool {
        self.config.patience > 0 && self.since_best >= self.config.patience
    }

    fn save(&mut self) -> Result<PathBuf, TrainError> {
        self.trainer.check_weights()?;
        let progress = TrainProgress {
            step: self.trainer.step_count(),
            best: self.best,
            text_key: self.training.key(),
            since_best: self.since_best,
        };
        self.dir.save(&self.trainer, &progress)
    }
}
