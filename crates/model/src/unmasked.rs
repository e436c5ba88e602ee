//! Attention without the mask, to show what the mask is for. Nothing that is saved, configured or generated has it: a model
//! loses its mask by [`Gpt::without_mask`](crate::Gpt::without_mask) alone, and for as long as it is in memory.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

/// As `tril_kernels::causal_attention`, but that every query sees every key.
///
/// - q: `[batch_size, n_heads, q_len, d_head]`; k, v: `[batch_size, n_kv_heads, k_len, d_head]`
/// - returns: `[batch_size, n_heads, q_len, d_head]`
pub(crate) fn unmasked_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let [batch_size, n_heads, q_len, d_head] = q.dims();
    let [_, n_kv_heads, k_len, _] = k.dims();
    let probs = unmasked_probs(q, k).reshape([batch_size, n_kv_heads, n_heads / n_kv_heads * q_len, k_len]);
    probs.matmul(v).reshape([batch_size, n_heads, q_len, d_head])
}

/// Its probabilities.
///
/// - returns: `[batch_size, n_heads, q_len, k_len]`
pub(crate) fn unmasked_probs(q: Tensor<4>, k: Tensor<4>) -> Tensor<4> {
    let [batch_size, n_heads, q_len, d_head] = q.dims();
    let [_, n_kv_heads, k_len, _] = k.dims();
    let q = q * (d_head as f64).sqrt().recip();
    let grouped = q.reshape([batch_size, n_kv_heads, n_heads / n_kv_heads * q_len, d_head]);
    softmax(grouped.matmul(k.swap_dims(2, 3)).reshape([batch_size, n_heads, q_len, k_len]), 3)
}
