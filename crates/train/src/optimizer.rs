//! AdamW with decoupled decay on matrices (Loshchilov & Hutter 2017, arXiv:1711.05101), its state keyed by the path
//! of each parameter, so that it can be stored and found again.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use tril_kernels::{AdamWStep, adamw, is_cpu};
use tril_model::checkpoint::NamedTensors;
use tril_model::parameters::{NamedGradients, PathStack};
use tril_model::{Gpt, ModelError};

use crate::{OptimizerConfig, TrainError};

/// Running means of gradients and of their squares.
#[derive(Debug, Clone, Default)]
pub struct AdamW {
    moments: BTreeMap<String, Moments>,
}

#[derive(Debug, Clone)]
struct Moments {
    first: Tensor<1>,  // [number of elements]
    second: Tensor<1>, // [number of elements]
}

impl AdamW {
    /// Takes step number `step` (from 1) with gradients already scaled.
    pub fn step(&mut self, gpt: Gpt, gradients: NamedGradients, step: u64, rate: f64, config: &OptimizerConfig) -> Gpt {
        let update = Update {
            stack: PathStack::default(),
            moments: &mut self.moments,
            gradients,
            rate,
            first_correction: 1.0 - config.beta1.powf(step as f64),
            second_correction: 1.0 - config.beta2.powf(step as f64),
            config,
        };
        gpt.map(&mut { update })
    }

    /// The state as named tensors, `{path}.first` and `{path}.second`, sorted.
    pub fn tensors(&self) -> Vec<(String, TensorData)> {
        let data = |tensor: &Tensor<1>| tensor.clone().into_data_dtype(DType::F32);
        self.moments
            .iter()
            .flat_map(|(path, moments)| {
                [(format!("{path}.first"), data(&moments.first)), (format!("{path}.second"), data(&moments.second))]
            })
            .collect()
    }

    /// The state that [`AdamW::tensors`] gave.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] if a parameter's state is missing or of another length.
    pub fn from_tensors(mut tensors: NamedTensors, gpt: &Gpt, device: &Device) -> Result<Self, ModelError> {
        let mut moments = BTreeMap::new();
        for (path, data) in tril_model::parameters::list(gpt) {
            let len: usize = data.shape().iter().product();
            let mut take = |name: &str| {
                let (shape, values) = tensors
                    .remove(&format!("{path}.{name}"))
                    .ok_or_else(|| ModelError::Parameter(format!("it lacks `{path}.{name}`")))?;
                if shape != [len] {
                    return Err(ModelError::Parameter(format!("`{path}.{name}` has shape {shape:?}, not [{len}]")));
                }
                Ok(Tensor::from_data(TensorData::new(values, [len]), device))
            };
            let state = Moments { first: take("first")?, second: take("second")? };
            moments.insert(path, state);
        }
        Ok(Self { moments })
    }
}

struct Update<'a> {
    stack: PathStack,
    moments: &'a mut BTreeMap<String, Moments>,
    gradients: NamedGradients,
    rate: f64,
    first_correction: f64,
    second_correction: f64,
    config: &'a OptimizerConfig,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.stack.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.stack.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.stack.path();
        let Some(gradient) = self.gradients.remove(&path) else { return param };
        let OptimizerConfig { beta1, beta2, eps, weight_decay, .. } = *self.config;
        let moments = match self.moments.remove(&path) {
            Some(Moments { first, second }) => [first, second],
            None => [gradient.zeros_like(), gradient.zeros_like()],
        };
        let step = AdamWStep {
            rate: self.rate,
            decay: if D == 2 { self.rate * weight_decay } else { 0.0 },
            beta1,
            beta2,
            eps,
            first_correction: self.first_correction,
            second_correction: self.second_correction,
        };
        let (id, value, mapper) = param.consume();
        let (value, [first, second]) = adamw(&step, value.inner(), moments, gradient);
        self.moments.insert(path, Moments { first, second });
        let value = Tensor::from_inner(value).require_grad();
        Param::from_mapped_value(id, value, mapper)
    }
}

/// The norm over all parameters together.
///
/// # Errors
/// [`TrainError::Device`].
pub fn global_norm(gradients: &NamedGradients) -> Result<f64, TrainError> {
    let mut sum = 0.0;
    for gradient in gradients.values() {
        sum += sum_of_squares(gradient)?;
    }
    Ok(sum.sqrt())
}

/// On the CPU in f64 and in one order: Burn's own sum is in f32 and splits a long tensor over threads. Elsewhere on the
/// device, so that no gradient has to leave it.
///
/// - gradient: `[number of elements]`
fn sum_of_squares(gradient: &Tensor<1>) -> Result<f64, TrainError> {
    if !is_cpu(&gradient.device()) {
        let sum = (gradient.clone() * gradient.clone()).sum();
        return sum.try_into_scalar::<f32>().map(f64::from).map_err(|e| TrainError::Device(e.to_string()));
    }
    let data = gradient.clone().into_data_dtype(DType::F32);
    let values = data.as_slice::<f32>().map_err(|error| TrainError::Device(format!("{error:?}")))?;
    let square = |value: &f32| f64::from(*value) * f64::from(*value);
    // Eight running sums, so that the compiler can keep them in one register.
    let mut sums = [0.0; 8];
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        for (sum, value) in sums.iter_mut().zip(eight) {
            *sum += square(value);
        }
    }
    Ok(sums.iter().sum::<f64>() + rest.iter().map(square).sum::<f64>())
}

/// Scales gradients of this norm down to `max_norm`, if they are above it; 0 never scales.
pub fn clip(gradients: NamedGradients, norm: f64, max_norm: f64) -> NamedGradients {
    if max_norm == 0.0 || norm <= max_norm {
        return gradients;
    }
    let scale = max_norm / norm;
    gradients.into_iter().map(|(path, gradient)| (path, gradient * scale)).collect()
}

#[cfg(test)]
mod tests {
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
