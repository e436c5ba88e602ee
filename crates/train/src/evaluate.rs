//! How well a model predicts a text, every target counted once.

use burn::tensor::{Int, Tensor, TensorData};
use serde::Serialize;
use tril_kernels::cross_entropy;
use tril_model::Gpt;

use crate::TrainError;
use crate::worker_pools::WorkerPools;

/// A model's loss on a text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean negative log-probability of a target token, in nats.
    pub loss: f64,
    /// exp(loss).
    pub perplexity: f64,
    /// Total negative log-probability, in bits, over the bytes of the targets.
    pub bits_per_byte: f64,
    /// Number of target tokens: all but the first, which nothing predicts.
    pub tokens: usize,
    /// Number of bytes that the target tokens stand for.
    pub bytes: usize,
}

/// Evaluates on consecutive windows that do not overlap, the short last one included.
///
/// Each window starts with an empty context, so a token's context is at most `seq_len`. `bytes` is the number of
/// bytes that all tokens but the first stand for. The result does not depend on `batch_size` but for rounding.
///
/// # Errors
/// [`TrainError::NothingToPredict`] without a single target; [`TrainError::Device`].
pub fn evaluate(
    gpt: &Gpt,
    ids: &[u32],
    bytes: usize,
    seq_len: usize,
    batch_size: usize,
) -> Result<Evaluation, TrainError> {
    if ids.len() < 2 {
        return Err(TrainError::NothingToPredict(ids.len()));
    }
    let tokens = ids.len() - 1;
    let whole = tokens / seq_len;
    let batch = |index: usize| {
        let window = index * batch_size;
        let rows = batch_size.min(whole - window);
        total_loss(gpt, &ids[window * seq_len..], rows, seq_len)
    };
    let add = |nats: &mut Result<f64, TrainError>, loss: Result<f64, TrainError>| match (&mut *nats, loss) {
        (Ok(nats), Ok(loss)) => *nats += loss,
        (Ok(_), Err(error)) => *nats = Err(error),
        (Err(_), _) => {}
    };
    let mut nats = WorkerPools::new(&gpt.device())?.fold(whole.div_ceil(batch_size), Ok(0.0), batch, add)?;
    if !tokens.is_multiple_of(seq_len) {
        nats += total_loss(gpt, &ids[whole * seq_len..], 1, tokens % seq_len)?;
    }
    let loss = nats / tokens as f64;
    let bits_per_byte = nats / std::f64::consts::LN_2 / bytes as f64;
    Ok(Evaluation { loss, perplexity: libm::exp(loss), bits_per_byte, tokens, bytes })
}

/// Summed loss of `rows` windows that stand one after another at the front of `ids`.
fn total_loss(gpt: &Gpt, ids: &[u32], rows: usize, seq_len: usize) -> Result<f64, TrainError> {
    let device = gpt.device();
    let values =
        |offset: usize| -> Vec<i32> { ids[offset..offset + rows * seq_len].iter().map(|id| *id as i32).collect() };
    let inputs = Tensor::<2, Int>::from_data(TensorData::new(values(0), [rows, seq_len]), &device);
    let targets = Tensor::<1, Int>::from_data(TensorData::new(values(1), [rows * seq_len]), &device);
    let logits = gpt.forward(inputs); // [rows, seq_len, vocab_size]
    let losses = cross_entropy(logits.flatten(0, 1), targets); // [rows · seq_len]
    let losses = losses.try_into_vec_as::<f32>().map_err(|error| TrainError::Device(error.to_string()))?;
    Ok(losses.iter().map(|loss| f64::from(*loss)).sum())
}
