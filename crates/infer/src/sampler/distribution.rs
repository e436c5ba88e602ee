//! What may be drawn, and how probable it is: logits after penalties, bias, temperature and all filters.

use std::ops::Range;

use super::penalties::Counts;
use super::{SamplerConfig, filters, penalties, rows};
use crate::InferError;

/// The tokens that a sampler leaves of one row of logits, with their probabilities: at least one token.
///
/// The probabilities, one after another in order of id, divide [0, 1) into one share a token.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// `[vocab_size]`: probabilities times a number that all share; 0 where a token is not left.
    weights: Vec<f64>,
    /// The sum of the weights, in order of id.
    total: f64,
}

impl Distribution {
    /// The distribution of the token at an absolute `position`.
    ///
    /// - `logits`: `[vocab_size]`, those of the position before it
    /// - `history`: all tokens before it, the prompt's included; penalties look at them, nothing else does
    ///
    /// # Errors
    /// [`InferError::BadLogits`] for NaN or +∞ anywhere or −∞ everywhere, [`InferError::AllBanned`] if bias and bans
    /// leave nothing of what is possible, [`InferError::UnknownToken`] if penalties find a token in the history that the
    /// logits lack, and what [`SamplerConfig::check`] refuses.
    pub fn new(logits: &[f32], history: &[u32], config: &SamplerConfig, position: usize) -> Result<Self, InferError> {
        config.check(logits.len())?;
        let counts = Counts::new(history, logits.len(), config)?;
        Self::with_counts(logits, &counts, config, position)
    }

    /// The same with what the penalties look at counted already, by a config that has been checked.
    pub(crate) fn with_counts(
        logits: &[f32],
        counts: &Counts,
        config: &SamplerConfig,
        position: usize,
    ) -> Result<Self, InferError> {
        let mut logits = checked(logits, position)?;
        penalties::penalise(&mut logits, counts, config);
        penalties::bias(&mut logits, config);
        let largest = rows::largest(&logits);
        if largest == f64::NEG_INFINITY {
            return Err(InferError::AllBanned);
        }
        if config.temperature == 0.0 {
            return Ok(Self::certain(&logits, largest));
        }
        // The temperature does not change the order of logits, and top-k looks at nothing else.
        filters::top_k(&mut logits, config.top_k);
        let scores = scores(logits, largest, config.temperature);
        let mut weights = rows::exponentials(&scores);
        filters::typical_p(&mut weights, &scores, config.typical_p);
        filters::top_p(&mut weights, config.top_p);
        filters::min_p(&mut weights, config.min_p);
        let total = weights.iter().sum();
        Ok(Self { weights, total })
    }

    /// The tokens with their probabilities, all above 0, in order of id.
    pub fn tokens(&self) -> impl Iterator<Item = (u32, f64)> {
        let possible = (0..).zip(&self.weights).filter(|(_, weight)| **weight > 0.0);
        possible.map(|(token, weight)| (token, weight / self.total))
    }

    /// The `n` most probable tokens, the most probable first and the lowest ids first among equals.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<(u32, f64)> {
        let mut tokens: Vec<(u32, f64)> = self.tokens().collect();
        let order = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if n < tokens.len() {
            tokens.select_nth_unstable_by(n, order);
            tokens.truncate(n);
        }
        tokens.sort_unstable_by(order);
        tokens
    }

    /// The token in whose share of [0, 1) the draw lies, and that share.
    ///
    /// # Panics
    /// If the draw is not in [0, 1).
    #[must_use]
    pub fn pick(&self, draw: f64) -> (u32, Range<f64>) {
        assert!((0.0..1.0).contains(&draw), "a draw is in [0, 1), not {draw}");
        let mut sum = 0.0;
        let mut begin = 0.0;
        for (token, weight) in (0..).zip(&self.weights) {
            sum += weight;
            let end = sum / self.total;
            if draw < end {
                return (token, begin..end);
            }
            begin = end;
        }
        unreachable!("the shares end at {} / {}, which is 1", sum, self.total)
    }

    /// All for the largest logit, the one with the lowest id among equals.
    fn certain(logits: &[f64], largest: f64) -> Self {
        let mut weights = vec![0.0; logits.len()];
        if let Some(token) = logits.iter().position(|logit| *logit == largest) {
            weights[token] = 1.0;
        }
        Self { weights, total: 1.0 }
    }
}

/// The logits in f64, `[vocab_size]`, if they are those of a distribution.
fn checked(logits: &[f32], position: usize) -> Result<Vec<f64>, InferError> {
    let bad = |what| Err(InferError::BadLogits { position, what });
    // One pass that does not stop at the first, so that it is vector code.
    let is_sound = logits.iter().fold(true, |is_sound, logit| is_sound & (*logit < f32::INFINITY));
    if !is_sound {
        return bad(if logits.iter().any(|logit| logit.is_nan()) { "NaN" } else { "infinity" });
    }
    if logits.iter().all(|logit| *logit == f32::NEG_INFINITY) {
        return bad("no finite value");
    }
    Ok(logits.iter().map(|logit| f64::from(*logit)).collect())
}

/// The logarithms of the weights: how far below the largest the logits are, over the temperature.
fn scores(mut logits: Vec<f64>, largest: f64, temperature: f64) -> Vec<f64> {
    logits.iter_mut().for_each(|logit| *logit = (*logit - largest) / temperature);
    logits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distribution(logits: &[f32], config: &SamplerConfig) -> Distribution {
        Distribution::new(logits, &[], config, 0).expect("sound")
    }

    fn tokens(logits: &[f32], config: &SamplerConfig) -> Vec<u32> {
        distribution(logits, config).tokens().map(|(token, _)| token).collect()
    }

    #[test]
    fn tokens_come_in_order_of_id_and_the_most_probable_come_first_on_demand() {
        let distribution = distribution(&[0.0, 2.0, f32::NEG_INFINITY, 0.0, 1.0], &SamplerConfig::default());
        let ids: Vec<u32> = distribution.tokens().map(|(token, _)| token).collect();
        assert_eq!(ids, [0, 1, 3, 4]);
        let top = |n| distribution.top(n).into_iter().map(|(token, _)| token).collect::<Vec<_>>();
        assert_eq!(top(3), [1, 4, 0]);
        assert_eq!(top(4), [1, 4, 0, 3]);
        assert_eq!(top(99), [1, 4, 0, 3]);
        assert!(top(0).is_empty());
    }

    #[test]
    fn the_order_is_bans_temperature_top_k_typical_p_top_p_min_p() {
        let all = SamplerConfig::default;
        let kept = |probabilities: &[f32], config: SamplerConfig| {
            let logits: Vec<f32> = probabilities.iter().map(|probability| probability.ln()).collect();
            tokens(&logits, &config)
        };
        let dull = [&[0.3][..], &[0.07; 10]].concat();
        let falling = [0.5, 0.2, 0.1, 0.1, 0.1];
        let banned = SamplerConfig { banned: [0].into(), top_k: 2, ..all() };
        assert_eq!(kept(&falling, banned), [1, 2], "what is banned takes no place among the k");
        let hot = SamplerConfig { temperature: 4.0, min_p: 0.7, ..all() };
        assert_eq!(kept(&falling, hot), [0, 1], "at temperature 4 the second has 0.8 of the first, not 0.4");
        let typical_k = SamplerConfig { top_k: 2, typical_p: 0.2, ..all() };
        assert_eq!(
            kept(&dull, typical_k),
            [0],
            "the first is dull among all and not between the two that top-k leaves"
        );
        let top_typical = SamplerConfig { typical_p: 0.2, top_p: 0.0, ..all() };
        assert_eq!(kept(&dull, top_typical), [1], "the most probable of what is not dull");
        let top_k_p = SamplerConfig { top_k: 2, top_p: 0.65, ..all() };
        assert_eq!(kept(&falling, top_k_p), [0], "0.71 of what top-k leaves");
        let top_min = SamplerConfig { top_p: 0.65, min_p: 0.3, ..all() };
        assert_eq!(kept(&falling, top_min), [0, 1], "0.5 of all, though 0.71 of what min-p would have left");
    }

    #[test]
    fn a_tiny_temperature_leaves_the_largest_and_a_huge_one_makes_all_nearly_equal() {
        let logits = [1.0, 3.0, 2.0, 3.0];
        for temperature in [1e-3, 1e-6, 1e-9] {
            let config = SamplerConfig { temperature, ..Default::default() };
            assert_eq!(distribution(&logits, &config).tokens().collect::<Vec<_>>(), [(1, 0.5), (3, 0.5)]);
        }
        let config = SamplerConfig { temperature: 1000.0, ..Default::default() };
        assert!(distribution(&logits, &config).tokens().all(|(_, probability)| (probability - 0.25).abs() < 1e-3));
        let extremes = [f32::MAX, f32::MIN, 0.0];
        assert_eq!(tokens(&extremes, &SamplerConfig::default()), [0]);
    }

    #[test]
    fn large_biases_do_not_overflow() {
        for sign in [1.0, -1.0] {
            let config = SamplerConfig {
                logit_bias: [(0, sign * f32::MAX), (2, -sign * f32::MAX)].into(),
                presence_penalty: -100.0,
                ..Default::default()
            };
            let kept = Distribution::new(&[f32::MAX, 0.0, f32::MIN], &[0, 1, 2], &config, 0).expect("sound");
            assert!((kept.tokens().map(|(_, probability)| probability).sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    #[should_panic(expected = "a draw is in [0, 1), not 1")]
    fn a_draw_of_one_is_no_draw() {
        let _ = distribution(&[0.0, 0.0], &SamplerConfig::default()).pick(1.0);
    }

    /// Any settings for a vocabulary, filters on and off, with fewer bans than tokens.
    fn configs(vocab_size: usize) -> impl Strategy<Value = SamplerConfig> {
        let id = 0..vocab_size as u32;
        let filters = (
            prop_oneof![Just(0.0), Just(1.0), 0.05..5.0, Just(1e-9), Just(1000.0)],
            prop_oneof![Just(0), 1..vocab_size + 2],
            prop_oneof![Just(1.0), 0.0..=1.0],
            prop_oneof![Just(1.0), 0.0..=1.0],
            prop_oneof![Just(0.0), 0.0..=1.0],
        );
        let penalties = (0.2..5.0, -2.0..2.0, -2.0..2.0, 0..8_usize);
        let bias = prop::collection::btree_map(id.clone(), -5.0..5.0_f32, 0..3);
        let banned = prop::collection::btree_set(id, 0..vocab_size);
        (filters, penalties, bias, banned).prop_map(|(filters, penalties, logit_bias, banned)| {
            let (temperature, top_k, typical_p, top_p, min_p) = filters;
            let (repetition_penalty, presence_penalty, frequency_penalty, penalty_last_n) = penalties;
            SamplerConfig {
                temperature,
                top_k,
                typical_p,
                top_p,
                min_p,
                repetition_penalty,
                presence_penalty,
                frequency_penalty,
                penalty_last_n,
                logit_bias,
                banned,
                ..Default::default()
            }
        })
    }

    fn cases() -> impl Strategy<Value = (Vec<f32>, Vec<u32>, SamplerConfig)> {
        (2..150_usize).prop_flat_map(|vocab_size| {
            let logit = prop_oneof![-8.0..8.0_f32, (-4..4_i8).prop_map(f32::from)];
            let logits = prop::collection::vec(logit, vocab_size);
            (logits, prop::collection::vec(0..vocab_size as u32, 0..20), configs(vocab_size))
        })
    }

    proptest! {
        #[test]
        fn shares_divide_the_interval_in_order_of_id_and_are_the_probabilities((logits, history, config) in cases()) {
            let distribution = Distribution::new(&logits, &history, &config, 0).expect("sound");
            let mut begin = 0.0;
            for (token, probability) in distribution.tokens() {
                prop_assert!(probability > 0.0 && !config.banned.contains(&token));
                if begin >= 1.0 {
                    prop_assert!(probability < 1e-12, "its share was lost to rounding");
                    continue;
                }
                let (picked, share) = distribution.pick(begin);
                if picked != token {
                    prop_assert!(probability < 1e-12, "its share was lost to rounding");
                    continue;
                }
                prop_assert_eq!(share.start, begin);
                prop_assert!((share.end - share.start - probability).abs() < 1e-12);
                let last = share.end.next_down();
                prop_assert_eq!(distribution.pick(last), (token, share.clone()));
                begin = share.end;
            }
            prop_assert_eq!(begin, 1.0);
        }

        #[test]
        fn stricter_filters_keep_a_part_of_what_was_kept((logits, history, config) in cases(), less in 0.0..1.0) {
            let kept = |config: &SamplerConfig| -> Vec<u32> {
                let distribution = Distribution::new(&logits, &history, config, 0).expect("sound");
                distribution.tokens().map(|(token, _)| token).collect()
            };
            let all = kept(&config);
            prop_assert!(!all.is_empty() && all.is_sorted());
            let stricter = SamplerConfig { min_p: config.min_p + (1.0 - config.min_p) * less, ..config.clone() };
            prop_assert!(kept(&stricter).iter().all(|token| all.contains(token)));
            let stricter = SamplerConfig { top_p: config.top_p * less, min_p: 0.0, ..config.clone() };
            let looser = kept(&SamplerConfig { min_p: 0.0, ..config });
            prop_assert!(kept(&stricter).iter().all(|token| looser.contains(token)));
        }
    }
}
