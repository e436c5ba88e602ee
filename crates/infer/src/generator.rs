//! One sequence as an iterator over its new tokens.

use std::num::NonZeroUsize;

use tril_model::Gpt;

use crate::InferError;
use crate::batch::BatchGenerator;
use crate::sequence::{Ended, Event, GenerateOptions, PrefixCache, Step};

/// An iterator over new tokens.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = burn::tensor::Device::flex();
/// # let gpt = tril_model::Gpt::new(tril_model::GptConfig { vocab_size: 9, ..Default::default() }, 1, &device)?;
/// use tril_infer::{GenerateOptions, Generator};
///
/// let options = GenerateOptions { max_tokens: 20, alternatives: 3, ..Default::default() };
/// for step in Generator::new(&gpt, &[1, 2, 3], options)? {
///     let step = step?;
///     println!("{}: {} of {:?}", step.token, step.logprob, step.alternatives);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Generator<'a> {
    batch: BatchGenerator<'a>,
    ended: Option<Ended>,
}

impl<'a> Generator<'a> {
    /// A generator that continues `prompt`.
    ///
    /// # Errors
    /// [`InferError`] for an empty prompt, an id outside the vocabulary, or bad options.
    pub fn new(gpt: &'a Gpt, prompt: &[u32], options: GenerateOptions) -> Result<Self, InferError> {
        Self::resume(gpt, prompt, options, None)
    }

    /// The same, with what is remembered of an earlier text of this model: their common beginning is not computed
    /// again. The tokens are those that a fresh start would give.
    ///
    /// # Errors
    /// As [`Generator::new`].
    pub fn resume(
        gpt: &'a Gpt,
        prompt: &[u32],
        options: GenerateOptions,
        remembered: Option<PrefixCache>,
    ) -> Result<Self, InferError> {
        let mut batch = BatchGenerator::new(gpt);
        batch.add_from(prompt, options, remembered)?;
        Ok(Self { batch, ended: None })
    }

    /// Has a prompt enter the cache in chunks of this many positions. It changes memory and time, never a token.
    #[must_use]
    pub fn with_prefill_chunk(self, prefill_chunk: NonZeroUsize) -> Self {
        Self { batch: self.batch.with_prefill_chunk(prefill_chunk), ..self }
    }

    /// Why and how it ended, once it has.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// What can be continued later: the text so far, as far as it is in the cache.
    pub fn into_prefix_cache(mut self) -> Option<PrefixCache> {
        match self.ended {
            Some(ended) => ended.remembered,
            None => self.batch.remove(0),
        }
    }
}

impl Iterator for Generator<'_> {
    type Item = Result<Step, InferError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batch.step() {
            Ok(events) => match events.into_iter().next()?.1 {
                Event::Step(step) => Some(Ok(step)),
                Event::Ended(ended) => {
                    self.ended = Some(*ended);
                    None
                }
            },
            Err(error) => {
                self.batch.remove(0);
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, Tensor, TensorData};
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
            let context: Vec<i32> = ids[start..].iter().map(|id| *id as i32).collect();
            let shape = [1, context.len()];
            let input = Tensor::<2, Int>::from_data(TensorData::new(context, shape), &gpt.device());
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
                    for (repetition_penalty, penalty_span) in penalties {
                        let sampler = SamplerConfig { repetition_penalty, penalty_span, ..SamplerConfig::default() };
                        let options = GenerateOptions {
                            sampler,
                            cache,
                            on_overflow,
                            max_tokens: NEW_TOKENS,
                            ..Default::default()
                        };
                        let expected = recomputed(&gpt, &[1, 2], &options);
                        let steps = Generator::new(&gpt, &[1, 2], options.clone()).expect("a sound prompt");
                        let found: Vec<u32> = steps.map(|step| step.expect("sound logits").token).collect();
                        assert_eq!(found, expected, "{positions:?}, window {window}, {options:?}");
                    }
                }
            }
        }
    }
}
