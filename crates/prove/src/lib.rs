//! Checks on a model and on what it made: token ids in, reports out.
//!
//! [`prove`] shows that a model computes one function by every route, [`verify`] that a recorded text follows from its
//! model, settings and draws, [`grade`] how much of a bare text does, and [`cost`] what the same tokens take with and without the cache; [`work`] counts
//! operations and bytes; [`bench`](bench::bench) measures how fast a machine is.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit"))]

pub mod bench;
pub mod cost;
mod error;
mod prove;
mod verify;
pub mod work;

pub use error::ProveError;
pub use prove::{
    Control, Limits, ModelUnderTest, NamedValues, OwnText, Proof, ProofId, ProofOutcome, ProofReport, ProveOptions,
    Seconds, TextOrigin, Tolerance, TrainerUnderTest, TrainingPlan, prove, ulp_distance,
};
pub use verify::{
    BareText, Failure, Fault, Mismatch, TextGrade, TokenClaim, Transcript, Verdict, Verification, grade, verify,
};
