//! Low-rank factors: each matrix W of a block becomes W + (alpha / rank)·A·B, and only A and B are trained (Hu et al. 2021,
//! LoRA, arXiv:2106.09685). The model that is trained, evaluated and saved has the merged matrices, so that it is a model as
//! any other; this file knows what they are made of.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use tril_kernels::linear;
use tril_model::parameters::{Init, Initializer, NamedGradients, PathStack, WeightSource};
use tril_model::tensor_file::NamedTensors;
use tril_model::{Gpt, GptConfig, ModelError};

use crate::{LoraConfig, TrainError};

/// What the names of A and B end in.
const NAMES: [&str; 2] = ["lora_a", "lora_b"];

/// The factors of every matrix of the blocks, and those matrices as they were before.
#[derive(Debug, Clone)]
pub struct LowRankFactors {
    scale: f64,
    /// By the path of the weight in the model, such as `blocks.0.attention.qkv.weight`.
    pairs: BTreeMap<String, FactorPair>,
}

/// Weights of a linear layer are `[d_input, d_output]` here, so that A and B are the paper's, each transposed, and stand in
/// the order A·B. All tensors are without gradients.
#[derive(Debug, Clone)]
struct FactorPair {
    /// The frozen matrix, `[d_input, d_output]`.
    base: Tensor<2>,
    /// `[d_input, rank]`, normal with standard deviation 1/√d_input at the beginning.
    a: Tensor<2>,
    /// `[rank, d_output]`, zero at the beginning: the model begins as it was.
    b: Tensor<2>,
}

impl LowRankFactors {
    /// Fresh factors for a model; the draws of A are named by the seed and their path.
    ///
    /// # Errors
    /// [`TrainError::Config`] for a rank above the shorter side of a matrix; [`TrainError::Model`].
    pub fn new(gpt: &Gpt, config: &LoraConfig, seed: u64) -> Result<Self, TrainError> {
        config.check()?;
        check_rank(config, gpt.config())?;
        let (device, mut fresh) = (gpt.device(), Initializer { seed });
        let mut pairs = BTreeMap::new();
        for (path, base) in block_matrices(gpt) {
            let [d_input, d_output] = base.dims();
            let shape = [d_input, config.rank];
            let std = 1.0 / (d_input as f64).sqrt();
            let values = fresh.values(&factor_path(&path, NAMES[0]), &shape, Init::Normal(std))?;
            let a = Tensor::from_data(TensorData::new(values, shape), &device);
            pairs.insert(path, FactorPair { base, a, b: Tensor::zeros([config.rank, d_output], &device) });
        }
        Ok(Self { scale: config.scale(), pairs })
    }

    /// The factors that [`LowRankFactors::tensors`] gave.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] if a tensor is missing, has another shape, or belongs to none of the matrices.
    pub fn from_tensors(
        mut tensors: NamedTensors,
        gpt: &Gpt,
        config: &LoraConfig,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let mut take = |path: &str, shape: [usize; 2]| match tensors.remove(path) {
            Some((found, values)) if found == shape => Ok(Tensor::from_data(TensorData::new(values, shape), device)),
            Some((found, _)) => Err(ModelError::Parameter(format!("`{path}` has shape {found:?}, not {shape:?}"))),
            None => Err(ModelError::Parameter(format!("it lacks `{path}`"))),
        };
        let mut pairs = BTreeMap::new();
        for (path, weight) in block_matrices(gpt) {
            let [d_input, d_output] = weight.dims();
            let base = take(&path, [d_input, d_output])?;
            let a = take(&factor_path(&path, NAMES[0]), [d_input, config.rank])?;
            let b = take(&factor_path(&path, NAMES[1]), [config.rank, d_output])?;
            pairs.insert(path, FactorPair { base, a, b });
        }
        match tensors.keys().next() {
            Some(name) => Err(ModelError::Parameter(format!("it holds `{name}`, which no matrix of a block has"))),
            None => Ok(Self { scale: config.scale(), pairs }),
        }
    }

    /// All that resuming needs, as named tensors, sorted: `{path}.lora_a`, `{path}.lora_b`, and under its own name each
    /// frozen matrix, which cannot be had back from the merged one to the last bit.
    pub fn tensors(&self) -> Vec<(String, TensorData)> {
        let data = |tensor: &Tensor<2>| tensor.clone().into_data_dtype(DType::F32);
        let pairs = self.pairs.iter();
        let mut tensors: Vec<_> = pairs
            .flat_map(|(path, FactorPair { base, a, b })| {
                let [path_a, path_b] = NAMES.map(|name| factor_path(path, name));
                [(path.clone(), data(base)), (path_a, data(a)), (path_b, data(b))]
            })
            .collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    }

    /// Paths of all factors and how many numbers each has, sorted.
    pub fn lens(&self) -> BTreeMap<String, usize> {
        let len = |factor: &Tensor<2>| factor.dims().iter().product();
        let pairs = self.pairs.iter();
        let lens = pairs.flat_map(|(path, FactorPair { a, b, .. })| {
            let [path_a, path_b] = NAMES.map(|name| factor_path(path, name));
            [(path_a, len(a)), (path_b, len(b))]
        });
        lens.collect()
    }

    /// How many numbers are trained.
    pub fn num_params(&self) -> usize {
        self.lens().values().sum()
    }

    /// The gradient of every factor from that of every merged matrix, by the chain rule: with G of the merged matrix, that
    /// of A is scale·G·Bᵀ and that of B is scale·Aᵀ·G.
    ///
    /// - gradients: of the merged matrices by their path, each `[elements]`
    /// - returns: by the path of the factor, each `[elements]`
    pub fn gradients(&self, mut gradients: NamedGradients) -> NamedGradients {
        let mut found = NamedGradients::new();
        for (path, FactorPair { base, a, b }) in &self.pairs {
            let Some(gradient) = gradients.remove(path) else { continue };
            let gradient = gradient.reshape(base.dims()); // [d_input, d_output]
            let of_a = product(gradient.clone(), b.clone().transpose()); // [d_input, rank]
            let of_b = product(a.clone().transpose(), gradient); // [rank, d_output]
            for (name, of) in NAMES.into_iter().zip([of_a, of_b]) {
                let elements = of.dims().iter().product::<usize>();
                found.insert(factor_path(path, name), (of * self.scale).reshape([elements]));
            }
        }
        found
    }

    /// Has `update` change every factor, given its path.
    pub(crate) fn map(self, mut update: impl FnMut(&str, Tensor<2>) -> Tensor<2>) -> Self {
        let pairs = self.pairs.into_iter().map(|(path, FactorPair { base, a, b })| {
            let a = update(&factor_path(&path, NAMES[0]), a);
            let b = update(&factor_path(&path, NAMES[1]), b);
            (path, FactorPair { base, a, b })
        });
        Self { scale: self.scale, pairs: pairs.collect() }
    }

    /// The model with merged matrices in place of its own; all other parameters stay as they are.
    ///
    /// - gpt: with gradients
    pub(crate) fn merge_into(&self, gpt: Gpt) -> Gpt {
        gpt.map(&mut Merge { stack: PathStack::default(), factors: self })
    }

    /// The model with gradients for the matrices of blocks alone.
    pub(crate) fn freeze_others(&self, gpt: Gpt) -> Gpt {
        gpt.map(&mut Freeze { stack: PathStack::default(), factors: self })
    }
}

impl FactorPair {
    /// base + scale·(A·B), each element rounded three times: A·B is one chain of fused multiply-adds in ascending order of
    /// the rank, begun at zero; it is multiplied by the scale, and added to the base.
    fn merged(&self, scale: f64) -> Tensor<2> {
        self.base.clone() + product(self.a.clone(), self.b.clone()) * scale
    }
}

/// `[m, k]` by `[k, n]`, in the order of the model's own products.
fn product(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    linear(a.unsqueeze_dim(0), b, None).squeeze_dim(0)
}

/// The path of a factor, such as `blocks.0.attention.qkv.lora_a`, by that of the weight.
fn factor_path(weight: &str, name: &str) -> String {
    format!("{}.{name}", weight.strip_suffix(".weight").unwrap_or(weight))
}

/// Refuses a rank with which the factors would be no smaller than the matrices.
fn check_rank(lora: &LoraConfig, config: &GptConfig) -> Result<(), TrainError> {
    let sides = config.block_matrices().map(|matrix| (matrix.d_input.min(matrix.d_output()), matrix.path));
    let (limit, path) = sides.into_iter().min().unwrap_or((0, ""));
    if lora.rank <= limit {
        return Ok(());
    }
    Err(TrainError::Config(format!(
        "lora.rank = {} is more than the {limit} rows or columns of {path}, the smallest matrix of a block: a rank of 4 to 16 is usual",
        lora.rank
    )))
}

/// The matrices of all blocks by their path, without gradients.
fn block_matrices(gpt: &Gpt) -> Vec<(String, Tensor<2>)> {
    struct Finder<'a> {
        config: &'a GptConfig,
        stack: PathStack,
        found: Vec<(String, Tensor<2>)>,
    }
    impl ModuleVisitor for Finder<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.stack.enter(name);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.stack.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.stack.path();
            if let Some(matrix) = self.config.block_matrix_at(&path) {
                self.found.push((path, param.val().reshape([matrix.d_input, matrix.d_output()])));
            }
        }
    }
    let valid = if gpt.device().is_autodiff() { gpt.valid() } else { gpt.clone() };
    let mut finder = Finder { config: gpt.config(), stack: PathStack::default(), found: Vec::new() };
    valid.visit(&mut finder);
    finder.found
}

struct Merge<'a> {
    stack: PathStack,
    factors: &'a LowRankFactors,
}

impl ModuleMapper for Merge<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.stack.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.stack.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(pair) = self.factors.pairs.get(&self.stack.path()) else { return param };
        let (id, value, mapper) = param.consume();
        let merged = pair.merged(self.factors.scale).reshape(value.dims());
        Param::from_mapped_value(id, Tensor::from_inner(merged).require_grad(), mapper)
    }
}

struct Freeze<'a> {
    stack: PathStack,
    factors: &'a LowRankFactors,
}

impl ModuleMapper for Freeze<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.stack.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.stack.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.factors.pairs.contains_key(&self.stack.path()) { param } else { param.set_require_grad(false) }
    }
}
