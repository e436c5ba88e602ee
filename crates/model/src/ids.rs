//! From token ids to tensors, and the windows in which a text goes through a model.

use std::borrow::Borrow;

use burn::tensor::{Device, Int, Tensor, TensorData};

/// A tensor of token ids.
///
/// - ids: as many as the shape has elements, row by row
pub fn ids_to_tensor<const D: usize>(
    ids: impl IntoIterator<Item = impl Borrow<u32>>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    let values: Vec<i32> = ids.into_iter().map(|id| *id.borrow() as i32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Consecutive windows of a text that go through a model together, each from an empty context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowBatch {
    /// Where the first window begins in the text.
    pub begin: usize,
    /// How many there are.
    pub rows: usize,
    /// Tokens that each of them predicts.
    pub seq_len: usize,
}

impl WindowBatch {
    /// Cuts a text into windows that do not overlap, so that each token but the first is predicted once: window k reads
    /// from token k · `seq_len` on and predicts the tokens one place later. The last is alone and shorter where they do
    /// not come out even.
    ///
    /// - tokens: of the text
    /// - `seq_len`, `batch_size`: tokens of a window, and windows that go together; at least 1
    pub fn cut(tokens: usize, seq_len: usize, batch_size: usize) -> Vec<Self> {
        assert!(seq_len > 0 && batch_size > 0, "windows of {seq_len} tokens, {batch_size} together");
        let targets = tokens.saturating_sub(1);
        let whole = targets / seq_len;
        let batch = |window| Self { begin: window * seq_len, rows: batch_size.min(whole - window), seq_len };
        let last = Self { begin: whole * seq_len, rows: 1, seq_len: targets % seq_len };
        (0..whole).step_by(batch_size).map(batch).chain((last.seq_len > 0).then_some(last)).collect()
    }

    /// The tokens that are read and those that are to be predicted, `[rows, seq_len]` each.
    ///
    /// - ids: the whole text
    pub fn tensors(&self, ids: &[u32], device: &Device) -> [Tensor<2, Int>; 2] {
        let Self { begin, rows, seq_len } = *self;
        [begin, begin + 1].map(|from| ids_to_tensor(&ids[from..from + rows * seq_len], [rows, seq_len], device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_but_the_first_is_predicted_once_whatever_the_windows() {
        for tokens in 0..40 {
            for (seq_len, batch_size) in [(1, 1), (1, 7), (4, 3), (7, 1), (7, 2), (100, 5)] {
                let batches = WindowBatch::cut(tokens, seq_len, batch_size);
                let mut next = 0;
                for (number, batch) in batches.iter().enumerate() {
                    let WindowBatch { begin, rows, seq_len: len } = *batch;
                    assert_eq!(begin, next);
                    assert!(rows > 0 && len > 0, "{batch:?}");
                    let full = rows == batch_size && len == seq_len;
                    assert!(full || number + 2 >= batches.len(), "{batch:?} of {tokens} tokens");
                    next += rows * len;
                }
                assert_eq!(next, tokens.saturating_sub(1), "{tokens} tokens by {seq_len}, {batch_size} together");
            }
        }
    }

    #[test]
    fn windows_read_from_one_token_and_predict_from_the_next() {
        let ids: Vec<u32> = (0..20).collect();
        let batch = WindowBatch { begin: 3, rows: 2, seq_len: 4 };
        let tensors = batch.tensors(&ids, &Device::flex());
        let values = tensors.map(|tensor| tensor.into_data().iter::<i64>().collect::<Vec<_>>());
        assert_eq!(values, [(3..11).collect::<Vec<i64>>(), (4..12).collect()]);
    }
}
