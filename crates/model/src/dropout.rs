//! Dropout whose every draw is named, so that a resumed run, another split into micro-batches or another number of
//! threads drops the same activations.

use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
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
        let mut factors = vec![0f32; shape[0] * row_len];
        factors.par_chunks_mut(row_len.max(1)).enumerate().for_each(|(row, factors)| {
            self.draw(&mut self.generator(row, layer, site), factors);
        });
        Tensor::from_data(TensorData::new(factors, shape), device)
    }

    /// The factors for attention probabilities where a query sees: those that [`Dropout::factors`] draws. Elsewhere, where a
    /// probability is zero whatever it is multiplied by, they are 0 and cost no draw.
    ///
    /// - shape: `[rows, n_heads, q_len, k_len]`
    pub(crate) fn attention_factors(
        &self,
        shape: [usize; 4],
        window: Option<usize>,
        layer: usize,
        device: &Device,
    ) -> Tensor<4> {
        let [rows, n_heads, q_len, k_len] = shape;
        let row_len = n_heads * q_len * k_len;
        let window = window.unwrap_or(usize::MAX);
        let mut factors = vec![0f32; rows * row_len];
        factors.par_chunks_mut(row_len.max(1)).enumerate().for_each(|(row, factors)| {
            let mut rng = self.generator(row, layer, Site::Attention);
            let mut drawn = 0;
            for (query, factors) in factors.chunks_exact_mut(k_len.max(1)).enumerate() {
                let end = k_len - q_len + query % q_len + 1;
                let begin = end.saturating_sub(window);
                skip(&mut rng, drawn, query * k_len + begin);
                self.draw(&mut rng, &mut factors[begin..end]);
                drawn = query * k_len + end;
            }
        });
        Tensor::from_data(TensorData::new(factors, shape), device)
    }

    /// What draws the factors of an input row.
    fn generator(&self, row: usize, layer: usize, site: Site) -> ChaCha8Rng {
        let stream = 4 * layer as u64 + site as u64;
        random::generator(self.seed, Purpose::Dropout, self.step, self.first_row + row as u64, stream)
    }

    /// Writes the factors of elements that are kept into zeros.
    fn draw(&self, rng: &mut ChaCha8Rng, factors: &mut [f32]) {
        let keep = (1.0 / (1.0 - self.probability)) as f32;
        let threshold = (self.probability * (1_u64 << 32) as f64) as u32;
        for factor in factors {
            if rng.next_u32() >= threshold {
                *factor = keep;
            }
        }
    }
}

/// Brings a generator from one draw to a later one. So many are made at a time that a few are sooner drawn than passed over.
fn skip(rng: &mut ChaCha8Rng, from: usize, to: usize) {
    const MADE_AT_ONCE: usize = 64;
    if to - from >= MADE_AT_ONCE {
        rng.set_word_pos(to as u128);
    } else {
        (from..to).for_each(|_| {
            rng.next_u32();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_query_sees_attention_has_the_draws_of_the_whole_table_and_elsewhere_none() {
        let device = Device::flex();
        let dropout = Dropout { probability: 0.4, seed: 3, step: 5, first_row: 2 };
        let read = |factors: Tensor<4>| factors.into_data().try_into_vec::<f32>().expect("f32");
        for ([rows, n_heads, q_len, k_len], window) in
            [([2, 3, 150, 150], None), ([1, 2, 200, 200], Some(9)), ([2, 1, 70, 170], Some(90)), ([1, 1, 1, 1], None)]
        {
            let shape = [rows, n_heads, q_len, k_len];
            let whole = read(dropout.factors(shape, 1, Site::Attention, &device));
            let seen = read(dropout.attention_factors(shape, window, 1, &device));
            let mut kept = 0;
            for (index, (seen, whole)) in seen.into_iter().zip(whole).enumerate() {
                let (query, key) = (index / k_len % q_len + k_len - q_len, index % k_len);
                let sees = key <= query && query - key < window.unwrap_or(usize::MAX);
                assert_eq!(
                    seen,
                    if sees { whole } else { 0.0 },
                    "{shape:?}, window {window:?}: key {key} of query {query}"
                );
                kept += usize::from(seen > 0.0);
            }
            assert!(kept > 0 || q_len == 1, "{shape:?}");
        }
    }
}
