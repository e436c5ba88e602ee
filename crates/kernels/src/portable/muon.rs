//! One step of Muon for one matrix.

use burn::tensor::Tensor;

use crate::optimizer_steps::{MuonStep, NEWTON_SCHULZ};

/// See [`crate::muon`].
pub fn muon(
    step: &MuonStep,
    weight: Tensor<2>,
    momentum: Tensor<1>,
    gradient: Tensor<1>,
    widths: &[usize],
) -> (Tensor<2>, Tensor<1>) {
    let [rows, columns] = weight.dims();
    let momentum = momentum * step.momentum + gradient.clone() * (1.0 - step.momentum);
    let direction = gradient * (1.0 - step.momentum) + momentum.clone() * step.momentum;
    let direction = direction.reshape([rows, columns]);
    let mut first = 0;
    let changes = widths.iter().map(|width| {
        let part = direction.clone().narrow(1, first, *width);
        first += width;
        orthogonalized(part) * (step.rate * step.scale([rows, *width]))
    });
    let change = Tensor::cat(changes.collect(), 1); // [rows, columns]
    (weight * (1.0 - step.decay) - change, momentum)
}

/// About the nearest matrix with orthogonal rows or columns, whichever are fewer.
///
/// - x: `[rows, columns]`
fn orthogonalized(x: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = x.dims();
    // X·Xᵀ is the smaller of the two products.
    let x = if rows <= columns { x } else { x.transpose() };
    let x = x.clone() / (norm(x) + MuonStep::EPS);
    let gram = x.clone().matmul(x.clone().transpose());
    let bound = (norm(gram.clone().matmul(gram)).sqrt() + MuonStep::EPS).sqrt();
    let mut x = x / bound;
    for [a, b, c] in NEWTON_SCHULZ {
        let gram = x.clone().matmul(x.clone().transpose());
        let polynomial = gram.clone() * b + gram.clone().matmul(gram) * c;
        x = x.clone() * a + polynomial.matmul(x);
    }
    if rows <= columns { x } else { x.transpose() }
}

/// The Frobenius norm, `[1, 1]`.
fn norm(x: Tensor<2>) -> Tensor<2> {
    (x.clone() * x).sum().sqrt().reshape([1, 1])
}
