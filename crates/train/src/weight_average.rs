//! The exponential moving average of a model's weights, which is measured, saved and sampled in place of the weights that
//! are trained.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use tril_model::Gpt;
use tril_model::parameters::PathStack;

/// A model whose weights follow those of another.
#[derive(Debug, Clone)]
pub struct WeightAverage {
    /// Away only while it is updated, so that weights are written where they lie.
    gpt: Option<Gpt>,
    decay: f64,
}

impl WeightAverage {
    /// An average that begins at the weights of a model without gradients.
    ///
    /// - decay: how much of it a step keeps, once it has forgotten its beginning, in [0, 1)
    pub fn new(gpt: Gpt, decay: f64) -> Self {
        Self { gpt: Some(gpt), decay }
    }

    /// The averaged model, without gradients.
    pub fn model(&self) -> Gpt {
        self.gpt.as_ref().expect("an update has given the model back").clone()
    }

    /// Follows the weights after step number `step` (from 1): average + (weight − average) · (1 − `kept_share`).
    ///
    /// - gpt: of the same shape, without gradients
    pub fn update(&mut self, gpt: &Gpt, step: u64) {
        let mut weights = Weights::default();
        gpt.visit(&mut weights);
        let share = 1.0 - kept_share(step, self.decay);
        let mut follow = Follow { stack: PathStack::default(), weights: weights.found, share };
        self.gpt = self.gpt.take().map(|average| average.map(&mut follow));
    }
}

/// How much of the average step number `step` keeps: `decay`, but at first (1 + step) / (10 + step), so that the weights of
/// the beginning are soon forgotten (TensorFlow's `ExponentialMovingAverage` with `num_updates`).
pub fn kept_share(step: u64, decay: f64) -> f64 {
    let step = step as f64;
    decay.min((1.0 + step) / (10.0 + step))
}

/// The weights of a model by path, flattened.
#[derive(Default)]
struct Weights {
    stack: PathStack,
    found: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Weights {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.stack.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.stack.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let len: usize = value.dims().iter().product();
        self.found.insert(self.stack.path(), value.reshape([len]));
    }
}

struct Follow {
    stack: PathStack,
    weights: BTreeMap<String, Tensor<1>>,
    share: f64,
}

impl ModuleMapper for Follow {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.stack.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.stack.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(weight) = self.weights.remove(&self.stack.path()) else { return param };
        let (id, average, mapper) = param.consume();
        let difference = weight.reshape(average.dims()) - average.clone();
        Param::from_mapped_value(id, average + difference * self.share, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_soon_forgotten_and_the_decay_is_never_exceeded() {
        assert_eq!(kept_share(1, 0.99), 2.0 / 11.0);
        assert!((1..2000).all(|step| kept_share(step, 0.99) <= kept_share(step + 1, 0.99)));
        assert_eq!((kept_share(890, 0.99), kept_share(5000, 0.99)), (0.99, 0.99));
        let left: f64 = (1..=100).map(|step| kept_share(step, 0.99)).product();
        assert!(left < 1e-11, "{left} of the first weights after 100 steps");
    }
}
