//! What the proofs demand and how much of a text they look at.

use burn::tensor::Device;
use serde::Serialize;
use tril_kernels::is_cpu;

/// What two routes to the same logits must agree in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// Every bit; +0 and −0 are not equal.
    EqualBits,
    /// No logit differs by more than this share of the largest absolute logit of the text's first segment (of 1, if
    /// all are smaller).
    Within(f64),
}

impl Tolerance {
    /// Equal bits on the CPU, whose sums are in one order on every route; a tolerance elsewhere.
    pub fn of(device: &Device) -> Self {
        match is_cpu(device) {
            true => Self::EqualBits,
            false => Self::Within(1e-3),
        }
    }
}

/// How much the proofs check. What is more than that is sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Tokens of the text that are looked at; a longer text gives some of its segments.
    pub tokens: usize,
    /// Length of a segment where the model's context has no end, raised to three windows if that is more.
    pub segment_len: usize,
    /// Tokens that the passes of one proof go over. It decides how many cases are tried: prefixes, lengths, replaced
    /// tokens. At least two of each segment are.
    pub pass_tokens: usize,
    /// Losses whose gradients are followed back, and prefixes that are problems of their own.
    pub losses: usize,
    /// Positions that one backward pass goes over; it holds every activation of them.
    pub gradient_len: usize,
    /// Parameters of the largest model that steps of training are tried on.
    pub trained_params: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tokens: 4096,
            segment_len: 1024,
            pass_tokens: 80_000,
            losses: 64,
            gradient_len: 160,
            trained_params: 50_000_000,
        }
    }
}

/// How to prove.
#[derive(Debug, Clone, PartialEq)]
pub struct ProveOptions {
    /// What the first three claims demand.
    pub tolerance: Tolerance,
    /// Largest difference of a parameter's gradient by two routes, as a share of its largest gradient. Backward passes
    /// add up in different orders.
    pub gradient_tolerance: f64,
    /// Largest difference of the losses of claim 5, in nats.
    pub loss_tolerance: f64,
    /// Numbers of CPU threads that must agree.
    pub threads: Vec<usize>,
    /// How much is checked.
    pub limits: Limits,
    /// Queries and keys are multiplied by this for the second half of claim 3, and attention scores by its square.
    pub scale: f32,
    /// Names the sampled positions and the replacement tokens.
    pub seed: u64,
}

impl ProveOptions {
    /// The default, with what this device can be held to.
    pub fn for_device(device: &Device) -> Self {
        match Tolerance::of(device) {
            Tolerance::EqualBits => Self::default(),
            tolerance => Self { tolerance, gradient_tolerance: 1e-2, loss_tolerance: 1e-2, ..Self::default() },
        }
    }
}

impl Default for ProveOptions {
    fn default() -> Self {
        let mut threads = vec![1, 2, rayon::current_num_threads()];
        threads.sort_unstable();
        threads.dedup();
        Self {
            tolerance: Tolerance::EqualBits,
            gradient_tolerance: 1e-4,
            loss_tolerance: 1e-5,
            threads,
            limits: Limits::default(),
            scale: 1e5,
            seed: 1337,
        }
    }
}
