//! Generation: context → forward pass → last position → distribution → sample → append, again.
//! Token ids go in, token ids come out. What a model thinks of tokens that are there already is in `score`, whether it
//! can have made them in `verify`, and what it costs to make them in `cost` and `work`.

mod batch;
pub mod cost;
mod error;
mod generator;
pub mod prove;
mod sampler;
mod score;
mod sequence;
mod verify;
pub mod work;

pub use batch::{Batch, PREFILL_CHUNK};
pub use error::InferError;
pub use generator::Generator;
pub use sampler::{Choice, Distribution, SamplerConfig, choose, draw};
pub use score::{ScoreOptions, TokenScore, score};
pub use sequence::{CacheMode, Ended, Event, Finish, GenerateOptions, Overflow, Remembered, Step};
pub use verify::{Claim, Failure, Fault, Transcript, Verification, verify};
