//! The loop that makes a sequence longer, one token at a time, with a cache or without.

use std::num::NonZeroUsize;
use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use tril_model::{Gpt, KvCache, Pass};

use crate::InferError;
use crate::sampler::{Choice, SamplerConfig, choose};

/// Positions computed at once while a prompt enters the cache; bounds memory for long prompts.
const PREFILL_CHUNK: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// Whether a step remembers the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMode {
    /// Keys and values are kept: a step computes one position.
    Cached,
    /// Nothing is kept: a step computes the whole context again.
    Recompute,
}

/// Options of a [`Generator`].
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
}

/// One new token.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its id.
    pub token: u32,
    /// See [`Choice::logprob`].
    pub logprob: f64,
    /// See [`Choice::share`].
    pub share: Range<f64>,
    /// See [`Choice::draw`].
    pub draw: Option<f64>,
    /// Its absolute position in the sequence, prompt included.
    pub position: usize,
    /// How many of the oldest tokens left the context just before this step because it was full; usually 0.
    pub dropped: usize,
}

/// An iterator over new tokens.
pub struct Generator<'a> {
    gpt: &'a Gpt,
    device: Device,
    options: GenerateOptions,
    tokens: Vec<u32>,
    /// Where the context that the model sees begins in `tokens`.
    context_start: usize,
    /// The cache and how many of `tokens` from `context_start` it holds; made anew when the context is cut.
    cache: Option<KvCache>,
    prefill_chunk: NonZeroUsize,
    left: usize,
}

impl<'a> Generator<'a> {
    /// A generator that continues `prompt`.
    ///
    /// # Errors
    /// [`InferError`] for an empty prompt, an id outside the vocabulary, or a bad setting of the sampler.
    pub fn new(gpt: &'a Gpt, prompt: &[u32], options: GenerateOptions) -> Result<Self, InferError> {
        let vocab_size = gpt.config().vocab_size;
        options.sampler.check(vocab_size)?;
        if let Some(&id) = prompt.iter().find(|id| **id as usize >= vocab_size) {
            return Err(InferError::UnknownToken { id, vocab_size });
        }
        if prompt.is_empty() {
            return Err(InferError::EmptyPrompt);
        }
        let left = options.max_tokens;
        Ok(Self {
            gpt,
            device: gpt.device(),
            options,
            tokens: prompt.to_vec(),
            context_start: 0,
            cache: None,
            prefill_chunk: PREFILL_CHUNK,
            left,
        })
    }

    /// Has a prompt enter the cache in chunks of this many positions. It changes memory and time, never a token.
    #[must_use]
    pub fn with_prefill_chunk(self, prefill_chunk: NonZeroUsize) -> Self {
        Self { prefill_chunk, ..self }
    }

    /// Cuts the oldest half of a full context away, as often as needed; returns how many tokens that were.
    fn make_room(&mut self) -> usize {
        let Some(limit) = self.gpt.config().context_limit() else { return 0 };
        let before = self.context_start;
        while self.tokens.len() - self.context_start > limit {
            self.context_start += (limit / 2).max(1);
        }
        if self.context_start > before {
            self.cache = None;
        }
        self.context_start - before
    }

    /// Logits of the last position, `[vocab_size]`.
    fn last_logits(&mut self) -> Result<Vec<f32>, InferError> {
        let context = &self.tokens[self.context_start..];
        let logits = match self.options.cache {
            CacheMode::Recompute => self.gpt.last_logits(self.input(context), Pass::default()),
            CacheMode::Cached => {
                let mut cache = self.cache.take().unwrap_or_else(|| self.gpt.new_cache(1));
                let fresh = &context[cache.position()..];
                let mut logits = None;
                for chunk in fresh.chunks(self.prefill_chunk.get()) {
                    let pass = Pass::cached(&mut cache);
                    logits = Some(self.gpt.last_logits(self.input(chunk), pass));
                }
                self.cache = Some(cache);
                // There is always a token that the cache has not seen: the one appended last.
                logits.ok_or(InferError::EmptyPrompt)?
            }
        }; // [1, vocab_size]
        logits.try_into_vec_as::<f32>().map_err(|error| InferError::Device(error.to_string()))
    }

    fn input(&self, ids: &[u32]) -> Tensor<2, Int> {
        let values: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
        Tensor::from_data(TensorData::new(values, [1, ids.len()]), &self.device)
    }
}

impl Iterator for Generator<'_> {
    type Item = Result<Step, InferError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let dropped = self.make_room();
        let position = self.tokens.len();
        let chosen = self.last_logits().and_then(|logits| {
            choose(&logits, &self.tokens, &self.options.sampler, self.options.sample_index, position)
        });
        match chosen {
            Ok(Choice { token, .. }) if Some(token) == self.options.stop_token => {
                self.left = 0;
                None
            }
            Ok(Choice { token, logprob, share, draw }) => {
                self.tokens.push(token);
                Some(Ok(Step { token, logprob, share, draw, position, dropped }))
            }
            Err(error) => {
                self.left = 0;
                Some(Err(error))
            }
        }
    }
}
