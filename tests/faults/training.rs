//! A trainer for the twin: descent with momentum, in as few lines as it takes, and room for a fault. It shares no code with
//! `tril-train`.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use tril_kernels::cross_entropy;
use tril_model::parameters::NamedGradients;
use tril_prove::{ModelUnderTest, NamedValues, TrainerUnderTest, TrainingPlan};
use tril_train::TrainError;

use super::twin::{Fault, Twin};
use crate::support::*;

/// How far a step goes.
const RATE: f32 = 0.1;

/// How much of the running sum of gradients is kept from step to step.
const KEPT: f32 = 0.9;

/// The twin in training.
pub struct TwinTrainer {
    twin: Twin,
    plan: TrainingPlan,
    step: usize,
    momentum: BTreeMap<String, Vec<f32>>,
}

impl TwinTrainer {
    pub fn new(twin: &Twin, plan: &TrainingPlan) -> Self {
        Self { twin: twin.clone(), plan: plan.clone(), step: 0, momentum: BTreeMap::new() }
    }

    /// Where a row of the next step begins in the text.
    fn start(&self, row: usize) -> usize {
        let TrainingPlan { ref ids, seq_len, batch_size, .. } = self.plan;
        (self.step * batch_size + row) * 7 % (ids.len() - seq_len)
    }

    /// The gradient of some rows' mean loss, times their share of the batch.
    fn piece(&self, rows: std::ops::Range<usize>) -> NamedGradients {
        let TrainingPlan { ref ids, seq_len, batch_size, .. } = self.plan;
        let twin = self.twin.with_gradients();
        let tokens = |offset: usize| -> Vec<i32> {
            let windows = rows.clone().map(|row| self.start(row) + offset);
            windows.flat_map(|start| &ids[start..start + seq_len]).map(|id| *id as i32).collect()
        };
        let inputs = input(&tokens(0), rows.len(), &twin.device());
        let targets = Tensor::from_data(TensorData::new(tokens(1), [rows.len() * seq_len]), &twin.device());
        let logits = twin.logits(twin.embed(inputs, 0), None).reshape([(rows.len() * seq_len) as i32, -1]);
        let share = if twin.has(Fault::PiecesNotWeighed) { 1.0 } else { rows.len() as f32 / batch_size as f32 };
        let loss = cross_entropy(logits, targets).mean() * share;
        twin.take_gradients(&mut loss.backward())
    }
}

impl TrainerUnderTest for TwinTrainer {
    fn gradients(&self) -> Result<NamedGradients, TrainError> {
        let rows = self.plan.batch_size / self.plan.micro_batches;
        let mut pieces: Vec<_> = (0..self.plan.micro_batches).map(|piece| piece * rows..(piece + 1) * rows).collect();
        if self.twin.has(Fault::PiecesByThreads) && rayon::current_num_threads() == 1 {
            pieces.reverse();
        }
        let mut sum = NamedGradients::new();
        for (path, gradient) in pieces.into_iter().flat_map(|rows| self.piece(rows)) {
            let total = sum.remove(&path).map_or(gradient.clone(), |total| total + gradient);
            sum.insert(path, total);
        }
        Ok(sum)
    }

    fn step(&mut self) -> Result<(), TrainError> {
        for (path, gradient) in self.gradients()? {
            let gradient = values(gradient);
            let sum = self.momentum.entry(path).or_insert_with(|| vec![0.0; gradient.len()]);
            sum.iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum = KEPT * *sum + gradient);
        }
        let momentum = &self.momentum;
        self.twin = self.twin.map(|path, _, parameter| {
            let Some(sum) = momentum.get(path) else { return parameter };
            let step = Tensor::from_data(TensorData::new(sum.clone(), [sum.len()]), &parameter.device());
            parameter - step * RATE
        });
        self.step += 1;
        Ok(())
    }

    fn save_and_load(&mut self) -> Result<(), TrainError> {
        if self.twin.has(Fault::StateForgotten) {
            self.momentum.clear();
        }
        Ok(())
    }

    fn state(&self) -> Result<NamedValues, TrainError> {
        let weights = self.twin.values().map(|(path, parameter)| (path.clone(), values(parameter.clone())));
        let momentum = self.momentum.iter().map(|(path, sum)| (format!("{path}.momentum"), sum.clone()));
        Ok(weights.chain(momentum).collect())
    }
}
