//! The non-linearities between the two projections of an MLP.

use burn::tensor::{Tensor, activation};

/// See [`crate::gelu`].
///
/// Composed here because Burn's own `gelu` goes back through the derivative of the tanh approximation on most backends.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let normal = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0; // 2Φ(x)
    x * normal * 0.5
}

/// See [`crate::gelu_tanh`].
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let cubic = x.clone() * x.clone() * x.clone();
    let inner = (x.clone() + cubic * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
    x * (inner.tanh() + 1.0) * 0.5
}

/// See [`crate::relu2`].
pub fn relu2<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let positive = activation::relu(x);
    positive.clone() * positive
}

/// See [`crate::swiglu`].
pub fn swiglu(gate_up: Tensor<3>) -> Tensor<3> {
    let [_, _, doubled] = gate_up.dims();
    assert!(doubled.is_multiple_of(2), "swiglu splits its last axis in two, but it is {doubled} wide");
    let d_ff = doubled / 2;
    let gate = gate_up.clone().narrow(2, 0, d_ff); // [batch_size, seq_len, d_ff]
    let up = gate_up.narrow(2, d_ff, d_ff); // [batch_size, seq_len, d_ff]
    activation::silu(gate) * up
}
