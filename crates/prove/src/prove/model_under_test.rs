//! What a proof needs of a model. Proofs know nothing else, so tests can bring models that are wrong on purpose.

use burn::module::Module;
use burn::tensor::{Device, Gradients, Int, Tensor};
use tril_infer::LanguageModel;
use tril_model::parameters::{self, NamedGradients};
use tril_model::{ForwardContext, Gpt, GptConfig, KvCache, WeightFormat};
use tril_train::TrainError;

use super::trainer_under_test::{GptTrainer, TrainerUnderTest, TrainingPlan};

/// A model that can be proved: a language model that also takes several sequences as one batch, shows what enters its
/// blocks, and has gradients.
pub trait ModelUnderTest: LanguageModel {
    /// The resolved config.
    fn config(&self) -> &GptConfig;

    /// The device that the parameters are on.
    fn device(&self) -> Device;

    /// An empty cache for `batch_size` sequences that go together.
    fn batch_cache(&self, batch_size: usize) -> Self::Cache;

    /// What enters block 0.
    ///
    /// - inputs: `[batch_size, seq_len]`, the first at absolute position `start`
    /// - returns: `[batch_size, seq_len, d_model]`
    fn embed(&self, inputs: Tensor<2, Int>, start: usize) -> Tensor<3>;

    /// Logits from what enters block 0. With a cache its positions come before, and it grows.
    ///
    /// - embedded: `[batch_size, seq_len, d_model]`
    /// - returns: `[batch_size, seq_len, vocab_size]`
    fn logits(&self, embedded: Tensor<3>, cache: Option<&mut Self::Cache>) -> Tensor<3>;

    /// The same, with the head's sums cut in two, so that bits differ where sums are long; `None` where the model has no such
    /// thing.
    ///
    /// - embedded: `[batch_size, seq_len, d_model]`
    /// - returns: `[batch_size, seq_len, vocab_size]`
    fn logits_in_halves(&self, _embedded: Tensor<3>) -> Option<Tensor<3>> {
        None
    }

    /// The same numbers with weights read as f32, where a step reads them in fewer bytes; `None` where it does not.
    #[must_use]
    fn read_as_f32(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// The same model on the device with gradients.
    #[must_use]
    fn with_gradients(&self) -> Self
    where
        Self: Sized;

    /// Takes every parameter's gradient out of a backward pass, by the parameter's path.
    fn take_gradients(&self, gradients: &mut Gradients) -> NamedGradients;

    /// A trainer that begins at these weights, before its first step; `None` where the model cannot be trained.
    ///
    /// # Errors
    /// [`TrainError`] for a plan that cannot be followed.
    fn trainer(&self, _plan: &TrainingPlan) -> Result<Option<Box<dyn TrainerUnderTest>>, TrainError> {
        Ok(None)
    }

    /// The same model with queries and keys `factor` times as large, so that attention scores grow by its square.
    #[must_use]
    fn scaled(&self, factor: f32) -> Self
    where
        Self: Sized;
}

impl ModelUnderTest for Gpt {
    fn config(&self) -> &GptConfig {
        self.config()
    }

    fn device(&self) -> Device {
        self.device()
    }

    fn batch_cache(&self, batch_size: usize) -> KvCache {
        self.new_cache(batch_size)
    }

    fn embed(&self, inputs: Tensor<2, Int>, start: usize) -> Tensor<3> {
        self.embed(inputs, start)
    }

    fn logits(&self, embedded: Tensor<3>, cache: Option<&mut KvCache>) -> Tensor<3> {
        self.unembed(self.hidden_from(embedded, cache.map_or_else(ForwardContext::default, ForwardContext::cached)))
    }

    fn logits_in_halves(&self, embedded: Tensor<3>) -> Option<Tensor<3>> {
        Some(self.unembed_in_halves(self.hidden_from(embedded, ForwardContext::default())))
    }

    fn read_as_f32(&self) -> Option<Self> {
        self.read_as_f32()
    }

    fn with_gradients(&self) -> Self {
        self.clone().train()
    }

    fn take_gradients(&self, gradients: &mut Gradients) -> NamedGradients {
        parameters::take_gradients(self, gradients)
    }

    fn trainer(&self, plan: &TrainingPlan) -> Result<Option<Box<dyn TrainerUnderTest>>, TrainError> {
        // Rounded weights are not trained: a step is smaller than what they are rounded by.
        if self.weights() != WeightFormat::F32 {
            return Ok(None);
        }
        Ok(Some(Box::new(GptTrainer::new(self, plan)?)))
    }

    fn scaled(&self, factor: f32) -> Self {
        self.with_scaled_queries_and_keys(factor)
    }
}
