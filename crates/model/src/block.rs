//! One layer: attention, then MLP, each on a normalised copy and added back to the residual stream.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::attention::Attention;
use crate::builder::ParamBuilder;
use crate::dropout::Site;
use crate::forward_context::{LayerContext, RowGroup};
use crate::mlp::Mlp;
use crate::norm::Norm;
use crate::{GptConfig, ModelError};

/// A pre-norm transformer block.
#[derive(Module, Debug)]
pub struct Block {
    pub(crate) attention_norm: Norm,
    pub(crate) attention: Attention,
    pub(crate) mlp_norm: Norm,
    pub(crate) mlp: Mlp,
}

impl Block {
    pub(crate) fn new(config: &GptConfig, path: &str, builder: &mut ParamBuilder<'_>) -> Result<Self, ModelError> {
        Ok(Self {
            attention_norm: Norm::new(config, &format!("{path}.attention_norm"), builder)?,
            attention: Attention::new(config, path, builder)?,
            mlp_norm: Norm::new(config, &format!("{path}.mlp_norm"), builder)?,
            mlp: Mlp::new(config, path, builder)?,
        })
    }

    /// Has every query see every key.
    pub(crate) fn without_mask(self) -> Self {
        Self { attention: self.attention.without_mask(), ..self }
    }

    /// - x: `[batch_size, seq_len, d_model]`
    pub(crate) fn forward(&self, x: Tensor<3>, groups: &[RowGroup], ctx: &mut LayerContext<'_>) -> Tensor<3> {
        let normed = self.attention_norm.forward(x.clone());
        ctx.observe("attention_norm", &normed);
        let x = x + dropout(self.attention.forward(normed, groups, ctx), ctx, Site::AttentionOutput);
        ctx.observe("attention_residual", &x);
        let normed = self.mlp_norm.forward(x.clone());
        ctx.observe("mlp_norm", &normed);
        let x = x + dropout(self.mlp.forward(normed, ctx), ctx, Site::MlpOutput);
        ctx.observe("residual", &x);
        x // [batch_size, seq_len, d_model]
    }
}

fn dropout(x: Tensor<3>, ctx: &LayerContext<'_>, site: Site) -> Tensor<3> {
    match ctx.dropout {
        Some(dropout) => dropout.apply(x, ctx.index, site),
        None => x,
    }
}
