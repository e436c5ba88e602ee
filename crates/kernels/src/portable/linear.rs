//! Products of activations with weights.

use burn::tensor::Tensor;

/// See [`crate::linear`].
pub fn linear(x: Tensor<3>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<3> {
    let [batch_size, seq_len, d_input] = x.dims();
    let [weight_rows, d_output] = weight.dims();
    assert_eq!(d_input, weight_rows, "activations of width {d_input} meet a weight of {weight_rows} rows");
    // Of rank 2, so that a transposed weight is read where it lies and its gradient is summed in place.
    let product = x.reshape([batch_size * seq_len, d_input]).matmul(weight); // [batch_size · seq_len, d_output]
    let sum = match bias {
        Some(bias) => product + bias.unsqueeze(),
        None => product,
    };
    sum.reshape([batch_size, seq_len, d_output])
}
