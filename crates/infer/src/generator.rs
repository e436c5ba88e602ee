//! One sequence as an iterator over its new tokens.

use std::num::NonZeroUsize;

use tril_model::Gpt;

use crate::InferError;
use crate::batch::BatchGenerator;
use crate::language_model::LanguageModel;
use crate::sequence::{Event, FinishedSequence, GenerateOptions, GeneratedToken, PrefixCache};

/// An iterator over new tokens.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = burn::tensor::Device::flex();
/// # let gpt = tril_model::Gpt::new(tril_model::GptConfig { vocab_size: 9, ..Default::default() }, 1, &device)?;
/// use tril_infer::{GenerateOptions, Generator};
///
/// let options = GenerateOptions { max_tokens: 20, alternatives: 3, ..Default::default() };
/// for token in Generator::new(&gpt, &[1, 2, 3], options)? {
///     let token = token?;
///     println!("{}: {} of {:?}", token.sampled.token, token.sampled.logprob, token.alternatives);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Generator<M: LanguageModel = Gpt> {
    batch: BatchGenerator<M>,
    finished: Option<FinishedSequence<M::Cache>>,
}

impl<M: LanguageModel> Generator<M> {
    /// A generator that continues `prompt` by a model, which may be `&model` or an `Arc`.
    ///
    /// # Errors
    /// [`InferError`] for an empty prompt, an id outside the vocabulary, or bad options.
    pub fn new(model: M, prompt: &[u32], options: GenerateOptions) -> Result<Self, InferError> {
        Self::resume(model, prompt, options, None)
    }

    /// The same, with the cache of an earlier text of this model: their common beginning is not computed again. The
    /// tokens are those that a fresh start would give.
    ///
    /// # Errors
    /// As [`Generator::new`].
    pub fn resume(
        model: M,
        prompt: &[u32],
        options: GenerateOptions,
        prefix: Option<PrefixCache<M::Cache>>,
    ) -> Result<Self, InferError> {
        let mut batch = BatchGenerator::new(model);
        batch.add_from(prompt, options, prefix)?;
        Ok(Self { batch, finished: None })
    }

    /// Has a prompt enter the cache in chunks of this many positions. It changes memory and time, never a token.
    #[must_use]
    pub fn with_prefill_chunk(self, prefill_chunk: NonZeroUsize) -> Self {
        Self { batch: self.batch.with_prefill_chunk(prefill_chunk), ..self }
    }

    /// Why and how it finished, once it has.
    pub fn finished(&self) -> Option<&FinishedSequence<M::Cache>> {
        self.finished.as_ref()
    }

    /// What can be continued later: the text so far, as far as it is in the cache.
    pub fn into_prefix_cache(mut self) -> Option<PrefixCache<M::Cache>> {
        match self.finished {
            Some(finished) => finished.prefix_cache,
            None => self.batch.remove(0),
        }
    }
}

impl<M: LanguageModel> Iterator for Generator<M> {
    type Item = Result<GeneratedToken, InferError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.batch.is_empty() {
            match self.batch.step().map(|events| events.into_iter().next()) {
                // A long prompt takes several steps to enter.
                Ok(None) => {}
                Ok(Some((_, Event::Token(token)))) => return Some(Ok(token)),
                Ok(Some((_, Event::Finished(finished)))) => self.finished = Some(*finished),
                Ok(Some((_, Event::Failed(error)))) => return Some(Err(error)),
                Err(error) => {
                    self.batch.remove(0);
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use tril_model::{ForwardContext, GptConfig, Positions};

    use super::*;
    use crate::{CacheMode, Overflow, SamplerConfig, choose, context_start};

    const NEW_TOKENS: usize = 60;

    fn gpt(positions: Positions, window: usize) -> Gpt {
        let config = GptConfig {
            vocab_size: 11,
            max_seq_len: 8,
            n_layers: 2,
            n_heads: 2,
            d_model: 12,
            positions,
            window,
            ..GptConfig::default()
        };
        Gpt::new(config, 3, &Device::flex()).expect("a sound config")
    }

    /// The definition: every token is kept, and the whole context is computed at each step.
    fn recomputed(gpt: &Gpt, prompt: &[u32], options: &GenerateOptions) -> Vec<u32> {
        let (mut ids, mut start) = (prompt.to_vec(), 0);
        while ids.len() < prompt.len() + NEW_TOKENS {
            if let Some(limit) = gpt.config().context_limit() {
                if options.on_overflow == Overflow::Stop && ids.len() > limit {
                    break;
                }
                start = context_start(start, ids.len(), limit);
            }
            let input = gpt.inputs(&ids[start..], 1);
            let logits = gpt.last_logits(input, ForwardContext::default()).try_into_vec_as::<f32>().expect("f32");
            ids.push(choose(&logits, &ids, &options.sampler, 0, ids.len()).expect("sound logits").token);
        }
        ids.split_off(prompt.len())
    }

    #[test]
    fn a_text_that_outgrows_every_bound_is_what_it_is_with_all_tokens_kept() {
        let penalties = [(1.0, 0), (1.3, 0), (1.3, 3), (1.3, 30)];
        for (positions, window) in
            [(Positions::Learned, 0), (Positions::Learned, 3), (Positions::Rotary, 0), (Positions::Rotary, 3)]
        {
            let gpt = gpt(positions, window);
            for cache in [CacheMode::Cached, CacheMode::Recompute] {
                for on_overflow in [Overflow::Recompute, Overflow::Stop] {
                    for (repetition_penalty, penalty_last_n) in penalties {
                        let sampler = SamplerConfig { repetition_penalty, penalty_last_n, ..SamplerConfig::default() };
                        let options = GenerateOptions {
                            sampler,
                            cache,
                            on_overflow,
                            max_tokens: NEW_TOKENS,
                            ..Default::default()
                        };
                        let expected = recomputed(&gpt, &[1, 2], &options);
                        let steps = Generator::new(&gpt, &[1, 2], options.clone()).expect("a sound prompt");
                        let found: Vec<u32> = steps.map(|step| step.expect("sound logits").sampled.token).collect();
                        assert_eq!(found, expected, "{positions:?}, window {window}, {options:?}");
                    }
                }
            }
        }
    }
}
