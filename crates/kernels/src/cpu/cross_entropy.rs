//! Cross-entropy from logits, forward and backward, without keeping probabilities.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::operation::Operation;
use super::rows::{Rows, by_rows, tensor};
use super::simd::{exp, map, max, sum, update, vectorized};

/// −ln softmax(logits)`[target]`, a row at a time.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    pub targets: Arc<Vec<usize>>,
}

impl Operation<1> for CrossEntropy {
    type Saved = ();

    const NAMES: [&'static str; 2] = ["loss, forward", "loss, backward"];

    fn forward(&self, [logits]: &[FlexTensor; 1]) -> (FlexTensor, ()) {
        let logits = Rows::new(logits);
        let mut out = vec![0.0; logits.count()];
        vectorized(Forward { targets: &self.targets, logits: &logits, out: &mut out });
        let shape = [out.len()];
        (tensor(out, &shape), ())
    }

    fn backward(&self, [x]: [FlexTensor; 1], (): (), gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let (logits, gradient) = (Rows::new(&x), Rows::consecutive(&gradient));
        let mut out = vec![0.0; logits.count() * logits.width()];
        by_rows(&mut out, logits.width(), |first_row, out| {
            let targets = &self.targets;
            vectorized(Backward { targets, logits: &logits, gradient: gradient.all(), first_row, out });
        });
        [Some(tensor(out, logits.shape()))]
    }
}

struct Forward<'a> {
    targets: &'a [usize],
    logits: &'a Rows,
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (row, (out, target)) in self.out.iter_mut().zip(self.targets).enumerate() {
            let logits = self.logits.row(row);
            let max = max(simd, logits);
            let maxima = simd.splat_f32s(max);
            let total = sum!(simd, [x in logits], exp(simd, simd.sub_f32s(x, maxima)));
            *out = libm::logf(total) - (logits[*target] - max);
        }
    }
}

struct Backward<'a> {
    targets: &'a [usize],
    logits: &'a Rows,
    gradient: &'a [f32],
    first_row: usize,
    out: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    /// The gradient of the logits is softmax(logits), less one at the target, times the loss's own.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (row, out) in self.out.chunks_exact_mut(self.logits.width()).enumerate() {
            let row = self.first_row + row;
            let (logits, gradient) = (self.logits.row(row), self.gradient[row]);
            let maxima = simd.splat_f32s(max(simd, logits));
            map!(simd, out, [x in logits], exp(simd, simd.sub_f32s(x, maxima)));
            let scale = simd.splat_f32s(gradient / sum!(simd, [x in out], x));
            update!(simd, out, x, [], simd.mul_f32s(x, scale));
            out[self.targets[row]] -= gradient;
        }
    }
}
