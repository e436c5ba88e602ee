//! The handful of tensor operations that a GPT needs, each defined once out of ordinary Burn operations in
//! [`portable`] and hand-written for the CPU device in f32.
//!
//! The public functions choose by the device of their first argument. Nothing in this crate holds a parameter.

mod cpu;
mod operations;
mod optimizer_steps;
pub mod portable;
pub mod profile;
mod rotary;
mod step;
mod weights;
mod workers;

pub use cpu::{Arithmetic, StepModel, compiled_for_processor, instruction_set, is_cpu, supports, with_spin_pool};
pub use operations::{
    adamw, attention_probs, causal_attention, cross_entropy, gelu, gelu_tanh, layer_norm, linear, muon, relu2,
    rms_norm, row_major, split_heads, sum_of_squares, swiglu,
};
pub use optimizer_steps::{AdamWStep, MuonStep, NEWTON_SCHULZ};
pub use rotary::RotaryTable;
pub use step::{
    StepActivation, StepBlock, StepEmbedding, StepHeads, StepLinear, StepNorm, StepNormKind, StepSequences, StepWeights,
};
pub use weights::WeightFormat;
pub use workers::Workers;
