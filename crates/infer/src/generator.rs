//! One sequence as an iterator over its new tokens.

use std::num::NonZeroUsize;

use tril_model::Gpt;

use crate::InferError;
use crate::batch::Batch;
use crate::sequence::{Ended, Event, GenerateOptions, Remembered, Step};

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
    batch: Batch<'a>,
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
        remembered: Option<Remembered>,
    ) -> Result<Self, InferError> {
        let mut batch = Batch::new(gpt);
        batch.join_from(prompt, options, remembered)?;
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
    pub fn remember(mut self) -> Option<Remembered> {
        match self.ended {
            Some(ended) => ended.remembered,
            None => self.batch.leave(0),
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
                self.batch.leave(0);
                Some(Err(error))
            }
        }
    }
}
