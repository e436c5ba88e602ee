//! One pass through the model with everything written down that a view wants of it.

use burn::tensor::Tensor;
use sha2::{Digest, Sha256};
use tril::infer::{Distribution, InferError, SamplerConfig, logprob};
use tril::model::{ForwardContext, Gpt, HeadId, KvCache, Observation};

use super::PageError;

/// What a pass made.
pub(super) struct Looked {
    /// The residual stream before the first block, between two, and after the last: `[1, seq_len, d_model]` each.
    pub residuals: Vec<Tensor<3>>,
    /// The attention of each head, layer by layer.
    pub heads: Vec<LookedHead>,
    /// `[seq_len · vocab_size]`
    pub logits: Vec<f32>,
}

/// Where one head looked.
pub(super) struct LookedHead {
    pub layer: usize,
    pub head: usize,
    /// Position of the first key.
    pub first_key: usize,
    /// For each query, the weights of all keys from `first_key` on.
    pub rows: Vec<Vec<f32>>,
}

/// Which parts of a pass are wanted beside its logits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Logits,
    Residuals,
    Everything,
}

/// Runs a pass over `ids`, after what the cache holds if there is one.
pub(super) fn look(
    gpt: &Gpt,
    ids: &[u32],
    cache: Option<&mut KvCache>,
    disabled_heads: &[HeadId],
    wanted: Wanted,
) -> Result<Looked, PageError> {
    let mut residuals = Vec::new();
    let mut probs = Vec::new();
    let mut observer = |observation: Observation<'_>| match observation {
        Observation::Activation(activation) if wanted != Wanted::Logits && activation.residual_after().is_some() => {
            residuals.push(activation.values.clone());
        }
        Observation::Attention(attention) if wanted == Wanted::Everything => {
            probs.push((attention.layer, attention.first_key, attention.probs())); // [1, n_heads, seq_len, keys]
        }
        _ => {}
    };
    let context = cache.map_or_else(ForwardContext::default, ForwardContext::cached);
    let context = ForwardContext { observer: Some(&mut observer), disabled_heads, ..context };
    let logits = numbers(gpt.forward_with(gpt.inputs(ids, 1), context))?;
    let mut heads = Vec::new();
    for (layer, first_key, probs) in probs {
        let [_, _, seq_len, keys] = probs.dims();
        for (head, weights) in numbers(probs)?.chunks_exact(seq_len * keys).enumerate() {
            let rows = weights.chunks_exact(keys).map(<[f32]>::to_vec).collect();
            heads.push(LookedHead { layer, head, first_key, rows });
        }
    }
    Ok(Looked { residuals, heads, logits })
}

/// The numbers of a tensor.
pub(super) fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, PageError> {
    Ok(tensor.try_into_vec_as::<f32>().map_err(InferError::device)?)
}

/// The first 16 hexadecimal digits of the SHA-256 of numbers as little-endian f32: equal where all bits are.
pub(super) fn fingerprint(values: &[f32]) -> String {
    let mut hash = Sha256::new();
    values.iter().for_each(|value| hash.update(value.to_le_bytes()));
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The model's own distribution, by a row of logits for the token at `position`.
pub(super) fn distribution(row: &[f32], position: usize) -> Result<Distribution, PageError> {
    Ok(Distribution::new(row, &[], &SamplerConfig::default(), position)?)
}

/// The probability that a row of logits gives a token.
pub(super) fn probability(row: &[f32], id: u32) -> f64 {
    libm::exp(logprob(row, id))
}
