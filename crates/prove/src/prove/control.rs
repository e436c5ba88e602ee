//! A row that must not be equal: that equal bits are no matter of course, and that the comparison sees where they are not.

use serde::Serialize;
use tril_infer::InferError;

use super::ModelUnderTest;
use super::compare::ulp_distance;
use super::model_runner::{ModelRunner, Rows};
use super::text::Segment;

/// The same logits once more with each sum of the output head cut in two, as kernels cut it whose split depends on the
/// batch: what is measured is what the proofs' zeros rule out.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Control {
    /// Positions compared.
    pub positions: usize,
    /// Of them, those with a logit whose bits differ.
    pub positions_that_differ: usize,
    /// Largest absolute difference.
    pub max_difference: f64,
    /// Largest distance in units in the last place.
    pub max_ulps: u32,
}

impl Control {
    /// Whether it shows anything: otherwise this text's sums come out the same in either order.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.positions_that_differ > 0
    }

    /// Adds what one segment shows; false where the model cannot cut its sums.
    pub(super) fn add<S: ModelUnderTest>(
        &mut self,
        runner: &ModelRunner<'_, S>,
        segment: Segment<'_>,
        parallel: &Rows,
    ) -> Result<bool, InferError> {
        let Some(found) = runner.in_halves(&[segment.ids])? else { return Ok(false) };
        for position in 0..parallel.len() {
            let pairs = parallel.row(position).iter().zip(found.row(position));
            let mut differs = false;
            for (a, b) in pairs {
                let ulps = ulp_distance(*a, *b).unwrap_or(0);
                differs |= ulps > 0;
                self.max_ulps = self.max_ulps.max(ulps);
                self.max_difference = self.max_difference.max((f64::from(*a) - f64::from(*b)).abs());
            }
            self.positions += 1;
            self.positions_that_differ += usize::from(differs);
        }
        Ok(true)
    }
}
