//! The routes by which a model can be asked for logits.

use burn::tensor::{Device, Int, Tensor};
use tril_infer::InferError;
use tril_model::ids_to_tensor;

use super::ModelUnderTest;

/// Rows of logits, one a position, in order of sequence and then of position.
#[derive(Debug)]
pub(super) struct Rows {
    pub values: Vec<f32>,
    vocab_size: usize,
}

impl Rows {
    /// The logits of the row with this number.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.vocab_size..(index + 1) * self.vocab_size]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.vocab_size
    }

    /// Adds those of another pass after these.
    fn extend(&mut self, more: Self) {
        self.values.extend(more.values);
    }
}

/// A model and how to ask it.
pub(super) struct ModelRunner<'a, S: ModelUnderTest> {
    pub model: &'a S,
    device: Device,
}

impl<'a, S: ModelUnderTest> ModelRunner<'a, S> {
    pub fn new(model: &'a S) -> Self {
        Self { model, device: model.device() }
    }

    /// `[batch_size, seq_len]` of sequences that are all of the same length.
    pub fn input(&self, sequences: &[&[u32]]) -> Tensor<2, Int> {
        let seq_len = sequences.first().map_or(0, |ids| ids.len());
        ids_to_tensor(sequences.iter().copied().flatten(), [sequences.len(), seq_len], &self.device)
    }

    /// The targets of positions, `[n_tokens]`.
    pub fn targets(&self, ids: &[u32]) -> Tensor<1, Int> {
        ids_to_tensor(ids, [ids.len()], &self.device)
    }

    /// One masked pass, `[batch_size, seq_len, vocab_size]`.
    pub fn pass(&self, sequences: &[&[u32]]) -> Tensor<3> {
        self.model.logits(self.model.embed(self.input(sequences), 0), None)
    }

    /// A pass over what follows the cache's positions, `[batch_size, seq_len, vocab_size]`.
    pub fn pass_cached(&self, sequences: &[&[u32]], cache: &mut S::Cache) -> Tensor<3> {
        let embedded = self.model.embed(self.input(sequences), self.model.position(cache));
        self.model.logits(embedded, Some(cache))
    }

    /// The logits of one masked pass over one sequence or several.
    pub fn parallel(&self, sequences: &[&[u32]]) -> Result<Rows, InferError> {
        rows(self.pass(sequences))
    }

    /// The same with the head's sums cut in two, where the model can do that.
    pub fn in_halves(&self, sequences: &[&[u32]]) -> Result<Option<Rows>, InferError> {
        self.model.logits_in_halves(self.model.embed(self.input(sequences), 0)).map(rows).transpose()
    }

    /// Adds one chunk to a cache and returns its logits.
    pub fn chunk(&self, sequences: &[&[u32]], cache: &mut S::Cache) -> Result<Rows, InferError> {
        rows(self.pass_cached(sequences, cache))
    }

    /// Feeds one sequence to a cache in chunks of these lengths, the last of them over and over, and returns the logits
    /// of all its positions.
    pub fn chunks(&self, ids: &[u32], lengths: &[usize], cache: &mut S::Cache) -> Result<Rows, InferError> {
        let mut rows = Rows { values: Vec::new(), vocab_size: self.model.config().vocab_size };
        let (mut left, mut lengths) = (ids, lengths.iter().copied());
        let mut len = 1;
        while !left.is_empty() {
            len = lengths.next().unwrap_or(len);
            let (chunk, rest) = left.split_at(len.clamp(1, left.len()));
            rows.extend(self.chunk(&[chunk], cache)?);
            left = rest;
        }
        Ok(rows)
    }
}

/// The numbers of a tensor.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, InferError> {
    tensor.try_into_vec_as::<f32>().map_err(InferError::device)
}

/// - logits: `[batch_size, seq_len, vocab_size]`
fn rows(logits: Tensor<3>) -> Result<Rows, InferError> {
    let [_, _, vocab_size] = logits.dims();
    Ok(Rows { values: values(logits)?, vocab_size })
}
