//! Guesses change no token: whoever guesses, and however well, what comes out is what comes out without, to the last
//! number of it.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use burn::tensor::Device;
use proptest::prelude::*;
use tril_infer::{
    BatchGenerator, CacheMode, DraftTally, Draftable, Drafter, Event, FinishReason, GenerateOptions, GeneratedToken,
    InferError, Lookup, MAX_GUESSES, ModelDrafter, Overflow, SamplerConfig,
};
use tril_model::{Gpt, GptConfig};

use crate::support::*;

/// What became of one sequence: its tokens with all that is told of them, how it ended, and what can be continued.
#[derive(Debug, Clone, PartialEq, Default)]
struct Told {
    tokens: Vec<GeneratedToken>,
    finish: Option<(FinishReason, Option<GeneratedToken>)>,
    kept: Vec<u32>,
}

/// A guesser for tests, which knows how texts go on without guesses.
#[derive(Debug, Clone)]
enum Knowing {
    /// Every guess is right.
    Oracle(Vec<Vec<u32>>),
    /// Every guess is wrong.
    Liar(Vec<Vec<u32>>),
    /// More than is asked for, right and wrong by turns, and ids that there are not.
    Mad(Vec<Vec<u32>>),
}

impl Drafter for Knowing {
    fn guess(&mut self, sequences: &[Draftable<'_>]) -> Result<Vec<Vec<u32>>, InferError> {
        let guess = |sequence: &Draftable<'_>| {
            let (Self::Oracle(texts) | Self::Liar(texts) | Self::Mad(texts)) = &*self;
            let rest = texts[sequence.number].iter().skip(sequence.position);
            match self {
                Self::Oracle(_) => rest.take(sequence.most).copied().collect(),
                Self::Liar(_) => rest.map(|id| id ^ 1).chain([0; MAX_GUESSES]).take(sequence.most).collect(),
                Self::Mad(_) => {
                    let odd = |(place, id): (usize, &u32)| match (sequence.position + place) % 5 {
                        4 => u32::MAX,
                        3 => id ^ 1,
                        _ => *id,
                    };
                    rest.enumerate().map(odd).chain([7, u32::MAX, 3, 3]).collect()
                }
            }
        };
        Ok(sequences.iter().map(guess).collect())
    }

    fn judged(&mut self, _sequence: usize, offered: usize, kept: usize) {
        assert!(offered > 0 && kept <= offered);
        match self {
            Self::Oracle(_) => assert_eq!(kept, offered),
            Self::Liar(_) => assert_eq!(kept, 0),
            Self::Mad(_) => {}
        }
    }

    fn forget(&mut self, _sequence: usize) {}
}

/// Lets all sequences grow to their ends. One that is going is taken out when it has so many tokens, if that is asked for.
fn run(
    gpt: &Gpt,
    prompts: &[Vec<u32>],
    options: &GenerateOptions,
    cut: Option<usize>,
    drafter: Option<Box<dyn Drafter>>,
) -> (Vec<Told>, DraftTally) {
    let chunk = NonZeroUsize::new(5).expect("not zero");
    let mut batch = BatchGenerator::new(gpt).with_prefill_chunk(chunk);
    if let Some(drafter) = drafter {
        batch = batch.with_drafter(drafter);
    }
    let mut told: BTreeMap<usize, Told> = BTreeMap::new();
    for (index, prompt) in prompts.iter().enumerate() {
        let options = GenerateOptions { sample_index: index as u64 / 2, ..options.clone() };
        let number = batch.add(prompt, options).expect("sound");
        told.insert(number, Told::default());
    }
    while !batch.is_empty() {
        for (number, event) in batch.step().expect("no device") {
            let told = told.get_mut(&number).expect("a sequence");
            match event {
                Event::Token(token) => {
                    told.tokens.push(token);
                    let kept = batch.prefix_cache(number).map_or(vec![], |cache| cache.tokens().to_vec());
                    let text: Vec<u32> = prompts[number].iter().copied().chain(ids(told)).collect();
                    let known = &text[..text.len() - 1];
                    assert!(kept.is_empty() || known.ends_with(&kept), "{kept:?} of {known:?}");
                    if cut == Some(told.tokens.len()) {
                        told.kept = batch.remove(number).map_or(vec![], |cache| cache.tokens().to_vec());
                    }
                }
                Event::Finished(finished) => {
                    told.finish = Some((finished.reason, finished.stop));
                    told.kept = finished.prefix_cache.map_or(vec![], |cache| cache.tokens().to_vec());
                }
                Event::Failed(error) => panic!("{error}"),
            }
        }
    }
    (told.into_values().collect(), batch.draft_tally())
}

fn ids(told: &Told) -> impl Iterator<Item = u32> {
    told.tokens.iter().map(|token| token.sampled.token)
}

/// A random model with its prompts and options.
#[derive(Debug, Clone)]
struct Case {
    config: GptConfig,
    prompts: Vec<Vec<u32>>,
    options: GenerateOptions,
    cut: Option<usize>,
    draft_context: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let sampler = (
        prop_oneof![Just(0.0), Just(0.3), Just(1.0), Just(1.7)],
        prop_oneof![Just(1.0), Just(1.4)],
        prop_oneof![Just(0.0), Just(0.6), Just(-0.5)],
        prop_oneof![Just(0_usize), Just(3), Just(9)],
        prop_oneof![Just(0_usize), Just(4)],
        prop_oneof![Just(1.0), Just(0.8)],
        prop_oneof![Just(0.0), Just(0.1)],
        0..4_u64,
    );
    let shape = (0..6_usize, 1..=4_usize, 1..=9_usize, any::<bool>(), 3..40_usize);
    let rest = (1..70_usize, prop::option::of(0..17_u32), any::<bool>(), prop::option::weighted(0.3, 1..20_usize));
    (shape, sampler, rest).prop_map(|(shape, sampler, rest)| {
        let (kind, count, length, same, draft_context) = shape;
        let (temperature, repetition_penalty, presence_penalty, penalty_last_n, top_k, top_p, min_p, seed) = sampler;
        let (max_tokens, stop_token, stops_when_full, cut) = rest;
        let config = all_configs().swap_remove(kind).1;
        let prompt = |number: usize| -> Vec<u32> {
            let number = if same { number / 2 } else { number };
            (0..length + 3 * number).map(|i| ((i * i + 5 * number) % 6) as u32).collect()
        };
        let options = GenerateOptions {
            sampler: SamplerConfig {
                temperature,
                repetition_penalty,
                presence_penalty,
                penalty_last_n,
                top_k,
                top_p,
                min_p,
                logit_bias: [(2, 3.0), (5, 2.0)].into(),
                banned: [1].into(),
                seed,
                ..SamplerConfig::default()
            },
            max_tokens,
            stop_token,
            on_overflow: if stops_when_full { Overflow::Stop } else { Overflow::Recompute },
            alternatives: 2,
            top_logprobs: 2,
            ..GenerateOptions::default()
        };
        Case { config, prompts: (0..count).map(prompt).collect(), options, cut, draft_context }
    })
}

/// A smaller model of the same vocabulary, with a context of its own.
fn small(config: &GptConfig, max_seq_len: usize) -> Gpt {
    let config = GptConfig { n_layers: 1, max_seq_len, window: config.window.min(3), ..config.clone() };
    model(config, &Device::flex())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_guesses_every_token_is_told_as_without_guesses(case in cases()) {
        let Case { config, prompts, options, cut, draft_context } = case;
        let gpt = model(config.clone(), &Device::flex());
        let (expected, none) = run(&gpt, &prompts, &options, cut, None);
        prop_assert_eq!(none, DraftTally::default());
        let texts = |told: &[Told]| -> Vec<Vec<u32>> {
            let stop = |told: &Told| told.finish.as_ref().and_then(|(_, stop)| Some(stop.as_ref()?.sampled.token));
            told.iter().zip(&prompts).map(|(told, prompt)| prompt.iter().copied().chain(ids(told)).chain(stop(told)).collect()).collect()
        };
        let texts = texts(&expected);
        let itself = || ModelDrafter::new(Arc::new(gpt.clone()), [1, 1_000_000_000]);
        let other = ModelDrafter::new(Arc::new(small(&config, draft_context)), [1, 1_000_000_000]);
        let drafters: Vec<(&str, Box<dyn Drafter>)> = vec![
            ("lookup", Box::new(Lookup::new())),
            ("one at a time", Box::new(itself().with_most(1))),
            ("itself", Box::new(itself())),
            ("another", Box::new(other)),
            ("oracle", Box::new(Knowing::Oracle(texts.clone()))),
            ("liar", Box::new(Knowing::Liar(texts.clone()))),
            ("mad", Box::new(Knowing::Mad(texts))),
        ];
        for (name, drafter) in drafters {
            let (found, tally) = run(&gpt, &prompts, &options, cut, Some(drafter));
            for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let tokens = found.tokens.iter().zip(&expected.tokens);
                let first = tokens.take_while(|(a, b)| a == b).count();
                prop_assert_eq!(found.tokens.get(first), expected.tokens.get(first), "{}, sequence {}", name, number);
                prop_assert_eq!(&found.finish, &expected.finish, "{}, sequence {}", name, number);
                prop_assert_eq!(&found.kept, &expected.kept, "{}, sequence {}", name, number);
            }
            prop_assert!(tally.kept <= tally.guesses && tally.passes <= tally.guesses, "{}: {:?}", name, tally);
            match name {
                "liar" => prop_assert_eq!(tally.kept, 0),
                // A text that was cut leaves guesses that nobody judged.
                "oracle" if cut.is_none() => prop_assert_eq!(tally.kept, tally.guesses),
                _ => {}
            }
        }
    }
}

#[test]
fn a_model_that_guesses_for_itself_is_right_at_any_temperature_while_their_contexts_are_the_same() {
    let gpt = model(llama_config(), &Device::flex());
    for temperature in [0.0, 0.8, 1.5] {
        let sampler = SamplerConfig { temperature, repetition_penalty: 1.2, ..SamplerConfig::default() };
        let options = GenerateOptions { sampler, max_tokens: 20, ..GenerateOptions::default() };
        let drafter = ModelDrafter::new(Arc::new(gpt.clone()), [1, 1_000_000_000]);
        let (told, tally) = run(&gpt, &[vec![1, 2, 3]], &options, None, Some(Box::new(drafter)));
        assert_eq!(told[0].tokens.len(), 20);
        assert!(tally.guesses > 10 && tally.kept == tally.guesses, "{temperature}: {tally:?}");
        assert!(tally.passes < 6, "several at a time: {tally:?}");
    }
}

#[test]
fn without_a_cache_nothing_is_guessed() {
    let gpt = model(gpt2_config(), &Device::flex());
    let options = GenerateOptions { cache: CacheMode::Recompute, max_tokens: 12, ..GenerateOptions::default() };
    let drafter = ModelDrafter::new(Arc::new(gpt.clone()), [1, 1_000_000_000]);
    let (_, tally) = run(&gpt, &[vec![1, 2, 3]], &options, None, Some(Box::new(drafter)));
    assert_eq!(tally, DraftTally::default());
}
