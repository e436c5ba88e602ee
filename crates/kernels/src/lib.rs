//! The handful of tensor operations that a GPT needs, each defined once out of ordinary Burn operations.
//!
//! The definitions run on every backend and are differentiable everywhere. They are the specification: a faster
//! version for one device belongs behind the same function and is tested against the definition here, forward and
//! backward. Nothing in this crate holds a parameter.

mod activation;
mod attention;
mod cross_entropy;
mod linear;
mod norm;
mod rotary;

pub use activation::{gelu, gelu_tanh, relu2, swiglu};
pub use attention::{attention_probs, causal_attention};
pub use cross_entropy::cross_entropy;
pub use linear::linear;
pub use norm::{layer_norm, rms_norm};
pub use rotary::RotaryTable;
