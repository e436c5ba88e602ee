use std::sync::Mutex;

use super::*;

/// A model of some lines: the next token is the sum of all tokens, and after a 9 come no numbers. It takes down how
/// many positions each pass computed.
#[derive(Default)]
struct Sum {
    passes: Mutex<Vec<usize>>,
    limit: Option<usize>,
}

impl Sum {
    fn logits(&self, tokens: &[u32]) -> Vec<f32> {
        let next = tokens.iter().sum::<u32>() as usize % self.vocab_size();
        let bad = tokens.last() == Some(&9);
        (0..self.vocab_size()).map(|id| if bad { f32::NAN } else { f32::from(u8::from(id == next)) }).collect()
    }

    fn took(&self) -> Vec<usize> {
        std::mem::take(&mut *self.passes.lock().expect("one thread"))
    }
}

impl LanguageModel for Sum {
    type Cache = Vec<u32>;

    fn vocab_size(&self) -> usize {
        10
    }

    fn context_limit(&self) -> Option<usize> {
        self.limit
    }

    fn new_cache(&self) -> Vec<u32> {
        Vec::new()
    }

    fn position(&self, cache: &Vec<u32>) -> usize {
        cache.len()
    }

    fn rewind(&self, cache: &mut Vec<u32>, position: usize) -> bool {
        cache.truncate(position);
        true
    }

    fn last_logits(&self, ids: &[u32], cache: Option<&mut Vec<u32>>) -> Result<Vec<f32>, InferError> {
        self.passes.lock().expect("one thread").push(ids.len());
        let Some(cache) = cache else { return Ok(self.logits(ids)) };
        cache.extend_from_slice(ids);
        Ok(self.logits(cache))
    }

    fn decode(&self, ids: &[u32], caches: &mut [Vec<u32>]) -> Result<Vec<f32>, InferError> {
        self.passes.lock().expect("one thread").push(ids.len());
        let rows = ids.iter().zip(caches).flat_map(|(id, cache)| {
            cache.push(*id);
            self.logits(cache)
        });
        Ok(rows.collect())
    }
}

fn greedy(max_tokens: usize) -> GenerateOptions {
    let sampler = crate::SamplerConfig { temperature: 0.0, ..Default::default() };
    GenerateOptions { sampler, max_tokens, ..GenerateOptions::default() }
}

/// What a step tells: each sequence's number with its token, or with why it has none.
fn step(batch: &mut BatchGenerator<&Sum>) -> Vec<(usize, Result<u32, String>)> {
    let told = |event| match event {
        Event::Token(token) => Ok(token.sampled.token),
        Event::Finished(finished) => Err(format!("{:?}", finished.reason)),
        Event::Failed(error) => Err(error.to_string()),
    };
    batch.step().expect("no device").into_iter().map(|(number, event)| (number, told(event))).collect()
}

#[test]
fn a_long_prompt_enters_in_chunks_between_the_steps_of_the_others() {
    let model = Sum::default();
    let mut batch = BatchGenerator::new(&model).with_prefill_chunk(NonZeroUsize::new(4).expect("not zero"));
    batch.add(&[1], greedy(9)).expect("sound");
    assert_eq!(step(&mut batch), [(0, Ok(1))]);
    batch.add(&[1; 11], greedy(9)).expect("sound");
    model.took();
    assert_eq!(step(&mut batch), [(0, Ok(2))]);
    assert_eq!(step(&mut batch), [(0, Ok(4))]);
    assert_eq!(model.took(), [4, 1, 4, 1], "a chunk and a step of the first, twice");
    assert_eq!(step(&mut batch), [(0, Ok(8)), (1, Ok(1))]);
    assert_eq!(model.took(), [3, 1]);
    assert_eq!(step(&mut batch), [(0, Ok(6)), (1, Ok(2))]);
    assert_eq!(model.took(), [2], "both in one pass");
}

#[test]
fn short_prompts_enter_together_and_samples_of_one_prompt_once() {
    let model = Sum::default();
    let mut batch = BatchGenerator::new(&model).with_prefill_chunk(NonZeroUsize::new(4).expect("not zero"));
    for prompt in [&[1, 1][..], &[2, 2], &[3; 5], &[3; 5]] {
        batch.add(prompt, greedy(3)).expect("sound");
    }
    assert_eq!(step(&mut batch), [(0, Ok(2)), (1, Ok(4))]);
    assert_eq!(step(&mut batch), [(0, Ok(4)), (1, Ok(8))]);
    assert_eq!(step(&mut batch), [(0, Ok(8)), (1, Ok(6)), (2, Ok(5)), (3, Ok(5))]);
    assert_eq!(model.took(), [2, 2, 4, 2, 3], "the fourth computes nothing");
}

#[test]
fn samples_of_one_prompt_share_it_and_nothing_after_it() {
    let model = Sum { limit: Some(4), ..Sum::default() };
    let mut batch = BatchGenerator::new(&model);
    for _ in 0..2 {
        batch.add(&[1, 2], greedy(9)).expect("sound");
    }
    let mut computed = Vec::new();
    for _ in 0..4 {
        for (_, event) in batch.step().expect("no device") {
            let Event::Token(token) = event else { panic!("{event:?}") };
            computed.push((token.context, token.computed));
        }
    }
    // The fourth token does not fit: half of the context goes, and both compute what is left, though it is the same.
    assert_eq!(computed, [(2, 2), (2, 0), (3, 1), (3, 1), (4, 1), (4, 1), (3, 3), (3, 3)]);
}

#[test]
fn a_sequence_that_pauses_computes_nothing_and_goes_on_with_the_same_tokens() {
    let model = Sum::default();
    let mut batch = BatchGenerator::new(&model);
    for _ in 0..2 {
        batch.add(&[1, 2], greedy(9)).expect("sound");
    }
    assert_eq!(step(&mut batch), [(0, Ok(3)), (1, Ok(3))]);
    assert!(batch.pause(1) && !batch.pause(2));
    model.took();
    assert_eq!([step(&mut batch), step(&mut batch)].concat(), [(0, Ok(6)), (0, Ok(2))]);
    assert_eq!(model.took(), [1, 1]);
    assert!(batch.resume(1) && batch.is_going());
    assert_eq!(step(&mut batch), [(0, Ok(4)), (1, Ok(6))]);
    assert!(batch.pause(0) && batch.pause(1) && !batch.is_going());
    assert_eq!(step(&mut batch), []);
    assert_eq!(batch.prefix_cache(0).expect("a cache").tokens(), [1, 2, 3, 6, 2]);
}

#[test]
fn who_begins_as_a_paused_one_does_does_not_wait_for_it() {
    let model = Sum::default();
    let mut batch = BatchGenerator::new(&model).with_prefill_chunk(NonZeroUsize::new(2).expect("not zero"));
    batch.add(&[1, 1, 1], greedy(9)).expect("sound");
    assert_eq!(step(&mut batch), []);
    batch.pause(0);
    batch.add(&[1, 1, 1], greedy(9)).expect("sound");
    assert_eq!(step(&mut batch), []);
    assert_eq!(step(&mut batch), [(1, Ok(3))]);
    batch.resume(0);
    assert_eq!(step(&mut batch), [(0, Ok(3)), (1, Ok(6))]);
}

#[test]
fn a_sequence_whose_logits_are_bad_fails_alone() {
    let model = Sum::default();
    let mut batch = BatchGenerator::new(&model);
    batch.add(&[4, 5], greedy(9)).expect("sound");
    batch.add(&[1], greedy(2)).expect("sound");
    batch.add(&[3], GenerateOptions { cache: CacheMode::Recompute, ..greedy(9) }).expect("sound");
    assert_eq!(step(&mut batch), [(0, Ok(9)), (1, Ok(1)), (2, Ok(3))]);
    let events = step(&mut batch);
    assert!(events[0].1.as_ref().is_err_and(|error| error.contains("position 3 hold NaN")), "{events:?}");
    assert_eq!(events[1..], [(1, Ok(2)), (2, Ok(6))]);
    assert_eq!(step(&mut batch), [(1, Err("MaxTokens".into())), (2, Ok(2))]);
    assert_eq!(batch.len(), 1);
}
