//! Which text trains and which validates, and each side as token ids.

use tril_text::{Position, TextError, Tokenizer, UnknownCharacters};

use crate::corpus::{Corpus, Document};
use crate::error::DataError;
use crate::tally::{SpeltBytes, Tally};
use crate::token_ids::TokenIds;

/// The shares of a text that are not trained on: its end tests, and what stands before that validates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOut {
    /// What the loss is measured on while training, from 0 to below 1.
    pub validation: f64,
    /// What nothing is measured on before all choices are made, likewise; less than 1 together.
    pub test: f64,
}

/// A share that validates, and nothing that tests.
impl From<f64> for HeldOut {
    fn from(validation: f64) -> Self {
        Self { validation, test: 0.0 }
    }
}

/// A corpus in three parts; train ++ validation ++ test is the corpus text.
#[derive(Debug, Clone, PartialEq)]
pub struct Split<'a> {
    /// The first part.
    pub train: Vec<Piece<'a>>,
    /// What follows; empty only where a validation fraction of 0 was asked for.
    pub validation: Vec<Piece<'a>>,
    /// The rest; empty only where a test fraction of 0 was asked for.
    pub test: Vec<Piece<'a>>,
}

/// A document, or the part of a divided document that is on one side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece<'a> {
    /// Where the document comes from.
    pub origin: &'a str,
    /// Where in the document the piece starts.
    pub start: Position,
    /// The text.
    pub text: &'a str,
    /// Whether a document ends with this piece; end of text belongs only there. Nowhere in a whole file, and nowhere where no
    /// document ends in the training part.
    pub ends_document: bool,
    /// −ln p of the document in nats where it is known; none for a part of a document.
    pub nats: Option<f64>,
}

/// One side of a split as token ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// The ids of all pieces, in order, with end of text after each document if the tokenizer has it.
    pub ids: TokenIds,
    /// Bytes of the text that the ids spell: all of them, but for what a tokenizer from a file drops or does not know.
    pub bytes: usize,
    /// The same of all ids but the first: what a loss over them is about.
    pub predicted_bytes: usize,
    /// Length of the text in characters.
    pub chars: usize,
    /// −ln p of the text in nats, if it is known of every piece.
    pub nats: Option<f64>,
    /// Characters for which a token stands that says no more of them.
    pub unknown: UnknownCharacters,
    /// How often each id of the vocabulary stands in the ids.
    pub counts: Vec<u64>,
    /// A hash of the ids (FNV-1a over words), which tells one text from another.
    pub key: u64,
    /// Bytes that each of the first ids spells, of the side that is held out.
    pub(crate) spelt: TokenIds,
}

impl Encoded {
    /// What has been counted of these ids.
    pub(crate) fn new(ids: TokenIds, tally: Tally, spelt: TokenIds) -> Self {
        let (bytes, predicted_bytes) = (tally.bytes, tally.predicted_bytes());
        let Tally { chars, counts, key, unknown, .. } = tally;
        Self { ids, bytes, predicted_bytes, chars, nats: None, unknown, counts, key, spelt }
    }

    /// Bytes that the first `tokens` ids spell, but for the first of them: what a loss over these ids is about. Known of
    /// all ids, and of up to [`crate::SPELT_KEPT`] of a side that is held out.
    #[must_use]
    pub fn predicted_bytes_of(&self, tokens: usize) -> Option<usize> {
        if tokens >= self.ids.len() {
            return Some(self.predicted_bytes);
        }
        self.spelt.get(..tokens).map(|spelt| spelt.iter().skip(1).map(|bytes| *bytes as usize).sum())
    }
}

/// Encodes one side of a split, each piece by itself.
///
/// # Errors
///
/// As [`Tokenizer::encode`]; unknown characters are reported by their place in the document.
pub fn encode_side(tokenizer: &Tokenizer, pieces: &[Piece]) -> Result<Encoded, TextError> {
    encode_pieces(tokenizer, pieces, SpeltBytes::Forgotten)
}

/// As [`encode_side`], for the side that is held out: a part of it may be measured.
pub(crate) fn encode_held_out(tokenizer: &Tokenizer, pieces: &[Piece]) -> Result<Encoded, TextError> {
    encode_pieces(tokenizer, pieces, SpeltBytes::Kept)
}

fn encode_pieces(tokenizer: &Tokenizer, pieces: &[Piece], keeps: SpeltBytes) -> Result<Encoded, TextError> {
    let (mut ids, mut tally) = (Vec::new(), Tally::new(tokenizer.vocab_size(), keeps));
    for piece in pieces {
        let begin = ids.len();
        for (id, spelt) in tokenizer.encode_with_bytes(piece.text).map_err(|error| located(error, piece))? {
            tally.add(id, spelt);
            ids.push(id);
        }
        if tokenizer.has_unknown(&ids[begin..]) {
            tally.unknown.add(tokenizer.unknown_characters(piece.text).map_err(|error| located(error, piece))?);
        }
        if let Some(end) = tokenizer.end_of_text().filter(|_| piece.ends_document) {
            tally.add(end, 0);
            ids.push(end);
        }
        tally.chars += piece.text.chars().count();
    }
    let nats = if pieces.is_empty() { None } else { pieces.iter().map(|piece| piece.nats).sum() };
    let spelt = std::mem::take(&mut tally.spelt);
    Ok(Encoded { nats, ..Encoded::new(ids.into(), tally, spelt.into()) })
}

impl<'a> Split<'a> {
    /// Divides the corpus into its first part, to train on, what follows, to validate on, and its end, to test on.
    ///
    /// The cuts are before character ⌊(1 − fraction) · n_chars⌋ of the corpus text, which is nanoGPT's rule, with the
    /// fraction that is held out in all, and with that which tests.
    /// If documents border on each other within 1 % of the text from there, the cut is at the nearest such border and
    /// divides none. With a fraction of 0 there is no such part.
    ///
    /// # Errors
    ///
    /// `ValidationFraction`, `TestFraction` if a fraction is not in 0..1, or both are not together; `TooShortToSplit` if a
    /// part would be empty.
    pub fn new(corpus: &'a Corpus, held_out: impl Into<HeldOut>) -> Result<Self, DataError> {
        let lengths: Vec<usize> = corpus.documents.iter().map(|document| document.text.chars().count()).collect();
        let cuts = Cuts::new(&corpus.name, &lengths, held_out.into())?;
        let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
        let mut begin = 0;
        for (document, length) in corpus.documents.iter().zip(lengths) {
            let end = begin + length;
            let mut rest = Some((Piece::whole(document, corpus.has_documents), begin));
            let parts = [(&mut train, cuts.validation), (&mut validation, cuts.test), (&mut test, usize::MAX)];
            for (part, limit) in parts {
                rest = match rest {
                    Some((piece, _)) if end <= limit => {
                        part.push(piece);
                        None
                    }
                    Some((piece, begin)) if begin < limit => {
                        let (first, last) = divide(piece, limit - begin);
                        part.push(first);
                        Some((last, limit))
                    }
                    rest => rest,
                };
            }
            begin = end;
        }
        // What stands nowhere in the training text cannot be learnt, and would only be measured.
        if !train.iter().any(|piece: &Piece| piece.ends_document) {
            validation.iter_mut().chain(&mut test).for_each(|piece: &mut Piece| piece.ends_document = false);
        }
        Ok(Self { train, validation, test })
    }
}

impl<'a> Piece<'a> {
    /// A whole document, which ends where the corpus has documents.
    pub(crate) fn whole(document: &'a Document, ends_document: bool) -> Self {
        let Document { origin, text, nats } = document;
        Self { origin, start: Position::START, text, ends_document, nats: *nats }
    }
}

/// The characters before which a text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cuts {
    /// Where the part begins that validates.
    pub validation: usize,
    /// Where the part begins that tests; the end of the text where nothing does.
    pub test: usize,
}

impl Cuts {
    /// Of a text of documents of these lengths.
    ///
    /// # Errors
    ///
    /// As [`Split::new`].
    pub fn new(name: &str, lengths: &[usize], held_out: HeldOut) -> Result<Self, DataError> {
        let HeldOut { validation: fraction, test: test_fraction } = held_out;
        if !(0.0..1.0).contains(&fraction) {
            return Err(DataError::ValidationFraction { fraction });
        }
        let in_all = fraction + test_fraction;
        if test_fraction.is_nan() || test_fraction < 0.0 || in_all >= 1.0 {
            return Err(DataError::TestFraction { test_fraction, fraction });
        }
        let n_chars = lengths.iter().sum();
        let cut = |part: f64, fraction: f64, end: usize| {
            if part == 0.0 {
                return Ok(end);
            }
            let cut = cut_at(lengths, n_chars, fraction);
            let too_short = || DataError::TooShortToSplit { name: name.to_owned(), chars: n_chars, fraction: part };
            if cut == 0 || cut >= end { Err(too_short()) } else { Ok(cut) }
        };
        let test = cut(test_fraction, test_fraction, n_chars)?;
        Ok(Self { validation: cut(fraction, in_all, test)?, test })
    }
}

/// The character before which the text is cut: Python's `int(n * share)`, or the nearest border between documents if
/// it is within a hundredth of the text; of two that are equally near, the first.
fn cut_at(lengths: &[usize], n_chars: usize, fraction: f64) -> usize {
    // 1 − 0.9 is 0.09999999999999998 in floating point; whoever writes 0.9 means the number that is written 0.1.
    let share = ((1.0 - fraction) * 1e12).round() / 1e12;
    let cut = (n_chars as f64 * share).floor() as usize;
    let borders = lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end)
    });
    borders
        .filter(|&border| 0 < border && border < n_chars)
        .min_by_key(|border| border.abs_diff(cut))
        .filter(|border| border.abs_diff(cut) * 100 <= n_chars)
        .unwrap_or(cut)
}

/// The first `n_chars` characters of a piece, and the rest.
fn divide(whole: Piece, n_chars: usize) -> (Piece, Piece) {
    let at = whole.text.char_indices().nth(n_chars).map_or(whole.text.len(), |(at, _)| at);
    let (first, last) = whole.text.split_at(at);
    (
        Piece { text: first, ends_document: false, nats: None, ..whole },
        Piece { text: last, start: whole.start.after(first), nats: None, ..whole },
    )
}

/// An error about a piece, told as an error about its document.
pub(crate) fn located(error: TextError, piece: &Piece) -> TextError {
    match error {
        TextError::UnknownCharacters { at, characters, .. } => {
            TextError::UnknownCharacters { origin: piece.origin.to_string(), at: piece.start.then(at), characters }
        }
        other => other,
    }
}
