//! Attention without the mask, to show what the mask is for. Nothing that is saved, configured or generated has it: a model
//! loses its mask by [`Gpt::without_mask`](crate::Gpt::without_mask) alone, and for as long as it is in memory.
//!
//! It is the attention of every other model, over the keys laid twice in a row: by a window as wide as the keys, each query
//! then sees every key once, from its own place on and round to the one before. So its numbers have the same bits on every
//! processor, as those with the mask do.

use burn::tensor::Tensor;
use tril_kernels::{attention_probs, causal_attention};

/// As `tril_kernels::causal_attention`, but that every query sees every key.
///
/// - q: `[batch_size, n_heads, q_len, d_head]`; k, v: `[batch_size, n_kv_heads, k_len, d_head]`
/// - returns: `[batch_size, n_heads, q_len, d_head]`
pub(crate) fn unmasked_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let ([_, _, q_len, _], [_, _, k_len, _]) = (q.dims(), k.dims());
    causal_attention(q, all_round(k, q_len), all_round(v, q_len), Some(k_len), None)
}

/// Its probabilities.
///
/// - returns: `[batch_size, n_heads, q_len, k_len]`
pub(crate) fn unmasked_probs(q: Tensor<4>, k: Tensor<4>) -> Tensor<4> {
    let ([batch_size, n_heads, q_len, _], [_, _, k_len, _]) = (q.dims(), k.dims());
    let probs = attention_probs(q, all_round(k, q_len), Some(k_len)); // [batch_size, n_heads, q_len, k_len + q_len - 1]
    if q_len == 1 {
        return probs;
    }
    let (first, again) = (probs.clone().narrow(3, 0, k_len), probs.narrow(3, k_len, q_len - 1));
    let unseen = Tensor::zeros([batch_size, n_heads, q_len, k_len + 1 - q_len], &again.device());
    // Of the two places of a key a query sees one, and has exactly 0 in the other.
    first + Tensor::cat(vec![again, unseen], 3)
}

/// The keys or values, and the first of them once more, up to one before the last query.
fn all_round(keys: Tensor<4>, q_len: usize) -> Tensor<4> {
    match q_len {
        1 => keys,
        _ => Tensor::cat(vec![keys.clone(), keys.narrow(2, 0, q_len - 1)], 2),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance, activation::softmax};

    use super::*;

    /// The values, the probabilities and the gradients against the textbook's formula, in ordinary operations.
    #[test]
    fn every_query_sees_every_key() {
        let device = Device::flex().autodiff();
        for (q_len, k_len) in [(1, 1), (1, 5), (3, 5), (5, 5)] {
            let random = |heads: usize, len: usize| {
                Tensor::<4>::random([2, heads, len, 8], Distribution::Normal(0.0, 1.0), &device).require_grad()
            };
            let (q, k, v) = (random(4, q_len), random(2, k_len), random(2, k_len));
            let weights = random(4, q_len).detach();
            let shared = |x: &Tensor<4>| x.clone().unsqueeze_dim::<5>(2).repeat_dim(2, 2).reshape([2, 4, k_len, 8]);
            let scores = q.clone().matmul(shared(&k).swap_dims(2, 3)) / 8f64.sqrt();
            let expected_probs = softmax(scores, 3);
            let expected = expected_probs.clone().matmul(shared(&v));
            let found = unmasked_attention(q.clone(), k.clone(), v.clone());
            let same = |found: Tensor<4>, expected: Tensor<4>| {
                found.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-4, 1e-5));
            };
            let gradients = |out: &Tensor<4>| {
                let gradients = (out.clone() * weights.clone()).sum().backward();
                [&q, &k, &v].map(|x| x.grad(&gradients).expect("a gradient"))
            };
            for (found, expected) in gradients(&found).into_iter().zip(gradients(&expected)) {
                same(found, expected);
            }
            same(found.inner(), expected.inner());
            same(unmasked_probs(q.inner(), k.inner()), expected_probs.inner());
        }
    }
}
