//! How a CPU kernel becomes an operation on tensors, with gradients where its inputs have them.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Tensor};

use crate::profile::timed;

/// A kernel with N float inputs and one output, forward and backward.
pub trait Operation<const N: usize>: Clone + Debug + Send + Sync + 'static {
    /// What the backward pass needs beside the inputs.
    type Saved: Clone + Debug + Send + 'static;

    /// What a profile calls its forward and its backward pass.
    const NAMES: [&'static str; 2];

    /// The output, and what to keep for the backward pass.
    fn forward(&self, inputs: &[FlexTensor; N]) -> (FlexTensor, Self::Saved);

    /// The gradient of each wanted input, given the output's.
    fn backward(
        &self,
        inputs: [FlexTensor; N],
        saved: Self::Saved,
        gradient: FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N];
}

/// An input of an operation.
#[derive(Debug)]
pub enum Input {
    Plain(FlexTensor),
    Tracked(FloatTensor<Autodiff<Flex>>),
}

/// Whether a device, with gradients or without, is the CPU, whose work is done by this process's threads.
pub fn is_cpu(device: &Device) -> bool {
    // Devices are equal with gradients and without.
    *device == Device::flex()
}

/// Whether the kernels of this module can work on a tensor.
pub fn supports<const D: usize>(tensor: &Tensor<D>) -> bool {
    is_cpu(&tensor.device()) && tensor.dtype() == DType::F32
}

/// A tensor that the CPU [`supports`].
pub fn input<const D: usize>(tensor: Tensor<D>) -> Input {
    let converted = if tensor.device().is_autodiff() {
        tensor.try_into_primitive::<Autodiff<Flex>>().map(Input::Tracked)
    } else {
        tensor.try_into_primitive::<Flex>().map(Input::Plain)
    };
    converted.unwrap_or_else(|error| panic!("a CPU kernel met a tensor that it cannot take: {error:?}"))
}

/// The numbers of a tensor that no gradient flows to.
pub fn constant<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    match input(tensor) {
        Input::Plain(tensor) => tensor,
        Input::Tracked(tensor) => tensor.into_primitive(),
    }
}

/// A tensor without gradients.
pub fn plain<const D: usize>(tensor: FlexTensor) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(tensor)
}

/// Runs an operation.
pub fn apply<const N: usize, const D: usize, Op: Operation<N>>(operation: Op, inputs: [Input; N]) -> Tensor<D> {
    if inputs.iter().all(|input| matches!(input, Input::Plain(_))) {
        let inputs = inputs.map(|input| match input {
            Input::Plain(tensor) => tensor,
            Input::Tracked(tensor) => tensor.into_primitive(),
        });
        return plain(timed(Op::NAMES[0], || operation.forward(&inputs)).0);
    }
    let tracked = inputs.map(|input| match input {
        Input::Plain(tensor) => FloatTensor::<Autodiff<Flex>>::new(tensor),
        Input::Tracked(tensor) => tensor,
    });
    let nodes = tracked.each_ref().map(|tensor| tensor.node());
    let primitives = tracked.map(|tensor| tensor.into_primitive());
    let (output, saved) = timed(Op::NAMES[0], || operation.forward(&primitives));
    let output = match Step(operation).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((primitives, saved), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// The backward pass of an operation as Burn's graph wants it.
#[derive(Debug)]
struct Step<Op>(Op);

impl<const N: usize, Op: Operation<N>> Backward<Flex, N> for Step<Op> {
    type State = ([FlexTensor; N], Op::Saved);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let (inputs, saved) = ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = timed(Op::NAMES[1], || self.0.backward(inputs, saved, gradient, wanted));
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}
