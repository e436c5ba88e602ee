//! Guesses of what comes next, so that one pass checks several tokens.
//!
//! A draw is named by seed and position, and a pass over several positions gives the bits of the steps one by one. So a
//! guess is kept exactly if it is the token that the sampler draws from the checking pass's logits, and the text is the
//! same with guesses and without: they change the time and nothing else.

mod cost;
mod lookup;
mod model;
mod worth;

pub(crate) use cost::position_cost;
pub use cost::position_cost_together;
pub use lookup::Lookup;
pub use model::ModelDrafter;

use crate::InferError;
use crate::sampler::Counts;
use crate::sequence::GenerateOptions;

/// Most guesses that one pass checks in a sequence.
pub const MAX_GUESSES: usize = 15;

/// Something that guesses how sequences go on.
///
/// Whatever it guesses, no token changes: a bad one costs time.
pub trait Drafter: Send {
    /// The next tokens of each sequence, as it guesses them: none where it has no guess worth its cost.
    ///
    /// - returns: for each sequence at most [`Draftable::most`] guesses, those in excess are left out
    ///
    /// # Errors
    /// [`InferError::Device`].
    fn guess(&mut self, sequences: &[Draftable<'_>]) -> Result<Vec<Vec<u32>>, InferError>;

    /// Told what became of the last guesses for a sequence: of so many `offered` the first `kept` were right. Not told where
    /// the sequence ended before.
    fn judged(&mut self, sequence: usize, offered: usize, kept: usize);

    /// Told that a sequence will not be asked about again.
    fn forget(&mut self, sequence: usize);
}

/// A sequence whose next tokens are to be guessed.
#[derive(Debug)]
pub struct Draftable<'a> {
    /// Its number in the batch.
    pub number: usize,
    /// Its last tokens, prompt included: all but the oldest of a text that outgrows every bound.
    pub tokens: &'a [u32],
    /// The absolute position of the first token to be guessed, which is how many tokens there have been.
    pub position: usize,
    /// At most so many guesses can be used; at least 1.
    pub most: usize,
    /// How its tokens are chosen.
    pub options: &'a GenerateOptions,
    /// What one more position of a sequence costs in a pass over one, as a share of that pass
    /// ([`crate::LanguageModel::position_cost`]).
    pub position_cost: f64,
    /// What its penalties look at.
    pub(crate) counts: &'a Counts,
}

/// How guesses fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DraftTally {
    /// Guesses that were checked.
    pub guesses: u64,
    /// Of them, those that were right.
    pub kept: u64,
    /// Passes that checked some, a pass over several sequences once.
    pub passes: u64,
}

impl DraftTally {
    /// The share of guesses that were right; none of none.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.guesses == 0 { 0.0 } else { self.kept as f64 / self.guesses as f64 }
    }
}
