//! The operations out of ordinary Burn operations: they run on every backend and have gradients everywhere. They are
//! the specification that a faster version is tested against.

mod activation;
mod adamw;
mod attention;
mod cross_entropy;
mod linear;
mod muon;
mod norm;
mod rotary;

pub use activation::{gelu, gelu_tanh, relu2, swiglu};
pub use adamw::adamw;
pub use attention::{attention_probs, causal_attention, split_heads};
pub use cross_entropy::cross_entropy;
pub use linear::linear;
pub use muon::muon;
pub use norm::{layer_norm, rms_norm};
pub use rotary::rotate;
