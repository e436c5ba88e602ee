//! The row-major copy of a head that shares the token embedding's matrix.

use burn::tensor::Tensor;
use tril_kernels::row_major;

use crate::derived::Derived;

/// The transposed embedding, laid out so that a single row meets it at full speed.
pub type TiedHead = Derived<Tensor<2>>;

impl TiedHead {
    /// The copy. With gradients there is none: they flow to the embedding itself.
    ///
    /// - embedding: `[vocab_size, d_model]`
    /// - returns: `[d_model, vocab_size]`
    pub fn weight(&self, embedding: Tensor<2>) -> Tensor<2> {
        if embedding.device().is_autodiff() {
            return embedding.transpose();
        }
        self.get_or_make(|| row_major(embedding.transpose())).clone()
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::Device;

    use super::*;
    use crate::parameters::{self, Init, WeightSource};
    use crate::{ForwardContext, Gpt, GptConfig, ModelError};

    /// Adds a number to every weight.
    struct Shift;

    impl ModuleMapper for Shift {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, value, mapper) = param.consume();
            Param::from_mapped_value(id, value + 0.125, mapper)
        }
    }

    /// The weights of another model.
    struct Same(Vec<(String, burn::tensor::TensorData)>);

    impl WeightSource for Same {
        fn values(&mut self, path: &str, _shape: &[usize], _init: Init) -> Result<Vec<f32>, ModelError> {
            let found = self.0.iter().find(|(other, _)| other == path).expect("a parameter");
            Ok(found.1.try_to_vec_as::<f32>().expect("f32"))
        }
    }

    fn gpt() -> Gpt {
        let config = GptConfig { vocab_size: 17, n_layers: 1, n_heads: 2, d_model: 12, ..GptConfig::default() };
        Gpt::new(config, 5, &Device::flex()).expect("a sound config")
    }

    /// The logits of a text by the cache.
    fn bits(gpt: &Gpt) -> Vec<u32> {
        let mut cache = gpt.new_cache(1);
        let logits = gpt.forward_with(gpt.inputs(&[3, 1, 4, 1, 5], 1), ForwardContext::cached(&mut cache));
        logits.try_into_vec_as::<f32>().expect("f32").into_iter().map(f32::to_bits).collect()
    }

    /// Those of a model that was built of its weights and has never computed anything.
    fn fresh_bits(gpt: &Gpt) -> Vec<u32> {
        let source = &mut Same(parameters::list(gpt));
        bits(&Gpt::from_source(gpt.config().clone(), source, &Device::flex()).expect("a sound config"))
    }

    #[test]
    fn weights_that_change_leave_no_stale_head() {
        let before = gpt();
        let logits = bits(&before);
        assert!(before.clone().has_tied_head_copy(), "a clone shares it");
        for changed in [
            before.clone().map(&mut Shift),
            before.clone().train().map(&mut Shift).valid(),
            before.clone().load_record(gpt().map(&mut Shift).into_record()),
        ] {
            assert!(!changed.has_tied_head_copy());
            assert_ne!(bits(&changed), logits);
            assert_eq!(bits(&changed), fresh_bits(&changed));
        }
        assert_eq!(bits(&before), logits, "the model itself has not changed");
        let shifted = gpt().map(&mut Shift);
        assert_eq!(bits(&before.with_scaled_queries_and_keys(1.0)), logits);
        assert_eq!(bits(&shifted.to_device(&Device::flex())), fresh_bits(&gpt().map(&mut Shift)));
    }

    #[test]
    fn with_gradients_nothing_is_kept_and_gradients_reach_the_embedding() {
        let gpt = gpt();
        bits(&gpt);
        let trained = gpt.clone().train();
        let mut cache = trained.new_cache(1);
        let logits = trained.forward_with(trained.inputs(&[3, 1, 4], 1), ForwardContext::cached(&mut cache));
        let mut gradients = logits.sum().backward();
        assert!(!trained.has_tied_head_copy());
        let named = parameters::take_gradients(&trained, &mut gradients);
        let embedding = named["token_embedding.weight"].clone().try_into_vec_as::<f32>().expect("f32");
        // Token 9 was not read: its row has a gradient by the head alone.
        assert!(embedding[9 * 12..10 * 12].iter().any(|value| *value != 0.0));
    }

    impl Gpt {
        fn has_tied_head_copy(&self) -> bool {
            self.tied_head_for_tests().get().is_some()
        }
    }
}
