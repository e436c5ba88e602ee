//! One row of logits as a distribution of its own: probabilities, uncertainty, the most probable tokens.

use crate::sampler::rows;

/// One row of logits, and the probabilities that they are, in f64, the same on every platform.
pub(crate) struct LogitRow<'a> {
    logits: &'a [f32],
    /// ln Σ exp(logit).
    log_sum: f64,
}

impl<'a> LogitRow<'a> {
    /// The error says what the logits hold.
    pub fn of(logits: &'a [f32]) -> Result<Self, &'static str> {
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err("NaN");
        }
        if logits.contains(&f32::INFINITY) {
            return Err("infinity");
        }
        if logits.iter().all(|logit| *logit == f32::NEG_INFINITY) {
            return Err("no finite value");
        }
        Ok(Self { logits, log_sum: rows::log_sum_exp(logits) })
    }

    pub fn logprob(&self, id: usize) -> f64 {
        f64::from(self.logits[id]) - self.log_sum
    }

    pub fn entropy(&self) -> f64 {
        let term = |id| {
            let logprob = self.logprob(id);
            // A probability of zero adds nothing: p ln p → 0.
            if logprob == f64::NEG_INFINITY { 0.0 } else { -rows::exp(logprob) * logprob }
        };
        (0..self.logits.len()).map(term).sum::<f64>().max(0.0)
    }

    /// The `count` most probable ids, best first, the lowest id first among equals.
    pub fn best(&self, count: usize) -> Vec<(u32, f64)> {
        let mut best: Vec<usize> = Vec::with_capacity(count + 1);
        for id in 0..self.logits.len() {
            let place = best.partition_point(|other| self.logits[*other] >= self.logits[id]);
            if place < count {
                best.insert(place, id);
                best.truncate(count);
            }
        }
        best.into_iter().map(|id| (id as u32, self.logprob(id))).collect()
    }
}
