//! What the proofs about training need of a trainer, and the trainer of this project seen that way.

use burn::module::Module;
use burn::tensor::Device;
use tril_model::parameters::{self, Init, NamedGradients, WeightSource};
use tril_model::tensor_file::{self, NamedTensors};
use tril_model::{Gpt, ModelError};
use tril_train::optimizer::Optimizer;
use tril_train::{OptimizerConfig, OptimizerKind, TrainConfig, TrainError, Trainer, TrainingText};

/// Parameters from which on steps are by AdamW alone: Muon's would take seconds each.
const MUON_PARAMETERS: usize = 10_000_000;

/// A few steps of training that begin at a model's weights, with an optimizer that begins anew. Nothing of it is written
/// anywhere.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingPlan {
    /// The text.
    pub ids: Vec<u32>,
    /// Tokens that a row predicts.
    pub seq_len: usize,
    /// Rows of a step.
    pub batch_size: usize,
    /// Pieces that a step is computed in; a divisor of `batch_size`.
    pub micro_batches: usize,
    /// Steps of the whole run.
    pub steps: u64,
    /// Names what is drawn.
    pub seed: u64,
}

/// Named numbers, in a fixed order.
pub type NamedValues = Vec<(String, Vec<f32>)>;

/// A trainer that can be proved: it takes steps, and goes on from what it would save.
pub trait TrainerUnderTest {
    /// The gradient of the next step's batch, by the path of each parameter.
    ///
    /// # Errors
    /// [`TrainError`].
    fn gradients(&self) -> Result<NamedGradients, TrainError>;

    /// Takes a step.
    ///
    /// # Errors
    /// [`TrainError`].
    fn step(&mut self) -> Result<(), TrainError>;

    /// Gives up all that a checkpoint does not hold, and goes on from the bytes of one.
    ///
    /// # Errors
    /// [`TrainError`].
    fn save_and_load(&mut self) -> Result<(), TrainError>;

    /// All weights, and the optimizer's state.
    ///
    /// # Errors
    /// [`TrainError`].
    fn state(&self) -> Result<NamedValues, TrainError>;
}

/// [`Trainer`] on a text.
pub(super) struct GptTrainer {
    trainer: Trainer,
    text: TrainingText,
    train: TrainConfig,
    optimizer: OptimizerConfig,
    device: Device,
}

impl GptTrainer {
    /// # Errors
    /// [`TrainError`] for a text that is too short, or a system that gives no threads.
    pub fn new(gpt: &Gpt, plan: &TrainingPlan) -> Result<Self, TrainError> {
        let TrainingPlan { ref ids, seq_len, batch_size, micro_batches, steps, seed } = *plan;
        // Dropped activations are named too, so they are part of what must come again.
        let train =
            TrainConfig { steps, batch_size, seq_len, micro_batches, seed, dropout: 0.1, ..TrainConfig::default() };
        let small = gpt.num_params() < MUON_PARAMETERS;
        let kind = if small { OptimizerKind::Muon } else { OptimizerKind::Adamw };
        let optimizer = OptimizerConfig { kind, warmup_steps: 1, ..OptimizerConfig::default() };
        let text = TrainingText::new(ids.clone(), seq_len)?;
        let trainer = Trainer::new(gpt.clone(), Optimizer::default(), 0, train.clone(), optimizer.clone())?;
        Ok(Self { trainer, text, train, optimizer, device: gpt.device() })
    }
}

impl TrainerUnderTest for GptTrainer {
    fn gradients(&self) -> Result<NamedGradients, TrainError> {
        Ok(self.trainer.gradients(&self.text)?.1)
    }

    fn step(&mut self) -> Result<(), TrainError> {
        self.trainer.step(&self.text).map(|_| ())
    }

    fn save_and_load(&mut self) -> Result<(), TrainError> {
        let gpt = self.trainer.model();
        let weights = tensor_file::tensors_to_bytes(&parameters::list(&gpt))?;
        let state = tensor_file::tensors_to_bytes(&self.trainer.optimizer().tensors())?;
        let mut source = Saved(tensor_file::tensors_from_bytes(&weights)?);
        let gpt = Gpt::from_source(gpt.config().clone(), &mut source, &self.device)?;
        let state = tensor_file::tensors_from_bytes(&state)?;
        let optimizer = Optimizer::from_tensors(state, &gpt, self.optimizer.kind, &self.device)?;
        let step = self.trainer.step_count();
        self.trainer = Trainer::new(gpt, optimizer, step, self.train.clone(), self.optimizer.clone())?;
        Ok(())
    }

    fn state(&self) -> Result<NamedValues, TrainError> {
        let weights = parameters::list(&self.trainer.model());
        let all = weights.into_iter().chain(self.trainer.optimizer().tensors());
        all.map(|(name, data)| {
            Ok((name, data.try_into_vec::<f32>().map_err(|error| TrainError::device(format!("{error:?}")))?))
        })
        .collect()
    }
}

/// The weights of a checkpoint.
struct Saved(NamedTensors);

impl WeightSource for Saved {
    fn values(&mut self, path: &str, shape: &[usize], _init: Init) -> Result<Vec<f32>, ModelError> {
        match self.0.remove(path) {
            Some((found, values)) if found == shape => Ok(values),
            _ => Err(ModelError::Parameter(format!("what was saved lacks `{path}` of shape {shape:?}"))),
        }
    }
}
