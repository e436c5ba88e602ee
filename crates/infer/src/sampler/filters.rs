//! Filters: which tokens of a row may be drawn. Each leaves at least one, and makes the logits of the others −∞ or their
//! weights 0, where a weight is a probability times a number that all share.
//!
//! What is kept depends on values and ids alone: where values are equal the lowest ids are kept, sums are made in a fixed
//! order, and no sort needs to be stable.

use std::cmp::Ordering;

use super::rows;

/// How many of the first in order are sorted at a time: mostly these few have the probability that is asked for.
const SORTED_AT_ONCE: usize = 64;

/// Keeps the `top_k` largest logits; 0 keeps all.
pub fn top_k(logits: &mut [f64], top_k: usize) {
    if top_k == 0 || top_k >= logits.len() {
        return;
    }
    let mut values = logits.to_vec();
    let (_, &mut smallest, _) = values.select_nth_unstable_by(top_k - 1, |a, b| b.total_cmp(a));
    let larger = logits.iter().filter(|logit| **logit > smallest).count();
    let mut equals_left = top_k - larger;
    for logit in logits {
        if *logit == smallest && equals_left > 0 {
            equals_left -= 1;
        } else if *logit <= smallest {
            *logit = f64::NEG_INFINITY;
        }
    }
}

/// Keeps the tokens whose surprise −ln p is nearest to the entropy, as few as have the probability `typical_p`
/// together; 1 keeps all.
///
/// A score is the logarithm of a weight. −ln p is ln Z − score and the entropy is ln Z less the expected score, so how far
/// they are apart is how far a score is from the expected one.
pub fn typical_p(weights: &mut [f64], scores: &[f64], typical_p: f64) {
    if typical_p >= 1.0 {
        return;
    }
    let possible = weights.iter().zip(scores).filter(|(weight, _)| **weight > 0.0);
    let expected = possible.map(|(weight, score)| weight * score).sum::<f64>() / rows::sum(weights);
    keep_first(weights, typical_p, |place, _| (scores[place] - expected).abs());
}

/// Keeps the most probable tokens, as few as have the probability `top_p` together; 1 keeps all.
pub fn top_p(weights: &mut [f64], top_p: f64) {
    if top_p < 1.0 {
        keep_first(weights, top_p, |_, weight| -weight);
    }
}

/// Keeps the tokens that are at least `min_p` times as probable as the most probable one; 0 keeps all.
pub fn min_p(weights: &mut [f64], min_p: f64) {
    if min_p > 0.0 {
        let smallest = min_p * rows::largest(weights);
        weights.iter_mut().filter(|weight| **weight < smallest).for_each(|weight| *weight = 0.0);
    }
}

/// Keeps the tokens of lowest `rank`, a function of place and weight, as few as have `share` of all weight.
fn keep_first(weights: &mut [f64], share: f64, rank: impl Fn(usize, f64) -> f64) {
    let needed = share * rows::sum(weights);
    let possible = weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0);
    let mut ranked: Vec<(f64, usize)> = possible.map(|(place, weight)| (rank(place, *weight), place)).collect();
    let mut rest = &mut ranked[..];
    let mut at_once = SORTED_AT_ONCE;
    let mut weight = 0.0;
    while rest.len() > 1 {
        if at_once < rest.len() {
            rest.select_nth_unstable_by(at_once, order);
        }
        let (first, others) = rest.split_at_mut(at_once.min(rest.len()));
        first.sort_unstable_by(order);
        for index in 0..first.len() {
            weight += weights[first[index].1];
            if weight >= needed {
                let dropped = first[index + 1..].iter().chain(&*others);
                dropped.for_each(|(_, place)| weights[*place] = 0.0);
                return;
            }
        }
        rest = others;
        at_once *= 2;
    }
    // All are needed, or rounding made the sum of all a trifle less than what is asked for.
}

fn order((rank_a, place_a): &(f64, usize), (rank_b, place_b): &(f64, usize)) -> Ordering {
    rank_a.total_cmp(rank_b).then(place_a.cmp(place_b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(filter: fn(&mut [f64], f64), p: f64, probabilities: &[f64]) -> Vec<usize> {
        let mut weights = probabilities.to_vec();
        filter(&mut weights, p);
        let is_kept = |place: &usize| weights[*place] > 0.0;
        (0..weights.len()).filter(is_kept).collect()
    }

    fn typical(weights: &mut [f64], p: f64) {
        let scores: Vec<f64> = weights.iter().map(|weight| libm::log(*weight)).collect();
        typical_p(weights, &scores, p);
    }

    fn kept_by_k(k: usize, logits: &[f64]) -> Vec<usize> {
        let mut kept = logits.to_vec();
        top_k(&mut kept, k);
        assert!(kept.iter().zip(logits).all(|(kept, logit)| kept == logit || *kept == f64::NEG_INFINITY));
        (0..kept.len()).filter(|place| kept[*place] > f64::NEG_INFINITY).collect()
    }

    #[test]
    fn top_k_keeps_the_largest_in_order_of_id_and_the_lowest_ids_among_equals() {
        assert_eq!(kept_by_k(2, &[2.0, 1.0, 2.0, 2.0]), [0, 2]);
        assert_eq!(kept_by_k(3, &[1.0, 1.0, 5.0, 1.0, 4.0]), [0, 2, 4]);
        assert_eq!(kept_by_k(2, &[-0.0, 0.0, -1.0, 0.0]), [0, 1], "both zeros are equal");
        assert_eq!(kept_by_k(1, &[1.0, 1.0]), [0]);
    }

    #[test]
    fn top_k_of_zero_of_the_number_of_tokens_and_above_keeps_all() {
        for k in [0, 3, 4, usize::MAX] {
            assert_eq!(kept_by_k(k, &[2.0, 1.0, 2.0]), [0, 1, 2]);
        }
    }

    #[test]
    fn top_p_keeps_the_fewest_tokens_that_have_the_probability() {
        let probabilities = [0.125, 0.5, 0.25, 0.125];
        assert_eq!(kept(top_p, 0.5, &probabilities), [1]);
        assert_eq!(kept(top_p, 0.5 + 1e-9, &probabilities), [1, 2]);
        assert_eq!(kept(top_p, 0.75, &probabilities), [1, 2]);
        assert_eq!(kept(top_p, 0.8, &probabilities), [0, 1, 2], "of two equals the one with the lowest id");
        assert_eq!(kept(top_p, 0.875 + 1e-9, &probabilities), [0, 1, 2, 3]);
    }

    #[test]
    fn top_p_and_typical_p_of_zero_keep_one_token_and_of_one_all() {
        for filter in [top_p, typical] {
            assert_eq!(kept(filter, 0.0, &[0.25; 4]), [0]);
            assert_eq!(kept(filter, 1.0, &[0.25, 0.25, 0.5, 1e-300]), [0, 1, 2, 3]);
        }
        assert_eq!(kept(top_p, 0.0, &[0.2, 0.3, 0.5]), [2]);
    }

    #[test]
    fn typical_p_keeps_what_is_as_surprising_as_can_be_expected_and_not_what_is_dull() {
        // Surprises of 1.7 bits and ten times 3.8, of which 3.2 are to be expected: the most probable goes first.
        let mut probabilities = vec![0.3];
        probabilities.extend([0.07; 10]);
        assert_eq!(kept(typical, 0.2, &probabilities), [1, 2, 3]);
        assert_eq!(kept(top_p, 0.2, &probabilities), [0]);
    }

    #[test]
    fn min_p_keeps_what_is_at_least_that_share_of_the_most_probable() {
        let probabilities = [0.125, 0.5, 0.25, 0.125];
        assert_eq!(kept(min_p, 0.0, &probabilities), [0, 1, 2, 3]);
        assert_eq!(kept(min_p, 0.25, &probabilities), [0, 1, 2, 3]);
        assert_eq!(kept(min_p, 0.25 + 1e-9, &probabilities), [1, 2]);
        assert_eq!(kept(min_p, 1.0, &probabilities), [1]);
        assert_eq!(kept(min_p, 1.0, &[0.5, 0.5]), [0, 1], "equals stay together");
    }

    #[test]
    fn a_single_survivor_survives_every_filter() {
        for filter in [top_p, typical, min_p] {
            for p in [0.0, 0.5, 1.0] {
                assert_eq!(kept(filter, p, &[1.0]), [0]);
            }
        }
        assert_eq!(kept_by_k(1, &[3.0]), [0]);
    }

    #[test]
    fn what_an_earlier_filter_dropped_stays_away_and_has_no_part_in_sums() {
        assert_eq!(kept(top_p, 0.5, &[0.0, 0.2, 0.0, 0.2]), [1]);
        assert_eq!(kept(typical, 0.5, &[0.0, 0.2, 0.0, 0.2]), [1]);
        assert_eq!(kept(min_p, 0.9, &[0.0, 0.2, 0.0, 0.2]), [1, 3]);
        assert_eq!(kept_by_k(3, &[f64::NEG_INFINITY, 1.0, f64::NEG_INFINITY, 2.0]), [1, 3]);
    }

    /// The definition, by sorting all.
    fn fewest_by_sorting(weights: &[f64], share: f64, rank: impl Fn(usize) -> f64) -> Vec<f64> {
        let needed = share * rows::sum(weights);
        let mut places: Vec<usize> = (0..weights.len()).collect();
        places.sort_by(|a, b| rank(*a).total_cmp(&rank(*b)));
        let mut weight = 0.0;
        let mut kept = vec![0.0; weights.len()];
        for place in places {
            kept[place] = weights[place];
            weight += weights[place];
            if weight >= needed {
                break;
            }
        }
        kept
    }

    /// Rows of scores with many equal values, longer than what is sorted at a time.
    fn rows_of_scores() -> impl Strategy<Value = Vec<f64>> {
        let score = prop_oneof![(0..12_i32).prop_map(|step| -f64::from(step) / 4.0), -30.0..0.0];
        prop::collection::vec(score, 1..400)
    }

    proptest! {
        #[test]
        fn top_p_and_typical_p_are_what_sorting_everything_gives(scores in rows_of_scores(), p in 0.0..1.0) {
            let weights: Vec<f64> = scores.iter().map(|score| rows::exp(*score)).collect();
            let mut kept = weights.clone();
            top_p(&mut kept, p);
            prop_assert_eq!(kept, fewest_by_sorting(&weights, p, |place| -weights[place]));
            let weighted: f64 = weights.iter().zip(&scores).map(|(weight, score)| weight * score).sum();
            let expected = weighted / rows::sum(&weights);
            let mut kept = weights.clone();
            typical_p(&mut kept, &scores, p);
            prop_assert_eq!(kept, fewest_by_sorting(&weights, p, |place| (scores[place] - expected).abs()));
        }

        #[test]
        fn top_k_is_what_sorting_everything_gives(scores in rows_of_scores(), k in 1..450_usize) {
            let mut places: Vec<usize> = (0..scores.len()).collect();
            places.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            places.truncate(k);
            places.sort_unstable();
            prop_assert_eq!(kept_by_k(k, &scores), places);
        }
    }
}
