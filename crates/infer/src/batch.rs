//! Sequences that grow together, one token each a step, whatever their lengths: each has a cache of its own, and one
//! forward pass takes them all. What becomes of one never depends on the others.

mod guessing;

use std::num::NonZeroUsize;

use tril_model::Gpt;

use crate::InferError;
use crate::draft::{DraftTally, Drafter};
use crate::language_model::LanguageModel;
use crate::sequence::{CacheMode, Event, FinishReason, FinishedSequence, GenerateOptions, PrefixCache, Sequence};

/// Positions of prompts that one step computes at most; bounds the memory of a step and the time that it takes from the
/// sequences that are past their prompts.
pub const PREFILL_CHUNK: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// Sequences in work. Those that have finished leave, others may be added at any time.
pub struct BatchGenerator<M: LanguageModel = Gpt> {
    model: M,
    members: Vec<Member<M>>,
    added: usize,
    prefill_chunk: NonZeroUsize,
    drafter: Option<Box<dyn Drafter>>,
    tally: DraftTally,
}

/// What became of a sequence, with the number that it was given.
pub type NumberedEvent<C> = (usize, Event<C>);

/// A sequence and the number that it was given.
struct Member<M: LanguageModel> {
    number: usize,
    sequence: Sequence<M>,
    pace: Pace,
}

/// Whether a sequence takes part in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Going,
    Paused,
}

impl<M: LanguageModel> BatchGenerator<M> {
    /// An empty batch over a model, which may be `&model` or an `Arc`.
    pub fn new(model: M) -> Self {
        let (drafter, tally) = (None, DraftTally::default());
        Self { model, members: Vec::new(), added: 0, prefill_chunk: PREFILL_CHUNK, drafter, tally }
    }

    /// Has prompts enter their caches in chunks of this many positions. It changes memory and time, never a token.
    #[must_use]
    pub fn with_prefill_chunk(self, prefill_chunk: NonZeroUsize) -> Self {
        Self { prefill_chunk, ..self }
    }

    /// Has next tokens guessed, so that one pass checks several of them. It changes the time, never a token.
    #[must_use]
    pub fn with_drafter(self, drafter: Box<dyn Drafter>) -> Self {
        Self { drafter: Some(drafter), ..self }
    }

    /// How guesses have fared.
    pub fn draft_tally(&self) -> DraftTally {
        self.tally
    }

    /// Adds a sequence that continues `prompt`; returns its number, counted from 0 in the order of being added.
    ///
    /// # Errors
    /// [`InferError`] for an empty prompt, an id outside the vocabulary, or bad options.
    pub fn add(&mut self, prompt: &[u32], options: GenerateOptions) -> Result<usize, InferError> {
        self.add_from(prompt, options, None)
    }

    /// The same, with the cache of an earlier text of this model: their common beginning is not computed again.
    ///
    /// # Errors
    /// As [`BatchGenerator::add`].
    pub fn add_from(
        &mut self,
        prompt: &[u32],
        options: GenerateOptions,
        prefix: Option<PrefixCache<M::Cache>>,
    ) -> Result<usize, InferError> {
        let sequence = Sequence::new(&self.model, prompt, options, prefix)?;
        let number = self.added;
        self.members.push(Member { number, sequence, pace: Pace::Going });
        self.added += 1;
        Ok(number)
    }

    /// Takes a sequence out before its end; what can be continued later, if it has a cache.
    pub fn remove(&mut self, number: usize) -> Option<PrefixCache<M::Cache>> {
        let place = self.members.iter().position(|member| member.number == number)?;
        self.forget_drafts(number);
        self.members.remove(place).sequence.into_prefix_cache(&self.model)
    }

    /// Leaves a sequence as it is until [`BatchGenerator::resume`]; its tokens are the same. False if there is none of this
    /// number.
    pub fn pause(&mut self, number: usize) -> bool {
        self.set_pace(number, Pace::Paused)
    }

    /// Goes on with a sequence. False if there is none of this number.
    pub fn resume(&mut self, number: usize) -> bool {
        self.set_pace(number, Pace::Going)
    }

    fn set_pace(&mut self, number: usize, pace: Pace) -> bool {
        let member = self.members.iter_mut().find(|member| member.number == number);
        member.map(|member| member.pace = pace).is_some()
    }

    /// Whether a step would do anything: some sequence is not paused.
    pub fn is_going(&self) -> bool {
        self.members.iter().any(|member| member.pace == Pace::Going)
    }

    /// What can be continued later of a sequence that goes on, if it has a cache.
    pub fn prefix_cache(&self, number: usize) -> Option<PrefixCache<M::Cache>> {
        let member = self.members.iter().find(|member| member.number == number)?;
        member.sequence.prefix_cache(&self.model)
    }

    /// How many sequences are in work, paused ones too.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// One step: what became of each sequence, in the order of being added. One that has finished or failed is gone. A
    /// sequence whose prompt is long takes several steps to enter and is not told of until it has its first token, so
    /// there may be no event at all. Tokens that were guessed right come in steps of their own, which compute nothing and
    /// tell of no other sequence.
    ///
    /// # Errors
    /// [`InferError::Device`], after which the batch is of no use. What is wrong with one sequence alone, such as
    /// [`InferError::BadLogits`], is an event of that sequence.
    pub fn step(&mut self) -> Result<Vec<NumberedEvent<M::Cache>>, InferError> {
        let mut events = Vec::new();
        let any_ahead = self.members.iter().any(Member::is_ahead);
        let begin = |member: &mut Member<M>| match member.pace {
            Pace::Going if !any_ahead || member.is_ahead() => member.sequence.begin().err(),
            Pace::Going | Pace::Paused => None,
        };
        let begun = self.members.iter_mut().map(begin).collect();
        self.part_with(begun, &mut events);
        let logits = match any_ahead {
            true => self.ahead(),
            false => self.logits()?,
        };
        let mut finished = Vec::with_capacity(self.members.len());
        for (Member { number, sequence, .. }, logits) in self.members.iter_mut().zip(logits) {
            let accepted = logits.map(|logits| sequence.accept(&logits));
            if let Some(Ok((token, reason))) = &accepted
                && let Some(judged) = sequence.judge(token.sampled.token, reason.is_some(), token.context, &self.model)
            {
                self.tally.kept += judged.kept as u64;
                if let Some(drafter) = &mut self.drafter {
                    drafter.judged(*number, judged.offered, judged.kept);
                }
            }
            finished.push(match accepted {
                None => None,
                Some(Ok((token, None))) => {
                    events.push((*number, Event::Token(token)));
                    None
                }
                Some(Ok((token, Some(reason)))) => Some(Departure::Finished(reason, Some(token))),
                Some(Err(error)) => Some(Departure::Failed(error)),
            });
        }
        self.part_with(finished, &mut events);
        events.sort_by_key(|(number, _)| *number);
        Ok(events)
    }

    /// Takes out those members that have an ending.
    fn part_with<E: Into<Departure>>(&mut self, endings: Vec<Option<E>>, events: &mut Vec<NumberedEvent<M::Cache>>) {
        let members = std::mem::take(&mut self.members);
        for (member, ending) in members.into_iter().zip(endings) {
            let Some(ending) = ending else {
                self.members.push(member);
                continue;
            };
            self.forget_drafts(member.number);
            let event = match ending.into() {
                Departure::Failed(error) => Event::Failed(error),
                Departure::Finished(reason, stop) => {
                    let prefix_cache = member.sequence.into_prefix_cache(&self.model);
                    Event::Finished(Box::new(FinishedSequence { reason, stop, prefix_cache }))
                }
            };
            events.push((member.number, event));
        }
    }

    /// The logits of each sequence's last position, `[vocab_size]`; none while its prompt is not all computed.
    fn logits(&mut self) -> Result<Vec<Option<Vec<f32>>>, InferError> {
        let mut found: Vec<Option<Vec<f32>>> = vec![None; self.members.len()];
        let mut decoded = vec![false; self.members.len()];
        let mut room = self.prefill_chunk.get();
        for place in 0..self.members.len() {
            let Member { sequence, pace, .. } = &self.members[place];
            if *pace == Pace::Paused {
                continue;
            }
            if sequence.options.cache == CacheMode::Recompute {
                found[place] = Some(self.recompute(place)?);
            } else if sequence.cache.is_some() && sequence.fresh(&self.model).len() == 1 {
                decoded[place] = true;
            } else if room > 0 {
                found[place] = self.prefill(place, &mut room)?;
            }
        }
        let guesses = self.guess(&decoded)?;
        self.members.iter_mut().for_each(|member| member.sequence.forget(&self.model));
        match guesses {
            Some(guesses) => self.check(&decoded, guesses, &mut found)?,
            None => self.decode(&decoded, &mut found)?,
        }
        for place in 0..self.members.len() {
            if found[place].is_none()
                && self.members[place].pace == Pace::Going
                && let Some(twin) = self.twin(place)
                && let Some(logits) = found[twin].clone()
            {
                self.members[place].sequence.cache = self.members[twin].sequence.cache_for_twin(&self.model);
                found[place] = Some(logits);
            }
        }
        Ok(found)
    }

    /// The logits of one sequence without a cache: the whole context is computed.
    fn recompute(&mut self, place: usize) -> Result<Vec<f32>, InferError> {
        let sequence = &mut self.members[place].sequence;
        // Without a cache every token of the context is kept.
        let context = sequence.context().ok_or(InferError::EmptyPrompt)?;
        let (logits, computed) = (self.model.last_logits(context, None)?, context.len());
        sequence.computed = computed;
        Ok(logits)
    }

    /// Has more of a prompt enter its cache, as much as there is `room` for; the logits, once all of it has.
    fn prefill(&mut self, place: usize, room: &mut usize) -> Result<Option<Vec<f32>>, InferError> {
        // Samples of one prompt begin alike: what one computes serves the others, which wait for it.
        if self.twin(place).is_some() {
            return Ok(None);
        }
        let sequence = &mut self.members[place].sequence;
        let fresh = sequence.fresh(&self.model);
        let chunk = fresh[..fresh.len().min(*room)].to_vec();
        let is_last = chunk.len() == fresh.len();
        *room -= chunk.len();
        let mut cache = sequence.cache.take().unwrap_or_else(|| self.model.new_cache());
        let logits = self.model.last_logits(&chunk, Some(&mut cache))?;
        sequence.cache = Some(cache);
        sequence.computed += chunk.len();
        Ok(is_last.then_some(logits))
    }

    /// An earlier sequence with the same prompt, for one that has no cache. Later on, whether two meet at one context hangs on
    /// guesses and pauses, and what is computed for a token shall not.
    fn twin(&self, place: usize) -> Option<usize> {
        let sequence = &self.members[place].sequence;
        if sequence.cache.is_some() || !sequence.is_at_prompt() {
            return None;
        }
        let context = sequence.context()?;
        // A paused one would be waited for in vain.
        self.members[..place].iter().position(|Member { sequence: other, pace, .. }| {
            *pace == Pace::Going
                && other.options.cache == CacheMode::Cached
                && other.is_at_prompt()
                && other.context() == Some(context)
        })
    }

    /// One more position of each of the sequences that are past their prompts, by one forward pass.
    fn decode(&mut self, decoded: &[bool], found: &mut [Option<Vec<f32>>]) -> Result<(), InferError> {
        let (mut ids, mut caches) = (Vec::new(), Vec::new());
        for (Member { sequence, .. }, _) in self.members.iter_mut().zip(decoded).filter(|(_, decoded)| **decoded) {
            ids.extend_from_slice(sequence.fresh(&self.model));
            caches.extend(sequence.cache.take());
        }
        if ids.is_empty() {
            return Ok(());
        }
        let logits = self.model.decode(&ids, &mut caches)?; // [caches.len() · vocab_size]
        let mut rows = logits.chunks_exact(self.model.vocab_size()).zip(caches);
        let places = self.members.iter_mut().zip(found).zip(decoded).filter(|(_, decoded)| **decoded);
        for ((Member { sequence, .. }, found), _) in places {
            let Some((logits, cache)) = rows.next() else { break };
            sequence.cache = Some(cache);
            sequence.computed += 1;
            *found = Some(logits.to_vec());
        }
        Ok(())
    }
}

/// Why a member leaves.
enum Departure {
    Finished(FinishReason, Option<crate::GeneratedToken>),
    Failed(InferError),
}

impl From<FinishReason> for Departure {
    fn from(reason: FinishReason) -> Self {
        Self::Finished(reason, None)
    }
}

#[cfg(test)]
mod tests;
