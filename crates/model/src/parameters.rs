//! Parameters by their path, such as `blocks.0.attention.qkv.weight`: where they come from and how to list them.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Gradients, Tensor, TensorData};

use crate::ModelError;
use crate::random::{self, Purpose};

/// How a parameter starts when nothing is loaded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zero: biases, and matrices that the config asks to begin so.
    Zeros,
    /// All one: gains.
    Ones,
    /// Normal with mean 0 and this standard deviation: matrices.
    Normal(f64),
}

/// Where the values of a new model come from: fresh random numbers, a checkpoint, another project's file.
pub trait WeightSource {
    /// The values of the parameter at `path`, row-major.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] where the source has none, or one of another shape.
    fn values(&mut self, path: &str, shape: &[usize], init: Init) -> Result<Vec<f32>, ModelError>;
}

/// Initializer values; each parameter's depend on the seed and its own path alone.
#[derive(Debug, Clone, Copy)]
pub struct Initializer {
    /// The seed of the run.
    pub seed: u64,
}

impl WeightSource for Initializer {
    fn values(&mut self, path: &str, shape: &[usize], init: Init) -> Result<Vec<f32>, ModelError> {
        let len = shape.iter().product();
        Ok(match init {
            Init::Zeros => vec![0.0; len],
            Init::Ones => vec![1.0; len],
            Init::Normal(std) => {
                let path = random::hash(path.bytes().map(u64::from));
                let rng = random::generator(self.seed, Purpose::Parameters, 0, path, 0);
                random::normals(rng).take(len).map(|normal| (normal * std) as f32).collect()
            }
        })
    }
}

/// The path of the parameter that a visitor or mapper stands at.
#[derive(Debug, Default)]
pub struct PathStack(Vec<String>);

impl PathStack {
    /// Goes one level down.
    pub fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    /// Comes back up.
    pub fn exit(&mut self) {
        self.0.pop();
    }

    /// The dotted path.
    pub fn path(&self) -> String {
        self.0.join(".")
    }
}

/// Path, shape and f32 values of every parameter, sorted by path.
pub fn list(model: &impl Module) -> Vec<(String, TensorData)> {
    #[derive(Default)]
    struct Lister {
        stack: PathStack,
        found: Vec<(String, TensorData)>,
    }
    impl ModuleVisitor for Lister {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.stack.enter(name);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.stack.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((self.stack.path(), param.val().into_data_dtype(DType::F32)));
        }
    }
    let mut lister = Lister::default();
    model.visit(&mut lister);
    lister.found.sort_by(|a, b| a.0.cmp(&b.0));
    lister.found
}

/// Gradients by the path of their parameter, flattened.
pub type NamedGradients = BTreeMap<String, Tensor<1>>;

/// Adds gradients of parameters to those of others, of the same ones or not.
pub fn add_gradients(total: &mut NamedGradients, more: impl IntoIterator<Item = (String, Tensor<1>)>) {
    for (path, gradient) in more {
        let sum = match total.remove(&path) {
            Some(sum) => sum + gradient,
            None => gradient,
        };
        total.insert(path, sum);
    }
}

/// Takes every parameter's gradient out of a backward pass; parameters that had no part in it are absent.
pub fn take_gradients(model: &impl Module, gradients: &mut Gradients) -> NamedGradients {
    struct Collector<'a> {
        stack: PathStack,
        gradients: &'a mut Gradients,
        found: NamedGradients,
    }
    impl ModuleVisitor for Collector<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.stack.enter(name);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.stack.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad_remove(self.gradients) {
                let len: usize = gradient.dims().iter().product();
                self.found.insert(self.stack.path(), gradient.reshape([len]));
            }
        }
    }
    let mut collector = Collector { stack: PathStack::default(), gradients, found: BTreeMap::new() };
    model.visit(&mut collector);
    collector.found
}
