//! The one loss of the project: how surprised the model is by the token that came next.

use burn::tensor::{Int, Tensor};

/// See [`crate::cross_entropy`].
///
/// Log-sum-exp minus the target's logit, with the row's maximum taken out first, so that no exponential overflows.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let [n_tokens, _] = logits.dims();
    let [n_targets] = targets.dims();
    assert_eq!(n_tokens, n_targets, "one target a row of logits");
    let max = logits.clone().detach().max_dim(1); // [n_tokens, 1]
    let shifted = logits - max;
    let log_sum = shifted.clone().exp().sum_dim(1).log(); // [n_tokens, 1]
    let target = shifted.gather(1, targets.unsqueeze_dim(1)); // [n_tokens, 1]
    (log_sum - target).squeeze_dim(1)
}
