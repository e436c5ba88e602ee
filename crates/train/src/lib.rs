//! Training: token ids → batches → one parallel masked forward pass → next-token loss → gradients → AdamW or Muon, with
//! evaluation, checkpoints and resuming. Nothing here generates text or prints.
//!
//! Read in this order: `config`, `batches`, `trainer`, `run`, `run_dir`.

mod batches;
mod config;
mod error;
mod evaluate;
mod gradient_norm;
mod hashes;
mod lanes;
mod metrics;
pub mod optimizer;
mod run;
mod run_dir;
mod schedule;
mod trainer;

pub use batches::{Batch, TrainingText};
pub use config::{Decay, OptimizerConfig, OptimizerKind, TrainConfig};
pub use error::TrainError;
pub use evaluate::{Evaluation, evaluate};
pub use hashes::{Hashes, model_sha256};
pub use lanes::Lanes;
pub use metrics::{Metrics, Record};
pub use run::{Observer, Outcome, Session, run};
pub use run_dir::{Best, Progress, RunDir};
pub use schedule::learning_rate;
pub use trainer::{StepReport, Trainer};
