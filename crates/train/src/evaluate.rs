//! How well a model predicts a text, every target counted once.

use serde::{Deserialize, Serialize};
use tril_model::{ForwardContext, Gpt, WindowBatch};

use crate::TrainError;
use crate::worker_pools::WorkerPools;

/// A model's loss on a text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
/// [`TrainError::NothingToPredict`] without a single target; [`TrainError::Device`], [`TrainError::Threads`].
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
    let batches = WindowBatch::cut(ids.len(), seq_len, batch_size);
    let batch = |index: usize| -> Result<f64, TrainError> {
        let losses = gpt.window_losses(ids, &batches[index], ForwardContext::default()).losses;
        let losses = losses.try_into_vec_as::<f32>().map_err(TrainError::device)?;
        Ok(losses.iter().map(|loss| f64::from(*loss)).sum())
    };
    let add = |nats: &mut Result<f64, TrainError>, loss: Result<f64, TrainError>| match (&mut *nats, loss) {
        (Ok(nats), Ok(loss)) => *nats += loss,
        (Ok(_), Err(error)) => *nats = Err(error),
        (Err(_), _) => {}
    };
    let nats = WorkerPools::new(&gpt.device(), batches.len())?.fold(batches.len(), Ok(0.0), batch, add)?;
    let loss = nats / tokens as f64;
    let bits_per_byte = nats / std::f64::consts::LN_2 / bytes as f64;
    Ok(Evaluation { loss, perplexity: libm::exp(loss), bits_per_byte, tokens, bytes })
}
