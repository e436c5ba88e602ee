//! Whether one token is what its logits and its draw give: to the last bit, or as far as logits that differ a little
//! can tell.

use std::ops::Range;

use super::{Fault, Judged, TokenClaim, TokenVerdict};
use tril_infer::{Distribution, GenerateOptions, InferError, SampledToken, SamplerConfig, choose_from};

use crate::Tolerance;

/// Added to what logits explain: sums of probabilities in another order differ by less.
const ROUNDING: f64 = 1e-12;

/// Where scaled logits may differ by more, nothing can be told, and e to its power is still a number.
const MOST: f64 = 700.0;

/// What tokens are judged by.
pub struct Judge<'a> {
    pub options: &'a GenerateOptions,
    /// The whole text: prompt and new tokens.
    pub ids: &'a [u32],
    pub tolerance: Tolerance,
}

/// A row of logits, and what the settings make of it.
pub struct Row<'a> {
    pub logits: &'a [f32],
    pub distribution: &'a Distribution,
    pub position: usize,
}

impl Judge<'_> {
    /// Judges what is said of the token at an absolute position.
    ///
    /// - logits: `[vocab_size]`, of the position before it
    /// - is_stop: whether it is said to have ended the text
    pub fn judge<'c>(
        &self,
        claim: &'c TokenClaim,
        position: usize,
        logits: &[f32],
        is_stop: bool,
    ) -> Result<Judged<'c>, InferError> {
        let GenerateOptions { sampler, sample_index, stop_token, .. } = self.options;
        let distribution = Distribution::new(logits, &self.ids[..position], sampler, position)?;
        let expected = choose_from(&distribution, logits, sampler, *sample_index, position);
        let logprob = tril_infer::logprob(logits, claim.sampled.token);
        let interval = interval_of(&distribution, claim.sampled.token);
        let row = Row { logits, distribution: &distribution, position };
        let verdict = if claim.sampled.uniform.map(f64::to_bits) != expected.uniform.map(f64::to_bits) {
            TokenVerdict::Fails(Fault::Uniform)
        } else if (Some(claim.sampled.token) == *stop_token) != is_stop {
            TokenVerdict::Fails(Fault::StopToken)
        } else {
            match self.tolerance {
                Tolerance::EqualBits => exactly(claim, &expected),
                Tolerance::Within(of_largest) => self.within(claim, &expected, &interval, logprob, of_largest, &row)?,
            }
        };
        Ok(Judged { claim, verdict, expected, logprob, interval })
    }

    /// Judges by logits that may differ by `of_largest` of the largest one.
    fn within(
        &self,
        claim: &TokenClaim,
        expected: &SampledToken,
        interval: &Option<Range<f64>>,
        logprob: f64,
        of_largest: f64,
        row: &Row<'_>,
    ) -> Result<TokenVerdict, InferError> {
        let difference = allowed(row.logits, of_largest);
        // The logit itself may differ, and the logarithm of the sum of them all by as much.
        if is_apart(claim.sampled.logprob, logprob, 2.0 * difference) {
            return Ok(TokenVerdict::Fails(Fault::Logprob));
        }
        let moves = moves(&self.options.sampler, difference);
        let fits = |interval: &Range<f64>| {
            let within = |value: f64, low: f64, high: f64| {
                (moved(low, -moves) - ROUNDING..=moved(high, moves) + ROUNDING).contains(&value)
            };
            let near = |claimed: f64, edge: f64| within(claimed, edge, edge);
            let edges = near(claim.sampled.cdf_interval.start, interval.start)
                && near(claim.sampled.cdf_interval.end, interval.end);
            edges
                && claim.sampled.uniform.is_none_or(|draw| {
                    within(draw, interval.start, interval.end) && claim.sampled.cdf_interval.contains(&draw)
                })
        };
        if interval.as_ref().is_some_and(fits) {
            let same = claim.sampled.token == expected.token;
            return Ok(if same { TokenVerdict::Holds } else { TokenVerdict::Undecided });
        }
        if claim.sampled.uniform.is_none_or(|draw| claim.sampled.cdf_interval.contains(&draw))
            && self.wavers(claim, moves, row)?
        {
            return Ok(TokenVerdict::Undecided);
        }
        let fault = if claim.sampled.token == expected.token { Fault::CdfInterval } else { Fault::Token };
        Ok(TokenVerdict::Fails(fault))
    }

    /// Whether logits that differ by `of_largest` of the largest one could have given a token of which nothing is told: its share
    /// may have been where the draw is.
    ///
    /// - claim: the token with what was computed of it here
    pub fn is_near(
        &self,
        claim: &TokenClaim,
        expected: &SampledToken,
        interval: Option<&Range<f64>>,
        of_largest: f64,
        row: &Row<'_>,
    ) -> Result<bool, InferError> {
        let moves = moves(&self.options.sampler, allowed(row.logits, of_largest));
        let reaches = |interval: &Range<f64>, draw: f64| {
            (moved(interval.start, -moves) - ROUNDING..=moved(interval.end, moves) + ROUNDING).contains(&draw)
        };
        if expected.uniform.zip(interval).is_some_and(|(draw, interval)| reaches(interval, draw)) {
            return Ok(true);
        }
        let claim = match expected.uniform {
            Some(_) => claim.clone(),
            None => SampledToken { cdf_interval: 0.0..1.0, ..claim.sampled.clone() }.into(),
        };
        self.wavers(&claim, moves, row)
    }

    /// Whether what filters keep here, or which logit is the largest, may be otherwise if the difference of two scaled
    /// logits is `moves` larger or smaller, and the token may be among what is kept then.
    fn wavers(&self, claim: &TokenClaim, moves: f64, row: &Row<'_>) -> Result<bool, InferError> {
        let Row { logits, distribution, position } = *row;
        let sampler = &self.options.sampler;
        let greedy = sampler.temperature == 0.0;
        let temperature = if greedy { 1.0 } else { sampler.temperature };
        let unfiltered =
            SamplerConfig { temperature, top_k: 0, typical_p: 1.0, top_p: 1.0, min_p: 0.0, ..sampler.clone() };
        let history = &self.ids[..position];
        let all = Distribution::new(logits, history, &unfiltered, position)?.top(usize::MAX);
        let kept: Vec<u32> = distribution.tokens().map(|(token, _)| token).collect();
        let probability =
            |token: u32| all.iter().find(|(id, _)| *id == token).map_or(0.0, |(_, probability)| *probability);
        let is_kept = |token: u32| kept.binary_search(&token).is_ok();
        let last = all.iter().rev().find(|(token, _)| is_kept(*token)).map_or(1.0, |(_, probability)| *probability);
        let next = all.iter().find(|(token, _)| !is_kept(*token)).map_or(0.0, |(_, probability)| *probability);
        let near = |a: f64, b: f64| a * libm::exp(moves) >= b;
        if greedy {
            return Ok(claim.sampled.cdf_interval == (0.0..1.0) && near(probability(claim.sampled.token), last));
        }
        if sampler.typical_p < 1.0 {
            // The border of what is typical moves with the entropy; no token beyond it can be excluded.
            return Ok(true);
        }
        if next == 0.0 || !near(probability(claim.sampled.token), last) {
            return Ok(false);
        }
        let count = |top_p: f64, min_p: f64| {
            let config = SamplerConfig { top_p, min_p, ..sampler.clone() };
            Distribution::new(logits, history, &config, position).map(|distribution| distribution.tokens().count())
        };
        let (top_p, min_p) = (sampler.top_p, sampler.min_p);
        let strict = count(moved(top_p, -moves), (min_p * libm::exp(moves)).min(1.0))?;
        let loose = count(moved(top_p, moves), min_p * libm::exp(-moves))?;
        Ok(strict < loose || near(next, last))
    }
}

/// By how much a logit may differ.
fn allowed(logits: &[f32], of_largest: f64) -> f64 {
    let largest = logits.iter().filter(|logit| logit.is_finite()).fold(1.0, |max: f32, l| max.max(l.abs()));
    of_largest * f64::from(largest)
}

/// What the difference of two logits may have become when the draw was made.
fn moves(sampler: &SamplerConfig, difference: f64) -> f64 {
    let scale = sampler.repetition_penalty.max(1.0 / sampler.repetition_penalty);
    let temperature = if sampler.temperature == 0.0 { 1.0 } else { sampler.temperature };
    (2.0 * difference * scale / temperature).min(MOST)
}

/// All of it is the same to the last bit.
fn exactly(claim: &TokenClaim, expected: &SampledToken) -> TokenVerdict {
    let bits = |interval: &Range<f64>| [interval.start.to_bits(), interval.end.to_bits()];
    if claim.sampled.token != expected.token {
        TokenVerdict::Fails(Fault::Token)
    } else if bits(&claim.sampled.cdf_interval) != bits(&expected.cdf_interval) {
        TokenVerdict::Fails(Fault::CdfInterval)
    } else if claim.sampled.logprob.to_bits() != expected.logprob.to_bits() {
        TokenVerdict::Fails(Fault::Logprob)
    } else {
        TokenVerdict::Holds
    }
}

/// The part of [0, 1) that belongs to a token, if it is left.
pub fn interval_of(distribution: &Distribution, token: u32) -> Option<Range<f64>> {
    let mut begin = 0.0;
    for (id, probability) in distribution.tokens() {
        if id == token {
            return Some(begin..(begin + probability).min(1.0));
        }
        begin += probability;
    }
    None
}

/// Whether two numbers differ by more than is allowed; NaN differs from everything.
fn is_apart(a: f64, b: f64, allowed: f64) -> bool {
    let near = (a - b).abs() <= allowed;
    !near
}

/// Where an edge between shares may lie: what is before it has the probability p, and e^by times the odds.
fn moved(p: f64, by: f64) -> f64 {
    let weight = p * libm::exp(by);
    weight / (weight + (1.0 - p))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of tokens that were made of logits which differ by `size`, each position by others.
    fn judge_within(config: &SamplerConfig, size: f32, of_largest: f64) -> Vec<TokenVerdict> {
        let options = GenerateOptions { sampler: config.clone(), ..GenerateOptions::default() };
        let ids: Vec<u32> = vec![0; 400];
        let judge = Judge { options: &options, ids: &ids, tolerance: Tolerance::Within(of_largest) };
        let verdict = |position: usize| {
            let scale = 0.15 + (position % 37) as f32 * 1e-3;
            let logits: Vec<f32> = (0..50_u32).map(|id| ((id * 37 % 50) as f32 - 25.0) * scale).collect();
            let nudge = |(id, logit): (usize, &f32)| logit + if id % 3 == 0 { size } else { -size };
            let made_of: Vec<f32> = logits.iter().enumerate().map(nudge).collect();
            let choice = tril_infer::choose(&made_of, &ids[..position], config, 0, position).expect("sound");
            let claim = TokenClaim::from(choice);
            judge.judge(&claim, position, &logits, false).expect("sound").verdict
        };
        (1..400).map(verdict).collect()
    }

    fn count(verdicts: &[TokenVerdict], wanted: impl Fn(&TokenVerdict) -> bool) -> usize {
        verdicts.iter().filter(|verdict| wanted(verdict)).count()
    }

    fn configs() -> Vec<SamplerConfig> {
        let base = SamplerConfig::default;
        vec![
            base(),
            SamplerConfig { temperature: 0.7, top_k: 8, ..base() },
            SamplerConfig { top_p: 0.8, repetition_penalty: 1.3, ..base() },
            SamplerConfig { min_p: 0.1, presence_penalty: 0.5, ..base() },
            SamplerConfig { typical_p: 0.6, ..base() },
            SamplerConfig { temperature: 0.0, ..base() },
            SamplerConfig { temperature: 1e-9, ..base() },
        ]
    }

    #[test]
    fn logits_that_differ_by_less_than_is_allowed_never_fail_and_rarely_leave_a_doubt() {
        for config in configs() {
            let verdicts = judge_within(&config, 0.003, 1e-3); // 1e-3 of 3.75 at least
            assert_eq!(count(&verdicts, |verdict| matches!(verdict, TokenVerdict::Fails(_))), 0, "{config:?}");
            let held = count(&verdicts, |verdict| *verdict == TokenVerdict::Holds);
            assert!(held > 360, "{held} of 399: {config:?}");
        }
    }

    #[test]
    fn logits_that_differ_by_more_fail() {
        for config in configs() {
            let verdicts = judge_within(&config, 0.1, 1e-3);
            let failed = count(&verdicts, |verdict| matches!(verdict, TokenVerdict::Fails(_)));
            assert_eq!(failed, verdicts.len(), "{config:?}");
        }
    }

    #[test]
    fn a_draw_at_the_edge_of_two_shares_is_undecided() {
        let config = SamplerConfig::default();
        let draw = tril_infer::uniform(config.seed, 0, 1);
        // Two tokens that part [0, 1) just above the draw, and just below it.
        let odds = |edge: f64| [0.0, ((1.0 - edge) / edge).ln() as f32];
        let (above, below) = (odds(draw + 1e-5), odds(draw - 1e-5));
        let options = GenerateOptions::default();
        let claim = |logits: &[f32]| TokenClaim::from(tril_infer::choose(logits, &[0], &config, 0, 1).expect("sound"));
        assert_eq!((claim(&above).sampled.token, claim(&below).sampled.token), (0, 1), "the premise");
        let verdict = |tolerance, claim: &TokenClaim| {
            let judge = Judge { options: &options, ids: &[0, 0], tolerance };
            judge.judge(claim, 1, &above, false).expect("sound").verdict
        };
        assert_eq!(verdict(Tolerance::Within(1e-3), &claim(&above)), TokenVerdict::Holds);
        assert_eq!(verdict(Tolerance::Within(1e-3), &claim(&below)), TokenVerdict::Undecided);
        assert_eq!(verdict(Tolerance::Within(1e-6), &claim(&below)), TokenVerdict::Fails(Fault::Logprob));
        assert_eq!(verdict(Tolerance::EqualBits, &claim(&below)), TokenVerdict::Fails(Fault::Token));
        assert_eq!(verdict(Tolerance::EqualBits, &claim(&above)), TokenVerdict::Holds);
    }

    #[test]
    fn odds_move_an_edge_and_leave_the_ends_where_they_are() {
        assert_eq!((moved(0.0, 1.0), moved(1.0, -1.0)), (0.0, 1.0));
        assert!((moved(0.5, 2.0_f64.ln()) - 2.0 / 3.0).abs() < 1e-15);
        assert!((moved(moved(0.3, 0.7), -0.7) - 0.3).abs() < 1e-15);
    }
}
