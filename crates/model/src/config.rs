//! Everything that decides the shape of a model and what it computes.

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// How activations are normalised before attention, before the MLP and before the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// Layer normalisation, as in GPT-2.
    Layer,
    /// Root-mean-square normalisation, as in Llama.
    Rms,
}

/// How the model knows where a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// A learned vector for each of `max_seq_len` positions, added to the token's, as in GPT-2.
    Learned,
    /// Queries and keys are turned by an angle that grows with the position, as in Llama.
    Rotary,
}

/// The non-linearity of the MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MlpKind {
    /// Exact GELU.
    Gelu,
    /// The tanh approximation of GELU, as in GPT-2.
    GeluTanh,
    /// Squared ReLU.
    Relu2,
    /// Gated by SiLU, as in Llama; has two projections up.
    Swiglu,
}

/// The config of a [`crate::Gpt`]: the GPT-2 family, the Llama family and what lies between.
///
/// A field left out has its default. `vocab_size`, `n_kv_heads`, `d_head` and `d_ff` may be 0, which asks
/// [`GptConfig::resolve`] to derive them; a resolved config holds no such 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GptConfig {
    /// Number of token ids; 0 takes the tokenizer's.
    pub vocab_size: usize,
    /// Longest context, in tokens. With a window and rotary positions it bounds nothing but training windows.
    pub max_seq_len: usize,
    /// Number of blocks, each attention then MLP.
    pub n_layers: usize,
    /// Query heads of each attention.
    pub n_heads: usize,
    /// Key and value heads; a divisor of `n_heads`. 0 gives every query head its own.
    pub n_kv_heads: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Width of a head; 0 is `d_model / n_heads`.
    pub d_head: usize,
    /// Width of the MLP; 0 is 4·d_model, or for `swiglu` 8/3·d_model rounded up to a multiple of 32.
    pub d_ff: usize,
    /// How positions enter.
    pub positions: Positions,
    /// Base of the rotary angles' geometric series; used by `rotary` alone.
    pub rope_theta: f64,
    /// A token sees itself and the `window − 1` before it; 0 lets it see all.
    pub window: usize,
    /// Kind of normalisation.
    pub norm: NormKind,
    /// Whether norms multiply by a learned gain.
    pub norm_gain: bool,
    /// Whether layer norms add a learned bias.
    pub norm_bias: bool,
    /// Added to the variance or mean square under the root.
    pub norm_eps: f64,
    /// Whether queries and keys are RMS-normalised per head before they meet.
    pub qk_norm: bool,
    /// Kind of MLP.
    pub mlp: MlpKind,
    /// Whether the projection to queries, keys and values has a bias.
    pub qkv_bias: bool,
    /// Whether attention's output projection has a bias.
    pub output_bias: bool,
    /// Whether the MLP's projections have biases.
    pub mlp_bias: bool,
    /// Whether the head shares the token embedding's matrix.
    pub tied_head: bool,
    /// Whether a fresh model's projections into the residual stream, and a head of its own, are zero: blocks then begin
    /// as the identity, and every token as probable as the others.
    pub zero_init_outputs: bool,
}

impl Default for GptConfig {
    fn default() -> Self {
        Self {
            vocab_size: 0,
            max_seq_len: 64,
            n_layers: 4,
            n_heads: 4,
            n_kv_heads: 0,
            d_model: 128,
            d_head: 0,
            d_ff: 0,
            positions: Positions::Learned,
            rope_theta: 10_000.0,
            window: 0,
            norm: NormKind::Layer,
            norm_gain: true,
            norm_bias: false,
            norm_eps: 1e-5,
            qk_norm: false,
            mlp: MlpKind::Gelu,
            qkv_bias: false,
            output_bias: false,
            mlp_bias: false,
            tied_head: true,
            zero_init_outputs: false,
        }
    }
}

impl GptConfig {
    /// Fills in the derived fields and checks the whole.
    ///
    /// # Errors
    /// [`ModelError::Config`] names the field that cannot be, its value, and what it could be.
    pub fn resolve(mut self) -> Result<Self, ModelError> {
        let given = [
            ("vocab_size", self.vocab_size),
            ("max_seq_len", self.max_seq_len),
            ("n_layers", self.n_layers),
            ("n_heads", self.n_heads),
            ("d_model", self.d_model),
        ];
        if let Some((name, _)) = given.iter().find(|(_, size)| *size == 0) {
            return Err(ModelError::Config(format!("{name} = 0: it must be at least 1")));
        }
        if self.n_kv_heads == 0 {
            self.n_kv_heads = self.n_heads;
        }
        if self.d_head == 0 {
            if !self.d_model.is_multiple_of(self.n_heads) {
                return Err(ModelError::Config(format!(
                    "n_heads = {} does not divide d_model = {}: change one of them, or set d_head",
                    self.n_heads, self.d_model
                )));
            }
            self.d_head = self.d_model / self.n_heads;
        }
        if self.d_ff == 0 {
            self.d_ff = match self.mlp {
                MlpKind::Swiglu => (8 * self.d_model).div_ceil(3).next_multiple_of(32),
                MlpKind::Gelu | MlpKind::GeluTanh | MlpKind::Relu2 => 4 * self.d_model,
            };
        }
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> Result<(), ModelError> {
        // No tensor of a tiny GPT comes near this; a typing slip should be told, not tried.
        let limit = 1 << 24;
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("max_seq_len", self.max_seq_len),
            ("n_layers", self.n_layers),
            ("n_heads", self.n_heads),
            ("n_kv_heads", self.n_kv_heads),
            ("d_model", self.d_model),
            ("d_head", self.d_head),
            ("d_ff", self.d_ff),
            ("window", self.window),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| *size > limit) {
            return Err(ModelError::Config(format!("{name} = {size}: at most {limit} is supported")));
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return Err(ModelError::Config(format!(
                "n_kv_heads = {} does not divide n_heads = {}: each key head serves the same number of query heads",
                self.n_kv_heads, self.n_heads
            )));
        }
        if self.positions == Positions::Rotary && !self.d_head.is_multiple_of(2) {
            return Err(ModelError::Config(format!(
                "d_head = {} is odd: rotary positions turn pairs, so make d_model / n_heads (or d_head) even",
                self.d_head
            )));
        }
        if self.norm == NormKind::Rms && self.norm_bias {
            return Err(ModelError::Config("norm_bias = true: norm = \"rms\" has no bias; set it to false".into()));
        }
        for (name, value) in [("norm_eps", self.norm_eps), ("rope_theta", self.rope_theta)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(ModelError::Config(format!("{name} = {value}: it must be a positive number")));
            }
        }
        Ok(())
    }

    /// The sliding window in tokens, if there is one.
    pub fn window(&self) -> Option<usize> {
        (self.window > 0).then_some(self.window)
    }

    /// Longest context that one pass or one cache can hold; `None` where a sequence may go on for ever, which takes
    /// rotary positions and a window.
    pub fn context_limit(&self) -> Option<usize> {
        let endless = self.positions == Positions::Rotary && self.window > 0;
        (!endless).then_some(self.max_seq_len)
    }
}
