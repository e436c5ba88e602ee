//! Products of activations with weights, forward and backward.

use burn::backend::flex::FlexTensor;

use super::gemm::{Gemm, GemmInit, Matrix};
use super::operation::Operation;
use super::rows::{Rows, tensor};

/// x·weight, or x·weight + bias with a third input. The weight may be a transposed view.
#[derive(Debug, Clone)]
pub struct Linear;

impl<const N: usize> Operation<N> for Linear {
    type Saved = ();

    const NAMES: [&'static str; 2] = ["products, forward", "products, backward"];

    fn forward(&self, inputs: &[FlexTensor; N]) -> (FlexTensor, ()) {
        let x = Rows::consecutive(&inputs[0]);
        let weight = unflipped(&inputs[1]);
        let [d_input, d_output] = size(&weight);
        let bias = inputs.get(2).map(Rows::consecutive);
        let out = Gemm {
            size: [x.count(), d_output, d_input],
            a: Matrix::row_major(x.all(), d_input),
            b: matrix(&weight),
            start: bias.as_ref().map_or(GemmInit::Zero, |bias| GemmInit::Bias(bias.all())),
        }
        .to_vec();
        let mut shape = x.shape().to_vec();
        shape.pop();
        shape.push(d_output);
        (tensor(out, &shape), ())
    }

    fn backward(
        &self,
        inputs: [FlexTensor; N],
        (): (),
        gradient: FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N] {
        let gradient = Rows::consecutive(&gradient);
        let gradient_matrix = Matrix::row_major(gradient.all(), gradient.width());
        let weight = unflipped(&inputs[1]);
        let [d_input, d_output] = size(&weight);
        let rows = gradient.count();
        let mut found = [const { None }; N];
        if wanted[0] {
            let size = [rows, d_input, d_output];
            let b = matrix(&weight).transposed();
            let out = Gemm { size, a: gradient_matrix, b, start: GemmInit::Zero }.to_vec();
            let shape: Vec<usize> = inputs[0].layout().shape().iter().copied().collect();
            found[0] = Some(tensor(out, &shape));
        }
        if wanted[1] {
            let x = Rows::consecutive(&inputs[0]);
            let x = Matrix::row_major(x.all(), d_input);
            // In the order in which the weight itself lies, so that a transposed one gets a transposed gradient.
            found[1] = Some(if matrix(&weight).column_stride == 1 {
                let size = [d_input, d_output, rows];
                let out = Gemm { size, a: x.transposed(), b: gradient_matrix, start: GemmInit::Zero }.to_vec();
                tensor(out, &[d_input, d_output])
            } else {
                let size = [d_output, d_input, rows];
                let out = Gemm { size, a: gradient_matrix.transposed(), b: x, start: GemmInit::Zero }.to_vec();
                tensor(out, &[d_output, d_input]).transpose(0, 1)
            });
        }
        if N > 2 && wanted[2] {
            let mut sums = vec![0.0; d_output];
            for row in gradient.all().chunks_exact(d_output) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            found[2] = Some(tensor(sums, &[d_output]));
        }
        found
    }
}

/// The same matrix with its rows one after another in memory.
#[derive(Debug, Clone)]
pub struct RowMajor;

impl Operation<1> for RowMajor {
    type Saved = ();

    const NAMES: [&'static str; 2] = ["copies of heads, forward", "copies of heads, backward"];

    fn forward(&self, [x]: &[FlexTensor; 1]) -> (FlexTensor, ()) {
        (x.to_contiguous(), ())
    }

    fn backward(&self, _: [FlexTensor; 1], (): (), gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(gradient)]
    }
}

fn size(weight: &FlexTensor) -> [usize; 2] {
    let shape = weight.layout().shape();
    [shape[0], shape[1]]
}

/// The weight itself, or a copy of one whose rows or columns run backwards in memory.
fn unflipped(weight: &FlexTensor) -> FlexTensor {
    if weight.layout().strides().iter().all(|stride| *stride >= 0) { weight.clone() } else { weight.to_contiguous() }
}

/// A weight where it lies.
fn matrix(weight: &FlexTensor) -> Matrix<'_> {
    let layout = weight.layout();
    let stride = |axis: usize| usize::try_from(layout.strides()[axis]).expect("it is not flipped");
    Matrix { data: &weight.storage::<f32>()[layout.start_offset()..], row_stride: stride(0), column_stride: stride(1) }
}
