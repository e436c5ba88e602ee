//! A corpus as training sees it: two sides as ids, and the floor of the loss where the corpus knows its probability.

use tril_text::Tokenizer;

use crate::corpus::Corpus;
use crate::error::DataError;
use crate::split::{Encoded, HeldOut, Split, encode_held_out, encode_side};

/// A corpus in two sides, as ids.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedCorpus {
    /// The corpus's name.
    pub name: String,
    /// What is trained on.
    pub train: Encoded,
    /// What is held out to measure the loss on; not what is kept for a test, which is nowhere here.
    pub validation: Encoded,
    /// The loss of the process that wrote the held-out text, where it is known.
    pub floor: Option<LossFloor>,
}

/// The loss of the process that wrote the held-out stories, where it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossFloor {
    /// −ln p a character.
    pub nats_per_char: f64,
    /// The standard error of that.
    pub standard_error: f64,
}

impl EncodedCorpus {
    /// Splits a corpus and encodes what trains and what validates.
    ///
    /// # Errors
    ///
    /// As [`Split::new`] and [`encode_side`].
    pub fn new(corpus: &Corpus, tokenizer: &Tokenizer, held_out: impl Into<HeldOut>) -> Result<Self, DataError> {
        let split = Split::new(corpus, held_out)?;
        let stories: Option<Vec<(f64, f64)>> =
            split.validation.iter().map(|piece| Some((piece.nats?, piece.text.chars().count() as f64))).collect();
        Ok(Self {
            name: corpus.name.clone(),
            train: encode_side(tokenizer, &split.train)?,
            validation: encode_held_out(tokenizer, &split.validation)?,
            floor: stories.as_deref().and_then(LossFloor::of),
        })
    }
}

impl LossFloor {
    /// Nats a character over stories of (nats, characters), with the standard error of that ratio: the spread of each
    /// story's nats around what its length lets expect.
    fn of(stories: &[(f64, f64)]) -> Option<Self> {
        let n = stories.len() as f64;
        let chars: f64 = stories.iter().map(|(_, chars)| chars).sum();
        let ratio = stories.iter().map(|(nats, _)| nats).sum::<f64>() / chars;
        let square = |x: f64| x * x;
        let squares: f64 = stories.iter().map(|(nats, chars)| square(nats - ratio * chars)).sum();
        (n > 1.0).then(|| Self { nats_per_char: ratio, standard_error: (squares * n / (n - 1.0)).sqrt() / chars })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_all_nats_over_all_characters() {
        let floor = LossFloor::of(&[(10.0, 20.0), (40.0, 80.0)]).expect("two stories");
        assert_eq!(floor, LossFloor { nats_per_char: 0.5, standard_error: 0.0 });
        // 12 and 8 nats in 20 characters each: 10 ± 2 expected, so √(2·(4 + 4)) / 40.
        let floor = LossFloor::of(&[(12.0, 20.0), (8.0, 20.0)]).expect("two stories");
        assert_eq!((floor.nats_per_char, floor.standard_error), (0.5, 0.1));
        assert_eq!(LossFloor::of(&[(1.0, 2.0)]), None, "one story tells nothing of the spread");
    }
}
