//! Sequences that grow together, one token each a step, whatever their lengths: each has a cache of its own, and one
//! forward pass takes them all. What becomes of one never depends on the others.

use std::num::NonZeroUsize;

use burn::tensor::{Device, Int, Tensor, TensorData};
use tril_model::{ForwardContext, Gpt, KvCache};

use crate::InferError;
use crate::sequence::{CacheMode, Ended, Event, Finish, GenerateOptions, PrefixCache, Sequence, Step};

/// Positions computed at once while a prompt enters the cache; bounds memory for long prompts.
pub const PREFILL_CHUNK: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// Sequences in work. Those that have ended leave, others may join at any time.
pub struct BatchGenerator<'a> {
    gpt: &'a Gpt,
    device: Device,
    members: Vec<(usize, Sequence)>,
    joined: usize,
    prefill_chunk: NonZeroUsize,
}

/// Logits of a sequence's last position, `[vocab_size]`, and how many positions were computed for them.
struct Last {
    logits: Vec<f32>,
    computed: usize,
}

impl<'a> BatchGenerator<'a> {
    /// An empty batch.
    pub fn new(gpt: &'a Gpt) -> Self {
        Self { gpt, device: gpt.device(), members: Vec::new(), joined: 0, prefill_chunk: PREFILL_CHUNK }
    }

    /// Has prompts enter their caches in chunks of this many positions. It changes memory and time, never a token.
    #[must_use]
    pub fn with_prefill_chunk(self, prefill_chunk: NonZeroUsize) -> Self {
        Self { prefill_chunk, ..self }
    }

    /// Adds a sequence that continues `prompt`; returns its number, counted from 0 in the order of joining.
    ///
    /// # Errors
    /// [`InferError`] for an empty prompt, an id outside the vocabulary, or bad options.
    pub fn add(&mut self, prompt: &[u32], options: GenerateOptions) -> Result<usize, InferError> {
        self.add_from(prompt, options, None)
    }

    /// The same, with what is remembered of an earlier text of this model: its common beginning is not computed again.
    ///
    /// # Errors
    /// As [`BatchGenerator::add`].
    pub fn add_from(
        &mut self,
        prompt: &[u32],
        options: GenerateOptions,
        remembered: Option<PrefixCache>,
    ) -> Result<usize, InferError> {
        let sequence = Sequence::new(self.gpt, prompt, options, remembered)?;
        let number = self.joined;
        self.members.push((number, sequence));
        self.joined += 1;
        Ok(number)
    }

    /// Takes a sequence out before its end; what can be continued later, if it has a cache.
    pub fn remove(&mut self, number: usize) -> Option<PrefixCache> {
        let place = self.members.iter().position(|(member, _)| *member == number)?;
        self.members.remove(place).1.into_prefix_cache()
    }

    /// How many sequences are in work.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// One step of every sequence: what became of each, in the order of joining. One that has ended is gone.
    ///
    /// # Errors
    /// [`InferError::BadLogits`] of the first sequence that has them, [`InferError::Device`].
    pub fn step(&mut self) -> Result<Vec<(usize, Event)>, InferError> {
        let mut begun: Vec<Result<usize, Finish>> = self.members.iter_mut().map(|(_, member)| member.begin()).collect();
        let mut events = self.part_with(begun.iter().map(|begun| begun.err().map(|finish| (finish, None))).collect());
        begun.retain(Result::is_ok);
        let last = self.last_logits()?;
        let mut ended = Vec::with_capacity(self.members.len());
        for (((number, sequence), last), dropped) in self.members.iter_mut().zip(last).zip(begun.iter().flatten()) {
            let (step, finish) = sequence.accept(&last.logits, last.computed, *dropped)?;
            match finish {
                Some(finish) => ended.push(Some((finish, Some(step)))),
                None => {
                    ended.push(None);
                    events.push((*number, Event::Step(step)));
                }
            }
        }
        events.extend(self.part_with(ended));
        events.sort_by_key(|(number, _)| *number);
        Ok(events)
    }

    /// Takes out those members that have ended.
    fn part_with(&mut self, ended: Vec<Option<(Finish, Option<Step>)>>) -> Vec<(usize, Event)> {
        let mut events = Vec::new();
        let members = std::mem::take(&mut self.members);
        for ((number, sequence), ended) in members.into_iter().zip(ended) {
            match ended {
                Some((finish, stop)) => {
                    let remembered = sequence.into_prefix_cache();
                    events.push((number, Event::Ended(Box::new(Ended { finish, stop, remembered }))));
                }
                None => self.members.push((number, sequence)),
            }
        }
        events
    }

    /// The logits of each sequence.
    fn last_logits(&mut self) -> Result<Vec<Last>, InferError> {
        let mut found: Vec<Option<Last>> = (0..self.members.len()).map(|_| None).collect();
        for place in 0..self.members.len() {
            let together = self.members[place].1.cache.is_some() && self.members[place].1.fresh().len() == 1;
            if !together {
                found[place] = Some(self.alone(place, &found)?);
            }
        }
        let (mut ids, mut caches) = (Vec::new(), Vec::new());
        for ((_, sequence), last) in self.members.iter_mut().zip(&found) {
            if last.is_none() {
                ids.extend_from_slice(sequence.fresh());
                caches.extend(sequence.cache.take());
            }
        }
        if ids.is_empty() {
            return Ok(found.into_iter().flatten().collect());
        }
        let rows = ids.len();
        let pass = ForwardContext { caches: &mut caches, ..ForwardContext::default() };
        let logits = self.gpt.last_logits(self.input(&ids, rows), pass); // [rows, vocab_size]
        let logits = numbers(logits)?;
        let rows = logits.chunks_exact(self.gpt.config().vocab_size).zip(caches);
        let waiting = self.members.iter_mut().zip(&mut found).filter(|(_, last)| last.is_none());
        for (((_, sequence), last), (logits, cache)) in waiting.zip(rows) {
            sequence.cache = Some(cache);
            *last = Some(Last { logits: logits.to_vec(), computed: 1 });
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// The logits of one sequence that has more than one position to compute, or no cache.
    fn alone(&mut self, place: usize, found: &[Option<Last>]) -> Result<Last, InferError> {
        let sequence = &self.members[place].1;
        if sequence.options.cache == CacheMode::Recompute {
            // Without a cache every token of the context is kept.
            let context = sequence.context().ok_or(InferError::EmptyPrompt)?;
            let logits = self.gpt.last_logits(self.input(context, 1), ForwardContext::default());
            return Ok(Last { logits: numbers(logits)?, computed: context.len() });
        }
        // Samples of one prompt begin alike: what one has computed serves the others.
        let same = |(_, other): &(usize, Sequence)| {
            other.cached_context().is_some_and(|cached| sequence.context() == Some(cached))
        };
        let twin = self.members[..place].iter().position(same);
        if let (None, Some(twin)) = (&sequence.cache, twin)
            && let Some(Some(last)) = found.get(twin)
        {
            let cache = self.members[twin].1.cache.clone();
            let logits = last.logits.clone();
            self.members[place].1.cache = cache;
            return Ok(Last { logits, computed: 0 });
        }
        let fresh = sequence.fresh().to_vec();
        let mut cache = self.members[place].1.cache.take().unwrap_or_else(|| self.new_cache());
        let mut logits = None;
        for chunk in fresh.chunks(self.prefill_chunk.get()) {
            logits = Some(self.gpt.last_logits(self.input(chunk, 1), ForwardContext::cached(&mut cache)));
        }
        self.members[place].1.cache = Some(cache);
        // There is always a token that the cache has not seen: the one appended last.
        let logits = logits.ok_or(InferError::EmptyPrompt)?; // [1, vocab_size]
        Ok(Last { logits: numbers(logits)?, computed: fresh.len() })
    }

    /// An empty cache, which shares what it can with those there are.
    fn new_cache(&self) -> KvCache {
        let any = self.members.iter().find_map(|(_, sequence)| sequence.cache.as_ref());
        any.map_or_else(|| self.gpt.new_cache(1), |cache| cache.empty_like())
    }

    /// - returns: `[rows, len / rows]`
    fn input(&self, ids: &[u32], rows: usize) -> Tensor<2, Int> {
        let values: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
        Tensor::from_data(TensorData::new(values, [rows, ids.len() / rows]), &self.device)
    }
}

fn numbers(logits: Tensor<2>) -> Result<Vec<f32>, InferError> {
    logits.try_into_vec_as::<f32>().map_err(|error| InferError::Device(error.to_string()))
}
