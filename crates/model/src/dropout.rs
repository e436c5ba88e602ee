//! Dropout whose every draw is named, so that a resumed run, another split into micro-batches or another number of
//! threads drops the same activations.

use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;
use rayon::prelude::*;

use crate::random::{self, Purpose};

/// Where in a block dropout is applied; the number separates the draws of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Site {
    /// After the embeddings (layer 0 only).
    Embedding = 0,
    /// The attention probabilities.
    Attention = 1,
    /// What attention adds to the residual stream.
    AttentionOutput = 2,
    /// What the MLP adds to the residual stream.
    MlpOutput = 3,
}

/// Dropout for one training pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Probability of dropping an element, in [0, 1).
    pub probability: f64,
    /// The run's seed.
    pub seed: u64,
    /// The optimizer step.
    pub step: u64,
    /// The first input row's place in the effective batch.
    pub first_row: u64,
}

impl Dropout {
    /// Zeroes elements with the given probability and scales the others by 1 / (1 − probability).
    ///
    /// - x: `[rows, …]`
    pub(crate) fn apply<const D: usize>(&self, x: Tensor<D>, layer: usize, site: Site) -> Tensor<D> {
        let factors = self.factors(x.dims(), layer, site, &x.device());
        x * factors
    }

    /// The factors, 0 or 1 / (1 − probability), for an activation of this shape.
    pub(crate) fn factors<const D: usize>(
        &self,
        shape: [usize; D],
        layer: usize,
        site: Site,
        device: &Device,
    ) -> Tensor<D> {
        let row_len: usize = shape[1..].iter().product();
        let keep = (1.0 / (1.0 - self.probability)) as f32;
        let threshold = (self.probability * (1_u64 << 32) as f64) as u32;
        let mut factors = vec![0f32; shape[0] * row_len];
        factors.par_chunks_mut(row_len.max(1)).enumerate().for_each(|(row, factors)| {
            let row = self.first_row + row as u64;
            let stream = 4 * layer as u64 + site as u64;
            let mut rng = random::generator(self.seed, Purpose::Dropout, self.step, row, stream);
            for factor in factors {
                if rng.next_u32() >= threshold {
                    *factor = keep;
                }
            }
        });
        Tensor::from_data(TensorData::new(factors, shape), device)
    }
}
