//! What answers are called, and when: names, a clock for clients, seeds that nobody has named.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The largest whole number that every reader of JSON keeps exact, 2⁵³ − 1.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// A name that no other answer has, with a prefix for its kind.
pub fn answer_id(prefix: &str) -> String {
    static ANSWERS: AtomicU64 = AtomicU64::new(0);
    let number = ANSWERS.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{:016x}{number:08x}", random())
}

/// Seconds since 1970, which clients expect; nothing depends on them.
#[expect(clippy::disallowed_methods, reason = "it is told to clients, and no result depends on it")]
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A seed for a request that names none. It is returned with the answer, so that the answer can be had again.
pub fn drawn_seed() -> u64 {
    random() & MAX_EXACT
}

/// Bits from the system's randomness: the standard library's hash tables take their keys from there.
fn random() -> u64 {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(DRAWN.fetch_add(1, Ordering::Relaxed));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn seeds_and_names_differ_and_seeds_are_exact_everywhere() {
        let seeds: HashSet<u64> = (0..1000).map(|_| drawn_seed()).collect();
        assert_eq!(seeds.len(), 1000);
        assert!(seeds.iter().all(|seed| *seed as f64 as u64 == *seed));
        assert_ne!(answer_id("cmpl"), answer_id("cmpl"));
    }
}
