//! A norm with whichever of gain and bias the config asks for.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use tril_kernels::{StepNorm, StepNormKind, layer_norm, rms_norm};

use crate::builder::ParamBuilder;
use crate::parameters::Init;
use crate::{GptConfig, ModelError, NormKind};

/// Normalises each position over d_model.
#[derive(Module, Debug)]
pub struct Norm {
    gain: Option<Param<Tensor<1>>>,
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    kind: NormKind,
    #[module(skip)]
    eps: f64,
}

impl Norm {
    pub(crate) fn new(config: &GptConfig, path: &str, builder: &mut ParamBuilder<'_>) -> Result<Self, ModelError> {
        Self::with_width(config, config.norm, config.d_model, path, builder)
    }

    /// The RMS norm over a head that `qk_norm` puts on queries and keys.
    pub(crate) fn for_heads(
        config: &GptConfig,
        path: &str,
        builder: &mut ParamBuilder<'_>,
    ) -> Result<Self, ModelError> {
        Self::with_width(config, NormKind::Rms, config.d_head, path, builder)
    }

    fn with_width(
        config: &GptConfig,
        kind: NormKind,
        width: usize,
        path: &str,
        builder: &mut ParamBuilder<'_>,
    ) -> Result<Self, ModelError> {
        let has_bias = config.norm_bias && kind == NormKind::Layer;
        let gain =
            if config.norm_gain { Some(builder.param(&format!("{path}.gain"), [width], Init::Ones)?) } else { None };
        let bias = if has_bias { Some(builder.param(&format!("{path}.bias"), [width], Init::Zeros)?) } else { None };
        Ok(Self { gain, bias, kind, eps: config.norm_eps })
    }

    /// - x: `[batch_size, seq_len, d_model]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gain = self.gain.as_ref().map(Param::val);
        let bias = self.bias.as_ref().map(Param::val);
        match self.kind {
            NormKind::Layer => layer_norm(x, gain, bias, self.eps),
            NormKind::Rms => rms_norm(x, gain, self.eps),
        }
    }

    /// Its numbers.
    pub(crate) fn for_step(&self) -> StepNorm {
        let kind = match self.kind {
            NormKind::Layer => StepNormKind::Layer,
            NormKind::Rms => StepNormKind::Rms,
        };
        let [gain, bias] = [&self.gain, &self.bias].map(|numbers| numbers.as_ref().map(Param::val));
        StepNorm { kind, gain, bias, eps: self.eps }
    }

    /// - x: `[batch_size, n_heads, seq_len, d_head]`
    pub(crate) fn forward_heads(&self, x: Tensor<4>) -> Tensor<4> {
        rms_norm(x, self.gain.as_ref().map(Param::val), self.eps)
    }
}
