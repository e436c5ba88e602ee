//! Attention spelled out for the twin: one key at a time, in an order that is given, so that a fault in it stands alone.

use burn::tensor::{Bool, Tensor, TensorData};

/// Everything about attention that a fault may get wrong.
pub struct Rules {
    /// Factor of the queries; 1/√d_head where nothing is wrong.
    pub scale: f64,
    /// Which keys, counted from a query's own, it sees at the past end: the window.
    pub window: usize,
    /// How many keys after its own a query sees: none.
    pub later: usize,
    /// The score of a key that is not seen: −∞.
    pub hidden_score: f32,
    /// Keys of zeros that the normaliser counts beside the real ones: none.
    pub empty_slots: usize,
    /// The order in which keys are added up: that of their positions.
    pub order: Vec<usize>,
}

/// softmax(q·kᵀ·scale)·v, one key at a time. Every sum over keys runs in the order of [`Rules::order`] and a hidden
/// key adds an exact zero to it, so a position's result has the same bits however many keys and queries there are.
///
/// - q: `[batch_size, n_heads, q_len, d_head]`; k, v: `[batch_size, n_kv_heads, k_len, d_head]`
/// - returns: `[batch_size, n_heads, q_len, d_head]`
pub fn spelled_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, rules: &Rules) -> Tensor<4> {
    let [batch_size, n_heads, q_len, d_head] = q.dims();
    let [_, n_kv_heads, k_len, _] = k.dims();
    let rows = n_heads / n_kv_heads * q_len;
    let q = (q * rules.scale).reshape([batch_size, n_kv_heads, rows, d_head]);
    let scores: Vec<Tensor<4>> = (0..k_len)
        .map(|key| {
            let score = (q.clone() * k.clone().narrow(2, key, 1)).sum_dim(3); // [batch_size, n_kv_heads, rows, 1]
            let hidden: Vec<bool> = (0..rows).map(|row| !sees(k_len - q_len + row % q_len, key, rules)).collect();
            if !hidden.contains(&true) {
                return score;
            }
            let hidden: Tensor<4, Bool> = Tensor::from_data(TensorData::new(hidden, [1, 1, rows, 1]), &score.device());
            score.mask_fill(hidden.expand([batch_size, n_kv_heads, rows, 1]), rules.hidden_score)
        })
        .collect();
    let max = scores.iter().skip(1).fold(scores[0].clone(), |max, score| max.max_pair(score.clone())).detach();
    // A key of zeros has the score 0.
    let mut total = match rules.empty_slots {
        0 => max.zeros_like(),
        slots => (-max.clone()).exp() * slots as f64,
    }; // [batch_size, n_kv_heads, rows, 1]
    let mut gathered = Tensor::zeros([batch_size, n_kv_heads, rows, d_head], &q.device());
    for &key in &rules.order {
        let weight = (scores[key].clone() - max.clone()).exp();
        total = total + weight.clone();
        gathered = gathered + weight * v.clone().narrow(2, key, 1);
    }
    (gathered / total).reshape([batch_size, n_heads, q_len, d_head])
}

/// Whether the query at index `own` among the keys sees the key at index `key`.
fn sees(own: usize, key: usize, rules: &Rules) -> bool {
    key <= own + rules.later && key + rules.window > own
}
