//! Where each head looks on one text.

use burn::tensor::Tensor;
use serde::Serialize;
use tril_model::{ForwardContext, Gpt, HeadId, Observation};
use tril_train::TrainError;

use crate::LabError;

/// The attention of one head.
#[derive(Debug, Clone, Serialize)]
pub struct HeadAttention {
    /// The block, from 0.
    pub layer: usize,
    /// The query head in it, from 0.
    pub head: usize,
    /// For each query, the weights of all keys; those of a query add up to 1.
    pub weights: Vec<Vec<f32>>,
}

impl HeadAttention {
    /// Which head.
    pub fn id(&self) -> HeadId {
        HeadId { layer: self.layer, head: self.head }
    }

    /// −Σ p ln p of one query's weights, in bits.
    pub fn entropy(&self, query: usize) -> f64 {
        let term = |weight: &f32| {
            let weight = f64::from(*weight);
            if weight > 0.0 { -weight * libm::log2(weight) } else { 0.0 }
        };
        self.weights[query].iter().map(term).sum::<f64>().max(0.0)
    }

    /// The sum of all weights on keys after their query: exactly 0 with the mask.
    pub fn weight_on_later(&self) -> f64 {
        let later = |(query, weights): (usize, &Vec<f32>)| -> f64 {
            weights[query + 1..].iter().map(|weight| f64::from(*weight)).sum()
        };
        self.weights.iter().enumerate().map(later).sum()
    }
}

/// The attention of all heads on one text, in order of layers, by one parallel pass.
///
/// - ids: at least one, at most as many as a context holds
///
/// # Errors
/// [`LabError::Setting`] for other texts; [`LabError::Tril`].
pub fn attention(gpt: &Gpt, ids: &[u32]) -> Result<Vec<HeadAttention>, LabError> {
    let limit = gpt.config().max_seq_len;
    if ids.is_empty() || ids.len() > limit {
        let tokens = ids.len();
        return Err(LabError::Setting(format!("the text has {tokens} tokens: this model's context has 1 to {limit}")));
    }
    tril_infer::check_ids(ids, gpt.config().vocab_size)?;
    let mut seen: Vec<(usize, Tensor<4>)> = Vec::new();
    let mut observer = |observation: Observation<'_>| {
        if let Observation::Attention(attention) = observation {
            seen.push((attention.layer, attention.probs())); // [1, n_heads, seq_len, seq_len]
        }
    };
    gpt.forward_with(gpt.inputs(ids, 1), ForwardContext { observer: Some(&mut observer), ..ForwardContext::default() });
    let mut heads = Vec::new();
    for (layer, probs) in seen {
        let [_, n_heads, seq_len, _] = probs.dims();
        let values = probs.try_into_vec_as::<f32>().map_err(TrainError::device)?;
        for (head, weights) in values.chunks_exact(seq_len * seq_len).enumerate().take(n_heads) {
            let weights = weights.chunks_exact(seq_len).map(<[f32]>::to_vec).collect();
            heads.push(HeadAttention { layer, head, weights });
        }
    }
    Ok(heads)
}
