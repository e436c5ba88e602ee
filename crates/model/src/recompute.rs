//! Gradient checkpointing by blocks (Chen et al. 2016, arXiv:1604.06174): a pass keeps what enters each block and nothing
//! else; the backward pass computes a block again when its turn comes.

use burn::module::Module;
use burn::tensor::{Gradients, Int, Tensor};
use tril_kernels::cross_entropy;

use crate::dropout::Site;
use crate::parameters::{self, NamedGradients, add_gradients};
use crate::{Dropout, ForwardContext, Gpt};

impl Gpt {
    /// What [`Gpt::losses`] gives for a batch, and the gradient of the mean loss times `share`, with the activations of one
    /// block in memory at a time. On the CPU both have the bits of the whole pass: a block that is computed again gives the
    /// same numbers, dropout included, and the gradient of each parameter is the same sum.
    ///
    /// To be called on a model with gradients; parameters that are frozen have none.
    ///
    /// - inputs, targets: `[batch_size, seq_len]`
    /// - returns: the losses, `[batch_size · seq_len]`, and the gradients, both without gradients of their own
    pub fn losses_and_gradients_by_block(
        &self,
        inputs: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        dropout: Option<&Dropout>,
        share: f64,
    ) -> (Tensor<1>, NamedGradients) {
        let [batch_size, seq_len] = inputs.dims();
        let device = inputs.device();
        let plain = self.valid();
        let groups = [plain.row_group(0..batch_size, 0, seq_len, &device.clone().inner())];
        let mut x = plain.entering(inputs.clone().inner(), dropout); // [batch_size, seq_len, d_model]
        let mut entered = Vec::with_capacity(plain.blocks.len());
        for (index, block) in plain.blocks.iter().enumerate() {
            entered.push(x.clone());
            x = block.forward(x, &groups, &mut context(dropout).layer(index));
        }

        let mut found = NamedGradients::new();
        let residual = Tensor::from_inner(x).require_grad();
        let logits = self.logit_lens(residual.clone()).flatten(0, 1); // [batch_size · seq_len, vocab_size]
        let losses = cross_entropy(logits, targets.reshape([batch_size * seq_len]));
        let mut gradients = (losses.clone().mean() * share).backward();
        add_gradients(&mut found, parameters::take_gradients(self, &mut gradients));
        let mut flowing = take(&residual, &mut gradients);

        let groups = [self.row_group(0..batch_size, 0, seq_len, &device)];
        for (index, block) in self.blocks.iter().enumerate().rev() {
            let Some(x) = entered.pop() else { break };
            let x = Tensor::from_inner(x).require_grad();
            let output = block.forward(x.clone(), &groups, &mut context(dropout).layer(index));
            let mut gradients = continued(output, flowing);
            let of_block = parameters::take_gradients(block, &mut gradients);
            add_gradients(
                &mut found,
                of_block.into_iter().map(|(path, gradient)| (format!("blocks.{index}.{path}"), gradient)),
            );
            flowing = take(&x, &mut gradients);
        }
        // A tied embedding enters twice, and so has two gradients.
        let embedded = self.entering(inputs, dropout);
        if embedded.is_tracked() {
            let mut gradients = continued(embedded, flowing);
            add_gradients(&mut found, parameters::take_gradients(self, &mut gradients));
        }
        (losses.inner(), found)
    }

    /// What enters block 0 of a whole text.
    ///
    /// - inputs: `[batch_size, seq_len]`
    /// - returns: `[batch_size, seq_len, d_model]`
    fn entering(&self, inputs: Tensor<2, Int>, dropout: Option<&Dropout>) -> Tensor<3> {
        let x = self.embed(inputs, 0);
        match dropout {
            Some(dropout) => dropout.apply(x, 0, Site::Embedding),
            None => x,
        }
    }
}

fn context(dropout: Option<&Dropout>) -> ForwardContext<'_> {
    ForwardContext { dropout, ..ForwardContext::default() }
}

/// The backward pass from an output whose gradient is known: that of a sum weighted by it, each weight times one.
///
/// - output, gradient: `[batch_size, seq_len, d_model]`
fn continued(output: Tensor<3>, gradient: Tensor<3>) -> Gradients {
    (output * Tensor::from_inner(gradient)).sum().backward()
}

fn take(leaf: &Tensor<3>, gradients: &mut Gradients) -> Tensor<3> {
    leaf.grad_remove(gradients).expect("a leaf that asked for its gradient, in a graph that it has a part in")
}
