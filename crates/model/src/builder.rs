//! Makes a model's layers of what a source holds.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use tril_kernels::StepLinear;

use crate::ModelError;
use crate::block_matrix::BlockMatrix;
use crate::parameters::{Init, WeightSource};

/// Makes parameters on a device while walking down the model's path.
pub(crate) struct ParamBuilder<'a> {
    pub source: &'a mut dyn WeightSource,
    pub device: &'a Device,
}

impl ParamBuilder<'_> {
    /// The parameter at `path` with the given shape.
    pub fn param<const D: usize>(
        &mut self,
        path: &str,
        shape: [usize; D],
        init: Init,
    ) -> Result<Param<Tensor<D>>, ModelError> {
        let values = self.source.values(path, &shape, init)?;
        Ok(Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), self.device)))
    }

    /// A linear layer, weights `[d_input, d_output]`, its bias started at zero.
    pub fn linear(
        &mut self,
        path: &str,
        [d_input, d_output]: [usize; 2],
        bias: bool,
        init: Init,
    ) -> Result<Linear, ModelError> {
        let weight = self.param(&format!("{path}.weight"), [d_input, d_output], init)?;
        let bias = if bias { Some(self.param(&format!("{path}.bias"), [d_output], Init::Zeros)?) } else { None };
        Ok(Linear { weight, bias })
    }

    /// A matrix of the block at `block`.
    pub fn block_matrix(&mut self, block: &str, matrix: &BlockMatrix) -> Result<Linear, ModelError> {
        let BlockMatrix { path, d_input, bias, init, .. } = *matrix;
        self.linear(&format!("{block}.{path}"), [d_input, matrix.d_output()], bias, init)
    }
}

/// A linear layer applied.
///
/// - x: `[batch_size, seq_len, d_input]`
/// - returns: `[batch_size, seq_len, d_output]`
pub(crate) fn apply(layer: &Linear, x: Tensor<3>) -> Tensor<3> {
    tril_kernels::linear(x, layer.weight.val(), layer.bias.as_ref().map(Param::val))
}

/// A linear layer's numbers.
pub(crate) fn for_step(layer: &Linear) -> StepLinear {
    StepLinear { weight: layer.weight.val(), bias: layer.bias.as_ref().map(Param::val) }
}
