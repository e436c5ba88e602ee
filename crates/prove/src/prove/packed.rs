//! Claim 1, of a model whose weights were rounded: the step that reads them in fewer bytes computes with the numbers that
//! every other pass computes with.

use super::ModelUnderTest;
use super::compare::Comparison;
use super::model_runner::ModelRunner;
use super::text::Segment;
use tril_infer::InferError;

/// Sequences of which each takes a step at once: weights are widened for one row, or for several.
const COMPANIES: [usize; 2] = [1, 6];

/// The proof on one segment.
pub(super) struct PackedWeights<'a, S: ModelUnderTest> {
    pub runner: &'a ModelRunner<'a, S>,
    pub segment: Segment<'a>,
}

impl<S: ModelUnderTest> PackedWeights<'_, S> {
    /// Every position by the step, with weights in fewer bytes and as f32. Sequences that go together are the segment turned
    /// round by a token each.
    pub fn steps(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        let packed = self.runner.model;
        let Some(plain) = packed.read_as_f32() else { return Ok(()) };
        let ids = self.segment.ids;
        for company in COMPANIES {
            let caches = |model: &S| -> Vec<S::Cache> { (0..company).map(|_| model.new_cache()).collect() };
            let [mut of_packed, mut of_plain] = [packed, &plain].map(caches);
            for position in 0..ids.len() {
                let tokens: Vec<u32> = (0..company).map(|row| ids[(position + row) % ids.len()]).collect();
                let found = packed.decode(&tokens, &mut of_packed)?;
                let expected = plain.decode(&tokens, &mut of_plain)?;
                comparison.case();
                comparison.compare(self.segment.start + position, &expected, &found);
            }
        }
        Ok(())
    }
}
