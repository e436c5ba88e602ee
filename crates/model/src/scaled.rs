//! The same model with larger attention scores, on which small differences show.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};

use crate::Gpt;
use crate::block_matrix::BlockMatrixKind;
use crate::parameters::PathStack;

impl Gpt {
    /// The same model with queries and keys `factor` times as large, so that attention scores grow by its square. Values
    /// stay as they are.
    #[must_use]
    pub fn with_scaled_queries_and_keys(&self, factor: f32) -> Self {
        let qkv = self.config().block_matrix(BlockMatrixKind::Qkv);
        let factors = qkv.widths.iter().zip([factor, factor, 1.0]);
        let factors = factors.flat_map(|(width, factor)| std::iter::repeat_n(factor, *width)).collect();
        self.clone().map(&mut Scale { stack: PathStack::default(), factor, factors })
    }
}

struct Scale {
    stack: PathStack,
    factor: f32,
    /// One for each column of the projection to queries, keys and values.
    factors: Vec<f32>,
}

impl ModuleMapper for Scale {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.stack.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.stack.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.stack.path();
        let ends = |names: [&str; 2]| names.iter().any(|name| path.ends_with(name));
        let factors = if ends(["attention.qkv.weight", "attention.qkv.bias"]) {
            self.factors.clone()
        } else if ends(["attention.q_norm.gain", "attention.k_norm.gain"]) {
            vec![self.factor; param.dims()[D - 1]]
        } else {
            return param;
        };
        let mut shape = [1; D];
        shape[D - 1] = factors.len();
        let (id, value, mapper) = param.consume();
        let factors = Tensor::<D>::from_data(TensorData::new(factors, shape), &value.device());
        Param::from_mapped_value(id, value * factors, mapper)
    }
}
