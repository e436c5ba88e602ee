//! Generation: context → forward pass → last position → distribution → sample → append, again.
//! Token ids go in, token ids come out. `score` tells how probable a model finds tokens that are already there.

mod batch;
mod error;
mod generator;
mod sampler;
mod score;
mod sequence;

pub use batch::{BatchGenerator, PREFILL_CHUNK};
pub use error::InferError;
pub use generator::Generator;
pub use sampler::{Choice, Distribution, SamplerConfig, choose, choose_from, draw, logprob};
pub use score::{ScoreOptions, TokenScore, score};
pub use sequence::{
    CacheMode, Ended, Event, Finish, GenerateOptions, Overflow, PrefixCache, Step, check_ids, check_prompt,
    context_start,
};
