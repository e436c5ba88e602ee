//! Generation: context → forward pass → last position → distribution → sample → append, again.
//! Token ids go in, token ids come out. What a model thinks of tokens that are there already is in `score`,
//! what it costs to make them in `cost` and `work`.

mod batch;
pub mod cost;
mod error;
mod generator;
pub mod prove;
mod sampler;
mod score;
mod sequence;
pub mod work;

pub use batch::{Batch, PREFILL_CHUNK};
pub use error::InferError;
pub use generator::Generator;
pub use sampler::{Choice, Distribution, SamplerConfig, choose, draw};
pub use score::{ScoreOptions, TokenScore, score};
pub use sequence::{CacheMode, Ended, Event, Finish, GenerateOptions, Overflow, Remembered, Step};
