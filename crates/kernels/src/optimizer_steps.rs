//! What a step of AdamW and of Muon needs beside tensors.

/// The numbers of one step of AdamW.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// The learning rate.
    pub rate: f64,
    /// The share of the weight that is taken off, rate · weight decay.
    pub decay: f64,
    /// How much of the mean gradient is kept.
    pub beta1: f64,
    /// How much of the mean squared gradient is kept.
    pub beta2: f64,
    /// Added to the root, so that nothing is divided by zero.
    pub eps: f64,
    /// 1 − beta1ᵗ at step t.
    pub first_correction: f64,
    /// 1 − beta2ᵗ at step t.
    pub second_correction: f64,
}

/// The numbers of one step of Muon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MuonStep {
    /// The learning rate.
    pub rate: f64,
    /// The share of the weight that is taken off, rate · weight decay.
    pub decay: f64,
    /// How much of the mean gradient is kept.
    pub momentum: f64,
}

impl MuonStep {
    /// Added to the norms that the mean gradient is divided by, so that nothing is divided by zero.
    pub const EPS: f64 = 1e-7;

    /// By how much more than `rate` a matrix `[d_input, d_output]` moves: √(d_output / d_input) where that is above 1.
    pub fn scale(&self, [d_input, d_output]: [usize; 2]) -> f64 {
        (d_output as f64 / d_input as f64).max(1.0).sqrt()
    }
}

/// The Newton–Schulz steps of [`muon`](crate::muon): each maps singular values σ to aσ + bσ³ + cσ⁵. The polynomial is
/// Muon's own, one step fewer, because [`muon`](crate::muon) divides by a closer bound of the largest singular value before.
pub const NEWTON_SCHULZ: [[f64; 3]; 4] = [[3.4445, -4.7750, 2.0315]; 4];
