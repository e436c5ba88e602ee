//! One step of AdamW for one parameter, in one pass over memory.

use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::rows::own;
use super::simd::{LANES, load, store, vectorized};
use crate::optimizer_steps::AdamWStep;

/// Elements that one thread updates at a time.
const CHUNK: usize = 1 << 14;

/// Updates weight and moments where they lie, or in copies where something else holds them too.
pub fn adamw(step: &AdamWStep, tensors: [FlexTensor; 3], gradient: &FlexTensor) -> [FlexTensor; 3] {
    let mut tensors = tensors.map(own);
    let gradient = own(gradient.clone());
    {
        let [weight, first, second] = tensors.each_mut().map(|tensor| tensor.storage_mut::<f32>());
        let gradient = gradient.storage::<f32>();
        let lengths = [weight.len(), first.len(), second.len()];
        assert!(lengths.iter().all(|len| *len == gradient.len()), "a parameter, its moments and its gradient differ");
        if gradient.len() <= CHUNK {
            // Whoever is in no pool would wait for one.
            vectorized(Update { step, weight, first, second, gradient });
            return tensors;
        }
        let chunks = weight.par_chunks_mut(CHUNK).zip(first.par_chunks_mut(CHUNK));
        let chunks = chunks.zip(second.par_chunks_mut(CHUNK)).zip(gradient.par_chunks(CHUNK));
        chunks.for_each(|(((weight, first), second), gradient)| {
            vectorized(Update { step, weight, first, second, gradient });
        });
    }
    tensors
}

struct Update<'a> {
    step: &'a AdamWStep,
    weight: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    gradient: &'a [f32],
}

impl WithSimd for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { step, weight, first, second, gradient } = self;
        let AdamWStep { rate, decay, beta1, beta2, eps, first_correction, second_correction } = *step;
        let [beta1, rest1] = [beta1, 1.0 - beta1].map(|x| x as f32);
        let [beta2, rest2] = [beta2, 1.0 - beta2].map(|x| x as f32);
        let [keep, scale, eps] = [1.0 - decay, rate / first_correction, eps].map(|x| x as f32);
        let unbias = second_correction.recip() as f32;
        let (beta1, rest1) = (simd.splat_f32s(beta1), simd.splat_f32s(rest1));
        let (beta2, rest2) = (simd.splat_f32s(beta2), simd.splat_f32s(rest2));
        let (keep, scale) = (simd.splat_f32s(keep), simd.splat_f32s(scale));
        let (eps, unbias) = (simd.splat_f32s(eps), simd.splat_f32s(unbias));
        let mut at = 0;
        while at < gradient.len() {
            let range = at..gradient.len().min(at + LANES);
            let g = load(simd, &gradient[range.clone()]);
            let m = simd.mul_add_f32s(g, rest1, simd.mul_f32s(load(simd, &first[range.clone()]), beta1));
            let square = simd.mul_f32s(g, g);
            let v = simd.mul_add_f32s(square, rest2, simd.mul_f32s(load(simd, &second[range.clone()]), beta2));
            let root = simd.add_f32s(simd.sqrt_f32s(simd.mul_f32s(v, unbias)), eps);
            let change = simd.mul_f32s(simd.div_f32s(m, root), scale);
            let w = simd.sub_f32s(simd.mul_f32s(load(simd, &weight[range.clone()]), keep), change);
            store(simd, &mut first[range.clone()], m);
            store(simd, &mut second[range.clone()], v);
            store(simd, &mut weight[range], w);
            at += LANES;
        }
    }
}
