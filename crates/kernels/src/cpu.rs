//! The operations on the CPU device in f32, hand-written: vectorised, fused, with their own backward passes, and exact.
//!
//! A row's result depends on that row alone. Every product is a chain of fused multiply-adds in ascending order of the
//! inner index; every other sum along a row is made in sixteen lanes that are added up in one order; tails of vectors
//! go through the same instructions as the rest. So the same numbers have the same bits in a long pass, a short one, a
//! batch, on any number of threads.

mod activation;
mod adamw;
mod attention;
mod cross_entropy;
mod gemm;
mod linear;
mod muon;
mod norm;
mod operation;
mod rotary;
mod rows;
mod simd;
mod spin_pool;
mod split_heads;
mod squares;
mod step;

pub use activation::{Elementwise, Gelu, GeluTanh, Relu2, Swiglu};
pub use adamw::adamw;
pub use attention::{CausalAttention, attention_probs};
pub use cross_entropy::CrossEntropy;
pub use linear::{Linear, RowMajor};
pub use muon::muon;
pub use norm::{RowNorm, RowNormKind};
pub use operation::{apply, constant, input, is_cpu, plain, supports};
pub use rotary::Rotary;
pub use simd::{Arithmetic, compiled_for_processor, instruction_set};
pub use spin_pool::with_spin_pool;
pub use split_heads::HeadsPart;
pub use squares::sum_of_squares;
pub use step::StepModel;
