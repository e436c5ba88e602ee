//! What a step tells of itself, the mean loss and the norm of the gradient, and clipping by that norm.

use burn::tensor::Tensor;
use tril_kernels::{is_cpu, sum_of_squares};
use tril_model::parameters::NamedGradients;

use crate::TrainError;

/// The mean loss of a batch and the norm of its gradient: numbers on the CPU, and elsewhere still on the device.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a step has one of them")]
pub enum LossAndNorm {
    /// On the CPU, summed in f64 in one order.
    Known {
        /// In nats.
        loss: f64,
        /// Over all parameters.
        norm: f64,
    },
    /// On another device.
    Unread {
        /// The sum of the losses, and that of the squares of the gradient: `[2]`
        sums: Tensor<1>,
        /// How many losses there are.
        count: usize,
    },
}

impl LossAndNorm {
    /// Of a step; nothing is read from a device that is not the CPU.
    ///
    /// - losses: `[rows · seq_len]` of each micro-batch, all of one length
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub fn of(losses: &[Tensor<1>], gradients: &NamedGradients) -> Result<Self, TrainError> {
        let count: usize = losses.iter().map(|losses| losses.dims()[0]).sum();
        if losses.iter().all(|losses| is_cpu(&losses.device())) {
            let mean = |losses: &Tensor<1>| {
                let losses = losses.clone().try_into_vec_as::<f32>().map_err(TrainError::device)?;
                Ok(losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / count as f64)
            };
            let means = losses.iter().map(mean).collect::<Result<Vec<f64>, TrainError>>()?;
            let loss = means.iter().fold(0.0, |sum, mean| sum + mean);
            return Ok(Self::Known { loss, norm: global_norm(gradients)? });
        }
        let sum = losses.iter().map(|losses| losses.clone().sum()).reduce(|sum, next| sum + next);
        let squares = gradients.values().map(|gradient| gradient.clone().square().sum());
        // Where nothing is trained, there is nothing to scale either.
        let squares = squares.reduce(|sum, next| sum + next).or_else(|| sum.as_ref().map(Tensor::zeros_like));
        let sums = Tensor::cat([sum, squares].into_iter().flatten().collect(), 0);
        Ok(Self::Unread { sums, count })
    }

    /// Loss and norm of several steps, read from the device at once: whatever is read waits for all that was asked of it
    /// before.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub fn read(steps: &[&Self]) -> Result<Vec<(f64, f64)>, TrainError> {
        let unread = |step: &&Self| match step {
            Self::Unread { sums, .. } => Some(sums.clone()),
            Self::Known { .. } => None,
        };
        let unread: Vec<Tensor<1>> = steps.iter().filter_map(unread).collect();
        let sums = if unread.is_empty() {
            Vec::new()
        } else {
            Tensor::cat(unread, 0).try_into_vec_as::<f32>().map_err(TrainError::device)?
        };
        let mut sums = sums.chunks_exact(2);
        let value = |step: &&Self| match (*step, sums.next()) {
            (Self::Unread { count, .. }, Some(sums)) => (f64::from(sums[0]) / *count as f64, f64::from(sums[1]).sqrt()),
            (Self::Unread { .. }, None) => (f64::NAN, f64::NAN),
            (Self::Known { loss, norm }, _) => (*loss, *norm),
        };
        Ok(steps.iter().map(value).collect())
    }

    /// Scales gradients of this norm down to `max_norm`, if they are above it; 0 never scales.
    pub fn clip(&self, gradients: NamedGradients, max_norm: f64) -> NamedGradients {
        if max_norm == 0.0 {
            return gradients;
        }
        match self {
            Self::Known { norm, .. } if *norm <= max_norm => gradients,
            Self::Known { norm, .. } => {
                let scale = max_norm / norm;
                gradients.into_iter().map(|(path, gradient)| (path, gradient * scale)).collect()
            }
            Self::Unread { sums, .. } => {
                let norm = sums.clone().narrow(0, 1, 1).sqrt();
                // A norm of zero gives an infinite factor, and so one of 1.
                let scale = (norm.recip() * max_norm).clamp_max(1.0);
                gradients.into_iter().map(|(path, gradient)| (path, gradient * scale.clone())).collect()
            }
        }
    }
}

/// The norm over all parameters together.
///
/// # Errors
/// [`TrainError::Device`].
pub fn global_norm(gradients: &NamedGradients) -> Result<f64, TrainError> {
    let of = |gradient: &Tensor<1>| {
        let sum = sum_of_squares(gradient.clone());
        sum.ok_or_else(|| TrainError::device("a gradient is not of f32 numbers on the CPU"))
    };
    let squares = gradients.values().map(of).collect::<Result<Vec<f64>, TrainError>>()?;
    Ok(squares.iter().fold(0.0, |sum, square| sum + square).sqrt())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn the_norm_of_millions_of_gradients_is_the_same_bits_on_any_number_of_threads() {
        // More than Burn sums on one thread, and no multiple of eight.
        let values: Vec<f32> = (0..4_500_003_u32).map(|i| (i.wrapping_mul(2_654_435_761) as f32).sin()).collect();
        let expected = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let gradient = Tensor::from_data(TensorData::new(values, [4_500_003]), &Device::flex());
        let gradients = NamedGradients::from([("weight".to_owned(), gradient)]);
        let norms: Vec<f64> = [1, 2, 3, 5]
            .into_iter()
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                pool.install(|| global_norm(&gradients)).expect("a norm")
            })
            .collect();
        assert!(norms.iter().all(|norm| norm.to_bits() == norms[0].to_bits()), "{norms:?}");
        assert!((norms[0] / expected - 1.0).abs() < 1e-12, "{} for {expected}", norms[0]);
    }
}
