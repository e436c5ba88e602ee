//! How much of a text is what a model, settings and draws give, where nothing is known but its tokens.

use serde::Serialize;
use tril_infer::{
    Distribution, GenerateOptions, InferError, Overflow, SampledToken, check_ids, check_prompt, choose_from,
};
use tril_model::Gpt;

use super::contexts::contexts;
use super::judge::{Judge, Row, interval_of};
use super::{TokenClaim, Verdict};
use crate::Tolerance;

/// Tokens, and how they are said to have been made.
#[derive(Debug, Clone)]
pub struct BareText {
    /// The tokens that were there before.
    pub prompt: Vec<u32>,
    /// How they are said to have been made; the number of tokens, cache and alternatives make no difference.
    pub options: GenerateOptions,
    /// The new tokens.
    pub tokens: Vec<u32>,
}

/// How much of a text is what model, settings and draws give.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextGrade {
    /// Tokens that were looked at.
    pub tokens: usize,
    /// Those that are what the draw gives.
    pub same: usize,
    /// Those that are not, where logits that differ as far as is allowed could have given them.
    pub near: usize,
    /// Those that are neither.
    pub other: usize,
    /// How many of the tokens other draws would have given as well, on average over such draws.
    pub same_by_chance: f64,
    /// How improbable it is that other draws give this very text: minus the logarithm to base 10. None where the settings
    /// cannot give it.
    pub digits: Option<f64>,
    /// Contexts that had to be computed: one, unless old tokens left it.
    pub contexts: usize,
    /// The first token that is other, or where there is none, the first that is near.
    pub first: Option<Mismatch>,
    /// What the draw gives at each place, given the text before it.
    #[serde(skip)]
    pub expected: Vec<u32>,
}

/// A token that is not what the draw gives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mismatch {
    /// Which of the new tokens, from 0.
    pub index: usize,
    /// Its absolute position.
    pub position: usize,
    /// Its id.
    pub token: u32,
    /// Whether logits that differ as far as is allowed could have given it.
    pub is_near: bool,
    /// How probable the settings make it there; 0 where they exclude it.
    pub probability: f64,
    /// How far the draw is from its share of [0, 1); none where it has no share or nothing is drawn.
    pub missed_by: Option<f64>,
    /// What the draw gives; none where the context was full, and the text should have ended.
    pub expected: Option<SampledToken>,
    /// How probable the settings make that.
    pub expected_probability: f64,
}

impl TextGrade {
    /// What it comes to: a text passes only if every token is what the draw gives.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self { other: 1.., .. } => Verdict::Fail,
            Self { tokens: 0, .. } | Self { near: 1.., .. } => Verdict::Undecided,
            _ => Verdict::Pass,
        }
    }

    /// Share of the tokens that are what the draw gives; 1 of no tokens.
    pub fn share(&self) -> f64 {
        if self.tokens == 0 { 1.0 } else { self.same as f64 / self.tokens as f64 }
    }
}

/// How the token at one place compares.
struct Place {
    standing: Standing,
    expected: u32,
    /// Sum of the squares of all probabilities: that a second draw gives what a first one gave.
    chance: f64,
    probability: f64,
    mismatch: Option<Mismatch>,
}

/// How near a token is to what the draw gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Same,
    Near,
    Other,
}

/// Compares each token of a text with what model, settings and draws give after the tokens before it. A wrong token counts
/// once: what follows it is compared behind the text as it stands.
///
/// Under [`Tolerance::Within`] logits may have differed by that share of the largest absolute logit at their position (of 1, if
/// all are smaller) when the text was made.
///
/// # Errors
/// [`InferError`] for an empty prompt, an id outside the vocabulary, bad options, [`InferError::Device`] and
/// [`InferError::BadLogits`].
pub fn grade(gpt: &Gpt, text: &BareText, tolerance: Tolerance) -> Result<TextGrade, InferError> {
    let config = gpt.config();
    let BareText { prompt, options, tokens } = text;
    options.sampler.check(config.vocab_size)?;
    check_prompt(prompt, config.vocab_size)?;
    check_ids(tokens, config.vocab_size)?;
    let limit = config.context_limit();
    let room = match (options.on_overflow, limit) {
        (Overflow::Stop, Some(limit)) => (limit + 1).saturating_sub(prompt.len()),
        _ => usize::MAX,
    };
    let known = tokens.len().min(room);
    let ids = [prompt, &tokens[..known]].concat();
    let contexts = contexts(prompt.len()..ids.len(), limit.filter(|_| options.on_overflow == Overflow::Recompute));
    let judge = Judge { options, ids: &ids, tolerance };
    let mut grade = TextGrade {
        tokens: tokens.len(),
        same: 0,
        near: 0,
        other: tokens.len() - known,
        same_by_chance: 0.0,
        digits: Some(0.0),
        contexts: contexts.len(),
        first: None,
        expected: Vec::with_capacity(known),
    };
    for context in &contexts {
        for (position, place) in
            context.judge(gpt, &ids, |position, logits| judge.place(position, logits, prompt.len(), known))?
        {
            debug_assert_eq!(position, prompt.len() + grade.expected.len(), "places come in their order");
            grade.add(place);
        }
    }
    if let Some(token) = tokens.get(known).copied() {
        let position = prompt.len() + known;
        let full = Mismatch {
            index: known,
            position,
            token,
            is_near: false,
            probability: 0.0,
            missed_by: None,
            expected: None,
            expected_probability: 0.0,
        };
        if grade.first.as_ref().is_none_or(|first| first.is_near) {
            grade.first = Some(full);
        }
        grade.digits = None;
    }
    Ok(grade)
}

impl TextGrade {
    fn add(&mut self, place: Place) {
        let Place { standing, expected, chance, probability, mismatch } = place;
        *match standing {
            Standing::Same => &mut self.same,
            Standing::Near => &mut self.near,
            Standing::Other => &mut self.other,
        } += 1;
        self.same_by_chance += chance;
        self.digits = self.digits.filter(|_| probability > 0.0).map(|digits| digits - libm::log10(probability));
        self.expected.push(expected);
        let told = self.first.as_ref();
        if mismatch.is_some() && told.is_none_or(|told| told.is_near && standing == Standing::Other) {
            self.first = mismatch;
        }
    }
}

impl Judge<'_> {
    /// Compares the token at an absolute position.
    fn place(&self, position: usize, logits: &[f32], before: usize, known: usize) -> Result<Place, InferError> {
        let GenerateOptions { sampler, sample_index, stop_token, .. } = self.options;
        let distribution = Distribution::new(logits, &self.ids[..position], sampler, position)?;
        let expected = choose_from(&distribution, logits, sampler, *sample_index, position);
        let token = self.ids[position];
        let index = position - before;
        // A token that ends a text comes last or not at all.
        let ends_early = Some(token) == *stop_token && index + 1 < known;
        let interval = interval_of(&distribution, token);
        let standing = if token == expected.token && !ends_early {
            Standing::Same
        } else {
            match self.tolerance {
                Tolerance::Within(of_largest) if !ends_early => {
                    let row = Row { logits, distribution: &distribution, position };
                    let shown = interval.clone().unwrap_or(0.0..1.0);
                    let logprob = tril_infer::logprob(logits, token);
                    let claim = SampledToken { token, logprob, cdf_interval: shown, uniform: expected.uniform };
                    let is_near =
                        self.is_near(&TokenClaim::from(claim), &expected, interval.as_ref(), of_largest, &row)?;
                    if is_near { Standing::Near } else { Standing::Other }
                }
                _ => Standing::Other,
            }
        };
        let width = |interval: &std::ops::Range<f64>| interval.end - interval.start;
        let probability = interval.as_ref().map_or(0.0, width);
        let expected_probability = width(&expected.cdf_interval);
        let missed_by = interval
            .zip(expected.uniform)
            .map(|(share, draw)| if draw < share.start { share.start - draw } else { (draw - share.end).max(0.0) });
        Ok(Place {
            standing,
            expected: expected.token,
            chance: distribution.tokens().map(|(_, probability)| probability * probability).sum(),
            probability,
            mismatch: (standing != Standing::Same).then_some(Mismatch {
                index,
                position,
                token,
                is_near: standing == Standing::Near,
                probability,
                missed_by,
                expected: Some(expected),
                expected_probability,
            }),
        })
    }
}
