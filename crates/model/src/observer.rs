//! What can be looked at while a model computes: the residual stream and everything else that a block makes, and where
//! each head looks.

use std::ops::Range;

use burn::tensor::Tensor;
use tril_kernels::attention_probs;

use crate::unmasked::unmasked_probs;

/// Looks on during a pass. It is handed references, so a copy costs only what the observer asks for, and nothing that it
/// does changes the pass.
pub type Observer<'a> = dyn FnMut(Observation<'_>) + 'a;

/// One thing that was made in a pass.
#[derive(Debug)]
pub enum Observation<'a> {
    /// An activation, in the order in which they are made.
    Activation(Activation<'a>),
    /// The attention of one layer, for the rows of one cache; for all rows where there is none.
    Attention(AttentionProbs<'a>),
}

/// An activation.
///
/// In order: `embedding`; for each layer `attention_norm`, `attention.qkv`, `attention.attended` (the heads' outputs side
/// by side), `attention`, `attention_residual`, `mlp_norm`, `mlp.up`, `mlp.active`, `mlp`, `residual`; and `final_norm`.
#[derive(Debug, Clone, Copy)]
pub struct Activation<'a> {
    /// The block that made it, if one did.
    pub layer: Option<usize>,
    /// Its name within the block, or in the model where no block made it.
    pub name: &'static str,
    /// `[batch_size, seq_len, width]`
    pub values: &'a Tensor<3>,
}

impl Activation<'_> {
    /// Its name in the whole model, such as `blocks.0.attention.qkv`.
    pub fn path(&self) -> String {
        match self.layer {
            Some(layer) => format!("blocks.{layer}.{}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// How many blocks have added to it, if this is the residual stream between two blocks, before the first (0) or after
    /// the last (`n_layers`); its width is d_model.
    pub fn residual_after(&self) -> Option<usize> {
        match (self.layer, self.name) {
            (None, "embedding") => Some(0),
            (Some(layer), "residual") => Some(layer + 1),
            _ => None,
        }
    }
}

/// Where the queries of some rows look.
#[derive(Debug)]
pub struct AttentionProbs<'a> {
    /// The block.
    pub layer: usize,
    /// The rows of the batch.
    pub rows: Range<usize>,
    /// Absolute position of the first query.
    pub first_query: usize,
    /// Absolute position of the first key.
    pub first_key: usize,
    pub(crate) q: &'a Tensor<4>,
    pub(crate) k: &'a Tensor<4>,
    pub(crate) window: Option<usize>,
    pub(crate) is_masked: bool,
}

impl AttentionProbs<'_> {
    /// The probabilities, computed anew at each call: those of a query add up to 1, and keys that it must not see have
    /// exactly 0.
    ///
    /// - returns: `[rows, n_heads, seq_len, keys]`
    pub fn probs(&self) -> Tensor<4> {
        match self.is_masked {
            true => attention_probs(self.q.clone(), self.k.clone(), self.window),
            false => unmasked_probs(self.q.clone(), self.k.clone()),
        }
    }
}
