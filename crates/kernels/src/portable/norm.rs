//! Normalisation of each position's activations, over the last axis.

use burn::tensor::Tensor;

/// See [`crate::layer_norm`].
pub fn layer_norm(x: Tensor<3>, gain: Option<Tensor<1>>, bias: Option<Tensor<1>>, eps: f64) -> Tensor<3> {
    let centred = x.clone() - x.mean_dim(2);
    let variance = (centred.clone() * centred.clone()).mean_dim(2); // [batch_size, seq_len, 1]
    scale_and_shift(centred / (variance + eps).sqrt(), gain, bias)
}

/// See [`crate::rms_norm`].
pub fn rms_norm<const D: usize>(x: Tensor<D>, gain: Option<Tensor<1>>, eps: f64) -> Tensor<D> {
    let mean_square = (x.clone() * x.clone()).mean_dim(D - 1); // […, 1]
    scale_and_shift(x / (mean_square + eps).sqrt(), gain, None)
}

fn scale_and_shift<const D: usize>(x: Tensor<D>, gain: Option<Tensor<1>>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let x = match gain {
        Some(gain) => x * gain.unsqueeze(),
        None => x,
    };
    match bias {
        Some(bias) => x + bias.unsqueeze(),
        None => x,
    }
}
