//! What a model writes at each evaluation of its run, kept among the metrics: how it learnt to write can be read later.

use std::sync::Arc;

use tril_model::Gpt;
use tril_text::Tokenizer;
use tril_train::{Evaluation, StepReport, TrainObserver};

use crate::generate::{GenerateRequest, TextGenerator};

/// Most tokens of a sample that is kept.
const MAX_TOKENS: usize = 200;

/// Passes everything on to another observer, and makes the samples.
pub(crate) struct SampleKeeper<'a> {
    pub inner: &'a mut dyn TrainObserver,
    pub tokenizer: Arc<Tokenizer>,
    /// What the recipe's `[sample]` section asks for.
    pub sample: GenerateRequest,
}

impl TrainObserver for SampleKeeper<'_> {
    fn step(&mut self, report: &StepReport, tokens: usize, seconds: f64) {
        self.inner.step(report, tokens, seconds);
    }

    fn evaluation(&mut self, step: u64, evaluation: &Evaluation, is_best: bool) {
        self.inner.evaluation(step, evaluation, is_best);
    }

    fn model(&mut self, step: u64, model: &dyn Fn() -> Gpt) {
        self.inner.model(step, model);
    }

    fn sample(&mut self, step: u64, model: &dyn Fn() -> Gpt) -> Option<String> {
        if let Some(text) = self.inner.sample(step, model) {
            return Some(text);
        }
        let mut request = self.sample.clone();
        request.options.max_tokens = request.options.max_tokens.min(MAX_TOKENS);
        // A run does not end because a sample cannot be made; what is wrong with the model, the evaluation says.
        let completion = TextGenerator::new(Arc::new(model()), Arc::clone(&self.tokenizer)).complete(request).ok()?;
        Some(format!("{}{}", self.sample.prompt, completion.text))
    }
}
