//! Guesses from the text itself: what followed the last time that it went as it does now.

use std::collections::{BTreeMap, HashMap};

use super::cost::position_cost_together;
use super::worth::Worth;
use super::{Draftable, Drafter};
use crate::InferError;

/// How many of the last tokens are looked for, the longest first.
const LENGTHS: [usize; 5] = [12, 8, 5, 3, 2];

/// Tokens whose places are kept at least, and twice as many at most: memory does not grow with the text.
const KEPT: usize = if cfg!(test) { 64 } else { 1 << 16 };

/// Looks the end of each text up in what stands before it, and guesses that it goes on in the same way.
#[derive(Debug, Default)]
pub struct Lookup {
    texts: BTreeMap<usize, Text>,
    most: Option<usize>,
}

impl Lookup {
    /// With no text yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Guesses at most so many tokens at a time.
    #[must_use]
    pub fn with_most(self, most: usize) -> Self {
        Self { most: Some(most), ..self }
    }
}

/// A text and where in it each piece of its tokens stands.
#[derive(Debug, Default)]
struct Text {
    tokens: Vec<u32>,
    /// Tokens before those.
    forgotten: usize,
    /// Where each piece of a length was last seen: the absolute position of what follows it. The second map of a pair is of
    /// an older part of the text.
    places: [[HashMap<u64, usize>; 2]; LENGTHS.len()],
    /// How guesses by pieces of a length fare.
    worth: [Worth; LENGTHS.len()],
    /// The length by which the last guess was made.
    by: usize,
}

impl Text {
    /// Takes in the tokens that are new.
    fn learn(&mut self, sequence: &Draftable<'_>) {
        let first = sequence.position - sequence.tokens.len();
        let known = self.forgotten + self.tokens.len();
        if known < first || known > sequence.position {
            // What lies between was not seen.
            *self = Self { worth: std::mem::take(&mut self.worth), forgotten: first, ..Self::default() };
        }
        let known = self.forgotten + self.tokens.len();
        for token in &sequence.tokens[known - first..] {
            // A piece is known once something follows it.
            self.keep_places();
            self.tokens.push(*token);
            if self.tokens.len() >= 2 * KEPT {
                self.forget();
            }
        }
    }

    /// Takes down where the pieces that end here stand.
    fn keep_places(&mut self) {
        for (length, places) in LENGTHS.iter().zip(&mut self.places) {
            if let Some(first) = self.tokens.len().checked_sub(*length) {
                places[0].insert(name(&self.tokens[first..]), self.forgotten + self.tokens.len());
            }
        }
    }

    /// Gives the older half up.
    fn forget(&mut self) {
        self.tokens.drain(..KEPT);
        self.forgotten += KEPT;
        for places in &mut self.places {
            places[1] = std::mem::take(&mut places[0]);
        }
    }

    /// Where a piece of each length that ends the text stood before, the longest first: which length, and what follows.
    fn find(&self) -> Option<(usize, usize)> {
        let len = self.tokens.len();
        LENGTHS.iter().enumerate().find_map(|(index, length)| {
            let piece = &self.tokens[len.checked_sub(*length)?..];
            let name = name(piece);
            let [newer, older] = &self.places[index];
            let next = newer.get(&name).or_else(|| older.get(&name))?.checked_sub(self.forgotten)?;
            // Another piece may have this name.
            (self.tokens.get(next.checked_sub(*length)?..next)? == piece).then_some((index, next))
        })
    }

    fn guess(&mut self, sequence: &Draftable<'_>, together: usize, most: usize) -> Vec<u32> {
        self.learn(sequence);
        let Some((by, next)) = self.find() else { return Vec::new() };
        self.by = by;
        let count = self.worth[by]
            .guesses(position_cost_together(sequence.position_cost, together))
            .min(most)
            .min(sequence.most);
        let mut guesses = Vec::with_capacity(count);
        for place in next..next + count {
            // What is repeated may go on within the guesses.
            let guess = self.tokens.get(place).or_else(|| guesses.get(place - self.tokens.len())).copied();
            guesses.extend(guess);
        }
        guesses
    }
}

impl Drafter for Lookup {
    fn guess(&mut self, sequences: &[Draftable<'_>]) -> Result<Vec<Vec<u32>>, InferError> {
        let most = self.most.unwrap_or(usize::MAX);
        let guess = |sequence: &Draftable<'_>| {
            self.texts.entry(sequence.number).or_default().guess(sequence, sequences.len(), most)
        };
        Ok(sequences.iter().map(guess).collect())
    }

    fn judged(&mut self, sequence: usize, offered: usize, kept: usize) {
        if let Some(text) = self.texts.get_mut(&sequence) {
            text.worth[text.by].judged(offered, kept);
        }
    }

    fn forget(&mut self, sequence: usize) {
        self.texts.remove(&sequence);
    }
}

/// A number for a piece of tokens (FNV-1a over ids).
fn name(piece: &[u32]) -> u64 {
    piece.iter().fold(0xcbf2_9ce4_8422_2325, |hash, id| (hash ^ u64::from(*id)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::{Counts, SamplerConfig};
    use crate::sequence::GenerateOptions;

    fn guess(lookup: &mut Lookup, text: &[u32], first: usize, most: usize) -> Vec<u32> {
        let options = GenerateOptions::default();
        let counts = Counts::new(&[], 1000, &SamplerConfig::default()).expect("nothing to count");
        let tokens = &text[first..];
        let (position, options, counts, position_cost) = (text.len(), &options, &counts, 0.15);
        let asked = Draftable { number: 0, tokens, position, most, options, position_cost, counts };
        lookup.guess(&[asked]).expect("no device").remove(0)
    }

    #[test]
    fn the_longest_piece_that_stood_before_is_gone_on_with() {
        let text = [1, 2, 3, 4, 5, 6, 7, 9, 4, 5, 8, 8, 2, 3, 4, 5];
        let guessed = guess(&mut Lookup::new(), &text, 0, 3);
        assert!(
            !guessed.is_empty() && [6, 7, 9].starts_with(&guessed),
            "after 3 4 5, not after the later 4 5: {guessed:?}"
        );
        let again = [&text[..], &[6, 7, 9]].concat();
        let mut lookup = Lookup::new();
        assert_eq!(guess(&mut lookup, &text, 0, 1), [6]);
        assert_eq!(guess(&mut lookup, &again[..17], 0, 1), [7], "what is new is learnt");
    }

    #[test]
    fn what_repeats_goes_on_repeating_within_the_guesses() {
        let mut lookup = Lookup::new();
        let mut text: Vec<u32> = [7, 8, 9].repeat(5);
        for _ in 0..20 {
            let guessed = guess(&mut lookup, &text, 0, 15);
            lookup.judged(0, guessed.len(), guessed.len());
            text.push([7, 8, 9][text.len() % 3]);
        }
        let guessed = guess(&mut lookup, &text, 0, 15);
        assert_eq!(guessed.len(), 15);
        assert!((0..15).all(|i| guessed[i] == [7, 8, 9][(text.len() + i) % 3]), "{guessed:?}");
    }

    #[test]
    fn a_text_in_which_nothing_returns_has_no_guess() {
        let text: Vec<u32> = (0..500).collect();
        assert!(guess(&mut Lookup::new(), &text, 0, 9).is_empty());
        assert!(guess(&mut Lookup::new(), &text[..1], 0, 9).is_empty());
    }

    #[test]
    fn of_a_long_text_the_end_is_kept_and_a_gap_is_no_harm() {
        let mut lookup = Lookup::new();
        let text: Vec<u32> = (0..700).map(|i| i % 90).collect();
        for end in (10..700).step_by(3) {
            let guessed = guess(&mut lookup, &text[..end], end.saturating_sub(40), 2);
            let expected: Vec<u32> = (end as u32..).map(|i| i % 90).take(guessed.len()).collect();
            assert_eq!(guessed, expected, "{end}");
            if !guessed.is_empty() {
                lookup.judged(0, guessed.len(), guessed.len());
            }
            let kept = &lookup.texts[&0];
            assert!(kept.tokens.len() < 2 * KEPT);
            assert!(kept.places.iter().flatten().all(|places| places.len() <= 2 * KEPT));
        }
        assert!(!guess(&mut lookup, &text, 690, 2).is_empty());
        // A text of which only later tokens are known now.
        let later: Vec<u32> = (0..2000).map(|i| i % 7).collect();
        guess(&mut lookup, &later, 1990, 2);
        assert_eq!(guess(&mut lookup, &later, 1985, 1), [2000 % 7]);
        lookup.forget(0);
        assert!(lookup.texts.is_empty());
    }
}
