//! A corpus as training sees it: two sides as ids, and the floor of the loss where the corpus knows its probability.

use anyhow::{Result, bail};
use tril_data::{Corpus, Encoded, Split, encode_side};
use tril_text::Tokenizer;

/// A corpus in two sides, as ids.
pub struct Text {
    pub name: String,
    pub train: Encoded,
    pub validation: Encoded,
    pub floor: Option<Floor>,
}

/// The loss of the process that wrote the held-out stories, where it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    pub nats_per_char: f64,
    pub standard_error: f64,
}

impl Text {
    /// Splits and encodes a corpus.
    pub fn encode(corpus: &Corpus, tokenizer: &Tokenizer, validation_fraction: f64) -> Result<Self> {
        let split = Split::new(corpus, validation_fraction)?;
        let stories: Option<Vec<(f64, f64)>> =
            split.validation.iter().map(|piece| Some((piece.nats?, piece.text.chars().count() as f64))).collect();
        Ok(Self {
            name: corpus.name.clone(),
            train: encode_side(tokenizer, &split.train)?,
            validation: encode_side(tokenizer, &split.validation)?,
            floor: stories.as_deref().and_then(Floor::of),
        })
    }

    /// Refuses a held-out side without a single target.
    pub fn check_validation(&self) -> Result<()> {
        let tokens = self.validation.ids.len();
        if tokens < 2 {
            bail!(
                "the validation text has {tokens} tokens, but measuring a loss takes at least 2: raise data.validation_fraction, or give a longer text"
            );
        }
        Ok(())
    }
}

impl Floor {
    /// Nats a character over stories of (nats, characters), with the standard error of that ratio: the spread of each
    /// story's nats around what its length lets expect.
    fn of(stories: &[(f64, f64)]) -> Option<Self> {
        let n = stories.len() as f64;
        let chars: f64 = stories.iter().map(|(_, chars)| chars).sum();
        let ratio = stories.iter().map(|(nats, _)| nats).sum::<f64>() / chars;
        let squares: f64 = stories.iter().map(|(nats, chars)| (nats - ratio * chars).powi(2)).sum();
        (n > 1.0).then(|| Self { nats_per_char: ratio, standard_error: (squares * n / (n - 1.0)).sqrt() / chars })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_all_nats_over_all_characters() {
        let floor = Floor::of(&[(10.0, 20.0), (40.0, 80.0)]).expect("two stories");
        assert_eq!(floor, Floor { nats_per_char: 0.5, standard_error: 0.0 });
        // 12 and 8 nats in 20 characters each: 10 ± 2 expected, so √(2·(4 + 4)) / 40.
        let floor = Floor::of(&[(12.0, 20.0), (8.0, 20.0)]).expect("two stories");
        assert_eq!((floor.nats_per_char, floor.standard_error), (0.5, 0.1));
        assert_eq!(Floor::of(&[(1.0, 2.0)]), None, "one story tells nothing of the spread");
    }
}
