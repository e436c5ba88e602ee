//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864), in half-split pairs as in Hugging Face checkpoints.

use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor, TensorData};

use crate::{cpu, portable};

/// Cosines and sines for a run of absolute positions, made once a forward pass and shared by all layers.
///
/// Angles are computed in f64 from the absolute position, so they depend on nothing but that position and stay
/// accurate far beyond the lengths that f32 angles would allow: a cosine or sine is off by at most 2⁻²⁵, which is f32's
/// own rounding, and 2⁻⁵¹ of the angle, which at a million positions is 4·10⁻¹⁰.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    cos: Arc<Vec<f32>>, // [seq_len, d_head / 2]
    sin: Arc<Vec<f32>>, // [seq_len, d_head / 2]
    seq_len: usize,
    d_head: usize,
    device: Device,
    /// The same on the device, where the portable definition is used.
    on_device: OnceLock<[Tensor<4>; 2]>, // [1, 1, seq_len, d_head / 2] each
}

impl RotaryTable {
    /// The table for positions `start .. start + seq_len`; pair i of a head turns by `position · theta^(−2i/d_head)`.
    pub fn new(start: usize, seq_len: usize, d_head: usize, theta: f64, device: &Device) -> Self {
        assert!(d_head.is_multiple_of(2), "rotary positions turn pairs, but d_head is {d_head}");
        let frequencies: Vec<f64> =
            (0..d_head / 2).map(|i| libm::pow(theta, -2.0 * i as f64 / d_head as f64)).collect();
        let angles = || (start..start + seq_len).flat_map(|p| frequencies.iter().map(move |f| p as f64 * f));
        Self {
            cos: Arc::new(angles().map(|a| libm::cos(a) as f32).collect()),
            sin: Arc::new(angles().map(|a| libm::sin(a) as f32).collect()),
            seq_len,
            d_head,
            device: device.clone(),
            on_device: OnceLock::new(),
        }
    }

    /// Cosines and sines of one of the table's positions, counted from its first, `[d_head / 2]` each.
    pub(crate) fn row(&self, position: usize) -> [&[f32]; 2] {
        assert!(position < self.seq_len, "position {position} of a table of {}", self.seq_len);
        let half = self.d_head / 2;
        [&self.cos, &self.sin].map(|values| &values[position * half..(position + 1) * half])
    }

    /// Turns each pair (xᵢ, xᵢ₊ₕ), h = d_head / 2, of every head by its position's angle.
    ///
    /// - x: `[batch_size, n_heads, seq_len, d_head]`, of the table's seq_len
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, seq_len, d_head] = x.dims();
        assert_eq!((seq_len, d_head), (self.seq_len, self.d_head), "rotary table made for another seq_len or d_head");
        if cpu::supports(&x) {
            let table = cpu::Rotary { cos: Arc::clone(&self.cos), sin: Arc::clone(&self.sin) };
            return cpu::apply(table, [cpu::input(x)]);
        }
        let [cos, sin] = self.on_device.get_or_init(|| {
            [&self.cos, &self.sin].map(|values| {
                let shape = [1, 1, self.seq_len, self.d_head / 2];
                Tensor::from_data(TensorData::new(values.to_vec(), shape), &self.device)
            })
        });
        portable::rotate(x, cos.clone(), sin.clone())
    }
}
