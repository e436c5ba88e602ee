//! Claim 3: the mask is the graph. Nothing goes from a later token to an earlier position, forward or backward.

use tril_kernels::cross_entropy;

use burn::tensor::Tensor;

use super::compare::Comparison;
use super::model_runner::{ModelRunner, values};
use super::text::{Draws, Segment};
use super::{Limits, ModelUnderTest};
use tril_infer::InferError;

/// Logits that one backward pass holds at most; it decides how many losses go back at once.
const LOGITS: usize = 1 << 22;

/// The proofs of claim 3 on one segment.
pub(super) struct Causality<'a, S: ModelUnderTest> {
    pub runner: &'a ModelRunner<'a, S>,
    pub segment: Segment<'a>,
    /// How many tokens there is time to replace.
    pub cases: usize,
    /// How many losses there is time to follow back.
    pub losses: usize,
    pub limits: Limits,
    pub seed: u64,
}

impl<S: ModelUnderTest> Causality<'_, S> {
    /// Replaces one token at a time and compares all that is before it. Logits from it on must move, or the comparison
    /// shows nothing.
    pub fn tokens(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        let mut draws = self.draws(comparison);
        let before = self.runner.parallel(&[self.segment.ids])?;
        let end = before.len() - 1;
        let mut moved = false;
        for replaced in draws.below(end, self.cases, &[0, end - 1, 1, 2]).into_iter().map(|below| below + 1) {
            let mut ids = self.segment.ids.to_vec();
            ids[replaced] = draws.token_other_than(ids[replaced]);
            let after = self.runner.parallel(&[&ids])?;
            comparison.case();
            for position in 0..replaced {
                comparison.compare(self.segment.start + position, before.row(position), after.row(position));
            }
            moved |= (replaced..before.len()).any(|position| before.row(position) != after.row(position));
        }
        comparison.witness(moved, "no replaced token moved any logit, so this shows nothing");
        Ok(())
    }

    /// Follows the losses of single positions back to what enters block 0. They must arrive at their own position,
    /// or the zeros show nothing. The model has gradients.
    pub fn gradients(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        let ids = &self.segment.ids[..self.segment.ids.len().min(self.limits.gradient_len.max(2))];
        let last = ids.len() - 1;
        let at_once = (LOGITS / (ids.len() * self.runner.model.config().vocab_size)).clamp(1, 8);
        let mut arrived = false;
        for positions in self.draws(comparison).below(last, self.losses, &[0, last - 1, 1, 2]).chunks(at_once) {
            let (gradients, d_model) = self.follow_back(ids, positions)?;
            for (row, gradient) in gradients.chunks(ids.len() * d_model).enumerate() {
                let own = positions[row];
                let at = |position: usize| &gradient[position * d_model..(position + 1) * d_model];
                comparison.case();
                for later in own + 1..ids.len() {
                    comparison.compare_with_zero(self.segment.start + later, at(later));
                }
                arrived |= at(own).iter().any(|value| value.is_finite() && *value != 0.0);
            }
        }
        comparison.witness(arrived, "no gradient arrives anywhere, so this shows nothing");
        Ok(())
    }

    /// Gradients at what enters block 0, one row for each of the positions, each of that position's loss alone:
    /// `[positions, seq_len, d_model]`, and d_model.
    fn follow_back(&self, ids: &[u32], positions: &[usize]) -> Result<(Vec<f32>, usize), InferError> {
        let model = self.runner.model;
        let embedded = model.embed(self.runner.input(&vec![ids; positions.len()]), 0);
        let [_, seq_len, d_model] = embedded.dims();
        let embedded = embedded.detach().require_grad(); // [positions, seq_len, d_model]
        let logits = model.logits(embedded.clone(), None); // [positions, seq_len, vocab_size]
        let own = |(row, position): (usize, &usize)| logits.clone().narrow(0, row, 1).narrow(1, *position, 1);
        let own: Tensor<3> = Tensor::cat(positions.iter().enumerate().map(own).collect(), 0);
        let targets: Vec<u32> = positions.iter().map(|position| ids[position + 1]).collect();
        let losses = cross_entropy(own.squeeze_dim(1), self.runner.targets(&targets)); // [positions]
        let gradients = losses.sum().backward();
        // No gradient at all is one of zero everywhere, and `gradients` will say that none arrived.
        let zeros = || vec![0.0; positions.len() * seq_len * d_model];
        let gradient = embedded.grad(&gradients).map(values).transpose()?.unwrap_or_else(zeros);
        Ok((gradient, d_model))
    }

    fn draws(&self, comparison: &Comparison) -> Draws {
        Draws::new(self.seed, comparison.id(), self.segment, self.runner.model.config().vocab_size)
    }
}
