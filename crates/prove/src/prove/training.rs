//! Claim 6: a step of training does not depend on threads, on the pieces that its batch is computed in, or on whether the
//! run was stopped before it. The steps are taken in memory, from the model's weights and with an optimizer that begins
//! anew; the checkpoint stays as it is.

use rayon::ThreadPool;

use super::compare::Comparison;
use super::gradients::compare_gradients;
use super::model_runner::ModelRunner;
use super::text::Segment;
use super::trainer_under_test::{NamedValues, TrainerUnderTest, TrainingPlan};
use super::{Limits, ModelUnderTest};
use tril_infer::InferError;
use tril_train::TrainError;

/// Rows of a step's batch.
const ROWS: usize = 8;

/// Most tokens that a row predicts.
const SEQ_LEN: usize = 32;

/// Steps of a run; the second half of them is taken after a stop.
const STEPS: u64 = 4;

/// The proofs of claim 6 on the first segment.
pub(super) struct Training<'a, S: ModelUnderTest> {
    pub runner: &'a ModelRunner<'a, S>,
    pub segment: Segment<'a>,
    pub limits: Limits,
    pub seed: u64,
}

/// Why a row ends without having compared all.
enum Ending {
    /// The trainer says so.
    Trainer(TrainError),
    /// There is none.
    NoTrainer,
    /// The device says so.
    Device(InferError),
}

impl From<TrainError> for Ending {
    fn from(error: TrainError) -> Self {
        Self::Trainer(error)
    }
}

impl From<InferError> for Ending {
    fn from(error: InferError) -> Self {
        Self::Device(error)
    }
}

impl<S: ModelUnderTest> Training<'_, S> {
    /// Two steps in four micro-batches, on each number of threads.
    pub fn accumulated(&self, comparison: &mut Comparison, pools: &[ThreadPool]) -> Result<(), InferError> {
        end(self.compare_threads(comparison, pools), comparison)
    }

    /// The gradient of a whole batch, and of the same in pieces.
    pub fn micro_batches(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        end(self.compare_pieces(comparison), comparison)
    }

    /// A run in one go, and one that is stopped after each of its steps but the last and goes on from what it saved.
    pub fn resumed(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        end(self.compare_stops(comparison), comparison)
    }

    fn compare_threads(&self, comparison: &mut Comparison, pools: &[ThreadPool]) -> Result<(), Ending> {
        let plan = self.plan(ROWS / 2);
        let run = || self.run(&plan, 2, None);
        let [begin, expected] = run()?;
        witness(&begin, &expected, comparison);
        for pool in pools {
            let [_, found] = pool.install(run)?;
            comparison.case();
            compare(2 * tokens(&plan), &expected, &found, comparison);
        }
        Ok(())
    }

    fn compare_pieces(&self, comparison: &mut Comparison) -> Result<(), Ending> {
        let whole = self.trainer(&self.plan(1))?.gradients()?;
        for pieces in [2, ROWS / 2, ROWS] {
            let plan = self.plan(pieces);
            let found = self.trainer(&plan)?.gradients()?;
            comparison.case();
            compare_gradients(&whole, &found, tokens(&plan), comparison)?;
        }
        Ok(())
    }

    fn compare_stops(&self, comparison: &mut Comparison) -> Result<(), Ending> {
        let plan = self.plan(2);
        let [begin, expected] = self.run(&plan, STEPS, None)?;
        witness(&begin, &expected, comparison);
        for stop in 1..STEPS {
            let [_, found] = self.run(&plan, STEPS, Some(stop))?;
            comparison.case();
            compare((STEPS - stop) as usize * tokens(&plan), &expected, &found, comparison);
        }
        Ok(())
    }

    /// The state before the first step, and after the last of so many; after one of them the run stops and goes on.
    fn run(&self, plan: &TrainingPlan, steps: u64, stop: Option<u64>) -> Result<[NamedValues; 2], Ending> {
        let mut trainer = self.trainer(plan)?;
        let begin = trainer.state()?;
        for step in 1..=steps {
            trainer.step()?;
            if stop == Some(step) {
                trainer.save_and_load()?;
            }
        }
        Ok([begin, trainer.state()?])
    }

    fn trainer(&self, plan: &TrainingPlan) -> Result<Box<dyn TrainerUnderTest>, Ending> {
        self.runner.model.trainer(plan)?.ok_or(Ending::NoTrainer)
    }

    fn plan(&self, micro_batches: usize) -> TrainingPlan {
        let ids = self.segment.ids[..self.segment.ids.len().min(self.limits.segment_len)].to_vec();
        // Some windows, so that rows are not all alike.
        let seq_len = (ids.len() / 4).clamp(1, SEQ_LEN).min(self.runner.model.config().max_seq_len);
        TrainingPlan { ids, seq_len, batch_size: ROWS, micro_batches, steps: STEPS, seed: self.seed }
    }
}

/// Tokens that a step learns from.
fn tokens(plan: &TrainingPlan) -> usize {
    plan.batch_size * plan.seq_len
}

/// Takes down whether the steps have moved anything.
fn witness(begin: &NamedValues, end: &NamedValues, comparison: &mut Comparison) {
    let moved = begin.iter().zip(end).any(|(begin, end)| begin != end);
    comparison.witness(moved, "no step moved any weight");
}

/// Compares all numbers of two runs that have learnt from as many tokens.
fn compare(tokens: usize, expected: &NamedValues, found: &NamedValues, comparison: &mut Comparison) {
    comparison.positions(tokens);
    if !expected.iter().map(|(name, _)| name).eq(found.iter().map(|(name, _)| name)) {
        comparison.fail("only one of the two has state of some parameter");
        return;
    }
    for ((name, expected), (_, found)) in expected.iter().zip(found) {
        comparison.compare_named(name, expected, found);
    }
}

/// Takes in why a row has ended before its end.
fn end(compared: Result<(), Ending>, comparison: &mut Comparison) -> Result<(), InferError> {
    match compared {
        Ok(()) => {}
        Err(Ending::Device(error)) => return Err(error),
        Err(Ending::NoTrainer) => {
            comparison.absent("this model is not trained as it is, such as one whose weights are rounded")
        }
        Err(Ending::Trainer(TrainError::NonFinite { value, .. })) => comparison.record(0, value),
        Err(Ending::Trainer(TrainError::NoGradient { .. })) => comparison.witness(false, "no weight has a gradient"),
        Err(Ending::Trainer(error)) => comparison.fail(format!("training ended: {error}")),
    }
    Ok(())
}
