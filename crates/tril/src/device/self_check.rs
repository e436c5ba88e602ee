//! No device is trusted unseen: before one is used, a little of what a model computes is held to the CPU's.

use burn::tensor::{Device, Tensor, TensorData, activation};
use tril_model::random::{self, Purpose};
use tril_text::guard;

/// A difference that no product should have, as a share of the largest value: ten times that of a product whose factors
/// are rounded to ten bits (TF32).
pub(super) const ALLOWED: f64 = 1e-2;

/// Rows, inner length and columns: more than one tile of a kernel in each direction, and no multiple of one.
const ROWS: usize = 67;
const INNER: usize = 130;
const COLUMNS: usize = 71;

const NAMES: [&str; 4] = [
    "a matrix product",
    "a softmax",
    "the gradient of a product's left side",
    "the gradient of a product's right side",
];

/// What a device got wrong.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Finding {
    /// It is off by so much of the largest value.
    Off { what: &'static str, error: f64 },
    /// It gave no result.
    Failed(String),
}

type Product = fn(Tensor<2>, Tensor<2>) -> Tensor<2>;

/// Compares a device with the CPU: a product, a softmax of it, and the gradients of both sides.
pub(super) fn check(device: &Device) -> Result<(), Finding> {
    compare(device, |x, weight| x.matmul(weight))
}

fn compare(device: &Device, product: Product) -> Result<(), Finding> {
    let expected = results(&Device::flex(), |x, weight| x.matmul(weight)).map_err(Finding::Failed)?;
    let found = guard(|| results(device, product)).and_then(|results| results).map_err(Finding::Failed)?;
    for ((what, expected), found) in NAMES.into_iter().zip(expected).zip(found) {
        let largest = expected.iter().fold(0f64, |largest, value| largest.max(f64::from(value.abs())));
        let differences = expected.iter().zip(&found).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
        // A NaN is as wrong as can be.
        let error = differences.fold(0f64, |most, next| if next <= most { most } else { next }) / largest;
        if error.is_nan() || error > ALLOWED {
            return Err(Finding::Off { what, error });
        }
    }
    Ok(())
}

/// The product, softmax and gradients, each as a list.
fn results(device: &Device, product: Product) -> Result<[Vec<f32>; 4], String> {
    let device = device.clone().autodiff();
    let numbers = |name: u64, shape: [usize; 2]| {
        let normals = random::normals(random::generator(0, Purpose::Parameters, 0, name, 0));
        // Small enough that no probability is nearly one, which leaves no gradient to compare.
        let values = normals.map(|value| 0.3 * value as f32).take(shape[0] * shape[1]).collect();
        Tensor::<2>::from_data(TensorData::new(values, shape), &device)
    };
    let x = numbers(1, [ROWS, INNER]).require_grad();
    let weight = numbers(2, [INNER, COLUMNS]).require_grad();
    let logits = product(x.clone(), weight.clone());
    let probs = activation::softmax(logits.clone(), 1);
    // Any function that every element of both sides has its part in.
    let gradients = (probs.clone() * numbers(3, [ROWS, COLUMNS])).sum().backward();
    let of = |tensor: Option<Tensor<2>>| {
        let tensor = tensor.ok_or("it gave no gradient")?;
        tensor.try_into_vec_as::<f32>().map_err(|error| error.to_string())
    };
    Ok([of(Some(logits.inner()))?, of(Some(probs.inner()))?, of(x.grad(&gradients))?, of(weight.grad(&gradients))?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_agrees_with_itself() {
        assert_eq!(check(&Device::flex()), Ok(()));
    }

    #[test]
    fn planted_faults_are_found_and_named() {
        let faults: [(Product, &str); 5] = [
            // The last column of the left side is left out.
            (|x, w| x.narrow(1, 0, INNER - 1).matmul(w.narrow(0, 0, INNER - 1)), NAMES[0]),
            // What a driver does that leaves out the work: zeros.
            (|x, w| x.matmul(w) * 0.0, NAMES[0]),
            (|x, w| x.matmul(w) * f32::NAN, NAMES[0]),
            // Right values, wrong gradients.
            (|x, w| x.clone().detach().matmul(w.clone()) + (x.clone() - x.detach()).sum().reshape([1, 1]), NAMES[2]),
            (|x, w| x.matmul(w.clone() * 2.0 - w.detach()), NAMES[3]),
        ];
        for (fault, name) in faults {
            let found = compare(&Device::flex(), fault);
            assert!(matches!(found, Err(Finding::Off { what, .. }) if what == name), "{name}: {found:?}");
        }
        let found = compare(&Device::flex(), |_, _| panic!("the device is lost"));
        assert_eq!(found, Err(Finding::Failed("the device is lost".to_owned())));
    }

    #[test]
    fn a_coarse_product_is_not_a_wrong_one() {
        // Factors of ten bits, as tensor cores take them.
        let coarse: Product = |x, w| {
            let rounded = |tensor: Tensor<2>| {
                let scale = 4097.0; // Veltkamp's splitting: 12 bits less of 24
                let big = tensor.clone() * scale;
                big.clone() - (big - tensor)
            };
            rounded(x).matmul(rounded(w))
        };
        assert_eq!(compare(&Device::flex(), coarse), Ok(()));
    }
}
