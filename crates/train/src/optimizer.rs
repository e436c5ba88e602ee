//! AdamW with decoupled decay on matrices (Loshchilov & Hutter 2017, arXiv:1711.05101), and Muon for the matrices of
//! blocks, their state keyed by the path of each parameter, so that it can be stored and found again.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use tril_kernels::{AdamWStep, MuonStep, adamw, muon};
use tril_model::parameters::{NamedGradients, PathStack};
use tril_model::tensor_file::NamedTensors;
use tril_model::{Gpt, GptConfig, ModelError};

use crate::schedule::{learning_rate, momentum, muon_learning_rate};
use crate::worker_pools::WorkerPools;
use crate::{LowRankFactors, OptimizerConfig, OptimizerKind};

/// What AdamW and Muon remember, each of the parameters that it trains.
#[derive(Debug, Clone, Default)]
pub struct Optimizer {
    /// AdamW's running means of gradients and of their squares, each `[number of elements]`.
    moments: BTreeMap<String, [Tensor<1>; 2]>,
    /// Muon's running mean of gradients, `[number of elements]`.
    momentum: BTreeMap<String, Tensor<1>>,
}

impl Optimizer {
    /// Takes step number `step` (from 1) of `steps` with gradients already scaled. Whoever gives work to `pools` must not
    /// be one of them.
    pub fn step(
        &mut self,
        gpt: Gpt,
        mut gradients: NamedGradients,
        [step, steps]: [u64; 2],
        config: &OptimizerConfig,
        pools: &WorkerPools,
    ) -> Gpt {
        let mut matrices = BTreeMap::new();
        if config.kind == OptimizerKind::Muon {
            let rate = muon_learning_rate(step, steps, config);
            let muon = MuonStep { rate, decay: rate * config.weight_decay, momentum: momentum(step, config) };
            matrices = self.step_matrices(&gpt, &mut gradients, &muon, pools);
        }
        let update = Update {
            stack: PathStack::default(),
            moments: &mut self.moments,
            matrices,
            gradients,
            adamw: adamw_step([step, steps], config),
            weight_decay: config.weight_decay,
        };
        gpt.map(&mut { update })
    }

    /// The same for low-rank factors alone, all of them by AdamW.
    pub fn step_factors(
        &mut self,
        factors: LowRankFactors,
        mut gradients: NamedGradients,
        steps: [u64; 2],
        config: &OptimizerConfig,
    ) -> LowRankFactors {
        let step = adamw_step(steps, config);
        let step = AdamWStep { decay: step.rate * config.weight_decay, ..step };
        factors.map(|path, factor| {
            let Some(gradient) = gradients.remove(path) else { return factor };
            let (factor, moments) = adamw(&step, factor, self.take_moments(path, &gradient), gradient);
            self.moments.insert(path.to_owned(), moments);
            factor
        })
    }

    fn take_moments(&mut self, path: &str, gradient: &Tensor<1>) -> [Tensor<1>; 2] {
        self.moments.remove(path).unwrap_or_else(|| [gradient.zeros_like(), gradient.zeros_like()])
    }

    /// Muon's matrices after the step, by path, each computed whole on one core; takes their gradients away.
    fn step_matrices(
        &mut self,
        gpt: &Gpt,
        gradients: &mut NamedGradients,
        step: &MuonStep,
        pools: &WorkerPools,
    ) -> BTreeMap<String, Tensor<2>> {
        let mut found = Matrices { config: gpt.config(), stack: PathStack::default(), matrices: Vec::new() };
        gpt.visit(&mut found);
        let mut work: Vec<_> = found
            .matrices
            .into_iter()
            .filter_map(|(path, weight, widths)| {
                let gradient = gradients.remove(&path)?;
                let mean = self.momentum.remove(&path).unwrap_or_else(|| gradient.zeros_like());
                Some((path, weight, mean, gradient, widths))
            })
            .collect();
        // The longest work first, so that pools get about equal shares.
        work.sort_by_key(|(_, weight, _, _, widths)| std::cmp::Reverse(cost(weight.dims()[0], widths)));
        let results = pools.map(work.len(), |index| {
            let (_, weight, mean, gradient, widths) = work[index].clone();
            muon(step, weight, mean, gradient, &widths)
        });
        work.into_iter()
            .zip(results)
            .map(|((path, ..), (weight, mean))| {
                self.momentum.insert(path.clone(), mean);
                (path, weight)
            })
            .collect()
    }

    /// The state as named tensors, sorted: `{path}.exp_avg` and `{path}.exp_avg_sq`, or `{path}.momentum`.
    pub fn tensors(&self) -> Vec<(String, TensorData)> {
        let data = |path: &str, name: &str, tensor: &Tensor<1>| {
            (format!("{path}.{name}"), tensor.clone().into_data_dtype(DType::F32))
        };
        let moments = self.moments.iter();
        let moments = moments.flat_map(|(path, [exp_avg, exp_avg_sq])| {
            [data(path, "exp_avg", exp_avg), data(path, "exp_avg_sq", exp_avg_sq)]
        });
        let momentum = self.momentum.iter().map(|(path, mean)| data(path, "momentum", mean));
        let mut tensors: Vec<_> = moments.chain(momentum).collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    }

    /// The state that [`Optimizer::tensors`] gave, of an optimizer of this kind. Names of earlier releases, `first` for
    /// `exp_avg` and `second` for `exp_avg_sq`, are read too.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] if a parameter's state is missing or of another length.
    pub fn from_tensors(
        mut tensors: NamedTensors,
        gpt: &Gpt,
        kind: OptimizerKind,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let mut optimizer = Self::default();
        for (path, data) in tril_model::parameters::list(gpt) {
            let len: usize = data.shape().iter().product();
            let mut take = |name: &str, old_name: &str| take_state(&mut tensors, &path, [name, old_name], len, device);
            if kind == OptimizerKind::Muon && gpt.config().block_matrix_at(&path).is_some() {
                let mean = take("momentum", "momentum")?;
                optimizer.momentum.insert(path, mean);
            } else {
                let moments = [take("exp_avg", "first")?, take("exp_avg_sq", "second")?];
                optimizer.moments.insert(path, moments);
            }
        }
        Ok(optimizer)
    }

    /// The state that [`Optimizer::tensors`] gave, of an optimizer of low-rank factors.
    ///
    /// # Errors
    /// As [`Optimizer::from_tensors`].
    pub fn of_factors(
        mut tensors: NamedTensors,
        factors: &LowRankFactors,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let mut optimizer = Self::default();
        for (path, len) in factors.lens() {
            let mut take = |name: &str| take_state(&mut tensors, &path, [name, name], len, device);
            let moments = [take("exp_avg")?, take("exp_avg_sq")?];
            optimizer.moments.insert(path, moments);
        }
        Ok(optimizer)
    }
}

/// A part of the state of the parameter at a path, by its name or by that of earlier releases.
fn take_state(
    tensors: &mut NamedTensors,
    path: &str,
    [name, old_name]: [&str; 2],
    len: usize,
    device: &Device,
) -> Result<Tensor<1>, ModelError> {
    let (shape, values) = tensors
        .remove(&format!("{path}.{name}"))
        .or_else(|| tensors.remove(&format!("{path}.{old_name}")))
        .ok_or_else(|| ModelError::Parameter(format!("it lacks `{path}.{name}`")))?;
    if shape != [len] {
        return Err(ModelError::Parameter(format!("`{path}.{name}` has shape {shape:?}, not [{len}]")));
    }
    Ok(Tensor::from_data(TensorData::new(values, [len]), device))
}

/// AdamW's step number `step` (from 1) of `steps`, without decay.
fn adamw_step([step, steps]: [u64; 2], config: &OptimizerConfig) -> AdamWStep {
    let OptimizerConfig { beta1, beta2, eps, .. } = *config;
    AdamWStep {
        rate: learning_rate(step, steps, config),
        decay: 0.0,
        beta1,
        beta2,
        eps,
        first_correction: 1.0 - libm::pow(beta1, step as f64),
        second_correction: 1.0 - libm::pow(beta2, step as f64),
    }
}

/// About how long [`muon`] works on matrices of these columns side by side, in multiply-adds: the steps are taken in the
/// space of the shorter side, and the matrix itself enters twice.
fn cost(rows: usize, widths: &[usize]) -> usize {
    let one = |width: usize| {
        let (side, inner) = (rows.min(width), rows.max(width));
        side * side * (8 * side + 2 * inner)
    };
    widths.iter().map(|width| one(*width)).sum()
}

/// The matrices that Muon trains: path, weight, and columns of each of those that lie side by side in it, as each has
/// singular values of its own.
struct Matrices<'a> {
    config: &'a GptConfig,
    stack: PathStack,
    matrices: Vec<(String, Tensor<2>, Vec<usize>)>,
}

impl ModuleVisitor for Matrices<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.stack.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.stack.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.stack.path();
        if let Some(matrix) = self.config.block_matrix_at(&path) {
            let value = param.val().inner();
            let [rows, columns] = [value.dims()[0], value.dims()[1]];
            self.matrices.push((path, value.reshape([rows, columns]), matrix.widths));
        }
    }
}

struct Update<'a> {
    stack: PathStack,
    moments: &'a mut BTreeMap<String, [Tensor<1>; 2]>,
    /// What Muon has updated already.
    matrices: BTreeMap<String, Tensor<2>>,
    gradients: NamedGradients,
    /// Without decay.
    adamw: AdamWStep,
    weight_decay: f64,
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
        if let Some(matrix) = self.matrices.remove(&path) {
            let (id, value, mapper) = param.consume();
            let value = Tensor::from_inner(matrix.reshape(value.dims())).require_grad();
            return Param::from_mapped_value(id, value, mapper);
        }
        let Some(gradient) = self.gradients.remove(&path) else { return param };
        let moments = self.moments.remove(&path).unwrap_or_else(|| [gradient.zeros_like(), gradient.zeros_like()]);
        let decay = if D == 2 { self.adamw.rate * self.weight_decay } else { 0.0 };
        let step = AdamWStep { decay, ..self.adamw };
        let (id, value, mapper) = param.consume();
        let (value, moments) = adamw(&step, value.inner(), moments, gradient);
        self.moments.insert(path, moments);
        let value = Tensor::from_inner(value).require_grad();
        Param::from_mapped_value(id, value, mapper)
    }
}
