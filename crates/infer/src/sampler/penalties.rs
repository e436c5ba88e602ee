//! What changes single logits before there is a distribution: penalties for what was said already, bias, bans.

use super::SamplerConfig;
use crate::InferError;

/// How often each token occurs in the part of the history that the penalties look at. Kept up to date from token to
/// token, so that a step costs the same however long the history is.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    /// `[vocab_size]`; empty where there are no penalties.
    occurrences: Vec<u64>,
    span: usize,
}

impl Counts {
    /// Counts the last `penalty_last_n` tokens of a history.
    ///
    /// # Errors
    /// [`InferError::UnknownToken`] if it has a token outside the vocabulary.
    pub fn new(history: &[u32], vocab_size: usize, config: &SamplerConfig) -> Result<Self, InferError> {
        let span = config.history();
        let mut occurrences = vec![0; if span == 0 { 0 } else { vocab_size }];
        for &id in &history[history.len().saturating_sub(span)..] {
            let unknown = InferError::UnknownToken { id, vocab_size };
            *occurrences.get_mut(id as usize).ok_or(unknown)? += 1;
        }
        Ok(Self { occurrences, span })
    }

    /// Counts the last token of a history, which is new, and no longer the one that has left the span.
    ///
    /// - `history`: at least the last `penalty_last_n` tokens and the one before them, if there are so many; of a span
    ///   without end, the last token is enough
    pub fn advance(&mut self, history: &[u32]) {
        if let (Some(new), false) = (history.last(), self.occurrences.is_empty()) {
            self.occurrences[*new as usize] += 1;
            if let Some(old) = history.len().checked_sub(1).and_then(|last| last.checked_sub(self.span)) {
                self.occurrences[history[old] as usize] -= 1;
            }
        }
    }
}

/// Lowers the logits of tokens that occur in the history: the repetition penalty first, then presence and frequency.
///
/// - `logits`: `[vocab_size]`
pub(crate) fn penalise(logits: &mut [f64], counts: &Counts, config: &SamplerConfig) {
    let &SamplerConfig { repetition_penalty, presence_penalty, frequency_penalty, .. } = config;
    for (logit, count) in logits.iter_mut().zip(&counts.occurrences).filter(|(_, count)| **count > 0) {
        change(logit, if *logit > 0.0 { *logit / repetition_penalty } else { *logit * repetition_penalty });
        change(logit, *logit - presence_penalty);
        change(logit, *logit - frequency_penalty * *count as f64);
    }
}

/// Adds the bias and takes banned tokens out of the question. Ids outside the vocabulary are refused before, by
/// [`SamplerConfig::check`].
///
/// - `logits`: `[vocab_size]`
pub fn bias(logits: &mut [f64], config: &SamplerConfig) {
    for (id, bias) in &config.logit_bias {
        let logit = &mut logits[*id as usize];
        if *bias == f32::NEG_INFINITY {
            *logit = f64::NEG_INFINITY;
        } else {
            change(logit, *logit + f64::from(*bias));
        }
    }
    for id in &config.banned {
        logits[*id as usize] = f64::NEG_INFINITY;
    }
}

/// What was impossible stays so, and what was possible stays a finite number, however large the change.
fn change(logit: &mut f64, to: f64) {
    if *logit > f64::NEG_INFINITY {
        *logit = to.clamp(f64::MIN, f64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const NEVER: f64 = f64::NEG_INFINITY;

    fn penalised(logits: &[f64], history: &[u32], config: &SamplerConfig) -> Vec<f64> {
        let mut logits = logits.to_vec();
        let counts = Counts::new(history, logits.len(), config).expect("known tokens");
        penalise(&mut logits, &counts, config);
        logits
    }

    #[test]
    fn repetition_divides_positive_logits_and_multiplies_negative_ones_once() {
        let config = SamplerConfig { repetition_penalty: 2.0, ..Default::default() };
        assert_eq!(penalised(&[3.0, 3.0, -3.0, 0.0], &[0, 0, 2, 3], &config), [1.5, 3.0, -6.0, 0.0]);
    }

    #[test]
    fn presence_is_taken_once_and_frequency_for_each_occurrence() {
        let config = SamplerConfig { presence_penalty: 0.5, frequency_penalty: 0.25, ..Default::default() };
        assert_eq!(penalised(&[1.0, 1.0, 1.0], &[2, 0, 2, 2], &config), [0.25, 1.0, -0.25]);
        let reward = SamplerConfig { presence_penalty: -1.0, ..Default::default() };
        assert_eq!(penalised(&[1.0, 1.0], &[1, 1], &reward), [1.0, 2.0]);
    }

    #[test]
    fn repetition_comes_before_presence_and_frequency() {
        let config = SamplerConfig { repetition_penalty: 2.0, presence_penalty: 1.0, ..Default::default() };
        assert_eq!(penalised(&[4.0], &[0], &config), [1.0], "4 / 2 - 1, not (4 - 1) / 2");
    }

    #[test]
    fn only_the_last_tokens_of_the_span_count_and_zero_counts_all() {
        let with = |penalty_last_n| SamplerConfig { frequency_penalty: 1.0, penalty_last_n, ..Default::default() };
        let history = [0, 1, 0, 2];
        assert_eq!(penalised(&[0.0; 3], &history, &with(0)), [-2.0, -1.0, -1.0]);
        assert_eq!(penalised(&[0.0; 3], &history, &with(1)), [0.0, 0.0, -1.0]);
        assert_eq!(penalised(&[0.0; 3], &history, &with(2)), [-1.0, 0.0, -1.0]);
        assert_eq!(penalised(&[0.0; 3], &history, &with(usize::MAX)), [-2.0, -1.0, -1.0]);
        assert_eq!(penalised(&[0.0; 3], &[], &with(0)), [0.0; 3]);
    }

    #[test]
    fn a_token_of_the_history_that_the_logits_lack_is_refused() {
        let config = SamplerConfig { presence_penalty: 1.0, ..Default::default() };
        let error = Counts::new(&[1, 3], 3, &config).expect_err("no such token");
        assert!(matches!(error, InferError::UnknownToken { id: 3, vocab_size: 3 }), "{error}");
    }

    #[test]
    fn counts_that_are_kept_up_to_date_are_those_of_the_history_at_hand() {
        let history: Vec<u32> = (0..200).map(|i| (i * i + i / 3) % 5).collect();
        for penalty_last_n in [0, 1, 2, 7, 150] {
            let config = SamplerConfig { frequency_penalty: 1.0, penalty_last_n, ..Default::default() };
            let mut counts = Counts::new(&history[..3], 5, &config).expect("known tokens");
            for end in 4..=history.len() {
                // As much of it as a sequence without end keeps.
                counts.advance(&history[end.saturating_sub(penalty_last_n + 1)..end]);
                let expected = Counts::new(&history[..end], 5, &config).expect("known tokens");
                assert_eq!(counts.occurrences, expected.occurrences, "span {penalty_last_n}, {end} tokens");
            }
        }
        let mut none = Counts::new(&history, 5, &SamplerConfig::default()).expect("known tokens");
        none.advance(&history);
        assert!(none.occurrences.is_empty());
    }

    #[test]
    fn finite_logits_stay_finite_and_impossible_tokens_impossible() {
        for sign in [1.0, -1.0] {
            let config = SamplerConfig {
                repetition_penalty: 1e-300,
                presence_penalty: sign * 1e308,
                frequency_penalty: sign * 1e308,
                ..Default::default()
            };
            let changed = penalised(&[1e30, -1e30, 0.0, NEVER], &[0, 0, 1, 1, 2, 2, 3, 3], &config);
            assert!(changed[..3].iter().all(|logit| logit.is_finite()), "{changed:?}");
            assert_eq!(changed[3], NEVER);
        }
    }

    #[test]
    fn bias_is_added_and_bans_are_final() {
        let config = SamplerConfig {
            logit_bias: BTreeMap::from([(0, 2.5), (1, f32::NEG_INFINITY), (2, 9.0), (3, 9.0)]),
            banned: BTreeSet::from([2]),
            ..Default::default()
        };
        let mut logits = [1.0, 1.0, 1.0, NEVER, 1.0];
        bias(&mut logits, &config);
        assert_eq!(logits, [3.5, NEVER, NEVER, NEVER, 1.0]);
    }
}
