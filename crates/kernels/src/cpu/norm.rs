//! Norms over the last axis, forward and backward.

use std::mem::MaybeUninit;

use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::operation::Operation;
use super::rows::{Rows, by_rows, tensor, written};
use super::simd::{Slot, map, sum, update, vectorized};

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowNormKind {
    Layer,
    Rms,
}

/// A norm of the first input, times a gain if there is a second, plus a bias if there is a third.
#[derive(Debug, Clone)]
pub struct RowNorm {
    pub kind: RowNormKind,
    pub eps: f32,
}

impl<const N: usize> Operation<N> for RowNorm {
    type Saved = ();

    const NAMES: [&'static str; 2] = ["norms, forward", "norms, backward"];

    fn forward(&self, inputs: &[FlexTensor; N]) -> (FlexTensor, ()) {
        let x = Rows::new(&inputs[0]);
        let gain = inputs.get(1).map(Rows::consecutive);
        let bias = inputs.get(2).map(Rows::consecutive);
        let write = |out: &mut [_]| {
            by_rows(out, x.width(), |first_row, out| {
                let (gain, bias) = (gain.as_ref().map(Rows::all), bias.as_ref().map(Rows::all));
                vectorized(Forward { norm: self, x: &x, gain, bias, first_row, out });
            });
        };
        // SAFETY: it writes every number.
        (unsafe { written(x.shape(), write) }, ())
    }

    fn backward(
        &self,
        inputs: [FlexTensor; N],
        (): (),
        gradient: FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N] {
        let x = Rows::new(&inputs[0]);
        let gradient = Rows::new(&gradient);
        let gain = inputs.get(1).map(Rows::consecutive);
        let width = x.width();
        let mut gain_gradient = vec![0.0; width];
        let mut bias_gradient = vec![0.0; width];
        let write = |out: &mut [_]| {
            vectorized(Backward {
                norm: self,
                x: &x,
                gradient: &gradient,
                gain: gain.as_ref().map(Rows::all),
                out,
                gain_gradient: &mut gain_gradient,
                bias_gradient: &mut bias_gradient,
            });
        };
        // SAFETY: it writes every number.
        let out = unsafe { written(x.shape(), write) };
        let mut found = [const { None }; N];
        found[0] = wanted[0].then_some(out);
        if N > 1 && wanted[1] {
            found[1] = Some(tensor(gain_gradient, &[width]));
        }
        if N > 2 && wanted[2] {
            found[2] = Some(tensor(bias_gradient, &[width]));
        }
        found
    }
}

/// Mean (0 for RMS) and the reciprocal of the root of variance + eps.
#[inline(always)]
fn statistics<S: Simd>(simd: S, norm: &RowNorm, row: &[f32]) -> (f32, f32) {
    let len = row.len() as f32;
    let mean = match norm.kind {
        RowNormKind::Layer => sum!(simd, [x in row], x) / len,
        RowNormKind::Rms => 0.0,
    };
    let means = simd.splat_f32s(mean);
    let squares = sum!(simd, [x in row], {
        let centred = simd.sub_f32s(x, means);
        simd.mul_f32s(centred, centred)
    });
    (mean, 1.0 / (squares / len + norm.eps).sqrt())
}

struct Forward<'a> {
    norm: &'a RowNorm,
    x: &'a Rows,
    gain: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    first_row: usize,
    out: &'a mut [MaybeUninit<f32>],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (row, out) in self.out.chunks_exact_mut(self.x.width()).enumerate() {
            normalise(simd, self.norm, self.x.row(self.first_row + row), self.gain, self.bias, out);
        }
    }
}

/// One row.
#[inline(always)]
fn normalise<S: Simd, T: Slot>(
    simd: S,
    norm: &RowNorm,
    x: &[f32],
    gain: Option<&[f32]>,
    bias: Option<&[f32]>,
    out: &mut [T],
) {
    let (mean, scale) = statistics(simd, norm, x);
    let (means, scales) = (simd.splat_f32s(mean), simd.splat_f32s(scale));
    match (gain, bias) {
        (None, _) => map!(simd, out, [x in x], simd.mul_f32s(simd.sub_f32s(x, means), scales)),
        (Some(gain), None) => map!(simd, out, [x in x, gain in gain], {
            simd.mul_f32s(simd.mul_f32s(simd.sub_f32s(x, means), scales), gain)
        }),
        (Some(gain), Some(bias)) => map!(simd, out, [x in x, gain in gain, bias in bias], {
            simd.mul_add_f32s(simd.mul_f32s(simd.sub_f32s(x, means), scales), gain, bias)
        }),
    }
}

/// The norm of one row of consecutive numbers.
pub struct NormRow<'a> {
    pub norm: &'a RowNorm,
    pub x: &'a [f32],
    pub gain: Option<&'a [f32]>,
    pub bias: Option<&'a [f32]>,
    pub out: &'a mut [f32],
}

impl WithSimd for NormRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        normalise(simd, self.norm, self.x, self.gain, self.bias, self.out);
    }
}

struct Backward<'a> {
    norm: &'a RowNorm,
    x: &'a Rows,
    gradient: &'a Rows,
    gain: Option<&'a [f32]>,
    out: &'a mut [MaybeUninit<f32>],
    gain_gradient: &'a mut [f32],
    bias_gradient: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    /// With y = (x − mean)·scale and g the gradient of y: the gradient of x is scale·(g − mean(g) − y·mean(g·y)),
    /// without mean(g) for RMS.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.x.width();
        let mut normed = vec![0.0; width];
        let mut scaled = vec![0.0; width];
        for (row, out) in self.out.chunks_exact_mut(width).enumerate() {
            let (x, gradient) = (self.x.row(row), self.gradient.row(row));
            let (mean, scale) = statistics(simd, self.norm, x);
            let (means, scales) = (simd.splat_f32s(mean), simd.splat_f32s(scale));
            map!(simd, &mut normed, [x in x], simd.mul_f32s(simd.sub_f32s(x, means), scales));
            let gradient = match self.gain {
                None => gradient,
                Some(gain) => {
                    update!(simd, self.gain_gradient, sum, [g in gradient, y in normed], simd.mul_add_f32s(g, y, sum));
                    update!(simd, self.bias_gradient, sum, [g in gradient], simd.add_f32s(g, sum));
                    map!(simd, &mut scaled, [g in gradient, gain in gain], simd.mul_f32s(g, gain));
                    &scaled
                }
            };
            let mean_gradient = match self.norm.kind {
                RowNormKind::Layer => sum!(simd, [g in gradient], g) / width as f32,
                RowNormKind::Rms => 0.0,
            };
            let along = sum!(simd, [g in gradient, y in normed], simd.mul_f32s(g, y)) / width as f32;
            let (mean_gradients, alongs) = (simd.splat_f32s(mean_gradient), simd.splat_f32s(along));
            map!(simd, out, [g in gradient, y in normed], {
                let across = simd.sub_f32s(simd.sub_f32s(g, mean_gradients), simd.mul_f32s(y, alongs));
                simd.mul_f32s(across, scales)
            });
        }
    }
}
