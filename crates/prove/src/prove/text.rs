//! Which pieces of a text are looked at, and which positions and other tokens are drawn for the proofs.

use std::collections::BTreeSet;

use rand::RngExt;
use tril_model::GptConfig;
use tril_model::random::{self, Purpose};

use super::{Limits, ProofId};

/// A piece of the text that the model is given from its position 0 on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    /// Where it stands in the text.
    pub start: usize,
    pub ids: &'a [u32],
}

/// A text cut into consecutive segments.
#[derive(Debug)]
pub(super) struct Segments<'a> {
    all: Vec<Segment<'a>>,
    most: usize,
}

impl<'a> Segments<'a> {
    /// As long as the model's context, or, where that has no end or is longer, as the limits say.
    pub fn new(ids: &'a [u32], config: &GptConfig, limits: &Limits) -> Self {
        // Three windows move the contents of the ring cache at least once, whatever the chunks.
        let len = config.context_limit().unwrap_or(limits.segment_len.max(3 * config.window));
        let len = len.min(limits.tokens).max(1);
        let all: Vec<_> = ids.chunks(len).enumerate().map(|(index, ids)| Segment { start: index * len, ids }).collect();
        Self { all, most: (limits.tokens / len).max(1) }
    }

    /// All of them.
    pub fn all(&self) -> &[Segment<'a>] {
        &self.all
    }

    /// Those to look at: all, or as many as the limits allow, evenly spread, the first and the last among them.
    pub fn chosen(&self) -> Vec<Segment<'a>> {
        let (count, most) = (self.all.len(), self.most);
        if count <= most {
            return self.all.clone();
        }
        (0..most).map(|index| self.all[index * (count - 1) / (most - 1).max(1)]).collect()
    }
}

/// The draws of one proof on one segment, named by the seed, the proof and where the segment stands.
pub(super) struct Draws {
    rng: rand_chacha::ChaCha8Rng,
    vocab_size: u32,
}

impl Draws {
    pub fn new(seed: u64, id: ProofId, segment: Segment<'_>, vocab_size: usize) -> Self {
        let rng = random::generator(seed, Purpose::Proof, id as u64, segment.start as u64, 0);
        Self { rng, vocab_size: vocab_size as u32 }
    }

    /// `count` different numbers below `end`, in order: as many of `edges` as fit into half of them, in the order in
    /// which they are given, and others drawn evenly. All numbers, if there are no more.
    pub fn below(&mut self, end: usize, count: usize, edges: &[usize]) -> Vec<usize> {
        if end <= count {
            return (0..end).collect();
        }
        let edges = edges.iter().copied().filter(|edge| *edge < end);
        let mut chosen: BTreeSet<usize> = edges.take(count.div_ceil(2)).collect();
        while chosen.len() < count {
            chosen.insert(self.rng.random_range(0..end));
        }
        chosen.into_iter().collect()
    }

    /// A number from 0 to `most`.
    pub fn number_up_to(&mut self, most: usize) -> usize {
        self.rng.random_range(0..=most)
    }

    /// Any token but this one; the vocabulary has at least two.
    pub fn token_other_than(&mut self, id: u32) -> u32 {
        (id + self.rng.random_range(1..self.vocab_size)) % self.vocab_size
    }

    /// As many tokens, none of them the one that stands at its place.
    pub fn tokens_other_than(&mut self, ids: &[u32]) -> Vec<u32> {
        ids.iter().map(|id| self.token_other_than(*id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(max_seq_len: usize) -> GptConfig {
        GptConfig { max_seq_len, vocab_size: 7, ..GptConfig::default() }
    }

    fn starts(segments: &[Segment<'_>]) -> Vec<(usize, usize)> {
        segments.iter().map(|segment| (segment.start, segment.ids.len())).collect()
    }

    #[test]
    fn segments_follow_each_other_and_a_long_text_gives_its_first_its_last_and_some_between() {
        let ids: Vec<u32> = (0..95).collect();
        let limits = Limits { tokens: 30, ..Limits::default() };
        let segments = Segments::new(&ids, &config(10), &limits);
        assert_eq!(segments.all().len(), 10);
        assert!(segments.all().iter().all(|segment| segment.ids[0] as usize == segment.start));
        assert_eq!(starts(&segments.chosen()), [(0, 10), (40, 10), (90, 5)]);
        let segments = Segments::new(&ids[..30], &config(10), &limits);
        assert_eq!(starts(&segments.chosen()), [(0, 10), (10, 10), (20, 10)]);
        let segments = Segments::new(&ids, &config(40), &limits);
        assert_eq!(starts(&segments.chosen()), [(0, 30)], "a context longer than the limit");
    }

    #[test]
    fn draws_are_different_numbers_with_edges_among_them_and_the_same_again() {
        let ids = [0; 4];
        let draws = |start| Draws::new(1, ProofId::Cached, Segment { start, ids: &ids }, 7);
        let chosen = draws(0).below(1000, 6, &[999, 0, 5000, 7, 8]);
        assert_eq!(chosen.len(), 6);
        assert!([0, 7, 999].iter().all(|edge| chosen.contains(edge)) && !chosen.contains(&8), "{chosen:?}");
        assert!(chosen.is_sorted() && chosen.iter().all(|number| *number < 1000));
        assert_eq!(chosen, draws(0).below(1000, 6, &[999, 0, 5000, 7, 8]));
        assert_ne!(chosen, draws(4).below(1000, 6, &[999, 0, 5000, 7, 8]));
        assert_eq!(draws(0).below(3, 6, &[]), [0, 1, 2]);
    }

    #[test]
    fn a_replacement_is_another_token_of_the_vocabulary() {
        let mut draws = Draws::new(1, ProofId::Cached, Segment { start: 0, ids: &[] }, 2);
        for id in [0, 1, 1, 0] {
            assert_eq!(draws.token_other_than(id), 1 - id);
        }
    }
}
