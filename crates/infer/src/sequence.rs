//! One sequence that grows: its tokens, the part of them that the model sees, its cache, and when it ends. The passes
//! that compute its logits are made in `batch`.

mod event;
mod options;
mod prefix_cache;

use std::collections::VecDeque;

use crate::InferError;
use crate::draft::{Draftable, MAX_GUESSES};
use crate::language_model::LanguageModel;
use crate::logit_row::LogitRow;
use crate::sampler::{Counts, Distribution, choose_from};

pub use event::{Event, FinishReason, FinishedSequence, GeneratedToken};
pub use options::{CacheMode, GenerateOptions, Overflow};
pub use prefix_cache::PrefixCache;

/// Tokens that are kept beyond what is needed, so that forgetting the oldest costs little a token. Tests pass it early.
const SLACK: usize = if cfg!(test) { 5 } else { 1 << 16 };

/// What a checking pass found beyond the token at hand.
#[derive(Default)]
struct Checked {
    /// Guesses that no token has been compared with yet, each with the logits after it, `[vocab_size]`.
    guesses: VecDeque<(u32, Vec<f32>)>,
    /// The logits of the last token, which was guessed right.
    logits: Option<Vec<f32>>,
    judged: Judged,
}

/// What became of the guesses of a pass: how many there were, and how many of the first ones were right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Judged {
    pub offered: usize,
    pub kept: usize,
}

/// A sequence in work.
pub(crate) struct Sequence<M: LanguageModel> {
    pub options: GenerateOptions,
    /// The tokens that may still be looked at: all but the `forgotten` oldest.
    tokens: Vec<u32>,
    forgotten: usize,
    /// What the penalties look at.
    counts: Counts,
    /// Absolute position at which the context that the model sees begins.
    context_start: usize,
    /// Holds the first positions of the context.
    pub cache: Option<M::Cache>,
    /// How many positions were computed for the token at hand.
    pub computed: usize,
    /// Whether the token at hand has been counted, though its context is not all computed.
    begun: bool,
    checked: Checked,
    left: usize,
    /// The most tokens that the model can see, where there is a most.
    limit: Option<usize>,
    /// Tokens that have left the context and that no token has reported.
    dropped: usize,
}

impl<M: LanguageModel> Sequence<M> {
    /// A sequence that continues `prompt`, from `prefix` as far as that agrees with it.
    ///
    /// # Errors
    /// [`InferError`] for an empty prompt, an id outside the vocabulary, or bad options.
    pub fn new(
        model: &M,
        prompt: &[u32],
        options: GenerateOptions,
        prefix: Option<PrefixCache<M::Cache>>,
    ) -> Result<Self, InferError> {
        let vocab_size = model.vocab_size();
        options.sampler.check(vocab_size)?;
        check_prompt(prompt, vocab_size)?;
        let counts = Counts::new(prompt, vocab_size, &options.sampler)?;
        let mut sequence = Self {
            left: options.max_tokens,
            options,
            tokens: prompt.to_vec(),
            forgotten: 0,
            counts,
            context_start: 0,
            cache: None,
            computed: 0,
            begun: false,
            checked: Checked::default(),
            limit: model.context_limit(),
            dropped: 0,
        };
        sequence.make_room();
        if sequence.options.cache == CacheMode::Cached {
            sequence.cache = prefix.zip(sequence.context()).and_then(|(prefix, context)| prefix.up_to(context, model));
        }
        Ok(sequence)
    }

    /// Begins the next token, unless it has been begun; the error says why there is none.
    pub fn begin(&mut self) -> Result<(), FinishReason> {
        if self.begun {
            return Ok(());
        }
        self.left = self.left.checked_sub(1).ok_or(FinishReason::MaxTokens)?;
        if self.make_room() {
            self.cache = None;
        }
        if self.limit.is_some_and(|limit| self.context_len() > limit) {
            return Err(FinishReason::ContextFull);
        }
        self.begun = true;
        Ok(())
    }

    /// Whether the token at hand is the first that it adds to its prompt.
    pub fn is_at_prompt(&self) -> bool {
        self.options.max_tokens - self.left == 1
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

    /// Those of them that are not in the cache.
    pub fn fresh(&self, model: &M) -> &[u32] {
        let known = self.context_start + self.cache.as_ref().map_or(0, |cache| model.position(cache));
        &self.tokens[known - self.forgotten..]
    }

    /// This sequence for whoever guesses its next tokens; none where guesses would be of no use.
    pub fn draftable(&self, number: usize, model: &M) -> Option<Draftable<'_>> {
        if self.options.cache != CacheMode::Cached || self.cache.is_none() || self.fresh(model).len() != 1 {
            return None;
        }
        // The token at hand is counted already; a guess after the last one would be for nothing.
        let room = self.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.context_len()));
        let most = MAX_GUESSES.min(self.left).min(room);
        let Self { tokens, options, counts, .. } = self;
        (most > 0).then(|| Draftable {
            number,
            tokens,
            position: self.position(),
            most,
            options,
            position_cost: model.position_cost(),
            counts,
        })
    }

    /// Takes what a pass over the last token and some guesses found: the logits after each guess.
    pub fn take_checked(&mut self, guesses: Vec<(u32, Vec<f32>)>) {
        self.checked.judged = Judged { offered: guesses.len(), kept: 0 };
        self.checked.guesses = guesses.into();
    }

    /// Whether the logits of the last token are there already, because it was guessed right.
    pub fn is_ahead(&self) -> bool {
        self.checked.logits.is_some()
    }

    /// Those logits.
    pub fn take_ahead(&mut self) -> Option<Vec<f32>> {
        let logits = self.checked.logits.take()?;
        self.computed = 1;
        Some(logits)
    }

    /// Compares a token that was drawn from logits with what was guessed in its place; what became of the guesses, once that
    /// is known. After a wrong one the cache is taken back to where it would be without them.
    ///
    /// - context: how many tokens the model saw for the token
    pub fn judge(&mut self, token: u32, ends: bool, context: usize, model: &M) -> Option<Judged> {
        let (guess, logits) = self.checked.guesses.pop_front()?;
        let is_right = guess == token;
        self.checked.judged.kept += usize::from(is_right);
        if is_right && !ends {
            self.checked.logits = Some(logits);
            return self.checked.guesses.is_empty().then_some(self.checked.judged);
        }
        self.checked.guesses.clear();
        if let Some(cache) = &mut self.cache {
            take_back(cache, context, model);
        }
        Some(self.checked.judged)
    }

    /// Chooses the next token from the last position's logits. The stop token is chosen as others are, and ends the
    /// sequence without being added to it.
    ///
    /// - logits: `[vocab_size]`
    ///
    /// # Errors
    /// [`InferError::BadLogits`], [`InferError::AllBanned`].
    pub fn accept(&mut self, logits: &[f32]) -> Result<(GeneratedToken, Option<FinishReason>), InferError> {
        let position = self.position();
        let GenerateOptions { sampler, sample_index, stop_token, alternatives, top_logprobs, .. } = &self.options;
        let distribution = Distribution::with_counts(logits, &self.counts, sampler, position)?;
        let sampled = choose_from(&distribution, logits, sampler, *sample_index, position);
        let is_stop = Some(sampled.token) == *stop_token;
        let alternatives = if *alternatives == 0 { Vec::new() } else { distribution.top(*alternatives) };
        let top_logprobs = if *top_logprobs == 0 { Vec::new() } else { top_of(logits, position, *top_logprobs)? };
        let context = self.context_len();
        if !is_stop {
            self.tokens.push(sampled.token);
            self.counts.advance(&self.tokens);
        }
        let (computed, dropped) = (std::mem::take(&mut self.computed), std::mem::take(&mut self.dropped));
        self.begun = false;
        let token = GeneratedToken { sampled, position, context, computed, dropped, alternatives, top_logprobs };
        Ok((token, is_stop.then_some(FinishReason::EndOfText)))
    }

    /// What can be continued later.
    pub fn into_prefix_cache(mut self, model: &M) -> Option<PrefixCache<M::Cache>> {
        let cache = self.cache.take()?;
        self.with_cached_tokens(cache, model)
    }

    /// The same of a sequence that goes on.
    pub fn prefix_cache(&self, model: &M) -> Option<PrefixCache<M::Cache>> {
        self.with_cached_tokens(self.cache.clone()?, model)
    }

    /// This sequence's cache with the tokens in it, while they are known from the first; guesses that may still turn out
    /// wrong are taken out of it.
    fn with_cached_tokens(&self, mut cache: M::Cache, model: &M) -> Option<PrefixCache<M::Cache>> {
        let first = self.context_start.checked_sub(self.forgotten)?;
        if self.is_ahead() {
            take_back(&mut cache, self.context_len() - 1, model);
        }
        let tokens = self.tokens[first..first + model.position(&cache)].to_vec();
        Some(PrefixCache::new(tokens, cache))
    }

    /// The cache of this sequence for another one of the same context, which has the logits of its last token.
    pub fn cache_for_twin(&self, model: &M) -> Option<M::Cache> {
        let mut cache = self.cache.clone()?;
        take_back(&mut cache, self.context_len(), model);
        Some(cache)
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

    /// Gives up tokens that nothing can look at again, so that a sequence without end takes constant memory.
    pub fn forget(&mut self, model: &M) {
        let sampler = &self.options.sampler;
        // Where the context has an end, overflow drops the cache and computes the rest of the context from its tokens.
        let unseen = match (&self.cache, self.limit) {
            // The last token may have to be computed again, where guesses after it are in the cache.
            (Some(cache), None) => (self.context_start + model.position(cache)).min(self.position() - 1),
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

/// Takes guesses out of a cache, which had room for them.
fn take_back<M: LanguageModel>(cache: &mut M::Cache, position: usize, model: &M) {
    if model.position(cache) > position {
        let is_back = model.rewind(cache, position);
        assert!(is_back, "a cache that had room for guesses cannot be taken back to position {position}");
    }
}

/// The tokens with the largest logits, with the logarithms of their probabilities.
fn top_of(logits: &[f32], position: usize, count: usize) -> Result<Vec<(u32, f64)>, InferError> {
    let row = LogitRow::of(logits).map_err(|what| InferError::BadLogits { position, what })?;
    Ok(row.best(count))
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
pub fn check_prompt(prompt: &[u32], vocab_size: usize) -> Result<(), InferError> {
    check_ids(prompt, vocab_size)?;
    if prompt.is_empty() { Err(InferError::EmptyPrompt) } else { Ok(()) }
}

/// Refuses ids outside a model's vocabulary.
///
/// # Errors
/// [`InferError::UnknownToken`].
pub fn check_ids(ids: &[u32], vocab_size: usize) -> Result<(), InferError> {
    match ids.iter().find(|id| **id as usize >= vocab_size) {
        Some(&id) => Err(InferError::UnknownToken { id, vocab_size }),
        None => Ok(()),
    }
}
