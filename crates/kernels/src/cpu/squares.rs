//! The sum of the squares of many numbers, in f64 and in one order.

use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::rows::Rows;
use super::simd::vectorized;

/// Of all elements, read where they lie.
pub fn sum_of_squares(x: &FlexTensor) -> f64 {
    vectorized(Squares(Rows::consecutive(x).all()))
}

struct Squares<'a>(&'a [f32]);

impl WithSimd for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        // Eight running sums, so that the compiler can keep them in one register, and nothing is fused: the same bits with
        // every instruction set.
        let mut sums = [0.0; 8];
        let (eights, rest) = self.0.as_chunks::<8>();
        for eight in eights {
            for (sum, value) in sums.iter_mut().zip(eight) {
                *sum += f64::from(*value) * f64::from(*value);
            }
        }
        let rest = rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>();
        sums.iter().sum::<f64>() + rest
    }
}
