//! Rotary position embedding.

use burn::tensor::Tensor;

/// See [`crate::RotaryTable::rotate`].
///
/// - x: `[batch_size, n_heads, seq_len, d_head]`; cos, sin: `[1, 1, seq_len, d_head / 2]`
pub fn rotate(x: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    let [_, _, _, half] = cos.dims();
    let first = x.clone().narrow(3, 0, half); // [batch_size, n_heads, seq_len, d_head / 2]
    let second = x.narrow(3, half, half); // [batch_size, n_heads, seq_len, d_head / 2]
    let turned_first = first.clone() * cos.clone() - second.clone() * sin.clone();
    let turned_second = second * cos + first * sin;
    Tensor::cat(vec![turned_first, turned_second], 3) // [batch_size, n_heads, seq_len, d_head]
}
