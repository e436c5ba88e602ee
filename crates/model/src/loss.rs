//! The one loss: how improbable a model holds the token that came next.

use burn::tensor::{Int, Tensor};
use tril_kernels::cross_entropy;

use crate::{ForwardContext, Gpt, WindowBatch};

/// What a pass over known tokens gives.
#[derive(Debug, Clone)]
pub struct TokenLosses {
    /// `[batch_size · seq_len, vocab_size]`
    pub logits: Tensor<2>,
    /// −ln p(target | the tokens up to it) in nats, `[batch_size · seq_len]`
    pub losses: Tensor<1>,
}

impl Gpt {
    /// The loss of each target. Training, evaluation and scores all take theirs from here.
    ///
    /// - inputs, targets: `[batch_size, seq_len]`
    pub fn losses(&self, inputs: Tensor<2, Int>, targets: Tensor<2, Int>, ctx: ForwardContext<'_>) -> TokenLosses {
        let [batch_size, seq_len] = inputs.dims();
        let logits = self.forward_with(inputs, ctx).flatten(0, 1); // [batch_size · seq_len, vocab_size]
        let losses = cross_entropy(logits.clone(), targets.reshape([batch_size * seq_len]));
        TokenLosses { logits, losses }
    }

    /// The same for windows of a text.
    ///
    /// - ids: the whole text
    pub fn window_losses(&self, ids: &[u32], windows: &WindowBatch, ctx: ForwardContext<'_>) -> TokenLosses {
        let [inputs, targets] = windows.tensors(ids, &self.device());
        self.losses(inputs, targets, ctx)
    }
}
