//! From one row of logits to one token.

use rand::RngExt;
use tril_model::random::{self, Purpose};

use crate::InferError;

/// How a token is chosen from the logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplerConfig {
    /// Logits are divided by it; 0 takes the largest logit (the lowest id among equals) and draws nothing.
    pub temperature: f64,
    /// Only the k largest logits are kept (the lowest ids among equals); 0 keeps all.
    pub top_k: usize,
    /// Names the draws, together with the sample index and the position.
    pub seed: u64,
}

impl SamplerConfig {
    /// # Errors
    /// [`InferError::Temperature`] if it is negative or not finite.
    pub fn check(&self) -> Result<(), InferError> {
        let sound = self.temperature.is_finite() && self.temperature >= 0.0;
        if sound { Ok(()) } else { Err(InferError::Temperature(self.temperature)) }
    }
}

/// The number in [0, 1) that decides the token at an absolute position of a sample.
///
/// It is named by (seed, sample index, position) alone: not drawn after others, and the same at every temperature and
/// top-k, so that one can see what these do to one and the same draw.
pub fn draw(seed: u64, sample_index: u64, position: usize) -> f64 {
    random::generator(seed, Purpose::Sample, sample_index, position as u64, 0).random()
}

/// The token that follows, given the last position's logits.
///
/// The probabilities of the tokens, one after another in order of id, divide [0, 1); the token is the one in whose
/// share the [`draw`] lies.
///
/// # Errors
/// [`InferError::BadLogits`] for NaN or +∞ anywhere, or −∞ everywhere.
pub fn choose(logits: &[f32], config: &SamplerConfig, sample_index: u64, position: usize) -> Result<u32, InferError> {
    config.check()?;
    let bad = |what| Err(InferError::BadLogits { position, what });
    if logits.iter().any(|logit| logit.is_nan()) {
        return bad("NaN");
    }
    if logits.contains(&f32::INFINITY) {
        return bad("infinity");
    }
    let best = logits.iter().enumerate().fold(0, |best, (id, logit)| if *logit > logits[best] { id } else { best });
    if logits.is_empty() || logits[best] == f32::NEG_INFINITY {
        return bad("no finite value");
    }
    if config.temperature == 0.0 {
        return Ok(best as u32);
    }
    let weights: Vec<(usize, f64)> = kept(logits, config.top_k)
        .into_iter()
        .map(|id| (id, ((f64::from(logits[id]) - f64::from(logits[best])) / config.temperature).exp()))
        .collect();
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    let mut left = draw(config.seed, sample_index, position) * total;
    for (id, weight) in &weights {
        left -= weight;
        if left < 0.0 {
            return Ok(*id as u32);
        }
    }
    // Rounding may leave a sliver at the end of the interval; it belongs to the most probable token.
    Ok(best as u32)
}

/// Ids of the `top_k` largest logits, in order of id.
fn kept(logits: &[f32], top_k: usize) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    if top_k > 0 && top_k < ids.len() {
        ids.select_nth_unstable_by(top_k - 1, |a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        ids.truncate(top_k);
        ids.sort_unstable();
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: SamplerConfig = SamplerConfig { temperature: 1.0, top_k: 0, seed: 7 };

    fn draws(logits: &[f32], config: SamplerConfig) -> Vec<u32> {
        (0..2000).map(|position| choose(logits, &config, 0, position).expect("sound logits")).collect()
    }

    #[test]
    fn frequencies_follow_the_softmax_of_logits_over_temperature() {
        let logits = [0.0, 1.0, -1.0];
        for temperature in [0.5, 1.0, 2.0] {
            let drawn = draws(&logits, SamplerConfig { temperature, ..CONFIG });
            let total: f64 = logits.iter().map(|l| (f64::from(*l) / temperature).exp()).sum();
            for (id, logit) in logits.iter().enumerate() {
                let expected = (f64::from(*logit) / temperature).exp() / total;
                let seen = drawn.iter().filter(|d| **d == id as u32).count() as f64 / drawn.len() as f64;
                assert!((seen - expected).abs() < 0.04, "id {id} at {temperature}: {seen} for {expected}");
            }
        }
    }

    #[test]
    fn temperature_zero_takes_the_lowest_id_among_the_largest() {
        let greedy = SamplerConfig { temperature: 0.0, ..CONFIG };
        assert_eq!(choose(&[1.0, 3.0, 3.0, 2.0], &greedy, 0, 0).ok(), Some(1));
    }

    #[test]
    fn top_k_keeps_the_lowest_ids_among_equals() {
        let drawn = draws(&[2.0, 1.0, 2.0, 2.0], SamplerConfig { top_k: 2, ..CONFIG });
        assert!(drawn.iter().all(|id| *id == 0 || *id == 2));
        assert!(drawn.contains(&0) && drawn.contains(&2));
    }

    #[test]
    fn top_k_of_one_is_greedy_and_above_the_vocabulary_keeps_all() {
        assert!(draws(&[0.0, 0.5, 0.2], SamplerConfig { top_k: 1, ..CONFIG }).iter().all(|id| *id == 1));
        let all = SamplerConfig { top_k: 99, ..CONFIG };
        assert_eq!(draws(&[0.0, 0.5, 0.2], all), draws(&[0.0, 0.5, 0.2], CONFIG));
    }

    #[test]
    fn minus_infinity_is_never_drawn_and_everywhere_is_refused() {
        assert!(draws(&[f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY], CONFIG).iter().all(|id| *id == 1));
        assert!(choose(&[f32::NEG_INFINITY; 3], &CONFIG, 0, 0).is_err());
        assert!(choose(&[0.0, f32::NAN], &CONFIG, 0, 0).is_err());
        assert!(choose(&[], &CONFIG, 0, 0).is_err());
    }

    #[test]
    fn one_draw_chooses_at_every_temperature_the_token_in_whose_share_it_lies() {
        let logits: Vec<f32> = (0..50).map(|id| ((id * id) as f32).sin() * 4.0).collect();
        let mut tokens_seen = std::collections::BTreeSet::new();
        for position in 0..200 {
            let draw = draw(CONFIG.seed, 3, position);
            assert!((0.0..1.0).contains(&draw));
            for temperature in [0.1, 0.5, 1.0, 3.0] {
                let token = choose(&logits, &SamplerConfig { temperature, ..CONFIG }, 3, position).expect("sound");
                // By hand, from the definition of the softmax.
                let weights: Vec<f64> = logits.iter().map(|logit| (f64::from(*logit) / temperature).exp()).collect();
                let total: f64 = weights.iter().sum();
                let before = weights[..token as usize].iter().sum::<f64>() / total;
                let share = weights[token as usize] / total;
                let slack = 1e-12;
                assert!(
                    before - slack <= draw && draw < before + share + slack,
                    "position {position} at {temperature}: {draw} is not in [{before}, {before} + {share})"
                );
                tokens_seen.insert(token);
            }
        }
        assert!(tokens_seen.len() > 20, "only {} tokens were ever chosen", tokens_seen.len());
    }

    #[test]
    fn a_draw_depends_on_seed_sample_and_position() {
        let logits = [0.0; 1000];
        let base = choose(&logits, &CONFIG, 3, 5).ok();
        assert_eq!(base, choose(&logits, &CONFIG, 3, 5).ok());
        assert_ne!(base, choose(&logits, &CONFIG, 4, 5).ok());
        assert_ne!(base, choose(&logits, &CONFIG, 3, 6).ok());
        assert_ne!(base, choose(&logits, &SamplerConfig { seed: 8, ..CONFIG }, 3, 5).ok());
    }
}
