//! Two routes' numbers side by side: equal, how far apart, and where first.

use super::{Proof, ProofId, ProofOutcome, Seconds, Tolerance};

/// Distance of two numbers in units in the last place: how many f32 lie between them, and one more. 0 for equal bits
/// alone, so +0 and −0 are 1 apart; `None` if either is NaN.
pub fn ulp_distance(a: f32, b: f32) -> Option<u32> {
    (!a.is_nan() && !b.is_nan()).then(|| ordered(a).abs_diff(ordered(b)))
}

/// Bits as an integer that grows with the number.
fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

/// A row of the report while it is filled.
#[derive(Debug)]
pub(super) struct Comparison {
    proof: Proof,
    absent: Option<String>,
    failure: Option<String>,
    witness: Option<(bool, &'static str)>,
}

impl Comparison {
    /// An empty row that demands equal bits, or that no difference is above `tolerance`.
    pub fn new(id: ProofId, tolerance: Option<f64>) -> Self {
        let proof = Proof {
            id,
            claim: id.claim(),
            compared: id.compared(),
            outcome: ProofOutcome::NotApplicable,
            reason: None,
            cases: 0,
            possible_cases: None,
            positions: 0,
            tolerance,
            max_difference: None,
            max_ulps: None,
            first_difference: None,
            not_finite: 0,
            seconds: None,
        };
        Self { proof, absent: None, failure: None, witness: None }
    }

    /// Which proof this is the row of.
    pub fn id(&self) -> ProofId {
        self.proof.id
    }

    /// Counts one more case.
    pub fn case(&mut self) {
        self.proof.cases += 1;
    }

    /// Compares all numbers of one position of the text.
    pub fn compare(&mut self, position: usize, expected: &[f32], found: &[f32]) {
        assert_eq!(expected.len(), found.len(), "rows of different widths are compared");
        self.proof.positions += 1;
        let same = |same: bool, (a, b): (&f32, &f32)| same & (a.to_bits() == b.to_bits()) & a.is_finite();
        if expected.iter().zip(found).fold(true, same) {
            self.raise(0.0, Some(0));
            return;
        }
        let mut differs = false;
        for (a, b) in expected.iter().zip(found) {
            differs |= self.measure(*a, *b);
        }
        if differs {
            self.differs_at(position);
        }
    }

    /// Compares all numbers of one position with zero, of either sign: a gradient that is not there has none.
    pub fn compare_with_zero(&mut self, position: usize, found: &[f32]) {
        self.proof.positions += 1;
        self.proof.not_finite += found.iter().filter(|value| !value.is_finite()).count();
        let largest = found.iter().filter(|value| value.is_finite()).fold(0.0, |max: f32, value| max.max(value.abs()));
        self.raise(f64::from(largest), None);
        if found.iter().any(|value| *value != 0.0) {
            self.differs_at(position);
        }
    }

    /// Counts positions that what follows stands for.
    pub fn positions(&mut self, count: usize) {
        self.proof.positions += count;
    }

    /// Compares all numbers of something that has a name in place of a position.
    pub fn compare_named(&mut self, name: &str, expected: &[f32], found: &[f32]) {
        if expected.len() != found.len() {
            self.fail(format!("`{name}` has {} numbers and {}", expected.len(), found.len()));
            return;
        }
        self.raise(0.0, Some(0));
        let mut differs = false;
        for (a, b) in expected.iter().zip(found) {
            differs |= self.measure(*a, *b);
        }
        if differs {
            self.fail(format!("`{name}` is the first that differs"));
        }
    }

    /// Takes in a difference measured elsewhere, over `positions` positions.
    pub fn record(&mut self, positions: usize, difference: f64) {
        self.proof.positions += positions;
        match difference.is_finite() {
            true => self.raise(difference, None),
            false => self.proof.not_finite += 1,
        }
    }

    /// Measures two numbers; true if they differ by more than is allowed.
    fn measure(&mut self, a: f32, b: f32) -> bool {
        let ulps = ulp_distance(a, b);
        if let Some(ulps) = ulps {
            self.proof.max_ulps = self.proof.max_ulps.max(Some(ulps));
        }
        if !(a.is_finite() && b.is_finite()) {
            self.proof.not_finite += 1;
            return true;
        }
        let difference = (f64::from(a) - f64::from(b)).abs();
        self.raise(difference, ulps);
        match self.proof.tolerance {
            Some(tolerance) => difference > tolerance,
            None => ulps != Some(0),
        }
    }

    fn raise(&mut self, difference: f64, ulps: Option<u32>) {
        let max = self.proof.max_difference.unwrap_or(0.0).max(difference);
        self.proof.max_difference = Some(max);
        self.proof.max_ulps = self.proof.max_ulps.max(ulps);
    }

    /// Takes in a position that differs by more than is allowed.
    pub fn differs_at(&mut self, position: usize) {
        let first = self.proof.first_difference.map_or(position, |first| first.min(position));
        self.proof.first_difference = Some(first);
    }

    /// Fails for a reason that no comparison shows. The first reason is kept.
    pub fn fail(&mut self, reason: impl Into<String>) {
        self.failure.get_or_insert_with(|| reason.into());
    }

    /// Says why there is nothing to compare. The first reason is kept; it counts only if nothing was compared.
    pub fn absent(&mut self, reason: impl Into<String>) {
        self.absent.get_or_insert_with(|| reason.into());
    }

    /// Whether this segment showed that the comparison could have failed. If none does, the proof fails: `otherwise`.
    pub fn witness(&mut self, seen: bool, otherwise: &'static str) {
        let before = self.witness.is_some_and(|(seen, _)| seen);
        self.witness = Some((before || seen, otherwise));
    }

    /// Whether a difference is small enough.
    pub fn allows(&self, difference: f64) -> bool {
        difference <= self.proof.tolerance.unwrap_or(0.0)
    }

    /// What the same losses cost in two ways.
    pub fn took(&mut self, seconds: Seconds) {
        self.proof.seconds = Some(seconds);
    }

    /// The row, and how it ended; `possible` cases are all that the text has, where they can be counted.
    pub fn finish(self, possible: Option<usize>) -> Proof {
        let Self { mut proof, absent, failure, witness } = self;
        proof.possible_cases = possible;
        let beyond = proof.tolerance.is_some_and(|tolerance| proof.max_difference > Some(tolerance));
        (proof.outcome, proof.reason) = if proof.not_finite > 0 {
            let count = proof.not_finite;
            (
                ProofOutcome::Fail,
                Some(format!("{count} numbers are NaN or infinite: damaged weights, or a fault in what computes")),
            )
        } else if failure.is_some() {
            (ProofOutcome::Fail, failure)
        } else if let Some(first) = proof.first_difference {
            (ProofOutcome::Fail, Some(format!("position {first} is the first that differs")))
        } else if beyond {
            (ProofOutcome::Fail, Some("the difference is above the tolerance".into()))
        } else if let Some((false, otherwise)) = witness {
            (ProofOutcome::Open, Some(otherwise.into()))
        } else if proof.positions == 0 {
            (ProofOutcome::NotApplicable, Some(absent.unwrap_or_else(|| "the text is too short for it".into())))
        } else {
            (ProofOutcome::Pass, None)
        };
        proof
    }
}

/// The largest difference that a tolerance allows, given logits whose size it is a share of.
pub(crate) fn allowed_difference(tolerance: Tolerance, logits: &[f32]) -> Option<f64> {
    match tolerance {
        Tolerance::EqualBits => None,
        Tolerance::Within(share) => {
            let largest = logits.iter().filter(|logit| logit.is_finite()).fold(1.0, |max: f32, l| max.max(l.abs()));
            Some(share * f64::from(largest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(tolerance: Option<f64>) -> Comparison {
        Comparison::new(ProofId::Cached, tolerance)
    }

    #[test]
    fn the_distance_counts_the_numbers_between() {
        let next = |value: f32| f32::from_bits(value.to_bits() + 1);
        for value in [0.0, f32::MIN_POSITIVE, 1.0, 3.25, 1e30] {
            assert_eq!(ulp_distance(value, value), Some(0), "{value}");
            assert_eq!(ulp_distance(value, next(value)), Some(1), "{value}");
            assert_eq!(ulp_distance(-next(value), -value), Some(1), "−{value}");
            assert_eq!(ulp_distance(next(next(value)), value), Some(2), "{value}");
        }
        assert_eq!(ulp_distance(1.0, 2.0), Some(1 << 23));
        assert_eq!(ulp_distance(f32::MAX, f32::INFINITY), Some(1));
    }

    #[test]
    fn zeros_of_different_sign_are_one_apart_and_no_two_different_bits_are_none_apart() {
        assert_eq!(ulp_distance(0.0, -0.0), Some(1));
        let tiny = f32::from_bits(1);
        assert_eq!(ulp_distance(tiny, -tiny), Some(3), "+0 and −0 lie between");
        assert_eq!(ulp_distance(f32::NEG_INFINITY, f32::INFINITY), Some(0xff00_0001));
    }

    #[test]
    fn nothing_is_near_nan() {
        for other in [0.0, f32::INFINITY, f32::NAN] {
            assert_eq!(ulp_distance(f32::NAN, other), None);
            assert_eq!(ulp_distance(other, f32::NAN), None);
        }
    }

    #[test]
    fn equal_bits_pass_and_say_how_many_positions_there_were() {
        let mut row = comparison(None);
        row.compare(3, &[1.0, -2.0], &[1.0, -2.0]);
        row.compare(4, &[0.0, 5.0], &[0.0, 5.0]);
        let proof = row.finish(Some(9));
        assert_eq!((proof.outcome, proof.reason), (ProofOutcome::Pass, None));
        assert_eq!((proof.positions, proof.possible_cases), (2, Some(9)));
        assert_eq!((proof.max_difference, proof.max_ulps, proof.first_difference), (Some(0.0), Some(0), None));
    }

    #[test]
    fn one_bit_fails_where_equal_bits_are_demanded_and_passes_within_a_tolerance() {
        for (tolerance, outcome) in
            [(None, ProofOutcome::Fail), (Some(1e-6), ProofOutcome::Pass), (Some(1e-8), ProofOutcome::Fail)]
        {
            let mut row = comparison(tolerance);
            row.compare(0, &[1.0], &[1.0]);
            row.compare(9, &[1.0], &[1.0 + f32::EPSILON]);
            row.compare(7, &[1.0], &[1.0 + f32::EPSILON]);
            let proof = row.finish(None);
            assert_eq!(proof.outcome, outcome, "{tolerance:?}");
            assert_eq!((proof.max_ulps, proof.max_difference), (Some(1), Some(f64::from(f32::EPSILON))));
            assert_eq!(proof.first_difference, (outcome == ProofOutcome::Fail).then_some(7));
        }
    }

    #[test]
    fn numbers_that_are_not_finite_fail_even_where_both_sides_agree() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for tolerance in [None, Some(1e9)] {
                let mut row = comparison(tolerance);
                row.compare(2, &[0.0, value], &[0.0, value]);
                let proof = row.finish(None);
                assert_eq!((proof.outcome, proof.not_finite), (ProofOutcome::Fail, 1), "{value}, {tolerance:?}");
                assert!(proof.reason.is_some_and(|reason| reason.contains("damaged")));
                let mut row = comparison(tolerance);
                row.compare_with_zero(2, &[0.0, value]);
                assert_eq!(row.finish(None).outcome, ProofOutcome::Fail, "{value}");
                let mut row = comparison(tolerance);
                row.record(1, f64::from(value));
                assert_eq!(row.finish(None).outcome, ProofOutcome::Fail, "{value}");
            }
        }
    }

    #[test]
    fn a_gradient_may_be_zero_of_either_sign_and_nothing_else() {
        let mut row = comparison(None);
        row.compare_with_zero(1, &[0.0, -0.0]);
        assert_eq!(row.finish(None).outcome, ProofOutcome::Pass);
        let mut row = comparison(None);
        row.compare_with_zero(1, &[0.0, f32::from_bits(1)]);
        let proof = row.finish(None);
        assert_eq!((proof.outcome, proof.first_difference), (ProofOutcome::Fail, Some(1)));
    }

    #[test]
    fn where_nothing_was_compared_it_does_not_apply_and_says_why() {
        let mut row = comparison(None);
        row.absent("the model has no window");
        let proof = row.finish(None);
        assert_eq!(proof.outcome, ProofOutcome::NotApplicable);
        assert_eq!(proof.reason.as_deref(), Some("the model has no window"));
        let mut row = comparison(None);
        row.absent("some segment was too short");
        row.compare(0, &[1.0], &[1.0]);
        assert_eq!(row.finish(None).outcome, ProofOutcome::Pass, "others were not");
    }

    #[test]
    fn a_reason_to_fail_outweighs_equal_numbers() {
        let mut row = comparison(None);
        row.compare(0, &[1.0], &[1.0]);
        row.fail("no replaced token moved anything");
        assert_eq!(row.finish(None).outcome, ProofOutcome::Fail);
    }

    #[test]
    fn a_comparison_that_could_not_have_failed_does_not_pass() {
        for (seen, outcome) in [([false, false], ProofOutcome::Open), ([true, false], ProofOutcome::Pass)] {
            let mut row = comparison(None);
            for seen in seen {
                row.compare(0, &[1.0], &[1.0]);
                row.witness(seen, "nothing moved");
            }
            let proof = row.finish(None);
            assert_eq!(proof.outcome, outcome);
            assert_eq!(proof.reason.as_deref(), (outcome == ProofOutcome::Open).then_some("nothing moved"));
        }
    }

    #[test]
    fn a_tolerance_is_a_share_of_the_largest_logit_or_of_one() {
        assert_eq!(allowed_difference(Tolerance::EqualBits, &[8.0]), None);
        assert_eq!(allowed_difference(Tolerance::Within(0.5), &[2.0, -8.0, f32::NAN, f32::INFINITY]), Some(4.0));
        assert_eq!(allowed_difference(Tolerance::Within(0.5), &[0.25]), Some(0.5));
    }
}
