//! Experiments: small models that are trained or opened to show one thing, and reports of what was seen. Nothing here
//! reads a command line or prints.
//!
//! Read in this order: `task`, `format`, `experiment`.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit"))]

mod attention;
mod echo;
mod error;
mod experiment;
mod format;
mod mask;
mod mended;
mod model_info;
mod prefixes;
mod probe;
mod recipes;
mod routes;
mod task;
mod wait;

pub use attention::{HeadAttention, attention};
pub use echo::echo_model;
pub use error::LabError;
pub use experiment::{
    CurvePoint, Experiment, FormatReport, LabObserver, LabReport, LengthScore, RunReport, TaskKind, accuracy, ask,
    is_right, request, tokenizer,
};
pub use format::{ALPHABET, Format, WORKING_MARKERS};
pub use mask::{Mask, MaskReport, MaskRun, remove_mask};
pub use mended::{WAIT, without_mistakes};
pub use model_info::{KeptModels, LabModelInfo};
pub use prefixes::{PrefixProblem, PrefixReport, prefix_problems};
pub use probe::{Change, ChangedWorking, CorrectionReport, HiddenWorking, ProbeReport, WorkingStep, correction, probe};
pub use routes::{DISTANCES, HeadRoutes, INDUCTION, InductionStep, RoutesReport, routes};
pub use task::{Layout, MAX_DIGITS, PARITY_BITS, PARITY_SUBSET, Problem, Side, Task};
pub use wait::{GivenStep, StepCounts, WaitExperiment, WaitReport, WaitRun, wait};
