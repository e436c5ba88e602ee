//! One optimizer step: batch → forward → loss → backward → clip → AdamW or Muon.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use tril_kernels::is_cpu;
use tril_kernels::profile::timed;
use tril_model::parameters::{self, NamedGradients};
use tril_model::{Dropout, ForwardContext, Gpt, WeightFormat};

use crate::gradient_norm::LossAndNorm;
use crate::optimizer::Optimizer;
use crate::schedule::learning_rate;
use crate::weight_average::WeightAverage;
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
    /// Measured, saved and sampled in place of the weights where there is one.
    average: Option<WeightAverage>,
    optimizer: Optimizer,
    step: u64,
    train: TrainConfig,
    optimizer_config: OptimizerConfig,
    /// With gradients.
    device: Device,
    pools: WorkerPools,
    /// Steps whose reports nobody has taken.
    unread: Vec<UnreadStep>,
}

/// A step that was taken.
struct UnreadStep {
    step: u64,
    learning_rate: f64,
    numbers: LossAndNorm,
}

impl Trainer {
    /// A trainer that has taken `step` steps; `gpt` is on a device without gradients. An average of weights, where `train`
    /// asks for one, begins at these.
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
        if train.eval_seq_len > limit {
            return Err(TrainError::Config(format!(
                "train.eval_seq_len = {} is longer than model.max_seq_len = {limit}: lower the first or raise the second",
                train.eval_seq_len
            )));
        }
        let pools = WorkerPools::new(&gpt.device(), train.micro_batches)?;
        let device = gpt.device().autodiff();
        let average = train.averages_weights().then(|| WeightAverage::new(gpt.clone(), train.ema_decay));
        let gpt = Some(gpt.train());
        let unread = Vec::new();
        Ok(Self { gpt, factors: None, average, optimizer, step, train, optimizer_config, device, pools, unread })
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
        if self.train.averages_weights() {
            let decay = self.train.ema_decay;
            return Err(TrainError::Config(format!(
                "train.ema_decay = {decay}: an average of merged matrices is no product of low-rank factors; set train.ema_decay=0, or lora.rank=0 to train all parameters"
            )));
        }
        let gpt = self.gpt.map(|gpt| factors.merge_into(gpt));
        Ok(Self { gpt, factors: Some(factors), ..self })
    }

    /// The same, going on with an average that has come so far.
    ///
    /// - average: a model without gradients; left aside where the recipe asks for no average
    #[must_use]
    pub fn with_average(self, average: Gpt) -> Self {
        let average = self.average.map(|_| WeightAverage::new(average, self.train.ema_decay));
        Self { average, ..self }
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

    /// The model as it stands, without gradients: the average of weights where there is one.
    pub fn model(&self) -> Gpt {
        self.average.as_ref().map_or_else(|| self.raw_model(), WeightAverage::model)
    }

    /// The model with the weights that are trained, without gradients.
    pub fn raw_model(&self) -> Gpt {
        self.gpt().valid()
    }

    fn gpt(&self) -> &Gpt {
        self.gpt.as_ref().expect("the optimizer has given the model back")
    }

    /// Whether [`Trainer::model`] has other weights than those that are trained.
    pub fn has_average(&self) -> bool {
        self.average.is_some()
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

    /// Takes one step, and reads its report.
    ///
    /// # Errors
    /// Before the update: [`TrainError::NonFinite`] if loss or gradient is not finite, [`TrainError::NoGradient`] if the
    /// first gradient is zero; [`TrainError::Device`].
    pub fn step(&mut self, text: &TrainingText) -> Result<StepReport, TrainError> {
        let (unread, gradients) = self.next_step(text)?;
        let report = reports(std::slice::from_ref(&unread))?.remove(0);
        self.update(&unread, gradients);
        Ok(report)
    }

    /// Takes one step; its report waits for [`Trainer::take_reports`], so that the host need not wait for the device. On the
    /// CPU this is [`Trainer::step`].
    ///
    /// # Errors
    /// As [`Trainer::step`] on the CPU; elsewhere [`TrainError::Device`], and the rest is found when reports are taken.
    pub fn advance(&mut self, text: &TrainingText) -> Result<(), TrainError> {
        let (unread, gradients) = self.next_step(text)?;
        if self.is_told_at_once() {
            reports(std::slice::from_ref(&unread))?;
        }
        self.update(&unread, gradients);
        self.unread.push(unread);
        Ok(())
    }

    /// Whether the report of a step is there without waiting for a device: on the CPU.
    pub fn is_told_at_once(&self) -> bool {
        is_cpu(&self.device)
    }

    /// The reports of all steps since they were last taken, in order, read from the device at once.
    ///
    /// # Errors
    /// As [`Trainer::step`], of the first step that is not sound: what was updated by it and since is not to be kept.
    pub fn take_reports(&mut self) -> Result<Vec<StepReport>, TrainError> {
        reports(&std::mem::take(&mut self.unread))
    }

    /// The next step as far as it goes without changing a weight.
    fn next_step(&self, text: &TrainingText) -> Result<(UnreadStep, NamedGradients), TrainError> {
        let step = self.step + 1;
        let (losses, gradients) = self.losses_and_gradients(text);
        let numbers = timed("gradient norm, clipping", || LossAndNorm::of(&losses, &gradients))?;
        let learning_rate = learning_rate(step, self.train.steps, &self.optimizer_config);
        Ok((UnreadStep { step, learning_rate, numbers }, gradients))
    }

    fn update(&mut self, step: &UnreadStep, gradients: NamedGradients) {
        let config = &self.optimizer_config;
        let gradients = timed("gradient norm, clipping", || step.numbers.clip(gradients, config.max_grad_norm));
        let steps = [step.step, self.train.steps];
        if let Some(factors) = self.factors.take() {
            let factors = self.optimizer.step_factors(factors, gradients, steps, config);
            self.gpt = self.gpt.take().map(|gpt| factors.merge_into(gpt));
            self.factors = Some(factors);
        } else {
            let stepped = |gpt| self.optimizer.step(gpt, gradients, steps, config, &self.pools);
            self.gpt = self.gpt.take().map(stepped);
        }
        if let Some(mut average) = self.average.take() {
            timed("average of weights", || average.update(&self.raw_model(), step.step));
            self.average = Some(average);
        }
        self.step = step.step;
    }

    /// Mean loss and gradient of the next step's effective batch, before clipping: the sum over the micro-batches, in
    /// their order. The gradient is of what is trained: of low-rank factors where there are some.
    ///
    /// # Errors
    /// [`TrainError::Device`].
    pub fn gradients(&self, text: &TrainingText) -> Result<(f64, NamedGradients), TrainError> {
        let (losses, gradients) = self.losses_and_gradients(text);
        let read = LossAndNorm::read(&[&LossAndNorm::of(&losses, &gradients)?])?;
        Ok((read[0].0, gradients))
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
            timed("sums of pieces", || parameters::add_gradients(total, gradients));
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
        if self.train.gradient_checkpointing {
            return gpt.losses_and_gradients_by_block(batch.inputs, batch.targets, dropout, share);
        }
        let context = ForwardContext { dropout, ..ForwardContext::default() };
        let losses = gpt.losses(batch.inputs, batch.targets, context).losses;
        let mut gradients = (losses.clone().mean() * share).backward();
        (losses.inner(), parameters::take_gradients(&gpt, &mut gradients))
    }
}

/// The reports of steps, read at once.
fn reports(steps: &[UnreadStep]) -> Result<Vec<StepReport>, TrainError> {
    let numbers: Vec<&LossAndNorm> = steps.iter().map(|step| &step.numbers).collect();
    let report = |(unread, (loss, grad_norm)): (&UnreadStep, (f64, f64))| {
        let UnreadStep { step, learning_rate, .. } = *unread;
        finite(step, "the loss", loss)?;
        finite(step, "the gradient norm", grad_norm)?;
        // A text of one token alone has a loss of zero, and nothing to learn.
        if step == 1 && grad_norm == 0.0 && loss > 0.0 {
            return Err(TrainError::NoGradient { loss });
        }
        Ok(StepReport { step, loss, grad_norm, learning_rate })
    };
    steps.iter().zip(LossAndNorm::read(&numbers)?).map(report).collect()
}

/// The value, or an error that names it if it is NaN or infinite.
pub(crate) fn finite(step: u64, what: &'static str, value: f64) -> Result<f64, TrainError> {
    if value.is_finite() { Ok(value) } else { Err(TrainError::NonFinite { step, what, value }) }
}
