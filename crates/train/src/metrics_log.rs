//! The metrics of a run in forms that other programs read: a table for spreadsheets and data frames, and events for
//! TensorBoard. Both are made from `metrics.jsonl`, which stays what a run is resumed by.

mod csv;
mod tensorboard;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tril_model::{ModelError, files};

use crate::metrics::lines_to;
use crate::{MetricsRecord, TrainError};

/// In which form metrics are written beside `metrics.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricsFormat {
    /// `metrics.csv`: a line a step and one an evaluation, with a column for every field that either has.
    Csv,
    /// `events.out.tfevents.tril`: a curve for every field. What TensorBoard calls wall time is the step, in seconds after
    /// 1970, because no file of a run tells the time.
    TensorBoard,
}

impl MetricsFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Csv, Self::TensorBoard];

    /// What the file is called in the run's directory.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Csv => "metrics.csv",
            Self::TensorBoard => "events.out.tfevents.tril",
        }
    }

    fn header(self) -> Vec<u8> {
        match self {
            Self::Csv => csv::header(),
            Self::TensorBoard => tensorboard::header(),
        }
    }

    /// Numbers alone: the text of a sample has no place in a table or a curve.
    fn encode(self, record: &Value) -> Vec<u8> {
        match self {
            _ if record["kind"] == "sample" => Vec::new(),
            Self::Csv => csv::line(record),
            Self::TensorBoard => tensorboard::event(record),
        }
    }
}

/// The open file of one form.
#[derive(Debug)]
pub struct MetricsLog {
    format: MetricsFormat,
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Writes what the run's metrics say up to `step`, in place of what an earlier process has left, and keeps the file open.
    ///
    /// - run: the run's directory
    ///
    /// # Errors
    /// [`TrainError::Model`] for what the file system refuses.
    pub fn open(run: &Path, format: MetricsFormat, step: u64) -> Result<Self, TrainError> {
        let path = run.join(format.file_name());
        let metrics = run.join(crate::run_dir::METRICS);
        let known = if metrics.exists() { lines_to(&files::read(&metrics)?, step) } else { String::new() };
        let mut bytes = format.header();
        for record in known.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            bytes.extend(format.encode(&record));
        }
        files::write_file(&path, &bytes)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|source| failed(&path, source))?;
        Ok(Self { format, path, file })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`TrainError::Model`] for what the file system refuses.
    pub fn push(&mut self, record: &MetricsRecord) -> Result<(), TrainError> {
        let record = serde_json::to_value(record).map_err(|source| failed(&self.path, source.into()))?;
        self.file.write_all(&self.format.encode(&record)).map_err(|source| failed(&self.path, source))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes the files of all forms from a run's directory.
///
/// # Errors
/// [`TrainError::Model`] for what the file system refuses.
pub(crate) fn remove(run: &Path) -> Result<(), TrainError> {
    MetricsFormat::ALL.iter().try_for_each(|format| crate::run_dir::remove_file(&run.join(format.file_name())))
}

fn failed(path: &Path, source: std::io::Error) -> TrainError {
    TrainError::Model(ModelError::Io { action: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evaluation, StepReport};

    fn records() -> Vec<MetricsRecord> {
        let report = |step| StepReport { step, loss: 2.5, grad_norm: 0.1 + 0.2, learning_rate: 1e-3 };
        let evaluation = Evaluation { loss: 2.0, perplexity: 7.4, bits_per_byte: 1.5, tokens: 9, bytes: 20 };
        vec![
            MetricsRecord::step(report(1), 100, 0.5),
            MetricsRecord::step(report(2), 100, 0.25),
            MetricsRecord::Evaluation { step: 2, evaluation },
        ]
    }

    #[test]
    fn a_log_that_is_opened_again_holds_what_the_metrics_hold_and_no_more() {
        for format in MetricsFormat::ALL {
            let dir = tempfile::tempdir().expect("a directory");
            let mut log = MetricsLog::open(dir.path(), format, 0).expect("opened");
            let mut lines = String::new();
            for record in records() {
                log.push(&record).expect("written");
                lines += &(serde_json::to_string(&record).expect("JSON") + "\n");
            }
            let whole = std::fs::read(log.path()).expect("read");
            std::fs::write(dir.path().join("metrics.jsonl"), lines).expect("written");
            let log = MetricsLog::open(dir.path(), format, 2).expect("opened");
            assert_eq!(std::fs::read(log.path()).expect("read"), whole, "{format:?}");
            let mut log = MetricsLog::open(dir.path(), format, 1).expect("opened");
            assert!(std::fs::read(log.path()).expect("read").len() < whole.len(), "{format:?}");
            records()[1..].iter().for_each(|record| log.push(record).expect("written"));
            assert_eq!(std::fs::read(log.path()).expect("read"), whole, "{format:?}");
        }
    }

    #[test]
    fn a_table_has_a_column_for_every_field_and_numbers_that_are_those_of_the_metrics() {
        let lines: Vec<String> = records()
            .iter()
            .map(|record| String::from_utf8(csv::line(&serde_json::to_value(record).expect("JSON"))).expect("UTF-8"))
            .collect();
        let header = String::from_utf8(csv::header()).expect("UTF-8");
        assert_eq!(
            header,
            "kind,step,loss,grad_norm,learning_rate,tokens_per_second,perplexity,bits_per_byte,tokens,bytes\n"
        );
        assert_eq!(lines[0], "step,1,2.5,0.30000000000000004,0.001,200.0,,,,\n");
        assert_eq!(lines[2], "evaluation,2,2.0,,,,7.4,1.5,9,20\n");
        for record in records() {
            let record = serde_json::to_value(record).expect("JSON");
            let fields = record.as_object().expect("an object").keys();
            assert!(fields.clone().all(|field| header.trim().split(',').any(|name| name == field)), "{record}");
        }
    }
}
