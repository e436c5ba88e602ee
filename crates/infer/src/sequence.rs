//! One sequence that grows: its tokens, the part of them that the model sees, its cache, and when it ends. The passes
//! that compute its logits are made in `batch`.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tril_model::{Gpt, GptConfig, KvCache};

use crate::InferError;
use crate::sampler::{Choice, Counts, Distribution, SamplerConfig, choose_from};

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
        }
    }
}

/// One new token, and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its id.
    pub token: u32,
    /// Its absolute position in the sequence, prompt included.
    pub position: usize,
    /// How many tokens the model saw: the context.
    pub context: usize,
    /// How many positions the forward passes of this step computed.
    pub computed: usize,
    /// How many of the oldest tokens left the context just before this step because it was full; usually 0.
    pub dropped: usize,
    /// See [`Choice::logprob`].
    pub logprob: f64,
    /// See [`Choice::share`].
    pub share: Range<f64>,
    /// See [`Choice::draw`].
    pub draw: Option<f64>,
    /// The most probable tokens after all filters and their probabilities, the most probable first; as many as
    /// [`GenerateOptions::alternatives`] asks for and are left.
    pub alternatives: Vec<(u32, f64)>,
}

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It has as many new tokens as were asked for.
    MaxTokens,
    /// The stop token came.
    EndOfText,
    /// The context is full and [`Overflow::Stop`] ends it there.
    ContextFull,
}

/// What becomes of a sequence in one step.
#[derive(Debug, Clone)]
pub enum Event {
    /// It has one token more.
    Step(Step),
    /// It has ended.
    Ended(Box<Ended>),
}

/// What is left of a sequence.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Why it ended.
    pub finish: Finish,
    /// How the stop token was drawn, if it came. It is not part of the text.
    pub stop: Option<Step>,
    /// What can be continued later, if there was a cache.
    pub remembered: Option<PrefixCache>,
}

/// A text and the keys and values of its first positions, to go on from without computing them again.
#[derive(Debug, Clone)]
pub struct PrefixCache {
    tokens: Vec<u32>,
    cache: KvCache,
}

/// Tokens that are kept beyond what is needed, so that forgetting the oldest costs little a token. Tests pass it early.
const SLACK: usize = if cfg!(test) { 5 } else { 1 << 16 };

/// A sequence in work.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub options: GenerateOptions,
    /// The tokens that may still be looked at: all but the `forgotten` oldest.
    tokens: Vec<u32>,
    forgotten: usize,
    /// What the penalties look at.
    counts: Counts,
    /// Absolute position at which the context that the model sees begins.
    context_start: usize,
    /// Holds the first positions of the context.
    pub cache: Option<KvCache>,
    left: usize,
    /// The most tokens that the model can see, where there is a most.
    limit: Option<usize>,
    /// Tokens that have left the context and that no step has reported.
    dropped: usize,
}

impl Sequence {
    /// A sequence that continues `prompt`, from `remembered` as far as that agrees with it.
    ///
    /// # Errors
    /// [`InferError`] for an empty prompt, an id outside the vocabulary, or bad options.
    pub fn new(
        gpt: &Gpt,
        prompt: &[u32],
        options: GenerateOptions,
        remembered: Option<PrefixCache>,
    ) -> Result<Self, InferError> {
        let config = gpt.config();
        options.sampler.check(config.vocab_size)?;
        check_prompt(prompt, config)?;
        let (left, limit) = (options.max_tokens, config.context_limit());
        let tokens = prompt.to_vec();
        let counts = Counts::new(prompt, config.vocab_size, &options.sampler)?;
        let mut sequence =
            Self { options, tokens, forgotten: 0, counts, context_start: 0, cache: None, left, limit, dropped: 0 };
        sequence.make_room();
        if sequence.options.cache == CacheMode::Cached {
            sequence.cache =
                remembered.zip(sequence.context()).and_then(|(remembered, context)| remembered.up_to(context));
        }
        Ok(sequence)
    }

    /// Begins a step: how many tokens had to leave the context for it, or why there is no other step.
    pub fn begin(&mut self) -> Result<usize, Finish> {
        self.left = self.left.checked_sub(1).ok_or(Finish::MaxTokens)?;
        if self.make_room() {
            self.cache = None;
        }
        if self.limit.is_some_and(|limit| self.context_len() > limit) {
            return Err(Finish::ContextFull);
        }
        self.forget();
        Ok(std::mem::take(&mut self.dropped))
    }

    /// The absolute position of the next token.
    pub fn position(&self) -> usize {
        self.forgotten + self.tokens.len()
    }

    /// The tokens that the model sees; `None` where the oldest of them are in the cache alone.
    pub fn context(&self) -> Option<&[u32]> {
        let first = self.context_start.checked_sub(self.forgotten)?;
        Some(&self.tokens[first..])
    }

    /// How many tokens the model sees.
    pub fn context_len(&self) -> usize {
        self.position() - self.context_start
    }

    /// The tokens that the model sees, if all of them are in the cache and known.
    pub fn cached_context(&self) -> Option<&[u32]> {
        let all = self.cache.as_ref().is_some_and(|cache| cache.position() == self.context_len());
        self.context().filter(|_| all)
    }

    /// Those of them that are not in the cache.
    pub fn fresh(&self) -> &[u32] {
        let known = self.context_start + self.cache.as_ref().map_or(0, KvCache::position);
        &self.tokens[known - self.forgotten..]
    }

    /// Chooses the next token from the last position's logits, which took `computed` positions. The stop token is chosen
    /// as others are, and ends the sequence without being added to it.
    ///
    /// - logits: `[vocab_size]`
    ///
    /// # Errors
    /// [`InferError::BadLogits`].
    pub fn accept(
        &mut self,
        logits: &[f32],
        computed: usize,
        dropped: usize,
    ) -> Result<(Step, Option<Finish>), InferError> {
        let position = self.position();
        let GenerateOptions { sampler, sample_index, stop_token, alternatives, .. } = &self.options;
        let distribution = Distribution::with_counts(logits, &self.counts, sampler, position)?;
        let choice = choose_from(&distribution, logits, sampler, *sample_index, position);
        let Choice { token, logprob, share, draw } = choice;
        let is_stop = Some(token) == *stop_token;
        let alternatives = if *alternatives == 0 { Vec::new() } else { distribution.top(*alternatives) };
        let context = self.context_len();
        if !is_stop {
            self.tokens.push(token);
            self.counts.advance(&self.tokens);
        }
        let step = Step { token, position, context, computed, dropped, logprob, share, draw, alternatives };
        Ok((step, is_stop.then_some(Finish::EndOfText)))
    }

    /// What can be continued later.
    pub fn into_prefix_cache(mut self) -> Option<PrefixCache> {
        let cache = self.cache.take()?;
        // Only while the text in the cache is known from its beginning.
        let first = self.context_start.checked_sub(self.forgotten)?;
        let tokens = self.tokens[first..first + cache.position()].to_vec();
        Some(PrefixCache { tokens, cache })
    }

    /// Cuts the oldest half of a full context away, as often as needed and if it may; returns whether it did.
    fn make_room(&mut self) -> bool {
        let Some(limit) = self.limit else { return false };
        let before = self.context_start;
        if self.options.on_overflow == Overflow::Recompute {
            self.context_start = context_start(before, self.position(), limit);
        }
        self.dropped += self.context_start - before;
        self.context_start > before
    }

    /// Gives up tokens that no step can look at again, so that a sequence without end takes constant memory.
    fn forget(&mut self) {
        let sampler = &self.options.sampler;
        // Where the context has an end, overflow drops the cache and computes the rest of the context from its tokens.
        let unseen = match (&self.cache, self.limit) {
            (Some(cache), None) => self.context_start + cache.position(),
            _ => self.context_start,
        };
        // Of a history without end the counts are enough.
        let counted = if sampler.history() == usize::MAX { 0 } else { sampler.history() };
        let needed = self.position().saturating_sub(counted).min(unseen);
        let old = needed.saturating_sub(self.forgotten);
        if old > SLACK {
            self.tokens.drain(..old);
            self.forgotten += old;
        }
    }
}

impl PrefixCache {
    /// The cache, taken back to where its text and `context` part; at least one token of `context` is left to compute.
    fn up_to(mut self, context: &[u32]) -> Option<KvCache> {
        let known = self.tokens.iter().zip(context).take_while(|(a, b)| a == b).count();
        let known = known.min(context.len().saturating_sub(1));
        self.cache.rewind(known).then_some(self.cache)
    }
}

/// Where the context of a text of `len` tokens begins, which began at `start` when the text was shorter: its oldest half
/// goes as often as it takes to have no more than `limit` tokens.
pub fn context_start(mut start: usize, len: usize, limit: usize) -> usize {
    while len - start > limit {
        start += (limit / 2).max(1);
    }
    start
}

/// Refuses a prompt that a model cannot continue.
///
/// # Errors
/// [`InferError::EmptyPrompt`], [`InferError::UnknownToken`].
pub fn check_prompt(prompt: &[u32], config: &GptConfig) -> Result<(), InferError> {
    check_ids(prompt, config)?;
    if prompt.is_empty() { Err(InferError::EmptyPrompt) } else { Ok(()) }
}

/// Refuses ids outside a model's vocabulary.
///
/// # Errors
/// [`InferError::UnknownToken`].
pub fn check_ids(ids: &[u32], config: &GptConfig) -> Result<(), InferError> {
    let vocab_size = config.vocab_size;
    match ids.iter().find(|id| **id as usize >= vocab_size) {
        Some(&id) => Err(InferError::UnknownToken { id, vocab_size }),
        None => Ok(()),
    }
}
