//! Where the time of a repetition goes.

use serde::Serialize;
use tril_kernels::profile::ProfileEntry;

/// The parts of a repetition's time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchProfile {
    /// Threads whose time is told: those that take pieces of a training step, or the one that leads a pass.
    pub workers: usize,
    /// The longest first; what no part accounts for is the last.
    pub parts: Vec<BenchPart>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchPart {
    /// What was done.
    pub name: &'static str,
    /// How often in a repetition.
    pub calls: f64,
    /// Of all workers together, in a repetition.
    pub seconds: f64,
    /// Of the time of all workers.
    pub share: f64,
}

impl BenchProfile {
    /// What no part accounts for: Burn's graph and its sums, memory, batches, and what one thread does while others wait.
    pub const REST: &str = "the rest";

    /// From the parts of all repetitions, each of which took so many seconds.
    pub(super) fn new(entries: &[ProfileEntry], repetitions: &[f64], workers: usize) -> Self {
        let count = repetitions.len() as f64;
        let whole = repetitions.iter().sum::<f64>() / count * workers as f64;
        let part = |name, calls, seconds| BenchPart { name, calls, seconds, share: seconds / whole };
        let mut parts: Vec<BenchPart> = entries
            .iter()
            .map(|ProfileEntry { name, calls, seconds }| part(*name, *calls as f64 / count, seconds / count))
            .collect();
        let known: f64 = parts.iter().map(|part| part.seconds).sum();
        parts.push(part(Self::REST, 1.0, (whole - known).max(0.0)));
        Self { workers, parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_the_rest_are_the_whole() {
        let entry = |name, seconds| ProfileEntry { name, calls: 8, seconds };
        let profile = BenchProfile::new(&[entry("products", 6.0), entry("norms", 1.0)], &[2.0, 1.0, 2.0, 3.0], 2);
        let found: Vec<(&str, f64, f64)> =
            profile.parts.iter().map(|part| (part.name, part.calls, part.seconds)).collect();
        assert_eq!(found, [("products", 2.0, 1.5), ("norms", 2.0, 0.25), (BenchProfile::REST, 1.0, 2.25)]);
        assert_eq!(profile.parts.iter().map(|part| part.share).sum::<f64>(), 1.0);
    }
}
