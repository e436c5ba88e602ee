//! The generator: one token at a time, with the cache or without, past the end of the context.

use std::num::NonZeroUsize;

use tril_infer::{
    CacheMode, Distribution, GenerateOptions, GeneratedToken, Generator, InferError, SamplerConfig, choose,
};
use tril_model::{Gpt, GptConfig};

use crate::support::*;

const MAX_TOKENS: usize = 90;

fn options() -> GenerateOptions {
    GenerateOptions {
        sampler: SamplerConfig { seed: 5, ..SamplerConfig::default() },
        max_tokens: MAX_TOKENS,
        ..GenerateOptions::default()
    }
}

fn steps(gpt: &Gpt, prompt: &[u32], options: GenerateOptions) -> Vec<GeneratedToken> {
    let generator = Generator::new(gpt, prompt, options).expect("a sound prompt");
    generator.collect::<Result<_, InferError>>().expect("sound logits")
}

fn tokens(gpt: &Gpt, prompt: &[u32], options: GenerateOptions) -> Vec<u32> {
    steps(gpt, prompt, options).iter().map(|step| step.sampled.token).collect()
}

#[test]
fn the_same_seed_gives_the_same_tokens_with_the_cache_and_without_past_context_and_window() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            for prompt in [&[1][..], &[3, 1, 4, 1, 5, 9, 2, 6]] {
                let cached = tokens(&gpt, prompt, options());
                let recomputed = tokens(&gpt, prompt, GenerateOptions { cache: CacheMode::Recompute, ..options() });
                assert_eq!(cached, recomputed, "{device_name}, {name}");
                assert_eq!(cached.len(), MAX_TOKENS);
            }
        }
    }
}

#[test]
fn a_full_context_loses_its_oldest_half_and_an_endless_one_nothing() {
    let (_, device) = devices().remove(0);
    let learned = model(gpt2_config(), &device); // 24 positions
    let dropped: Vec<(usize, usize)> = steps(&learned, &[1, 2], options())
        .iter()
        .filter(|step| step.dropped > 0)
        .map(|step| (step.position, step.dropped))
        .collect();
    assert_eq!(dropped, [(25, 12), (37, 12), (49, 12), (61, 12), (73, 12), (85, 12)]);
    let endless = model(GptConfig { window: 5, ..llama_config() }, &device);
    assert!(steps(&endless, &[1, 2], options()).iter().all(|step| step.dropped == 0));
}

#[test]
fn after_an_overflow_tokens_follow_from_the_newer_half_alone() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    let prompt: Vec<u32> = some_ids(1, 25, 17).iter().map(|id| *id as u32).collect(); // one too many
    let greedy = GenerateOptions { sampler: SamplerConfig { temperature: 0.0, ..options().sampler }, ..options() };
    let options = GenerateOptions { max_tokens: 11, ..greedy };
    assert_eq!(tokens(&gpt, &prompt, options.clone()), tokens(&gpt, &prompt[12..], options));
}

#[test]
fn greedy_decoding_ignores_the_seed_and_drawing_does_not() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let with = |temperature, seed| {
        let sampler = SamplerConfig { temperature, seed, ..SamplerConfig::default() };
        tokens(&gpt, &[1, 2, 3], GenerateOptions { sampler, max_tokens: 20, ..options() })
    };
    assert_eq!(with(0.0, 1), with(0.0, 2));
    assert_ne!(with(1.0, 1), with(1.0, 2));
    assert_eq!(with(1.0, 1), with(1.0, 1));
}

#[test]
fn samples_of_one_seed_differ_and_each_can_be_made_alone() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let sample = |sample_index| tokens(&gpt, &[1], GenerateOptions { sample_index, max_tokens: 20, ..options() });
    assert_ne!(sample(0), sample(1));
    assert_eq!(sample(1), sample(1));
}

#[test]
fn generation_ends_before_the_stop_token() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let all = tokens(&gpt, &[1], options());
    let stop = all[7];
    let first = all.iter().position(|token| *token == stop).expect("it is among them");
    assert_eq!(tokens(&gpt, &[1], GenerateOptions { stop_token: Some(stop), ..options() }), all[..first]);
}

#[test]
fn a_prompt_longer_than_a_prefill_chunk_or_the_context_is_taken_whole_or_cut_to_fit() {
    let (_, device) = devices().remove(0);
    let prompt: Vec<u32> = some_ids(1, 700, 17).iter().map(|id| *id as u32).collect();
    for config in [gpt2_config(), GptConfig { window: 5, vocab_size: 17, ..llama_config() }] {
        let gpt = model(config, &device);
        let options = GenerateOptions { max_tokens: 5, ..options() };
        let cached = tokens(&gpt, &prompt, options.clone());
        assert_eq!(cached, tokens(&gpt, &prompt, GenerateOptions { cache: CacheMode::Recompute, ..options }));
    }
}

#[test]
fn the_size_of_the_chunks_in_which_a_prompt_enters_the_cache_changes_no_token() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let prompt: Vec<u32> = some_ids(1, 23, config.vocab_size).iter().map(|id| *id as u32).collect();
            let gpt = model(config, &device);
            let in_chunks_of = |chunk: usize| -> Vec<GeneratedToken> {
                let generator = Generator::new(&gpt, &prompt, options()).expect("a sound prompt");
                let generator = generator.with_prefill_chunk(NonZeroUsize::new(chunk).expect("not zero"));
                generator.collect::<Result<_, InferError>>().expect("sound logits")
            };
            let whole = in_chunks_of(23);
            let tokens =
                |steps: &[GeneratedToken]| -> Vec<u32> { steps.iter().map(|step| step.sampled.token).collect() };
            for chunk in [1, 2, 5, 22, 1000] {
                let found = in_chunks_of(chunk);
                assert_eq!(tokens(&found), tokens(&whole), "{device_name}, {name}, chunks of {chunk}");
                // Probabilities to the last bit, which only the CPU promises.
                assert!(device_name != "cpu" || found == whole, "{name}, chunks of {chunk}");
            }
        }
    }
}

#[test]
fn penalties_look_at_the_whole_history_or_at_the_last_tokens_of_it() {
    let device = devices().remove(0).1;
    let gpt = model(GptConfig { window: 5, ..llama_config() }, &device);
    for penalty_last_n in [0, 1, 6, 500] {
        let penalties = SamplerConfig {
            repetition_penalty: 1.2,
            frequency_penalty: 0.1,
            penalty_last_n,
            seed: 5,
            ..SamplerConfig::default()
        };
        let options = GenerateOptions { sampler: penalties, max_tokens: 200, ..options() };
        let prompt: Vec<u32> = some_ids(1, 12, 19).iter().map(|id| *id as u32).collect();
        let made = steps(&gpt, &prompt, options.clone());
        let text: Vec<u32> = prompt.iter().copied().chain(made.iter().map(|step| step.sampled.token)).collect();
        let ids: Vec<i32> = text.iter().map(|id| *id as i32).collect();
        let logits = values(gpt.forward(input(&ids, 1, &device)));
        for (step, row) in made.iter().zip(logits.chunks_exact(19).skip(prompt.len() - 1)) {
            let chosen = choose(row, &text[..step.position], &options.sampler, 0, step.position).expect("sound logits");
            assert_eq!(
                (step.sampled.token, &step.sampled.cdf_interval),
                (chosen.token, &chosen.cdf_interval),
                "span {penalty_last_n}"
            );
        }
    }
}

/// How many tokens the generator makes in the test below: hundreds of windows.
const LONG: usize = 3000;

#[test]
fn what_is_generated_past_hundreds_of_windows_follows_from_one_parallel_pass_over_the_whole_text() {
    let device = devices().remove(0).1;
    for window in [1, 5, 16] {
        for qk_norm in [false, true] {
            let gpt = model(GptConfig { window, qk_norm, ..llama_config() }, &device);
            let options = GenerateOptions { max_tokens: LONG, alternatives: 3, ..options() };
            let prompt = [3, 1, 4];
            let made = steps(&gpt, &prompt, options.clone());
            assert_eq!(made.len(), LONG);
            let text: Vec<u32> = prompt.into_iter().chain(made.iter().map(|step| step.sampled.token)).collect();
            let ids: Vec<i32> = text.iter().map(|id| *id as i32).collect();
            let logits = values(gpt.forward(input(&ids[..text.len() - 1], 1, &device)));
            let rows = logits.chunks_exact(gpt.config().vocab_size).skip(prompt.len() - 1);
            for (step, row) in made.iter().zip(rows) {
                let distribution = Distribution::new(row, &[], &options.sampler, step.position).expect("sound logits");
                let sampled =
                    choose(row, &[], &options.sampler, options.sample_index, step.position).expect("sound logits");
                // Equal to the last bit, all of it; the position takes part through the draw.
                assert_eq!(step.sampled, sampled);
                assert_eq!(step.alternatives, distribution.top(3), "window {window}, position {}", step.position);
            }
        }
    }
}

#[test]
fn an_empty_prompt_and_an_unknown_token_are_refused() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    assert!(matches!(Generator::new(&gpt, &[], options()).err(), Some(InferError::EmptyPrompt)));
    assert!(matches!(Generator::new(&gpt, &[17], options()).err(), Some(InferError::UnknownToken { id: 17, .. })));
}
