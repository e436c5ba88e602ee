//! How a sequence grows and when it ends.

use serde::{Deserialize, Serialize};

use crate::sampler::SamplerConfig;

/// Whether a step remembers the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    /// Keys and values are kept: a step computes one position.
    Cached,
    /// Nothing is kept: a step computes the whole context again.
    Recompute,
}

/// What happens when the context is full, in a model that has a last position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The oldest half leaves the context, and the rest is computed anew as if the text began there.
    #[default]
    Recompute,
    /// The sequence ends.
    Stop,
}

/// How a sequence grows and when it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// How tokens are chosen.
    pub sampler: SamplerConfig,
    /// Which of several samples with the same seed this is.
    pub sample_index: u64,
    /// How many tokens to add at most.
    pub max_tokens: usize,
    /// Generation ends before this token, usually end-of-text.
    pub stop_token: Option<u32>,
    /// With the cache or without; the tokens are the same.
    pub cache: CacheMode,
    /// What to do when the context is full.
    pub on_overflow: Overflow,
    /// How many of the most probable tokens each step reports.
    pub alternatives: usize,
    /// How many of the tokens that the model itself finds most probable each step reports, whatever the sampler.
    pub top_logprobs: usize,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            sampler: SamplerConfig::default(),
            sample_index: 0,
            max_tokens: usize::MAX,
            stop_token: None,
            cache: CacheMode::Cached,
            on_overflow: Overflow::Recompute,
            alternatives: 0,
            top_logprobs: 0,
        }
    }
}
