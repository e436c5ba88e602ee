//! Proofs that a model computes one function, whichever way it is asked: token ids in, a report out.

mod options;
mod report;
mod subject;

pub use options::{Demand, Limits, ProveOptions};
pub use report::{Outcome, Proof, ProofId, Report, Seconds};
pub use subject::Subject;
