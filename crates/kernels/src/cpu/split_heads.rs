//! The heads of one activation, handed out in parts without a copy. In the backward pass the parts' gradients meet in one
//! buffer, where Burn would pad each with zeros and add the padded ones.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::flex::FlexTensor;

use super::operation::Operation;
use super::rows::{Rows, tensor};

/// One part: so many heads from `first` on, `[batch_size, count, seq_len, d_head]`.
#[derive(Debug, Clone)]
pub struct HeadsPart {
    first: usize,
    count: usize,
    whole: Arc<Mutex<Whole>>,
}

/// The gradient of the activation that parts were taken from.
#[derive(Debug)]
struct Whole {
    /// `[batch_size, seq_len, heads, d_head]`; empty before a part has come.
    gradient: Vec<f32>,
    /// Parts that have not come yet.
    missing: usize,
}

impl HeadsPart {
    /// Parts of so many heads each, in order; together they must be all of the activation. Each must be used by what the
    /// loss depends on, or none.
    pub fn of<const P: usize>(counts: [usize; P]) -> [Self; P] {
        let whole = Arc::new(Mutex::new(Whole { gradient: Vec::new(), missing: P }));
        let mut first = 0;
        counts.map(|count| {
            let part = Self { first, count, whole: Arc::clone(&whole) };
            first += count;
            part
        })
    }
}

impl Operation<1> for HeadsPart {
    type Saved = [usize; 4];

    const NAMES: [&'static str; 2] = ["heads, forward", "heads, backward"];

    /// - x: `[batch_size, seq_len, heads, d_head]`
    fn forward(&self, [x]: &[FlexTensor; 1]) -> (FlexTensor, [usize; 4]) {
        let shape = x.layout().shape();
        let shape = [0, 1, 2, 3].map(|axis| shape[axis]);
        (x.narrow(2, self.first, self.count).transpose(1, 2), shape)
    }

    fn backward(
        &self,
        _: [FlexTensor; 1],
        shape: [usize; 4],
        gradient: FlexTensor,
        _: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let [_, seq_len, heads, d_head] = shape;
        let gradient = Rows::new(&gradient);
        // Poisoned only if another part panicked, which ends the pass.
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        whole.gradient.resize(shape.iter().product(), 0.0);
        for (row, out) in whole.gradient.chunks_exact_mut(heads * d_head).enumerate() {
            let part = &mut out[self.first * d_head..][..self.count * d_head];
            for (head, out) in part.chunks_exact_mut(d_head).enumerate() {
                out.copy_from_slice(&gradient.from([row / seq_len, head, row % seq_len, 0])[..d_head]);
            }
        }
        whole.missing -= 1;
        // The last one hands over all of it.
        [(whole.missing == 0).then(|| tensor(std::mem::take(&mut whole.gradient), &shape))]
    }
}
