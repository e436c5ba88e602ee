//! Steps in which tokens are guessed, and checked several at a time.

use super::{BatchGenerator, Member, Pace};
use crate::InferError;
use crate::language_model::LanguageModel;

impl<M: LanguageModel> Member<M> {
    /// Whether its next token needs no pass.
    pub(super) fn is_ahead(&self) -> bool {
        self.pace == Pace::Going && self.sequence.is_ahead()
    }
}

impl<M: LanguageModel> BatchGenerator<M> {
    /// The logits of those sequences whose last token was guessed right.
    pub(super) fn ahead(&mut self) -> Vec<Option<Vec<f32>>> {
        let logits = |member: &mut Member<M>| match member.pace {
            Pace::Going => member.sequence.take_ahead(),
            Pace::Paused => None,
        };
        self.members.iter_mut().map(logits).collect()
    }

    /// What is guessed to come next in those of the sequences that are `decoded`; none where nothing is.
    pub(super) fn guess(&mut self, decoded: &[bool]) -> Result<Option<Vec<Vec<u32>>>, InferError> {
        let Some(drafter) = &mut self.drafter else { return Ok(None) };
        let (mut places, mut asked) = (Vec::new(), Vec::new());
        for (place, (member, _)) in self.members.iter().zip(decoded).enumerate().filter(|(_, (_, decoded))| **decoded) {
            if let Some(draftable) = member.sequence.draftable(member.number, &self.model) {
                places.push((place, draftable.most));
                asked.push(draftable);
            }
        }
        if asked.is_empty() {
            return Ok(None);
        }
        let found = drafter.guess(&asked)?;
        let mut guesses = vec![Vec::new(); self.members.len()];
        let mut any = false;
        for ((place, most), mut found) in places.into_iter().zip(found) {
            let sequence = &mut self.members[place].sequence;
            let vocab_size = self.model.vocab_size();
            let possible = found.iter().take(most).take_while(|id| (**id as usize) < vocab_size).count();
            found.truncate(possible);
            if found.is_empty() {
                continue;
            }
            if let Some(cache) = &mut sequence.cache {
                // The last token itself goes in too.
                found.truncate(self.model.reserve(cache, found.len() + 1).saturating_sub(1));
            }
            any |= !found.is_empty();
            guesses[place] = found;
        }
        Ok(any.then_some(guesses))
    }

    /// The last token of each of the sequences that are `decoded`, and what is guessed to follow it, by one forward pass.
    pub(super) fn check(
        &mut self,
        decoded: &[bool],
        guesses: Vec<Vec<u32>>,
        found: &mut [Option<Vec<f32>>],
    ) -> Result<(), InferError> {
        let (mut ids, mut lengths, mut caches) = (Vec::new(), Vec::new(), Vec::new());
        let places: Vec<usize> = (0..self.members.len()).filter(|place| decoded[*place]).collect();
        for place in &places {
            let sequence = &mut self.members[*place].sequence;
            ids.extend_from_slice(sequence.fresh(&self.model));
            ids.extend_from_slice(&guesses[*place]);
            lengths.push(1 + guesses[*place].len());
            self.tally.guesses += guesses[*place].len() as u64;
            caches.extend(sequence.cache.take());
        }
        self.tally.passes += 1;
        let logits = self.model.extend(&ids, &lengths, &mut caches)?; // [ids.len() · vocab_size]
        let mut rows = logits.chunks_exact(self.model.vocab_size()).map(<[f32]>::to_vec);
        let mut guesses = guesses;
        for (place, cache) in places.into_iter().zip(caches) {
            let sequence = &mut self.members[place].sequence;
            sequence.cache = Some(cache);
            sequence.computed += 1;
            found[place] = rows.next();
            let guesses = std::mem::take(&mut guesses[place]);
            sequence.take_checked(guesses.into_iter().zip(&mut rows).collect());
        }
        Ok(())
    }

    /// Says that nothing more will be guessed for a sequence.
    pub(super) fn forget_drafts(&mut self, number: usize) {
        if let Some(drafter) = &mut self.drafter {
            drafter.forget(number);
        }
    }
}
