//! From one row of logits to one token.
//!
//! The order is always the same: penalties for what was said already ([`SamplerConfig::repetition_penalty`], presence,
//! frequency), bias and bans, temperature, top-k, typical-p, top-p, min-p, and then the draw. Exponentials and
//! logarithms are computed in f64 by the same code on every platform, and sums in a fixed order, so that equal logits
//! give equal tokens everywhere.

mod config;
mod distribution;
mod filters;
mod penalties;
pub(crate) mod rows;

use std::ops::Range;

use rand::RngExt;
use serde::Serialize;
use tril_model::random::{self, Purpose};

pub use config::SamplerConfig;
pub use distribution::Distribution;
pub(crate) use penalties::Counts;

use crate::InferError;

/// A token, and how it was drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampledToken {
    /// Its id.
    pub token: u32,
    /// ln of the probability that the model itself gives it: of the softmax of the logits as they came, before penalties,
    /// bias, temperature and filters.
    pub logprob: f64,
    /// The part of [0, 1) that belonged to the token in the end, where the probabilities of all tokens, in order of id,
    /// lie side by side: the cumulative distribution just before it and with it. All of [0, 1) where nothing else was
    /// left.
    pub cdf_interval: Range<f64>,
    /// The uniform number that decided, which lies in `cdf_interval`; None at temperature 0, where none is drawn.
    pub uniform: Option<f64>,
}

/// The uniform number in [0, 1) that decides the token at an absolute position of a sample.
///
/// It is named by (seed, sample index, position) alone: not drawn after others, and the same under all other settings, so
/// that one can see what these do to one and the same number.
pub fn uniform(seed: u64, sample_index: u64, position: usize) -> f64 {
    random::generator(seed, Purpose::Sample, sample_index, position as u64, 0).random()
}

/// The token that follows, given the last position's logits.
///
/// The probabilities of the tokens, one after another in order of id, divide [0, 1); the token is the one in whose
/// part the [`uniform`] number lies. At temperature 0 it is the one with the largest logit after penalties, bias and bans.
///
/// - `logits`: `[vocab_size]`
/// - `history`: all tokens so far, the prompt's included
/// - `position`: of the token to be chosen
///
/// # Errors
/// Those of [`Distribution::new`].
pub fn choose(
    logits: &[f32],
    history: &[u32],
    config: &SamplerConfig,
    sample_index: u64,
    position: usize,
) -> Result<SampledToken, InferError> {
    let distribution = Distribution::new(logits, history, config, position)?;
    Ok(choose_from(&distribution, logits, config, sample_index, position))
}

/// As [`choose`], from a distribution that was made of these logits by this config.
pub fn choose_from(
    distribution: &Distribution,
    logits: &[f32],
    config: &SamplerConfig,
    sample_index: u64,
    position: usize,
) -> SampledToken {
    let uniform = (config.temperature > 0.0).then(|| uniform(config.seed, sample_index, position));
    let (token, cdf_interval) = distribution.pick(uniform.unwrap_or(0.0));
    SampledToken { token, logprob: logprob(logits, token), cdf_interval, uniform }
}

/// See [`SampledToken::logprob`].
///
/// - `logits`: `[vocab_size]`, of which `token` is one
pub fn logprob(logits: &[f32], token: u32) -> f64 {
    f64::from(logits[token as usize]) - rows::log_sum_exp(logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SamplerConfig {
        SamplerConfig { seed: 7, ..SamplerConfig::default() }
    }

    fn greedy() -> SamplerConfig {
        SamplerConfig { temperature: 0.0, ..config() }
    }

    fn token(logits: &[f32], config: &SamplerConfig) -> Option<u32> {
        choose(logits, &[], config, 0, 0).ok().map(|choice| choice.token)
    }

    fn draws(logits: &[f32], config: &SamplerConfig) -> Vec<u32> {
        (0..2000).map(|position| choose(logits, &[], config, 0, position).expect("sound logits").token).collect()
    }

    #[test]
    fn frequencies_follow_the_softmax_of_logits_over_temperature() {
        let logits = [0.0, 1.0, -1.0];
        for temperature in [0.5, 1.0, 2.0] {
            let drawn = draws(&logits, &SamplerConfig { temperature, ..config() });
            let total: f64 = logits.iter().map(|l| (f64::from(*l) / temperature).exp()).sum();
            for (id, logit) in logits.iter().enumerate() {
                let expected = (f64::from(*logit) / temperature).exp() / total;
                let seen = drawn.iter().filter(|d| **d == id as u32).count() as f64 / drawn.len() as f64;
                assert!((seen - expected).abs() < 0.04, "id {id} at {temperature}: {seen} for {expected}");
            }
        }
    }

    #[test]
    fn temperature_zero_takes_the_lowest_id_among_the_largest_and_draws_nothing() {
        let choice = choose(&[1.0, 3.0, 3.0, 2.0], &[], &greedy(), 0, 0).expect("sound logits");
        assert_eq!((choice.token, choice.cdf_interval, choice.uniform), (1, 0.0..1.0, None));
    }

    #[test]
    fn at_temperature_zero_penalties_and_bans_count_and_filters_do_not() {
        let logits = [1.0, 3.0, 2.5, 2.0];
        let filters = SamplerConfig { typical_p: 0.01, top_p: 0.0, min_p: 1.0, top_k: 1, ..greedy() };
        assert_eq!(token(&logits, &filters), Some(1));
        assert_eq!(token(&logits, &SamplerConfig { banned: [1].into(), ..greedy() }), Some(2));
        assert_eq!(token(&logits, &SamplerConfig { logit_bias: [(3, 1.5)].into(), ..greedy() }), Some(3));
        let penalised = SamplerConfig { frequency_penalty: 0.6, ..greedy() };
        assert_eq!(choose(&logits, &[1, 2], &penalised, 0, 0).expect("sound").token, 1, "2.4, 1.9 and 2.0");
        assert_eq!(choose(&logits, &[1, 2, 1], &penalised, 0, 0).expect("sound").token, 3, "1.8, 1.9 and 2.0");
    }

    #[test]
    fn top_k_of_one_is_greedy_and_above_the_vocabulary_keeps_all() {
        let logits = [0.0, 0.5, 0.2];
        assert!(draws(&logits, &SamplerConfig { top_k: 1, ..config() }).iter().all(|id| *id == 1));
        assert_eq!(draws(&logits, &SamplerConfig { top_k: 99, ..config() }), draws(&logits, &config()));
    }

    #[test]
    fn minus_infinity_is_never_drawn_and_everywhere_is_refused() {
        let never = f32::NEG_INFINITY;
        let choice = choose(&[never, 0.0, never], &[], &config(), 0, 0).expect("one is left");
        assert_eq!((choice.token, choice.logprob, choice.cdf_interval), (1, 0.0, 0.0..1.0));
        assert!(choice.uniform.is_some());
        for bad in [&[never; 3][..], &[0.0, f32::NAN], &[f32::NAN, never], &[0.0, f32::INFINITY], &[]] {
            for config in [config(), greedy()] {
                let error = choose(bad, &[], &config, 0, 77).expect_err("no distribution");
                assert!(matches!(error, InferError::BadLogits { position: 77, .. }), "{error}");
            }
        }
    }

    #[test]
    fn when_all_that_is_possible_is_banned_the_error_says_so() {
        let logits = [f32::NEG_INFINITY, 0.0, 1.0];
        for config in [config(), greedy()] {
            let config = SamplerConfig { banned: [1].into(), logit_bias: [(2, f32::NEG_INFINITY)].into(), ..config };
            let error = choose(&logits, &[], &config, 0, 0).expect_err("nothing is left");
            assert!(error.to_string().contains("every possible token is banned"), "{error}");
        }
    }

    #[test]
    fn the_logprob_is_the_models_own_whatever_the_settings() {
        let logits: [f32; 4] = [0.5, -1.0, 2.0, f32::NEG_INFINITY];
        let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        let all = SamplerConfig {
            temperature: 0.3,
            top_k: 2,
            repetition_penalty: 5.0,
            logit_bias: [(0, 1.0), (3, 100.0)].into(),
            banned: [2].into(),
            ..config()
        };
        for config in [config(), greedy(), all] {
            for position in 0..20 {
                let SampledToken { token, logprob, .. } =
                    choose(&logits, &[2, 0], &config, 0, position).expect("sound");
                let expected = (f64::from(logits[token as usize]).exp() / total).ln();
                assert!((logprob - expected).abs() < 1e-12, "token {token}: {logprob} for {expected}");
            }
        }
    }

    #[test]
    fn one_draw_chooses_at_every_temperature_the_token_in_whose_share_it_lies() {
        let logits: Vec<f32> = (0..50).map(|id| ((id * id) as f32).sin() * 4.0).collect();
        let mut tokens_seen = std::collections::BTreeSet::new();
        for position in 0..200 {
            let draw = uniform(config().seed, 3, position);
            assert!((0.0..1.0).contains(&draw));
            for temperature in [0.1, 0.5, 1.0, 3.0] {
                let config = SamplerConfig { temperature, ..config() };
                let choice = choose(&logits, &[], &config, 3, position).expect("sound");
                assert!(choice.uniform == Some(draw) && choice.cdf_interval.contains(&draw), "{choice:?}");
                // By hand, from the definition of the softmax.
                let weights: Vec<f64> = logits.iter().map(|logit| (f64::from(*logit) / temperature).exp()).collect();
                let total: f64 = weights.iter().sum();
                let begin = weights[..choice.token as usize].iter().sum::<f64>() / total;
                let end = begin + weights[choice.token as usize] / total;
                let is_near = |a: f64, b: f64| (a - b).abs() < 1e-12;
                assert!(
                    is_near(choice.cdf_interval.start, begin) && is_near(choice.cdf_interval.end, end),
                    "{begin}..{end} {choice:?}"
                );
                tokens_seen.insert(choice.token);
            }
        }
        assert!(tokens_seen.len() > 20, "only {} tokens were ever chosen", tokens_seen.len());
    }

    #[test]
    fn a_draw_depends_on_seed_sample_and_position_and_not_on_the_history() {
        let logits = [0.0; 1000];
        let choose = |history, config, sample, position| choose(&logits, history, &config, sample, position).ok();
        let base = choose(&[], config(), 3, 5);
        assert_eq!(base, choose(&[], config(), 3, 5));
        assert_eq!(base, choose(&[1, 2, 3], config(), 3, 5));
        assert_ne!(base, choose(&[], config(), 4, 5));
        assert_ne!(base, choose(&[], config(), 3, 6));
        assert_ne!(base, choose(&[], SamplerConfig { seed: 8, ..config() }, 3, 5));
    }

    #[test]
    fn draws_are_what_they_always_were() {
        // A sample that was recorded once can be made again only as long as these stay.
        let draws = [uniform(1337, 0, 0), uniform(1337, 0, 1), uniform(1337, 1, 0), uniform(7, 3, 1000)];
        assert_eq!(draws, [0.21967202975219058, 0.5467713732977952, 0.39106816233776076, 0.49139853949047607]);
    }
}
