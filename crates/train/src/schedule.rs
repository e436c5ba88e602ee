//! The learning rate over the steps of a run.

use crate::OptimizerConfig;

/// The learning rate of optimizer step `step`, counted from 1: linear warm-up, then half a cosine down to the floor
/// (Loshchilov & Hutter 2016, arXiv:1608.03983, without restarts).
///
/// It is the peak at `warmup_steps` exactly and the floor from the decay's end on; `steps` is the run's length.
pub fn learning_rate(step: u64, steps: u64, config: &OptimizerConfig) -> f64 {
    let (peak, floor) = (config.learning_rate, config.min_learning_rate);
    let decay_end = if config.decay_steps == 0 { steps } else { config.decay_steps };
    if step < config.warmup_steps {
        return peak * step as f64 / config.warmup_steps as f64;
    }
    if step >= decay_end {
        return if decay_end > config.warmup_steps { floor } else { peak };
    }
    let progress = (step - config.warmup_steps) as f64 / (decay_end - config.warmup_steps) as f64;
    floor + (peak - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
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
    fn a_warm_up_as_long_as_the_run_ends_at_the_peak() {
        assert_eq!(learning_rate(100, 100, &config()), 1e-3);
        let none = OptimizerConfig { warmup_steps: 0, ..config() };
        assert!(learning_rate(1, 100, &none) < 1e-3 && learning_rate(1, 100, &none) > 9.9e-4);
    }
}
