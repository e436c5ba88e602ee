//! What the step of [`StepModel`](crate::StepModel) is made of: the numbers of a model, and what it keeps of sequences.

use burn::tensor::Tensor;

use crate::{RotaryTable, WeightFormat};

/// A norm over d_model, or over d_head.
#[derive(Debug, Clone)]
pub struct StepNorm {
    /// Which.
    pub kind: StepNormKind,
    /// Factors, `[width]`.
    pub gain: Option<Tensor<1>>,
    /// Added after them, `[width]`.
    pub bias: Option<Tensor<1>>,
    /// Added to the variance.
    pub eps: f64,
}

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepNormKind {
    /// [`layer_norm`](crate::layer_norm).
    Layer,
    /// [`rms_norm`](crate::rms_norm).
    Rms,
}

/// How a step keeps the weights that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepWeights {
    /// Where they lie: nothing is copied.
    InPlace,
    /// Copied, so that a thread reads its columns from end to end, in so many bytes where the format has a matrix's numbers;
    /// a matrix that holds others is copied as f32, or read where it lies if it is very large.
    Copied(WeightFormat),
}

/// A product with weights, and what is added to it.
#[derive(Debug, Clone)]
pub struct StepLinear {
    /// `[d_input, d_output]`.
    pub weight: Tensor<2>,
    /// `[d_output]`.
    pub bias: Option<Tensor<1>>,
}

/// What the MLP does between its two products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepActivation {
    /// [`gelu`](crate::gelu).
    Gelu,
    /// [`gelu_tanh`](crate::gelu_tanh).
    GeluTanh,
    /// [`relu2`](crate::relu2).
    Relu2,
    /// [`swiglu`](crate::swiglu), of twice as many numbers.
    Swiglu,
}

/// What a token and its position become before block 0.
#[derive(Debug, Clone)]
pub struct StepEmbedding {
    /// `[vocab_size, d_model]`.
    pub tokens: Tensor<2>,
    /// `[max_seq_len, d_model]`, where positions are learned.
    pub positions: Option<Tensor<2>>,
}

/// The numbers of a pre-norm block.
#[derive(Debug, Clone)]
pub struct StepBlock {
    /// Before attention.
    pub attention_norm: StepNorm,
    /// To queries, keys and values, in this order.
    pub qkv: StepLinear,
    /// Of each query, and of each key, where they are normalised.
    pub head_norms: Option<[StepNorm; 2]>,
    /// From what attention found.
    pub output: StepLinear,
    /// Before the MLP.
    pub mlp_norm: StepNorm,
    /// Up to d_ff, or twice that.
    pub up: StepLinear,
    /// Between.
    pub activation: StepActivation,
    /// Down again.
    pub down: StepLinear,
}

/// How attention is cut into heads, and how far it sees.
#[derive(Debug, Clone, Copy)]
pub struct StepHeads {
    /// Heads of queries.
    pub n_heads: usize,
    /// Heads of keys and values.
    pub n_kv_heads: usize,
    /// Numbers of a head.
    pub d_head: usize,
    /// Keys that a query sees, its own among them, where that is bounded.
    pub window: Option<usize>,
}

/// Sequences that stand at one position, and what is kept of them.
#[derive(Debug)]
pub struct StepSequences<'a> {
    /// How many.
    pub batch_size: usize,
    /// Position of the first new token.
    pub start: usize,
    /// New positions of each.
    pub len: usize,
    /// Positions that the buffers hold already, the last of those before `start`; they have room for `len` more.
    pub held: usize,
    /// What turns queries and keys at the new positions.
    pub rotary: Option<RotaryTable>,
    /// Keys, `[batch_size, n_kv_heads, d_head, capacity]`, and values, `[batch_size, n_kv_heads, capacity, d_head]`, of each
    /// block.
    pub buffers: Vec<[&'a mut Tensor<4>; 2]>,
}
