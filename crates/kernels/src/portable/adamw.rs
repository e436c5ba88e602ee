//! One step of AdamW for one parameter.

use burn::tensor::Tensor;

use crate::optimizer_steps::AdamWStep;

/// See [`crate::adamw`].
pub fn adamw<const D: usize>(
    step: &AdamWStep,
    weight: Tensor<D>,
    [first, second]: [Tensor<1>; 2],
    gradient: Tensor<1>,
) -> (Tensor<D>, [Tensor<1>; 2]) {
    let AdamWStep { rate, decay, beta1, beta2, eps, first_correction, second_correction } = *step;
    let first = first * beta1 + gradient.clone() * (1.0 - beta1);
    let second = second * beta2 + gradient.clone() * gradient * (1.0 - beta2);
    let root = (second.clone() * second_correction.recip()).sqrt() + eps;
    let change = first.clone() / root * (rate / first_correction);
    let change = change.reshape(weight.shape());
    (weight * (1.0 - decay) - change, [first, second])
}
