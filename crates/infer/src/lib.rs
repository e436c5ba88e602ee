//! Generation: context → forward pass → last position → distribution → sample → append, again.
//! Token ids go in, token ids come out.

mod error;
mod generator;
pub mod prove;
mod sampler;

pub use error::InferError;
pub use generator::{CacheMode, GenerateOptions, Generator, Step};
pub use sampler::{Choice, Distribution, SamplerConfig, choose, draw};
