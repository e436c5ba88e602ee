//! One optimizer step: batch → forward → loss → backward → clip → AdamW or Muon.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use tril_model::parameters::{self, NamedGradients};
use tril_model::{Dropout, ForwardContext, Gpt, WeightFormat};

use crate::gradient_norm::{clip, loss_and_norm};
use crate::optimizer::Optimizer;
use crate::schedule::learning_rate;
use crate::worker_pools::WorkerPools;
use crate::{LowRankFactors, OptimizerConfig, OptimizerKind, TrainBatch, TrainConfig, TrainError, TrainingText};

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: u64,
    /// Mean loss of its batch before the update, in nats.
    pub loss: f64,
    /// Norm of the gradient over all parameters, before clipping.
    pub grad_norm: f64,
    /// Learning rate of AdamW.
    pub learning_rate: f64,
}

/// A model being trained.
pub struct Trainer {
    /// Away only while the optimizer has it, so that it can write weights where they lie.
    gpt: Option<Gpt>,
    /// Trained in place of the model's parameters where they are there; the model has the merged matrices.
    factors: Option<LowRankFactors>,
    optimizer: Optimizer,
    step: u64,
    train: TrainConfig,
    optimizer_config: OptimizerConfig,
    /// With gradients.
    device: Device,
    pools: WorkerPools,
}

impl Trainer {
    /// A trainer that has taken `step` steps; `gpt` is on a device without gradients.
    ///
    /// # Errors
    /// [`TrainError::Config`].
    pub fn new(
        gpt: Gpt,
        optimizer: Optimizer,
        step: u64,
        train: TrainConfig,
        optimizer_config: OptimizerConfig,
    ) -> Result<Self, TrainError> {
        train.check()?;
        optimizer_config.check()?;
        if gpt.weights() != WeightFormat::F32 {
            let weights = gpt.weights();
            return Err(TrainError::Config(format!(
                "the model's weights were rounded to {weights}, and a step is smaller than that: train it with f32"
            )));
        }
        let limit = gpt.config().max_seq_len;
        if train.seq_len > limit {
            return Err(TrainError::Config(format!(
                "train.seq_len = {} is longer than model.max_seq_len = {limit}: lower the first or raise the second",
                train.seq_len
            )));
        }
        let pools = WorkerPools::new(&gpt.device(), train.micro_batches)?;
        let device = gpt.device().autodiff();
        Ok(Self { gpt: Some(gpt.train()), factors: None, optimizer, step, train, optimizer_config, device, pools })
    }

    /// The same, training low-rank factors alone; the model's matrices become those that the factors merge to.
    ///
    /// # Errors
    /// [`TrainError::Config`] for an optimizer that does not train factors.
    pub fn with_factors(self, factors: LowRankFactors) -> Result<Self, TrainError> {
        if self.optimizer_config.kind == OptimizerKind::Muon {
            return Err(TrainError::Config(
                "optimizer.kind = \"muon\": low-rank factors are trained by AdamW; set optimizer.kind=adamw, or lora.rank=0 to train all parameters".into(),
            ));
        }
        let gpt = self.gpt.map(|gpt| factors.merge_into(gpt));
        Ok(Self { gpt, factors: Some(factors), ..self })
    }

    /// Low-rank factors, where they are what is trained.
    pub fn factors(&self) -> Option<&LowRankFactors> {
        self.factors.as_ref()
    }

    /// How many numbers are trained.
    pub fn num_trained(&self) -> usize {
        self.factors.as_ref().map_or_else(|| self.gpt().num_params(), LowRankFactors::num_params)
    }

    /// Steps taken so far.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// The model as it stands, without gradients.
    pub fn model(&self) -> Gpt {
        self.gpt().valid()
    }

    fn gpt(&self) -> &Gpt {
        self.gpt.as_ref().expect("the optimizer has given the model back")
    }

    /// The optimizer's state.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// Checks that every weight is a number before it is saved.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`], [`TrainError::Device`].
    pub fn check_weights(&self) -> Result<(), TrainError> {
        for (_, data) in parameters::list(self.gpt()) {
            let values = data.as_slice::<f32>().map_err(|error| TrainError::device(format!("{error:?}")))?;
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                finite(self.step, "a weight", f64::from(*value))?;
            }
        }
        Ok(())
    }

    /// Takes one step.
    ///
    /// # Errors
    /// Before the update: [`TrainError::NonFinite`] if loss or gradient is not finite, [`TrainError::NoGradient`] if the
    /// first gradient is zero; [`TrainError::Device`].
    pub fn step(&mut self, text: &TrainingText) -> Result<StepReport, TrainError> {
        let step = self.step + 1;
        let (losses, gradients) = self.losses_and_gradients(text);
        let (loss, grad_norm) = loss_and_norm(&losses, &gradients)?;
        finite(step, "the loss", loss)?;
        finite(step, "the gradient norm", grad_norm)?;
        // A text of one token alone has a loss of zero, and nothing to learn.
        if step == 1 && grad_norm == 0.0 && loss > 0.0 {
            return Err(TrainError::NoGradient { loss });
        }
        let gradients = clip(gradients, grad_norm, self.optimizer_config.max_grad_norm);
        let rate = learning_rate(step, self.train.steps, &self.optimizer_config);
        let steps = [step, self.train.steps];
        let config = &self.optimizer_config;
        if let Some(factors) = self.factors.take() {
            let factors = self.optimizer.step_factors(factors, gradients, steps, config);
            self.gpt = self.gpt.take().map(|gpt| factors.merge_into(gpt));
            self.factors = Some(factors);
        } else {
            let stepped = |gpt| self.optimizer.step(gpt, gradients, steps, config, &self.pools);
            self.gpt = self.gpt.take().map(stepped);
        }
        self.step = step;
        Ok(StepReport { step, loss, grad_norm, learning_rate: rate })
    }

    /// Mean loss and gradient of the next step's effective batch, before clipping: the sum over the micro-batches, in
    /// their order. The gradient is of what is trained: of low-rank factors where there are some.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub fn gradients(&self, text: &TrainingText) -> Result<(f64, NamedGradients), TrainError> {
        let (losses, gradients) = self.losses_and_gradients(text);
        let (loss, _) = loss_and_norm(&losses, &gradients)?;
        Ok((loss, gradients))
    }

    /// The loss of every target of the next step's effective batch, a tensor a micro-batch, and the gradient of their
    /// mean. Nothing is read from the device here, so that the host can run ahead of it.
    fn losses_and_gradients(&self, text: &TrainingText) -> (Vec<Tensor<1>>, NamedGradients) {
        let TrainConfig { batch_size, micro_batches, seed, .. } = self.train;
        let step = self.step + 1;
        let rows = batch_size / micro_batches;
        let piece = |index: usize| {
            let first_row = index * rows;
            let batch = text.batch(seed, step, first_row..first_row + rows, batch_size, &self.device);
            let dropout = (self.train.dropout > 0.0).then_some(Dropout {
                probability: self.train.dropout,
                seed,
                step,
                first_row: first_row as u64,
            });
            self.micro_batch(batch, dropout.as_ref())
        };
        let add = |(all, total): &mut (Vec<Tensor<1>>, NamedGradients), (losses, gradients)| {
            all.push(losses);
            add_gradients(total, gradients);
        };
        let (losses, gradients) = self.pools.fold(micro_batches, (Vec::new(), BTreeMap::new()), piece, add);
        let gradients = match &self.factors {
            Some(factors) => factors.gradients(gradients),
            None => gradients,
        };
        (losses, gradients)
    }

    /// The losses of a micro-batch, `[rows · seq_len]`, and its share of the gradient.
    fn micro_batch(&self, batch: TrainBatch, dropout: Option<&Dropout>) -> (Tensor<1>, NamedGradients) {
        let [rows, _] = batch.inputs.dims();
        let share = rows as f64 / self.train.batch_size as f64;
        // Parameters of its own: passes that share some wait for each other.
        let gpt = self.gpt().valid().train();
        let gpt = match &self.factors {
            Some(factors) => factors.freeze_others(gpt),
            None => gpt,
        };
        let context = ForwardContext { dropout, ..ForwardContext::default() };
        let losses = gpt.losses(batch.inputs, batch.targets, context).losses;
        let mut gradients = (losses.clone().mean() * share).backward();
        (losses.inner(), parameters::take_gradients(&gpt, &mut gradients))
    }
}

fn add_gradients(total: &mut NamedGradients, gradients: NamedGradients) {
    for (path, gradient) in gradients {
        let sum = match total.remove(&path) {
            Some(sum) => sum + gradient,
            None => gradient,
        };
        total.insert(path, sum);
    }
}

/// The value, or an error that names it if it is NaN or infinite.
pub(crate) fn finite(step: u64, what: &'static str, value: f64) -> Result<f64, TrainError> {
    if value.is_finite() { Ok(value) } else { Err(TrainError::NonFinite { step, what, value }) }
}
