//! Whether a route chose the same tokens as another, from the same logits.

use serde::Serialize;

use super::StrategyRun;
use crate::Tolerance;
use crate::prove::{allowed_difference, ulp_distance};

/// How a route compares with the one that keeps nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// Every token and every logit that was compared is the same.
    pub agree: bool,
    /// Positions whose logits were compared: those that both routes predict, up to the first token that differs.
    pub positions: usize,
    /// The largest difference that is allowed; none where bits must be equal.
    pub tolerance: Option<f64>,
    /// The largest absolute difference of two logits.
    pub max_difference: f64,
    /// The same in units in the last place; absent if one is NaN.
    pub max_ulps: Option<u32>,
    /// The first position whose logits differ by more than is allowed.
    pub first_logits: Option<usize>,
    /// The first position whose token is another.
    pub first_token: Option<usize>,
}

impl Agreement {
    /// Compares what was found with what was expected, position by position.
    pub(super) fn of(expected: &StrategyRun, found: &StrategyRun, tolerance: Tolerance) -> Self {
        let first_token = expected.ids.iter().zip(&found.ids).position(|(a, b)| a != b);
        let tolerance = allowed_difference(tolerance, expected.logits.first().map_or(&[], |(_, logits)| logits));
        let mut agreement = Self {
            agree: false,
            positions: 0,
            tolerance,
            max_difference: 0.0,
            max_ulps: Some(0),
            first_logits: None,
            first_token,
        };
        // After a token that differs the routes predict from different texts.
        for (position, found) in found.logits.iter().take_while(|(at, _)| first_token.is_none_or(|first| *at <= first))
        {
            if let Ok(index) = expected.logits.binary_search_by_key(position, |(at, _)| *at) {
                agreement.compare(*position, &expected.logits[index].1, found);
            }
        }
        let same_length = expected.ids.len() == found.ids.len();
        agreement.agree =
            same_length && first_token.is_none() && agreement.first_logits.is_none() && agreement.positions > 0;
        agreement
    }

    fn compare(&mut self, position: usize, expected: &[f32], found: &[f32]) {
        self.positions += 1;
        let mut differs = expected.len() != found.len();
        for (a, b) in expected.iter().zip(found) {
            let ulps = ulp_distance(*a, *b);
            self.max_ulps = self.max_ulps.zip(ulps).map(|(max, ulps)| max.max(ulps));
            let difference = if ulps == Some(0) { 0.0 } else { (f64::from(*a) - f64::from(*b)).abs() };
            self.max_difference = self.max_difference.max(difference);
            differs |= !match self.tolerance {
                None => ulps == Some(0),
                Some(tolerance) => difference <= tolerance,
            };
        }
        if differs && self.first_logits.is_none() {
            self.first_logits = Some(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ids: &[u32], logits: &[(usize, [f32; 2])]) -> StrategyRun {
        let logits = logits.iter().map(|(position, row)| (*position, row.to_vec())).collect();
        StrategyRun { ids: ids.to_vec(), logits, passes: Vec::new() }
    }

    const ROWS: [(usize, [f32; 2]); 3] = [(1, [0.5, 2.0]), (2, [1.0, 0.0]), (3, [4.0, 3.0])];

    #[test]
    fn the_same_tokens_from_the_same_bits_agree_where_both_predict() {
        let expected = run(&[0, 1, 0, 0], &ROWS);
        let found = Agreement::of(&expected, &run(&[0, 1, 0, 0], &ROWS[1..]), Tolerance::EqualBits);
        assert!(found.agree);
        assert_eq!((found.positions, found.max_difference, found.max_ulps), (2, 0.0, Some(0)));
        let nothing = Agreement::of(&expected, &run(&[0, 1, 0, 0], &[]), Tolerance::EqualBits);
        assert!(!nothing.agree, "what compared nothing shows nothing");
    }

    #[test]
    fn one_bit_is_enough_to_disagree_and_a_tolerance_allows_it() {
        let mut rows = ROWS;
        rows[2].1[0] = f32::from_bits(4f32.to_bits() + 1);
        let (expected, found) = (run(&[0, 1, 0, 0], &ROWS), run(&[0, 1, 0, 0], &rows));
        let exact = Agreement::of(&expected, &found, Tolerance::EqualBits);
        assert_eq!((exact.agree, exact.first_logits, exact.max_ulps), (false, Some(3), Some(1)));
        assert!(Agreement::of(&expected, &found, Tolerance::Within(1e-3)).agree);
        assert!(!Agreement::of(&expected, &found, Tolerance::Within(1e-9)).agree);
        let mut zero = ROWS;
        zero[1].1[1] = -0.0;
        assert!(!Agreement::of(&expected, &run(&[0, 1, 0, 0], &zero), Tolerance::EqualBits).agree, "+0 is not −0");
    }

    #[test]
    fn numbers_that_are_none_disagree_whatever_is_allowed() {
        let mut rows = ROWS;
        rows[1].1[1] = f32::NAN;
        let expected = run(&[0, 1, 0, 0], &ROWS);
        for tolerance in [Tolerance::EqualBits, Tolerance::Within(1e9)] {
            let found = Agreement::of(&expected, &run(&[0, 1, 0, 0], &rows), tolerance);
            assert_eq!((found.agree, found.first_logits, found.max_ulps), (false, Some(2), None));
        }
    }

    #[test]
    fn another_token_disagrees_and_ends_the_comparison() {
        let mut rows = ROWS;
        rows[2].1[0] = 9.0; // predicted after the token that differs
        let found = Agreement::of(&run(&[0, 1, 0, 0], &ROWS), &run(&[0, 1, 1, 0], &rows), Tolerance::EqualBits);
        assert_eq!((found.agree, found.first_token, found.first_logits, found.positions), (false, Some(2), None, 2));
    }
}
