//! What is seen of a run, and metrics in the forms that were asked for.

use anyhow::Result;
use tril::{Evaluation, StepReport, TrainObserver, Training};
use tril_model::Gpt;
use tril_train::{MetricsFormat, MetricsLog, MetricsRecord, TrainError};

use crate::args::LogFormat;
use crate::progress::Progress;

/// Shows a run, and writes its metrics in other forms.
pub struct Log {
    progress: Progress,
    files: Vec<MetricsLog>,
}

impl Log {
    /// - formats: to be written; files that the run has already go on too
    pub fn new(progress: Progress, training: &Training, formats: &[LogFormat]) -> Result<Self> {
        let (run, step) = (training.dir().path(), training.step());
        let mut wanted: Vec<MetricsFormat> = formats.iter().map(|format| MetricsFormat::from(*format)).collect();
        wanted.extend(MetricsFormat::ALL.into_iter().filter(|format| run.join(format.file_name()).is_file()));
        wanted.sort_unstable();
        wanted.dedup();
        let open = |format| MetricsLog::open(run, format, step).map_err(tril::Error::from);
        let files = wanted.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { progress, files })
    }

    /// Takes the bar away, so that what follows stands on its own.
    pub fn finish(&self) {
        self.progress.finish();
    }

    /// What cannot be written is told once and then left out: the run itself has its metrics elsewhere.
    fn push(&mut self, record: &MetricsRecord) {
        self.files.retain_mut(|file| match file.push(record) {
            Ok(()) => true,
            Err(error) => {
                note!("[{}]", TrainError::to_string(&error));
                false
            }
        });
    }
}

impl TrainObserver for Log {
    fn step(&mut self, report: &StepReport, tokens: usize, seconds: f64) {
        self.progress.step(report, tokens, seconds);
        self.push(&MetricsRecord::step(*report, tokens, seconds));
    }

    fn evaluation(&mut self, step: u64, evaluation: &Evaluation, is_best: bool) {
        self.progress.evaluation(step, evaluation, is_best);
        self.push(&MetricsRecord::Evaluation { step, evaluation: *evaluation });
    }

    fn model(&mut self, step: u64, model: &dyn Fn() -> Gpt) {
        self.progress.model(step, model);
    }
}
