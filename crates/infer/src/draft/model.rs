//! Guesses of a smaller model of the same vocabulary.

use std::collections::BTreeMap;

use super::cost::position_cost_together;
use super::worth::Worth;
use super::{Draftable, Drafter};
use crate::InferError;
use crate::batch::PREFILL_CHUNK;
use crate::language_model::LanguageModel;
use crate::sampler::{Counts, Distribution, choose_from};
use crate::sequence::context_start;

/// A step of a model without weights, in multiply-adds: what a step costs before any is done.
const STEP_COST: f64 = 3e5;

/// More tokens than these enter before those of other texts.
const MOST_AT_ONCE: usize = 16;

/// Has a model guess. It draws as the sequence does, by the same number from its own distribution, so that it is often
/// right at any temperature.
pub struct ModelDrafter<D: LanguageModel> {
    model: D,
    /// What a guess costs, as a share of a step of the other model.
    guess_cost: f64,
    texts: BTreeMap<usize, Text<D::Cache>>,
    most: Option<usize>,
}

/// What the model has seen of a text.
struct Text<C> {
    /// Absolute position at which its context begins.
    start: usize,
    cache: C,
    /// Tokens that it has seen last and that may be guesses: from this absolute position on.
    unsure: (usize, Vec<u32>),
    worth: Worth,
}

impl<D: LanguageModel> ModelDrafter<D> {
    /// A drafter by a model whose vocabulary is that of the one to be helped.
    ///
    /// - weights: of this model and of that one, those that each token meets
    pub fn new(model: D, weights: [usize; 2]) -> Self {
        let [own, other] = weights.map(|weights| weights as f64 + STEP_COST);
        Self { model, guess_cost: own / other, texts: BTreeMap::new(), most: None }
    }

    /// Guesses at most so many tokens at a time.
    #[must_use]
    pub fn with_most(self, most: usize) -> Self {
        Self { most: Some(most), ..self }
    }

    /// Brings what the model has seen of a text up to date but for the last tokens, which are returned; none while too many
    /// are to be seen first, or where the text has no guesses now.
    fn prepare(&mut self, sequence: &Draftable<'_>, together: usize) -> Result<Option<Ready<D::Cache>>, InferError> {
        let Draftable { number, tokens, position, .. } = *sequence;
        let first = position - tokens.len();
        let begin = self.model.context_limit().map_or(first, |limit| context_start(first, position, limit));
        let fresh = |worth| Text { start: begin, cache: self.model.new_cache(), unsure: (begin, Vec::new()), worth };
        let mut text = self.texts.remove(&number).unwrap_or_else(|| fresh(Worth::default()));
        let count = text
            .worth
            .guesses(position_cost_together(sequence.position_cost, together) + self.guess_cost)
            .min(self.most.unwrap_or(usize::MAX));
        let count = count.min(sequence.most);
        if count == 0 {
            self.texts.insert(number, text);
            return Ok(None);
        }
        // Back to what was guessed right.
        let (since, unsure) = &text.unsure;
        let seen = text.start + self.model.position(&text.cache);
        let right = match since.checked_sub(first) {
            Some(place) => unsure.iter().zip(&tokens[place.min(tokens.len())..]).take_while(|(a, b)| a == b).count(),
            None => 0,
        };
        let sure = if unsure.is_empty() { seen } else { *since + right }.min(position - 1);
        let limit = self.model.context_limit().unwrap_or(usize::MAX);
        let is_lost = sure < first
            || position - text.start > limit
            || !self.model.rewind(&mut text.cache, sure.saturating_sub(text.start));
        if is_lost {
            // Where its context is full, half of that goes, so that this is seldom.
            text = fresh(text.worth);
        }
        let seen = text.start + self.model.position(&text.cache);
        let mut left = &tokens[seen - first..];
        if left.len() > MOST_AT_ONCE {
            let (chunk, _) = left.split_at(PREFILL_CHUNK.get().min(left.len() - 1));
            self.model.last_logits(chunk, Some(&mut text.cache))?;
            left = &left[chunk.len()..];
        }
        text.unsure = (position, Vec::new());
        // The last guess is not seen.
        let count = count.min((limit - (position - text.start)).saturating_add(1));
        let needed = left.len() + count - 1;
        if left.len() > MOST_AT_ONCE || self.model.reserve(&mut text.cache, needed) < needed {
            self.texts.insert(number, text);
            return Ok(None);
        }
        let last = left.to_vec();
        Ok(Some(Ready { text, last, count }))
    }
}

/// A text that the model is about to guess at.
struct Ready<C> {
    text: Text<C>,
    /// What it has to see first.
    last: Vec<u32>,
    count: usize,
}

/// What stands before a guess that penalties look at.
struct History {
    counts: Counts,
    tokens: Vec<u32>,
}

impl History {
    fn of(sequence: &Draftable<'_>) -> Self {
        let span = sequence.options.sampler.history().saturating_add(1).min(sequence.tokens.len());
        let tokens = match sequence.options.sampler.history() {
            0 => Vec::new(),
            _ => sequence.tokens[sequence.tokens.len() - span..].to_vec(),
        };
        Self { counts: sequence.counts.clone(), tokens }
    }

    fn push(&mut self, token: u32) {
        self.tokens.push(token);
        self.counts.advance(&self.tokens);
    }

    /// The token that the sequence's sampler draws from these logits; none if they are no distribution.
    fn draw(&self, logits: &[f32], sequence: &Draftable<'_>, position: usize) -> Option<u32> {
        let sampler = &sequence.options.sampler;
        let distribution = Distribution::with_counts(logits, &self.counts, sampler, position).ok()?;
        Some(choose_from(&distribution, logits, sampler, sequence.options.sample_index, position).token)
    }
}

impl<D: LanguageModel> Drafter for ModelDrafter<D> {
    fn guess(&mut self, sequences: &[Draftable<'_>]) -> Result<Vec<Vec<u32>>, InferError> {
        let mut guesses: Vec<Vec<u32>> = vec![Vec::new(); sequences.len()];
        let (mut places, mut texts, mut caches) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ids, mut lengths) = (Vec::new(), Vec::new());
        for (place, sequence) in sequences.iter().enumerate() {
            if let Some(Ready { text, last, count }) = self.prepare(sequence, sequences.len())? {
                let Text { start, cache, unsure, worth } = text;
                lengths.push(last.len());
                ids.extend(last);
                caches.push(cache);
                texts.push((start, unsure, worth));
                places.push((place, count, History::of(sequence)));
            }
        }
        if places.is_empty() {
            return Ok(guesses);
        }
        let vocab_size = self.model.vocab_size();
        let rows = self.model.extend(&ids, &lengths, &mut caches)?; // [ids.len() · vocab_size]
        let mut ends = lengths.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        });
        let mut last: Vec<Option<u32>> = Vec::with_capacity(places.len());
        for (place, _, history) in &mut places {
            let end = ends.next().unwrap_or(1);
            let logits = &rows[(end - 1) * vocab_size..end * vocab_size];
            let guess = history.draw(logits, &sequences[*place], sequences[*place].position);
            guesses[*place].extend(guess);
            last.push(guess);
        }
        loop {
            // Those that want more see their last guess; it may turn out wrong.
            let going: Vec<usize> = (0..places.len())
                .filter(|index| last[*index].is_some() && guesses[places[*index].0].len() < places[*index].1)
                .collect();
            if going.is_empty() {
                break;
            }
            let ids: Vec<u32> = going.iter().filter_map(|index| last[*index]).collect();
            let mut own = Vec::with_capacity(going.len());
            for index in going.iter().rev() {
                own.push(caches.remove(*index));
            }
            own.reverse();
            let rows = self.model.decode(&ids, &mut own)?; // [going.len() · vocab_size]
            for (index, cache) in going.iter().zip(own) {
                caches.insert(*index, cache);
            }
            for ((index, id), logits) in going.into_iter().zip(ids).zip(rows.chunks_exact(vocab_size)) {
                let (place, _, history) = &mut places[index];
                let (_, unsure, _) = &mut texts[index];
                unsure.1.push(id);
                history.push(id);
                let sequence = &sequences[*place];
                last[index] = history.draw(logits, sequence, sequence.position + guesses[*place].len());
                guesses[*place].extend(last[index]);
            }
        }
        for (((place, ..), (start, unsure, worth)), cache) in places.into_iter().zip(texts).zip(caches) {
            self.texts.insert(sequences[place].number, Text { start, cache, unsure, worth });
        }
        Ok(guesses)
    }

    fn judged(&mut self, sequence: usize, offered: usize, kept: usize) {
        if let Some(text) = self.texts.get_mut(&sequence) {
            text.worth.judged(offered, kept);
        }
    }

    fn forget(&mut self, sequence: usize) {
        self.texts.remove(&sequence);
    }
}
