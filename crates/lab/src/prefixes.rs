//! One row of a training batch taken apart into the problems that it holds: each prefix, and the token that follows it.

use std::time::Instant;

use serde::Serialize;
use tril_model::{ForwardContext, Gpt};
use tril_train::TrainError;

use crate::LabError;

/// Both ways are timed so often, and the fastest counts; after so many seconds, not once more.
const RUNS: (usize, f64) = (5, 1.0);

/// A prefix of the row, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrefixProblem {
    /// How many tokens the model sees: those of the row up to here.
    pub context: usize,
    /// The token that follows.
    pub target: u32,
    /// What the model gives it, seeing the prefix alone.
    pub probability: f64,
    /// −ln of that, in nats, of a pass over the prefix alone.
    pub loss: f32,
    /// The same, of the one pass over the whole row.
    pub parallel_loss: f32,
}

/// A row and its problems.
#[derive(Debug, Clone, Serialize)]
pub struct PrefixReport {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// As many as tokens, less one.
    pub problems: Vec<PrefixProblem>,
    /// Mean loss of the problems, each computed by itself.
    pub mean_loss: f64,
    /// The row's loss by one parallel pass, as training computes it.
    pub parallel_loss: f64,
    /// Whether all losses, and both means, have the same bits.
    pub equal_bits: bool,
    /// Largest difference of two losses of one problem.
    pub largest_difference: f64,
    /// The parallel pass.
    pub parallel_seconds: f64,
    /// All prefixes, one pass each.
    pub prefix_seconds: f64,
}

/// Takes a row apart.
///
/// - ids: at least two, at most one more than a context holds
///
/// # Errors
/// [`LabError::Setting`] for other rows; [`LabError::Tril`].
pub fn prefix_problems(gpt: &Gpt, ids: &[u32]) -> Result<PrefixReport, LabError> {
    let (targets, limit) = (ids.len().saturating_sub(1), gpt.config().max_seq_len);
    if targets == 0 || targets > limit {
        return Err(LabError::Setting(format!(
            "the text has {} tokens, end of text included: a row of this model has 2 to {}",
            ids.len(),
            limit + 1
        )));
    }
    tril_infer::check_ids(ids, gpt.config().vocab_size)?;
    let (parallel, parallel_seconds) = fastest(|| losses(gpt, ids))?;
    let each = || (1..=targets).map(|end| losses(gpt, &ids[..=end])).collect::<Result<Vec<_>, _>>();
    let (prefixes, prefix_seconds) = fastest(each)?;
    let own: Vec<f32> = prefixes.iter().filter_map(|losses| losses.last().copied()).collect();
    let problem = |(index, (loss, parallel_loss)): (usize, (&f32, &f32))| PrefixProblem {
        context: index + 1,
        target: ids[index + 1],
        probability: libm::exp(-f64::from(*loss)),
        loss: *loss,
        parallel_loss: *parallel_loss,
    };
    let problems: Vec<PrefixProblem> = own.iter().zip(&parallel).enumerate().map(problem).collect();
    let (mean_loss, parallel_loss) = (mean(&own), mean(&parallel));
    let differences = own.iter().zip(&parallel).map(|(a, b)| f64::from((a - b).abs()));
    Ok(PrefixReport {
        ids: ids.to_vec(),
        equal_bits: own.iter().zip(&parallel).all(|(a, b)| a.to_bits() == b.to_bits())
            && mean_loss.to_bits() == parallel_loss.to_bits(),
        largest_difference: differences.fold(0.0, f64::max),
        problems,
        mean_loss,
        parallel_loss,
        parallel_seconds,
        prefix_seconds,
    })
}

/// The loss of each token but the first, by one pass.
fn losses(gpt: &Gpt, ids: &[u32]) -> Result<Vec<f32>, LabError> {
    let seen = ids.len() - 1;
    let [inputs, targets] = [&ids[..seen], &ids[1..]].map(|ids| gpt.inputs(ids, 1));
    let losses = gpt.losses(inputs, targets, ForwardContext::default()).losses;
    Ok(losses.try_into_vec_as::<f32>().map_err(TrainError::device)?)
}

/// As training and evaluation have it: summed up in order, in f64.
fn mean(losses: &[f32]) -> f64 {
    losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len() as f64
}

/// A result, and the least time that it took.
fn fastest<T>(work: impl Fn() -> Result<T, LabError>) -> Result<(T, f64), LabError> {
    let begin = Instant::now();
    let mut least = f64::INFINITY;
    loop {
        let run = Instant::now();
        let result = work()?;
        least = least.min(run.elapsed().as_secs_f64());
        if begin.elapsed().as_secs_f64() > RUNS.1 || begin.elapsed().as_secs_f64() > RUNS.0 as f64 * least {
            return Ok((result, least));
        }
    }
}
