//! The same model with its matrices rounded, so that a step reads fewer bytes.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor, TensorData};
use tril_kernels::WeightFormat;

use crate::parameters::PathStack;
use crate::{Gpt, GptConfig};

impl Gpt {
    /// The same model with the matrices of its blocks and its head rounded to the numbers that a format has; a head that is
    /// the token embedding's is rounded with it. Norms, biases and other embeddings stay as they are.
    ///
    /// What comes of it is a model of f32 like any other, and computes with these numbers whichever way it is asked.
    /// [`Gpt::step`], which is bound by reading weights, reads them in the format's bytes; its bits are the same.
    #[must_use]
    pub fn with_weights(self, weights: WeightFormat) -> Self {
        if weights == WeightFormat::F32 {
            return self;
        }
        let mut round = Round { stack: PathStack::default(), config: self.config().clone(), weights };
        let mut rounded = self.map(&mut round);
        rounded.weights = weights;
        rounded
    }

    /// What its matrices were rounded to.
    pub fn weights(&self) -> WeightFormat {
        self.weights
    }

    /// The same numbers, read as f32 by a step too: where it gives other bits than [`Gpt::step`], that reads something else
    /// than these numbers. `None` where nothing was rounded.
    #[must_use]
    pub fn read_as_f32(&self) -> Option<Self> {
        (self.weights != WeightFormat::F32).then(|| {
            let mut plain = self.clone().map(&mut Unchanged);
            plain.weights = WeightFormat::F32;
            plain
        })
    }
}

/// Leaves every parameter as it is; what was made of them is made again.
struct Unchanged;

impl ModuleMapper for Unchanged {}

struct Round {
    stack: PathStack,
    config: GptConfig,
    weights: WeightFormat,
}

impl ModuleMapper for Round {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.stack.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.stack.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.stack.path();
        let is_shared = path == "token_embedding.weight" && self.config.tied_head;
        let is_matrix = path == "head.weight" || self.config.block_matrix_at(&path).is_some();
        if !(is_shared || is_matrix) {
            return param;
        }
        let (id, value, mapper) = param.consume();
        let device = value.device();
        let data = value.into_data_dtype(DType::F32);
        let shape = data.shape().clone();
        let mut numbers = data.try_into_vec::<f32>().expect("they were asked for as f32");
        let width = shape[D - 1];
        match is_shared {
            // Its rows are the head's columns.
            true => self.weights.round_transposed(&mut numbers, width),
            false => self.weights.round(&mut numbers, width),
        }
        Param::from_mapped_value(id, Tensor::from_data(TensorData::new(numbers, shape), &device), mapper)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{MlpKind, Positions, parameters};

    fn configs() -> [GptConfig; 2] {
        let gpt2 =
            GptConfig { vocab_size: 65, n_layers: 2, n_heads: 2, d_model: 40, qkv_bias: true, ..GptConfig::default() };
        let llama = GptConfig {
            n_heads: 4,
            n_kv_heads: 2,
            d_head: 6,
            d_ff: 33,
            mlp: MlpKind::Swiglu,
            positions: Positions::Rotary,
            tied_head: false,
            ..gpt2.clone()
        };
        [gpt2, llama]
    }

    #[test]
    fn matrices_and_the_head_are_rounded_and_nothing_else() {
        for config in configs() {
            let gpt = Gpt::new(config, 1, &Device::flex()).expect("a sound config");
            for format in [WeightFormat::Bf16, WeightFormat::Int8] {
                let rounded = gpt.clone().with_weights(format);
                assert_eq!((gpt.weights(), rounded.weights()), (WeightFormat::F32, format));
                for ((path, before), (_, after)) in parameters::list(&gpt).into_iter().zip(parameters::list(&rounded)) {
                    let head = if gpt.config().tied_head { "token_embedding.weight" } else { "head.weight" };
                    let expected = path == head || gpt.config().block_matrix_at(&path).is_some();
                    assert_eq!(before != after, expected, "{format:?}: {path}");
                }
                let again = rounded.clone().with_weights(format);
                assert_eq!(parameters::list(&again), parameters::list(&rounded), "{format:?}");
            }
        }
    }

    #[test]
    fn a_rounded_model_reads_fewer_bytes_and_its_f32_twin_does_not() {
        for config in configs() {
            let gpt = Gpt::new(config, 1, &Device::flex()).expect("a sound config");
            assert!(gpt.read_as_f32().is_none());
            let f32_bytes = gpt.make_step_model().copied_bytes();
            for (format, most) in [(WeightFormat::Bf16, 0.5), (WeightFormat::Int8, 0.32)] {
                let rounded = gpt.clone().with_weights(format);
                let step_model = rounded.make_step_model();
                assert!(step_model.is_packed());
                assert!(step_model.copied_bytes() as f64 <= most * f32_bytes as f64, "{format:?}");
                let twin = rounded.read_as_f32().expect("it was rounded");
                assert!(!twin.make_step_model().is_packed());
                assert_eq!(parameters::list(&twin), parameters::list(&rounded), "{format:?}");
            }
        }
    }
}
