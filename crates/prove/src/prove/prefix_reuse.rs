//! Claim 1: a text that goes on from the cache which another request has left.

use std::sync::{Mutex, PoisonError};

use super::ModelUnderTest;
use super::compare::Comparison;
use super::model_runner::ModelRunner;
use super::text::{Draws, Segment};
use tril_infer::{
    BatchGenerator, Event, GenerateOptions, InferError, LanguageModel, Overflow, PrefixCache, SamplerConfig,
};

/// Tokens that are generated after a prompt, and tokens in which two prompts part.
const TAIL: usize = 6;

/// Prompts tried on a segment.
const CASES: usize = 4;

/// The proof on one segment. Requests are served by the generator itself, a batch a request.
pub(super) struct PrefixReuse<'a, S: ModelUnderTest> {
    pub runner: &'a ModelRunner<'a, S>,
    pub segment: Segment<'a>,
    /// How many cases there is time for.
    pub cases: usize,
    pub seed: u64,
}

impl<S: ModelUnderTest> PrefixReuse<'_, S> {
    /// A request whose prompt begins as the segment does, and goes on otherwise or ends there; then the segment as a prompt,
    /// with the cache of the first one, which goes on meanwhile. All logits of both are held to those of a pass over all
    /// tokens afresh.
    pub fn compare(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        comparison.absent("the cache has given up what it would need to go back");
        let model = self.runner.model;
        let limit = model.context_limit().unwrap_or(usize::MAX);
        let prompt = &self.segment.ids[..self.segment.ids.len().min(limit.saturating_sub(TAIL).max(2))];
        let window = model.config().window;
        let mut draws = Draws::new(self.seed, comparison.id(), self.segment, model.config().vocab_size);
        let edges = [prompt.len() - 2, 0, window, prompt.len() / 2];
        let shared = draws.below(prompt.len() - 1, self.cases.min(CASES), &edges);
        for (case, shared) in shared.into_iter().map(|below| below + 1).enumerate() {
            // Every second prompt is a beginning of the segment and no more, so that nothing is to be taken back.
            let end = if case % 2 == 0 { (shared + TAIL).min(prompt.len()) } else { shared };
            let others = draws.tokens_other_than(&prompt[shared..end]);
            self.case(&[&prompt[..shared], &others].concat(), prompt, comparison)?;
        }
        Ok(())
    }

    fn case(&self, before: &[u32], prompt: &[u32], comparison: &mut Comparison) -> Result<(), InferError> {
        let recorders = [self.runner.model, self.runner.model].map(Recorder::new);
        let mut first = Request::new(&recorders[0], before, None)?;
        first.advance()?;
        let kept = first.prefix_cache();
        let spared = kept.as_ref().map_or(0, |kept| kept.spares(prompt, &recorders[1]));
        let mut second = Request::new(&recorders[1], prompt, kept.filter(|_| spared > 0))?;
        while second.is_going() {
            second.advance()?;
            first.advance()?;
        }
        // A request that found nothing to go on from says nothing, unless its numbers are no numbers.
        let broken = recorders[0].rows().iter().any(|(_, row)| row.iter().any(|logit| !logit.is_finite()));
        if spared == 0 && !broken {
            return Ok(());
        }
        comparison.case();
        for (tokens, recorder) in [first.tokens, second.tokens].iter().zip(&recorders) {
            let rows = recorder.rows();
            let seen = rows.iter().map(|(position, _)| position + 1).max().unwrap_or(0);
            if seen == 0 {
                continue;
            }
            let expected = self.runner.parallel(&[&tokens[..seen]])?;
            for (position, found) in rows {
                comparison.compare(self.segment.start + position, expected.row(position), &found);
            }
        }
        Ok(())
    }
}

/// One request in a batch of its own, and its tokens so far.
struct Request<'a, S: ModelUnderTest> {
    batch: BatchGenerator<&'a Recorder<'a, S>>,
    number: usize,
    tokens: Vec<u32>,
    left: Option<PrefixCache<S::Cache>>,
}

impl<'a, S: ModelUnderTest> Request<'a, S> {
    fn new(
        model: &'a Recorder<'a, S>,
        prompt: &[u32],
        prefix: Option<PrefixCache<S::Cache>>,
    ) -> Result<Self, InferError> {
        let sampler = SamplerConfig { temperature: 0.0, ..SamplerConfig::default() };
        let options =
            GenerateOptions { sampler, max_tokens: TAIL, on_overflow: Overflow::Stop, ..GenerateOptions::default() };
        let mut batch = BatchGenerator::new(model);
        let number = batch.add_from(prompt, options, prefix)?;
        Ok(Self { batch, number, tokens: prompt.to_vec(), left: None })
    }

    fn is_going(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Until it has one token more, if it goes on.
    fn advance(&mut self) -> Result<(), InferError> {
        while self.is_going() {
            for (_, event) in self.batch.step()? {
                match event {
                    Event::Token(token) => {
                        self.tokens.push(token.sampled.token);
                        return Ok(());
                    }
                    Event::Finished(finished) => self.left = finished.prefix_cache,
                    // Its logits are no numbers, which the comparison will see.
                    Event::Failed(_) => {}
                }
            }
        }
        Ok(())
    }

    /// What is kept of it, while it goes on or after its end.
    fn prefix_cache(&self) -> Option<PrefixCache<S::Cache>> {
        self.batch.prefix_cache(self.number).or_else(|| self.left.clone())
    }
}

/// A model that takes down the logits which a generator of one sequence gets from it, with their positions.
struct Recorder<'a, S> {
    model: &'a S,
    rows: Mutex<Vec<(usize, Vec<f32>)>>,
}

impl<'a, S: ModelUnderTest> Recorder<'a, S> {
    fn new(model: &'a S) -> Self {
        Self { model, rows: Mutex::default() }
    }

    fn rows(&self) -> Vec<(usize, Vec<f32>)> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take_down(&self, position: usize, logits: &[f32]) {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).push((position, logits.to_vec()));
    }
}

impl<S: ModelUnderTest> LanguageModel for Recorder<'_, S> {
    type Cache = S::Cache;

    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn context_limit(&self) -> Option<usize> {
        self.model.context_limit()
    }

    fn new_cache(&self) -> S::Cache {
        self.model.new_cache()
    }

    fn position(&self, cache: &S::Cache) -> usize {
        self.model.position(cache)
    }

    fn rewind(&self, cache: &mut S::Cache, position: usize) -> bool {
        self.model.rewind(cache, position)
    }

    fn last_logits(&self, ids: &[u32], cache: Option<&mut S::Cache>) -> Result<Vec<f32>, InferError> {
        let before = cache.as_deref().map_or(0, |cache| self.model.position(cache));
        let logits = self.model.last_logits(ids, cache)?;
        self.take_down(before + ids.len() - 1, &logits);
        Ok(logits)
    }

    fn decode(&self, ids: &[u32], caches: &mut [S::Cache]) -> Result<Vec<f32>, InferError> {
        let before: Vec<usize> = caches.iter().map(|cache| self.model.position(cache)).collect();
        let logits = self.model.decode(ids, caches)?;
        for (position, row) in before.into_iter().zip(logits.chunks(self.vocab_size())) {
            self.take_down(position, row);
        }
        Ok(logits)
    }
}
