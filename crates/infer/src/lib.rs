//! Generation: context → forward pass → last position → distribution → sample → append, again.
//! Token ids go in, token ids come out. `score` tells how probable a model finds tokens that are already there.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit"))]

mod batch;
mod draft;
mod error;
mod generator;
mod language_model;
mod logit_row;
mod prompt_scorer;
mod sampler;
mod score;
mod sequence;

pub use batch::{BatchGenerator, NumberedEvent, PREFILL_CHUNK};
pub use draft::{DraftTally, Draftable, Drafter, Lookup, MAX_GUESSES, ModelDrafter, position_cost_together};
pub use error::InferError;
pub use generator::Generator;
pub use language_model::LanguageModel;
pub use prompt_scorer::{PromptScorer, TokenLogprob};
pub use sampler::{Distribution, SampledToken, SamplerConfig, choose, choose_from, logprob, uniform};
pub use score::{ScoreOptions, TokenScore, score};
pub use sequence::{
    CacheMode, Event, FinishReason, FinishedSequence, GenerateOptions, GeneratedToken, Overflow, PrefixCache,
    check_ids, check_prompt, context_start,
};
