//! One layer: attention, then MLP, each on a normalised copy and added back to the residual stream.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::attention::{Attention, Span};
use crate::dropout::Site;
use crate::mlp::Mlp;
use crate::norm::Norm;
use crate::parameters::Maker;
use crate::pass::LayerPass;
use crate::{GptConfig, ModelError};

/// A pre-norm transformer block.
#[derive(Module, Debug)]
pub struct Block {
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    mlp: Mlp,
}

impl Block {
    pub(crate) fn new(config: &GptConfig, path: &str, maker: &mut Maker<'_>) -> Result<Self, ModelError> {
        Ok(Self {
            attention_norm: Norm::new(config, &format!("{path}.attention_norm"), maker)?,
            attention: Attention::new(config, &format!("{path}.attention"), maker)?,
            mlp_norm: Norm::new(config, &format!("{path}.mlp_norm"), maker)?,
            mlp: Mlp::new(config, &format!("{path}.mlp"), maker)?,
        })
    }

    /// - x: `[batch_size, seq_len, d_model]`
    pub(crate) fn forward(&self, x: Tensor<3>, spans: &[Span], pass: &mut LayerPass<'_>) -> Tensor<3> {
        let normed = self.attention_norm.forward(x.clone());
        pass.observe("attention_norm", || normed.clone());
        let x = x + drop_some(self.attention.forward(normed, spans, pass), pass, Site::AttentionOutput);
        pass.observe("attention_residual", || x.clone());
        let normed = self.mlp_norm.forward(x.clone());
        pass.observe("mlp_norm", || normed.clone());
        let x = x + drop_some(self.mlp.forward(normed, pass), pass, Site::MlpOutput);
        pass.observe("residual", || x.clone());
        x // [batch_size, seq_len, d_model]
    }
}

fn drop_some(x: Tensor<3>, pass: &LayerPass<'_>, site: Site) -> Tensor<3> {
    match pass.dropout {
        Some(dropout) => dropout.apply(x, pass.index, site),
        None => x,
    }
}
