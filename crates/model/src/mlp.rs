//! The second half of a block: each position by itself, up to d_ff, through a non-linearity, and down again.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use tril_kernels::{gelu, gelu_tanh, relu2, swiglu};

use crate::block_matrix::BlockMatrixKind;
use crate::builder::{ParamBuilder, apply};
use crate::forward_context::LayerContext;
use crate::{GptConfig, MlpKind, ModelError};

/// Position-wise feed-forward network.
#[derive(Module, Debug)]
pub struct Mlp {
    /// To d_ff; for `swiglu` to 2·d_ff, the gate first.
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    #[module(skip)]
    pub(crate) kind: MlpKind,
}

impl Mlp {
    pub(crate) fn new(config: &GptConfig, block: &str, builder: &mut ParamBuilder<'_>) -> Result<Self, ModelError> {
        Ok(Self {
            up: builder.block_matrix(block, &config.block_matrix(BlockMatrixKind::MlpUp))?,
            down: builder.block_matrix(block, &config.block_matrix(BlockMatrixKind::MlpDown))?,
            kind: config.mlp,
        })
    }

    /// - x: `[batch_size, seq_len, d_model]`
    pub(crate) fn forward(&self, x: Tensor<3>, ctx: &mut LayerContext<'_>) -> Tensor<3> {
        let raised = apply(&self.up, x); // [batch_size, seq_len, d_ff], twice as wide for swiglu
        ctx.observe("mlp.up", &raised);
        let active = match self.kind {
            MlpKind::Gelu => gelu(raised),
            MlpKind::GeluTanh => gelu_tanh(raised),
            MlpKind::Relu2 => relu2(raised),
            MlpKind::Swiglu => swiglu(raised),
        }; // [batch_size, seq_len, d_ff]
        ctx.observe("mlp.active", &active);
        let output = apply(&self.down, active); // [batch_size, seq_len, d_model]
        ctx.observe("mlp", &output);
        output
    }
}
