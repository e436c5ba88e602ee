//! How far back each head looks, how sharply, and which head finds what came after the same token before.

use rand::RngExt;
use serde::Serialize;
use tril_model::Gpt;
use tril_model::random::{self, Purpose};

use crate::LabError;
use crate::attention::{HeadAttention, attention};

/// The least distance of each group of keys: the token itself, the one before it, 2 to 3 back and so on.
pub const DISTANCES: [usize; 7] = [0, 1, 2, 4, 8, 16, 32];
/// How many places after an earlier occurrence of the same token an induction head may look, at most. The textbook's looks at
/// the next one; but where heads of the layer before have brought tokens a few places on, what followed can be read there.
const OFFSETS: usize = 4;
/// A head is called an induction head if it looks so many times as much as evenly where one looks.
pub const INDUCTION: f64 = 4.0;
/// Random sequences that are said twice to look for induction heads, and their tokens.
const REPEATED: (u64, usize) = (8, 24);

/// One head on one text.
#[derive(Debug, Clone, Serialize)]
pub struct HeadRoutes {
    /// The block, from 0.
    pub layer: usize,
    /// The query head in it, from 0.
    pub head: usize,
    /// Entropy of its weights at each position, in bits; log₂ of the position's number of keys is the most.
    pub entropy: Vec<f64>,
    /// Mean share of the weight by distance, in the groups of [`DISTANCES`].
    pub by_distance: [f64; DISTANCES.len()],
    /// Mean weight on the token just before, without the first position.
    pub previous: f64,
    /// Mean weight, over the second half of random sequences said twice, on the place `induction_offset` after the same
    /// token the first time (Elhage et al. 2021). A head that looks evenly has about 1 over the number of keys.
    pub induction: f64,
    /// The place among the next four with the most.
    pub induction_offset: usize,
}

/// A place in a text said twice, and where the induction head looks from there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct InductionStep {
    /// Position of the query, in the second saying.
    pub position: usize,
    /// The position that the head should look at: as far after the same token in the first saying as it is used to.
    pub expected: usize,
    /// The weight on it.
    pub weight: f32,
    /// The position with the most weight.
    pub most: usize,
    /// The probability that the model gives the token that did follow.
    pub probability: f64,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct RoutesReport {
    /// The text.
    pub ids: Vec<u32>,
    /// All heads, in order.
    pub heads: Vec<HeadRoutes>,
    /// Whether that of the best head is [`INDUCTION`] times what a head that looks evenly has.
    pub has_induction_head: bool,
    /// The head with the highest induction score.
    pub induction_layer: usize,
    /// The same.
    pub induction_head: usize,
    /// How far after the same token it is used to look, and is expected to in `steps`.
    pub induction_offset: usize,
    /// What a head that looks evenly would have.
    pub induction_even: f64,
    /// The phrase, said twice.
    pub repeated: Vec<u32>,
    /// That head in the second saying.
    pub steps: Vec<InductionStep>,
}

/// Looks at all heads on one text, and for an induction head on a phrase said twice.
///
/// - begin: what stands before each text, usually end of text
/// - phrase: at least two tokens
///
/// # Errors
/// As [`attention`].
pub fn routes(gpt: &Gpt, begin: Option<u32>, ids: &[u32], phrase: &[u32]) -> Result<RoutesReport, LabError> {
    if phrase.len() < 2 {
        return Err(LabError::Setting(format!("the phrase has {} token: say at least 2", phrase.len())));
    }
    let (twice, limit) = (usize::from(begin.is_some()) + 2 * phrase.len(), gpt.config().max_seq_len);
    if twice > limit {
        return Err(LabError::Setting(format!(
            "the phrase has {} tokens, and said twice it takes {twice}: this model's context has {limit}",
            phrase.len()
        )));
    }
    let scores = induction_scores(gpt, begin)?;
    let bests: Vec<(usize, f64)> = scores.heads.iter().map(best_offset).collect();
    let heads: Vec<HeadRoutes> =
        attention(gpt, ids)?.iter().zip(&bests).map(|(head, best)| head_routes(head, *best)).collect();
    let best = bests.iter().enumerate().max_by(|a, b| a.1.1.total_cmp(&b.1.1)).map_or(0, |(index, _)| index);
    let HeadRoutes { layer, head, .. } = heads[best];
    let offset = heads[best].induction_offset.min(phrase.len() - 1);
    let repeated: Vec<u32> = begin.into_iter().chain(phrase.iter().chain(phrase).copied()).collect();
    let steps = induction_steps(gpt, usize::from(begin.is_some()), [phrase.len(), offset], &repeated, best)?;
    Ok(RoutesReport {
        ids: ids.to_vec(),
        has_induction_head: heads[best].induction >= INDUCTION * scores.even,
        heads,
        induction_layer: layer,
        induction_head: head,
        induction_offset: offset,
        induction_even: scores.even,
        repeated,
        steps,
    })
}

/// The offset, from 1, with the highest score.
fn best_offset(scores: &[f64; OFFSETS]) -> (usize, f64) {
    let scores = scores.iter().enumerate().map(|(index, score)| (index + 1, *score));
    scores.fold((1, 0.0), |best, next| if next.1 > best.1 { next } else { best })
}

fn head_routes(attention: &HeadAttention, (induction_offset, induction): (usize, f64)) -> HeadRoutes {
    let positions = attention.weights.len();
    let mut by_distance = [0.0; DISTANCES.len()];
    let mut previous = 0.0;
    for (query, weights) in attention.weights.iter().enumerate() {
        for (key, weight) in weights[..=query].iter().enumerate() {
            let group = DISTANCES.partition_point(|least| *least <= query - key) - 1;
            by_distance[group] += f64::from(*weight) / positions as f64;
            if query == key + 1 {
                previous += f64::from(*weight) / (positions - 1) as f64;
            }
        }
    }
    HeadRoutes {
        layer: attention.layer,
        head: attention.head,
        entropy: (0..positions).map(|query| attention.entropy(query)).collect(),
        by_distance,
        previous,
        induction,
        induction_offset,
    }
}

struct InductionScores {
    /// Of each head, by offset.
    heads: Vec<[f64; OFFSETS]>,
    even: f64,
}

/// The induction score of each head, over random sequences.
fn induction_scores(gpt: &Gpt, begin: Option<u32>) -> Result<InductionScores, LabError> {
    let (sequences, most) = REPEATED;
    let before = usize::from(begin.is_some());
    let half = most.min((gpt.config().max_seq_len - before) / 2);
    let (mut heads, mut even) = (Vec::new(), 0.0);
    for number in 0..sequences {
        let mut rng = random::generator(0, Purpose::Problem, u64::MAX - 2, number, 0);
        let ids: Vec<u32> = (0..half).map(|_| rng.random_range(0..gpt.config().vocab_size as u32)).collect();
        let twice: Vec<u32> = begin.into_iter().chain(ids.iter().chain(&ids).copied()).collect();
        let attention = attention(gpt, &twice)?;
        heads.resize(attention.len(), [0.0; OFFSETS]);
        let count = (half * sequences as usize) as f64;
        for query in before + half..twice.len() {
            for (scores, head) in heads.iter_mut().zip(&attention) {
                for (index, score) in scores.iter_mut().enumerate().take(half - 1) {
                    *score += f64::from(head.weights[query][query + 1 + index - half]) / count;
                }
            }
            even += 1.0 / (query + 1) as f64 / count;
        }
    }
    Ok(InductionScores { heads, even })
}

fn induction_steps(
    gpt: &Gpt,
    before: usize,
    [half, offset]: [usize; 2],
    repeated: &[u32],
    best: usize,
) -> Result<Vec<InductionStep>, LabError> {
    let heads = attention(gpt, repeated)?;
    let options = tril_infer::ScoreOptions { seq_len: repeated.len(), alternatives: 0 };
    let scores = tril_infer::score(gpt, repeated, &options)?;
    let step = |query: usize| {
        let weights = &heads[best].weights[query];
        let most = weights.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(key, _)| key);
        let expected = query + offset - half;
        InductionStep {
            position: query,
            expected,
            weight: weights[expected],
            most,
            // The score of a token stands one place before it.
            probability: libm::exp(scores[query].logprob),
        }
    };
    // Nothing follows the last token of the second saying.
    Ok((before + half..repeated.len() - 1).map(step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(weights: Vec<Vec<f32>>) -> HeadAttention {
        HeadAttention { layer: 0, head: 0, weights }
    }

    #[test]
    fn entropy_and_distance_are_those_of_the_weights() {
        let found = head_routes(
            &head(vec![vec![1.0, 0.0, 0.0, 0.0], vec![1.0, 0.0, 0.0, 0.0], vec![0.5, 0.5, 0.0, 0.0], vec![0.25; 4]]),
            (1, 0.0),
        );
        assert_eq!(found.entropy, [0.0, 0.0, 1.0, 2.0]);
        // By distance: 0: 1 + 0 + 0 + ¼; 1: 1 + ½ + ¼; 2 to 3: ½ + ½.
        assert_eq!(found.by_distance[..3], [1.25 / 4.0, 1.75 / 4.0, 1.0 / 4.0]);
        assert!((found.by_distance.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((found.previous - 1.75 / 3.0).abs() < 1e-12);
    }
}
