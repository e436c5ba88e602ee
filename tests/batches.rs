//! Many sequences at once: ragged lengths, some that end early, some that join late, each as if it were alone.

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor};
use tril_infer::{
    BatchGenerator, CacheMode, Event, FinishReason, GenerateOptions, GeneratedToken, Generator, InferError, Overflow,
    SamplerConfig,
};
use tril_model::{ForwardContext, Gpt};

use crate::support::*;

/// Ids that every small model has.
fn ids(len: usize, salt: usize) -> Vec<u32> {
    (0..len).map(|i| ((i * i * 7 + i * 3 + salt) % 17) as u32).collect()
}

fn row(ids: &[u32], rows: usize, device: &Device) -> Tensor<2, Int> {
    input(&ids.iter().map(|id| *id as i32).collect::<Vec<_>>(), rows, device)
}

fn options(sample_index: u64, max_tokens: usize) -> GenerateOptions {
    let sampler = SamplerConfig { seed: 5, ..SamplerConfig::default() };
    GenerateOptions { sampler, sample_index, max_tokens, ..GenerateOptions::default() }
}

/// All steps of a sequence by itself, and why it ended.
fn alone(gpt: &Gpt, prompt: &[u32], options: GenerateOptions) -> (Vec<GeneratedToken>, Option<FinishReason>) {
    let mut generator = Generator::new(gpt, prompt, options).expect("a sound prompt");
    let steps = generator.by_ref().collect::<Result<_, InferError>>().expect("sound logits");
    (steps, generator.finished().map(|finished| finished.reason))
}

/// What the model says of a step; how many positions it computed may differ in company.
fn said(steps: &[GeneratedToken]) -> Vec<(u32, u64, usize, usize, usize)> {
    steps.iter().map(|s| (s.sampled.token, s.sampled.logprob.to_bits(), s.position, s.context, s.dropped)).collect()
}

#[test]
fn rows_at_different_positions_have_the_bits_that_they_have_alone() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            let texts = [ids(3, 1), ids(9, 2), ids(1, 3), ids(14, 4)];
            let mut caches: Vec<_> = texts.iter().map(|_| gpt.new_cache(1)).collect();
            let mut separate = caches.clone();
            for (text, cache) in texts.iter().zip(caches.iter_mut().zip(&mut separate)) {
                for cache in [cache.0, cache.1] {
                    gpt.forward_with(row(text, 1, &device), ForwardContext::cached(cache));
                }
            }
            for step in 0..3 {
                let next: Vec<u32> = (0..4).map(|i| (7 * i + step) % 17).collect();
                let pass = ForwardContext { caches: &mut caches, ..ForwardContext::default() };
                let together = gpt.forward_with(row(&next, 4, &device), pass); // [4, 1, vocab_size]
                for (i, cache) in separate.iter_mut().enumerate() {
                    let expected =
                        values(gpt.forward_with(row(&next[i..=i], 1, &device), ForwardContext::cached(cache)));
                    let found = values(together.clone().narrow(0, i, 1));
                    let difference = relative_difference(&found, &expected);
                    let tolerance = if device_name == "cpu" { 0.0 } else { 1e-4 };
                    assert!(difference <= tolerance, "{device_name}, {name}, row {i}, step {step}: {difference}");
                }
            }
        }
    }
}

#[test]
fn sequences_that_join_late_and_end_early_are_what_they_are_alone() {
    for (device_name, device) in devices().into_iter().take(1) {
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            let prompts = [vec![1], ids(9, 2), ids(9, 2), ids(40, 3), vec![7, 7], vec![5]];
            let lengths = [50, 3, 30, 25, 0, 40];
            let mut batch = BatchGenerator::new(&gpt);
            let mut waiting = prompts.iter().zip(lengths).enumerate();
            let mut found: BTreeMap<usize, (Vec<GeneratedToken>, Option<FinishReason>)> = BTreeMap::new();
            for round in 0.. {
                // One at the start, and one more every other step.
                if round % 2 == 0
                    && let Some((number, (prompt, len))) = waiting.next()
                {
                    assert_eq!(batch.add(prompt, options(number as u64, len)).expect("a sound prompt"), number);
                }
                if batch.is_empty() {
                    break;
                }
                for (number, event) in batch.step().expect("sound logits") {
                    let (steps, finish) = found.entry(number).or_default();
                    match event {
                        Event::Token(step) => steps.push(step),
                        Event::Finished(finished) => *finish = Some(finished.reason),
                        Event::Failed(error) => panic!("{error}"),
                    }
                }
            }
            for (number, (prompt, len)) in prompts.iter().zip(lengths).enumerate() {
                let (steps, finish) = alone(&gpt, prompt, options(number as u64, len));
                assert_eq!(steps.len(), len);
                let (in_company, finish_in_company) = &found[&number];
                assert_eq!(said(in_company), said(&steps), "{device_name}, {name}, {number}");
                assert_eq!(
                    (*finish_in_company, finish),
                    (Some(FinishReason::MaxTokens), Some(FinishReason::MaxTokens))
                );
            }
        }
    }
}

#[test]
fn samples_of_one_prompt_compute_it_once_and_differ_by_their_number() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    let mut batch = BatchGenerator::new(&gpt);
    for sample in 0..3 {
        batch.add(&ids(9, 2), options(sample, 5)).expect("a sound prompt");
    }
    let computed = |events: Vec<(usize, Event)>| -> Vec<usize> {
        let step = |(_, event)| if let Event::Token(step) = event { Some(step.computed) } else { None };
        events.into_iter().filter_map(step).collect()
    };
    assert_eq!(computed(batch.step().expect("sound")), [9, 0, 0]);
    assert_eq!(computed(batch.step().expect("sound")), [1, 1, 1]);
    let tokens = |sample| said(&alone(&gpt, &ids(9, 2), options(sample, 20)).0);
    assert_ne!(tokens(0), tokens(1));
}

#[test]
fn a_full_context_is_cut_or_ends_the_sequence_as_the_options_say() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    let limit = gpt.config().max_seq_len;
    for cache in [CacheMode::Cached, CacheMode::Recompute] {
        let options = GenerateOptions { cache, on_overflow: Overflow::Stop, ..options(0, 10 * limit) };
        let (steps, finish) = alone(&gpt, &[1, 2, 3], options.clone());
        assert_eq!(finish, Some(FinishReason::ContextFull));
        // The last token is predicted from a full context.
        assert_eq!(steps.last().map(|step| (step.context, step.position)), Some((limit, limit)));
        assert!(steps.iter().all(|step| step.dropped == 0));
        let cut = GenerateOptions { on_overflow: Overflow::Recompute, max_tokens: 2 * limit, ..options.clone() };
        let (longer, finish) = alone(&gpt, &[1, 2, 3], cut.clone());
        assert_eq!(finish, Some(FinishReason::MaxTokens));
        assert_eq!(said(&longer[..steps.len()]), said(&steps));
        assert_eq!(longer[steps.len()].dropped, limit / 2);
        // A prompt that is too long is cut, and that is said; or it is refused by ending at once.
        let long = ids(limit + 1, 8);
        assert_eq!(alone(&gpt, &long, cut).0[0].dropped, limit / 2);
        assert_eq!(alone(&gpt, &long, options), (vec![], Some(FinishReason::ContextFull)));
    }
}

#[test]
fn a_text_continued_from_what_is_remembered_is_that_of_a_fresh_start() {
    for (device_name, device) in devices().into_iter().take(1) {
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            let prompt = ids(20, 2);
            let mut first = Generator::new(&gpt, &prompt, options(0, 30)).expect("sound");
            let written: Vec<u32> = first.by_ref().map(|step| step.expect("sound").sampled.token).collect();
            let remembered = first.into_prefix_cache().expect("it has a cache");
            let text = [&prompt[..], &written].concat();
            // Going on, going back a little, another ending, going back to before the prompt's end, another text.
            let other = ids(9, 77);
            let turns = [
                [&text[..], &other].concat(),
                text[..text.len() - 3].to_vec(),
                [&text[..40], &other].concat(),
                prompt[..7].to_vec(),
                other.clone(),
                text.clone(),
            ];
            for (turn, text) in turns.iter().enumerate() {
                let resumed = Generator::resume(&gpt, text, options(1, 30), Some(remembered.clone())).expect("sound");
                let steps: Vec<GeneratedToken> = resumed.map(|step| step.expect("sound")).collect();
                let fresh = alone(&gpt, text, options(1, 30)).0;
                assert_eq!(said(&steps), said(&fresh), "{device_name}, {name}, turn {turn}");
                let limit = gpt.config().context_limit();
                if turn == 0 && limit.is_none_or(|limit| text.len() <= limit) {
                    assert!(steps[0].computed <= other.len() + 1, "{name}: {} computed", steps[0].computed);
                }
            }
        }
    }
}

#[test]
fn the_stop_token_ends_a_sequence_and_tells_how_it_was_drawn() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    let (steps, _) = alone(&gpt, &[1], options(0, 40));
    let stop = &steps[25];
    let first = steps.iter().position(|step| step.sampled.token == stop.sampled.token).expect("it is there");
    let options = GenerateOptions { stop_token: Some(stop.sampled.token), ..options(0, 40) };
    let mut generator = Generator::new(&gpt, &[1], options).expect("sound");
    assert_eq!(generator.by_ref().count(), first);
    let finished = generator.finished().expect("it has finished");
    assert_eq!(finished.reason, FinishReason::EndOfText);
    assert_eq!(finished.stop.as_ref(), Some(&steps[first]));
    assert!(generator.next().is_none());
}

#[test]
fn alternatives_are_the_most_probable_tokens_and_interval_and_draw_agree_with_them() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    let options = GenerateOptions { alternatives: 4, ..options(0, 30) };
    for step in alone(&gpt, &[1], options).0 {
        assert_eq!(step.alternatives.len(), 4);
        assert!(step.alternatives.is_sorted_by(|a, b| a.1 >= b.1));
        let sampled = &step.sampled;
        assert!(sampled.cdf_interval.contains(&sampled.uniform.expect("it was drawn")));
        let share = sampled.cdf_interval.end - sampled.cdf_interval.start;
        if let Some((_, probability)) = step.alternatives.iter().find(|(token, _)| *token == sampled.token) {
            // The settings leave the model's own distribution as it is.
            assert!((probability - share).abs() < 1e-12 && (probability.ln() - sampled.logprob).abs() < 1e-9);
        }
    }
}
