//! Training: token ids → batches → one parallel masked forward pass → next-token loss → gradients → AdamW or Muon, with
//! evaluation, checkpoints and resuming. Nothing here generates text or prints.
//!
//! Read in this order: `config`, `batches`, `trainer`, `run`, `run_dir`.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit"))]

mod batches;
mod config;
mod error;
mod evaluate;
mod gradient_norm;
mod hashes;
mod lora;
mod metrics;
mod metrics_log;
pub mod optimizer;
mod run;
mod run_dir;
mod schedule;
mod trainer;
mod weight_average;
mod worker_pools;

pub use batches::{TrainBatch, TrainingText};
pub use config::{Decay, LoraConfig, MAX_EVAL_TOKENS, OptimizerConfig, OptimizerKind, TrainConfig};
pub use error::TrainError;
pub use evaluate::{Evaluation, evaluate};
pub use hashes::{CheckpointHashes, model_sha256};
pub use lora::LowRankFactors;
pub use metrics::{MetricsFile, MetricsRecord, read_metrics};
pub use metrics_log::{MetricsFormat, MetricsLog};
pub use run::{TrainObserver, TrainOutcome, TrainingRun, train};
pub use run_dir::{BestCheckpoint, OpaqueFiles, RunDir, TrainProgress, TrainState, load_raw_model};
pub use schedule::learning_rate;
pub use trainer::{StepReport, Trainer};
pub use weight_average::WeightAverage;
pub use worker_pools::WorkerPools;
