//! The learning rates, and Muon's momentum, over the steps of a run.

use crate::{Decay, OptimizerConfig};

/// AdamW's learning rate at optimizer step `step`, counted from 1: linear warm-up, the peak until `decay_start`, then
/// half a cosine (Loshchilov & Hutter 2016, arXiv:1608.03983, without restarts) or a straight line down to the floor.
///
/// It is the peak at `warmup_steps` exactly and the floor from the decay's end on; `steps` is the run's length.
pub fn learning_rate(step: u64, steps: u64, config: &OptimizerConfig) -> f64 {
    rate(step, steps, config, [config.learning_rate, config.min_learning_rate])
}

/// Muon's learning rate at that step: the same share of its peak.
pub fn muon_learning_rate(step: u64, steps: u64, config: &OptimizerConfig) -> f64 {
    let OptimizerConfig { learning_rate, min_learning_rate, muon_learning_rate, .. } = *config;
    let share = if learning_rate > 0.0 { min_learning_rate / learning_rate } else { 0.0 };
    rate(step, steps, config, [muon_learning_rate, muon_learning_rate * share])
}

/// Muon's momentum at that step: from `momentum_start` to `momentum` in a straight line.
pub fn momentum(step: u64, config: &OptimizerConfig) -> f64 {
    let OptimizerConfig { momentum, momentum_start, momentum_warmup_steps, .. } = *config;
    if step >= momentum_warmup_steps {
        return momentum;
    }
    momentum_start + (momentum - momentum_start) * step as f64 / momentum_warmup_steps as f64
}

fn rate(step: u64, steps: u64, config: &OptimizerConfig, [peak, floor]: [f64; 2]) -> f64 {
    let decay_start = config.decay_start.max(config.warmup_steps);
    let decay_end = if config.decay_steps == 0 { steps } else { config.decay_steps };
    if step < config.warmup_steps {
        return peak * step as f64 / config.warmup_steps as f64;
    }
    if step <= decay_start || step >= decay_end {
        return if step >= decay_end && decay_end > decay_start { floor } else { peak };
    }
    let progress = (step - decay_start) as f64 / (decay_end - decay_start) as f64;
    match config.decay {
        Decay::Cosine => floor + (peak - floor) * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress)),
        Decay::Linear => floor + (peak - floor) * (1.0 - progress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> OptimizerConfig {
        OptimizerConfig { learning_rate: 1e-3, min_learning_rate: 1e-4, warmup_steps: 100, ..Default::default() }
    }

    #[test]
    fn the_schedule_meets_its_end_points() {
        let rate = |step| learning_rate(step, 2000, &config());
        assert_eq!(rate(1), 1e-3 / 100.0);
        assert_eq!(rate(100), 1e-3);
        assert!((rate(1050) - 5.5e-4).abs() < 1e-12, "half-way down at the middle: {}", rate(1050));
        assert_eq!(rate(2000), 1e-4);
        assert_eq!(rate(5000), 1e-4, "it never rises again");
        assert!((100..2000).all(|step| rate(step + 1) < rate(step)));
    }

    #[test]
    fn decay_steps_moves_the_floor() {
        let config = OptimizerConfig { decay_steps: 500, ..config() };
        assert_eq!(learning_rate(500, 2000, &config), 1e-4);
        assert!(learning_rate(499, 2000, &config) > 1e-4);
    }

    #[test]
    fn a_decay_that_begins_later_keeps_the_peak_until_then_and_a_straight_one_falls_evenly() {
        let config = OptimizerConfig { decay: Decay::Linear, decay_start: 500, ..config() };
        let rate = |step| learning_rate(step, 2000, &config);
        assert!((100..=500).all(|step| rate(step) == 1e-3));
        for step in 500..2000 {
            assert!((rate(step) - rate(step + 1) - 9e-4 / 1500.0).abs() < 1e-15, "after step {step}");
        }
        assert_eq!(rate(2000), 1e-4);
        assert_eq!(learning_rate(400, 400, &config), 1e-3, "a run that ends before its decay begins has none");
        let cosine = OptimizerConfig { decay: Decay::Cosine, ..config.clone() };
        assert!((learning_rate(1250, 2000, &cosine) - 5.5e-4).abs() < 1e-12);
        assert!(learning_rate(800, 2000, &cosine) > rate(800), "a cosine begins slowly");
    }

    #[test]
    fn matrices_have_the_same_share_of_a_rate_of_their_own() {
        let config = OptimizerConfig { muon_learning_rate: 0.03, ..config() };
        for step in [1, 50, 100, 700, 1999, 2000, 3000] {
            let [ours, theirs] = [learning_rate, muon_learning_rate].map(|rate| rate(step, 2000, &config));
            assert!((theirs / ours - 30.0).abs() < 1e-9, "step {step}: {ours} and {theirs}");
        }
        let none = OptimizerConfig { learning_rate: 0.0, min_learning_rate: 0.0, ..config };
        assert_eq!([100, 2000].map(|step| muon_learning_rate(step, 2000, &none)), [0.03, 0.0]);
    }

    #[test]
    fn momentum_rises_in_a_straight_line_and_stays() {
        let config = OptimizerConfig { momentum_start: 0.5, momentum: 0.9, momentum_warmup_steps: 4, ..config() };
        let expected = [0.6, 0.7, 0.8, 0.9, 0.9];
        assert!((1..=5).zip(expected).all(|(step, expected)| (momentum(step, &config) - expected).abs() < 1e-12));
        assert_eq!(momentum(1, &OptimizerConfig { momentum_warmup_steps: 0, ..config }), 0.9);
    }

    #[test]
    fn a_warm_up_as_long_as_the_run_ends_at_the_peak() {
        assert_eq!(learning_rate(100, 100, &config()), 1e-3);
        let none = OptimizerConfig { warmup_steps: 0, ..config() };
        assert!(learning_rate(1, 100, &none) < 1e-3 && learning_rate(1, 100, &none) > 9.9e-4);
    }
}
