//! Causal self-attention, for the parallel pass (as many queries as keys) and for a step with a cache (fewer).

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// See [`crate::split_heads`].
///
/// - x: `[batch_size, seq_len, heads, d_head]`
pub fn split_heads(x: Tensor<4>, counts: [usize; 3]) -> [Tensor<4>; 3] {
    let mut first = 0;
    counts.map(|count| {
        let part = x.clone().narrow(2, first, count).swap_dims(1, 2); // [batch_size, count, seq_len, d_head]
        first += count;
        part
    })
}

/// See [`crate::causal_attention`].
pub fn causal_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    window: Option<usize>,
    dropout: Option<Tensor<4>>,
) -> Tensor<4> {
    let [batch_size, n_heads, q_len, d_head] = q.dims();
    let [_, n_kv_heads, k_len, _] = k.dims();
    let probs = attention_probs(q, k, window); // [batch_size, n_heads, q_len, k_len]
    let probs = match dropout {
        Some(factors) => probs * factors,
        None => probs,
    };
    let probs = probs.reshape([batch_size, n_kv_heads, n_heads / n_kv_heads * q_len, k_len]);
    probs.matmul(v).reshape([batch_size, n_heads, q_len, d_head])
}

/// The attention probabilities of [`causal_attention`]; masked positions have exactly zero.
///
/// - q: `[batch_size, n_heads, q_len, d_head]`; k: `[batch_size, n_kv_heads, k_len, d_head]`
/// - returns: `[batch_size, n_heads, q_len, k_len]`
pub fn attention_probs(q: Tensor<4>, k: Tensor<4>, window: Option<usize>) -> Tensor<4> {
    let [batch_size, n_heads, q_len, d_head] = q.dims();
    let [k_batch, n_kv_heads, k_len, k_width] = k.dims();
    assert_eq!((batch_size, d_head), (k_batch, k_width), "queries and keys differ in batch_size or d_head");
    assert!(n_heads.is_multiple_of(n_kv_heads), "{n_heads} query heads cannot share {n_kv_heads} key heads evenly");
    assert!(q_len <= k_len, "{q_len} queries need as many keys, found {k_len}");

    let q = q * (d_head as f64).sqrt().recip();
    let grouped = q.reshape([batch_size, n_kv_heads, n_heads / n_kv_heads * q_len, d_head]);
    let scores = grouped.matmul(k.swap_dims(2, 3)).reshape([batch_size, n_heads, q_len, k_len]);
    let scores = match masked_keys(q_len, k_len, window, &scores.device()) {
        Some(masked) => {
            scores.mask_fill(masked.unsqueeze::<4>().expand([batch_size, n_heads, q_len, k_len]), f32::NEG_INFINITY)
        }
        None => scores,
    };
    // Every row holds its own position, so its maximum is finite and a masked position becomes exp(−∞) = 0 exactly.
    let max = scores.clone().detach().max_dim(3); // [batch_size, n_heads, q_len, 1]
    let weights = (scores - max).exp();
    let total = weights.clone().sum_dim(3); // [batch_size, n_heads, q_len, 1]
    weights / total
}

/// True where a key must not be seen, `[q_len, k_len]`; `None` where every query sees every key.
fn masked_keys(q_len: usize, k_len: usize, window: Option<usize>, device: &Device) -> Option<Tensor<2, Bool>> {
    let window = window.unwrap_or(k_len);
    if q_len == 1 && k_len <= window {
        return None;
    }
    let masked: Vec<bool> =
        (k_len - q_len..k_len).flat_map(|own| (0..k_len).map(move |key| key > own || key + window <= own)).collect();
    Some(Tensor::from_data(TensorData::new(masked, [q_len, k_len]), device))
}
