//! Non-linearities, forward and backward.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::operation::Operation;
use super::rows::{Rows, by_rows, written};
use super::simd::{Slot, exp, map, sigmoid, update, vectorized};

/// A function of one number.
pub trait Activation: Clone + Copy + Debug + Send + Sync + 'static {
    /// Its value and derivative at each x; inlined, as all code of vectors has to be.
    fn value_and_slope<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s);
}

/// See [`crate::gelu`].
#[derive(Debug, Clone, Copy)]
pub struct Gelu;

impl Activation for Gelu {
    #[inline(always)]
    fn value_and_slope<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
        let (cumulative, density) = normal(simd, x);
        (simd.mul_f32s(x, cumulative), simd.mul_add_f32s(x, density, cumulative))
    }
}

/// See [`crate::gelu_tanh`].
#[derive(Debug, Clone, Copy)]
pub struct GeluTanh;

impl Activation for GeluTanh {
    #[inline(always)]
    fn value_and_slope<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
        // ½(1 + tanh u) is the logistic function of 2u.
        const TWICE: f32 = 1.595_769; // 2√(2/π)
        let square = simd.mul_f32s(x, x);
        let inner =
            simd.mul_f32s(x, simd.mul_add_f32s(square, simd.splat_f32s(0.044_715 * TWICE), simd.splat_f32s(TWICE)));
        let share = sigmoid(simd, inner);
        let inner_slope = simd.mul_add_f32s(square, simd.splat_f32s(3.0 * 0.044_715 * TWICE), simd.splat_f32s(TWICE));
        let value = simd.mul_f32s(x, share);
        let rest = simd.mul_f32s(value, simd.sub_f32s(simd.splat_f32s(1.0), share));
        (value, simd.mul_add_f32s(rest, inner_slope, share))
    }
}

/// See [`crate::relu2`].
#[derive(Debug, Clone, Copy)]
pub struct Relu2;

impl Activation for Relu2 {
    #[inline(always)]
    fn value_and_slope<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
        let positive = simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(0.0)), simd.splat_f32s(0.0), x);
        (simd.mul_f32s(positive, positive), simd.add_f32s(positive, positive))
    }
}

/// Φ(x) and φ(x) of the normal distribution.
///
/// For z = |x|, Φ(−z) = e^(−z²/2)·P(t) with t = 1 / (1 + 0.34 z). The scaled tail is smooth in t, so one polynomial
/// follows it for all z up to 15, within 3e-7 of its value in f32 (least squares, weighted towards the largest
/// relative error).
#[inline(always)]
fn normal<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let size = simd.abs_f32s(x);
    let t =
        simd.div_f32s(simd.splat_f32s(1.0), simd.mul_add_f32s(size, simd.splat_f32s(TAIL_SCALE), simd.splat_f32s(1.0)));
    let mut tail = simd.splat_f32s(TAIL[TAIL.len() - 1]);
    for coefficient in TAIL.iter().rev().skip(1) {
        tail = simd.mul_add_f32s(tail, t, simd.splat_f32s(*coefficient));
    }
    let bell = exp(simd, simd.mul_f32s(simd.mul_f32s(x, x), simd.splat_f32s(-0.5)));
    let below = simd.mul_f32s(bell, tail); // Φ(−|x|)
    let above = simd.sub_f32s(simd.splat_f32s(1.0), below);
    let cumulative = simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(0.0)), below, above);
    (cumulative, simd.mul_f32s(bell, simd.splat_f32s(0.398_942_3)))
}

/// The scale of z in t.
const TAIL_SCALE: f32 = 0.34;

/// Coefficients of P, from the constant one up.
const TAIL: [f32; 11] = [
    0.0,
    0.135_627_6,
    0.135_956_3,
    0.116_651_63,
    0.107_803_94,
    -0.020_578_442,
    0.152_895_17,
    -0.208_668_84,
    0.087_279_946,
    -0.002_283_332,
    -0.004_684_000_7,
];

/// An activation, applied to each number.
#[derive(Debug, Clone)]
pub struct Elementwise<A>(pub A);

impl<A: Activation> Operation<1> for Elementwise<A> {
    type Saved = ();

    const NAMES: [&'static str; 2] = ["activations, forward", "activations, backward"];

    fn forward(&self, [x]: &[FlexTensor; 1]) -> (FlexTensor, ()) {
        let x = Rows::consecutive(x);
        let write = |out: &mut [_]| {
            by_rows(out, 1, |first, out| {
                let x = &x.all()[first..first + out.len()];
                vectorized(Forward { activation: PhantomData::<A>, x, out });
            });
        };
        // SAFETY: it writes every number.
        (unsafe { written(x.shape(), write) }, ())
    }

    fn backward(&self, [x]: [FlexTensor; 1], (): (), gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let (x, gradient) = (Rows::consecutive(&x), Rows::consecutive(&gradient));
        let (x, gradient, shape) = (x.all(), gradient.all(), x.shape());
        let write = |out: &mut [_]| vectorized(Backward { activation: PhantomData::<A>, x, gradient, out });
        // SAFETY: it writes every number.
        [Some(unsafe { written(shape, write) })]
    }
}

/// Its values at some numbers.
pub struct Forward<'a, A, T> {
    pub activation: PhantomData<A>,
    pub x: &'a [f32],
    pub out: &'a mut [T],
}

impl<A: Activation, T: Slot> WithSimd for Forward<'_, A, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        map!(simd, self.out, [x in self.x], A::value_and_slope(simd, x).0);
    }
}

struct Backward<'a, A> {
    activation: PhantomData<A>,
    x: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl<A: Activation> WithSimd for Backward<'_, A> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        map!(simd, self.out, [x in self.x, gradient in self.gradient], {
            simd.mul_f32s(gradient, A::value_and_slope(simd, x).1)
        });
    }
}

/// silu(gate)·up, the gate being the first half of each row.
#[derive(Debug, Clone)]
pub struct Swiglu;

impl Operation<1> for Swiglu {
    type Saved = ();

    const NAMES: [&'static str; 2] = ["activations, forward", "activations, backward"];

    fn forward(&self, [x]: &[FlexTensor; 1]) -> (FlexTensor, ()) {
        let x = Rows::new(x);
        let d_ff = x.width() / 2;
        let mut shape = x.shape().to_vec();
        shape.pop();
        shape.push(d_ff);
        let write = |out: &mut [_]| {
            by_rows(out, d_ff, |first_row, out| vectorized(SwigluForward { x: &x, first_row, out }));
        };
        // SAFETY: it writes every number.
        (unsafe { written(&shape, write) }, ())
    }

    fn backward(&self, [x]: [FlexTensor; 1], (): (), gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let (x, gradient) = (Rows::new(&x), Rows::new(&gradient));
        let write = |out: &mut [_]| vectorized(SwigluBackward { x: &x, gradient: &gradient, out });
        // SAFETY: it writes every number.
        [Some(unsafe { written(x.shape(), write) })]
    }
}

struct SwigluForward<'a> {
    x: &'a Rows,
    first_row: usize,
    out: &'a mut [MaybeUninit<f32>],
}

impl WithSimd for SwigluForward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let d_ff = self.x.width() / 2;
        for (row, out) in self.out.chunks_exact_mut(d_ff).enumerate() {
            let (gate, up) = self.x.row(self.first_row + row).split_at(d_ff);
            map!(simd, out, [gate in gate, up in up], simd.mul_f32s(simd.mul_f32s(gate, sigmoid(simd, gate)), up));
        }
    }
}

/// silu(gate)·up of consecutive numbers, in the place of `up`.
pub struct GatedRow<'a> {
    pub gate: &'a [f32],
    pub up: &'a mut [f32],
}

impl WithSimd for GatedRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        update!(simd, self.up, up, [gate in self.gate], simd.mul_f32s(simd.mul_f32s(gate, sigmoid(simd, gate)), up));
    }
}

struct SwigluBackward<'a> {
    x: &'a Rows,
    gradient: &'a Rows,
    out: &'a mut [MaybeUninit<f32>],
}

impl WithSimd for SwigluBackward<'_> {
    type Output = ();

    /// silu′(z) = σ(z)·(1 + z·(1 − σ(z))).
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let d_ff = self.x.width() / 2;
        let one = simd.splat_f32s(1.0);
        for (row, out) in self.out.chunks_exact_mut(2 * d_ff).enumerate() {
            let (gate, up) = self.x.row(row).split_at(d_ff);
            let gradient = self.gradient.row(row);
            let (gate_out, up_out) = out.split_at_mut(d_ff);
            map!(simd, gate_out, [gate in gate, up in up, gradient in gradient], {
                let share = sigmoid(simd, gate);
                let rest = simd.mul_f32s(gate, simd.sub_f32s(one, share));
                let slope = simd.mul_f32s(share, simd.add_f32s(one, rest));
                simd.mul_f32s(simd.mul_f32s(gradient, up), slope)
            });
            map!(simd, up_out, [gate in gate, gradient in gradient], {
                simd.mul_f32s(gradient, simd.mul_f32s(gate, sigmoid(simd, gate)))
            });
        }
    }
}
