//! The one definition of the model, shared by training and generation: [`GptConfig`], [`Gpt`], [`KvCache`] and the
//! checkpoint that they are stored in. Token ids go in, logits come out; nothing here knows text.
//!
//! Read in this order: `config`, `gpt`, `block`, `attention`, `cache`.

mod attention;
mod block;
mod block_matrix;
mod builder;
mod cache;
pub mod checkpoint;
mod config;
mod derived;
mod dropout;
mod error;
pub mod files;
mod forward_context;
mod gpt;
mod ids;
mod loss;
pub mod memory;
mod mlp;
mod norm;
mod observer;
pub mod parameters;
pub mod random;
mod recompute;
mod rounded;
mod scaled;
mod step;
pub mod tensor_file;
mod tied_head;
mod unmasked;

pub use block_matrix::{BlockMatrix, BlockMatrixKind};
pub use cache::KvCache;
pub use config::{GptConfig, MlpKind, NormKind, Positions};
pub use dropout::Dropout;
pub use error::ModelError;
pub use forward_context::{ForwardContext, HeadId};
pub use gpt::Gpt;
pub use ids::{WindowBatch, ids_to_tensor};
pub use loss::TokenLosses;
pub use observer::{Activation, AttentionProbs, Observation, Observer};
pub use tril_kernels::WeightFormat;
