//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864), in half-split pairs as in Hugging Face checkpoints.

use burn::tensor::{Device, Tensor, TensorData};

/// Cosines and sines for a run of absolute positions, made once a forward pass and shared by all layers.
///
/// Angles are computed in f64 from the absolute position, so they depend on nothing but that position and stay
/// accurate far beyond the lengths that f32 angles would allow.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    cos: Tensor<4>, // [1, 1, seq_len, d_head / 2]
    sin: Tensor<4>, // [1, 1, seq_len, d_head / 2]
}

impl RotaryTable {
    /// The table for positions `start .. start + seq_len`; pair i of a head turns by `position · theta^(−2i/d_head)`.
    pub fn new(start: usize, seq_len: usize, d_head: usize, theta: f64, device: &Device) -> Self {
        assert!(d_head.is_multiple_of(2), "rotary positions turn pairs, but d_head is {d_head}");
        let half = d_head / 2;
        let frequencies: Vec<f64> = (0..half).map(|i| theta.powf(-2.0 * i as f64 / d_head as f64)).collect();
        let angles = || (start..start + seq_len).flat_map(|p| frequencies.iter().map(move |f| p as f64 * f));
        let table = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [1, 1, seq_len, half]), device);
        Self {
            cos: table(angles().map(|a| a.cos() as f32).collect()),
            sin: table(angles().map(|a| a.sin() as f32).collect()),
        }
    }

    /// Turns each pair (xᵢ, xᵢ₊ₕ), h = d_head / 2, of every head by its position's angle.
    ///
    /// - x: `[batch_size, n_heads, seq_len, d_head]`, of the table's seq_len
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, seq_len, d_head] = x.dims();
        let [_, _, table_len, half] = self.cos.dims();
        assert_eq!((seq_len, d_head), (table_len, 2 * half), "rotary table made for another seq_len or d_head");
        let first = x.clone().narrow(3, 0, half); // [batch_size, n_heads, seq_len, d_head / 2]
        let second = x.narrow(3, half, half); // [batch_size, n_heads, seq_len, d_head / 2]
        let turned_first = first.clone() * self.cos.clone() - second.clone() * self.sin.clone();
        let turned_second = second * self.cos.clone() + first * self.sin.clone();
        Tensor::cat(vec![turned_first, turned_second], 3) // [batch_size, n_heads, seq_len, d_head]
    }
}
