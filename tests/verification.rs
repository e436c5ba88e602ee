//! What was generated one token at a time holds in one parallel pass, and what was changed afterwards does not.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use tril_infer::{CacheMode, FinishReason, GenerateOptions, Generator, InferError, Overflow, SamplerConfig};
use tril_model::{Gpt, GptConfig};
use tril_prove::{BareText, Fault, TextGrade, TokenClaim, Tolerance, Transcript, Verdict, Verification, grade, verify};

use crate::support::*;

const MAX_TOKENS: usize = 60;

fn options() -> GenerateOptions {
    let sampler = SamplerConfig { seed: 5, ..SamplerConfig::default() };
    GenerateOptions { sampler, sample_index: 3, max_tokens: MAX_TOKENS, ..GenerateOptions::default() }
}

/// What a model makes of a prompt, and how.
fn transcript(gpt: &Gpt, prompt: &[u32], options: GenerateOptions) -> Transcript {
    let mut generator = Generator::new(gpt, prompt, options.clone()).expect("a sound prompt");
    let steps: Vec<_> = (&mut generator).collect::<Result<_, InferError>>().expect("sound logits");
    let finished = generator.finished().expect("it finished");
    Transcript {
        prompt: prompt.to_vec(),
        options,
        tokens: steps.iter().map(TokenClaim::from).collect(),
        finish: finished.reason,
        stop: finished.stop.as_ref().map(TokenClaim::from),
    }
}

fn check(gpt: &Gpt, transcript: &Transcript, tolerance: Tolerance) -> Verification {
    verify(gpt, transcript, tolerance).expect("it can be checked")
}

fn samplers() -> Vec<SamplerConfig> {
    let base = || SamplerConfig { seed: 5, ..SamplerConfig::default() };
    vec![
        base(),
        SamplerConfig { temperature: 0.0, frequency_penalty: 0.4, penalty_last_n: 9, ..base() },
        SamplerConfig { temperature: 1.4, top_k: 7, logit_bias: BTreeMap::from([(3, 1.5)]), ..base() },
        SamplerConfig { top_p: 0.8, min_p: 0.02, banned: [2, 5].into(), ..base() },
        SamplerConfig { typical_p: 0.7, repetition_penalty: 1.3, presence_penalty: 0.2, ..base() },
    ]
}

#[test]
fn what_was_made_token_by_token_holds_in_one_pass_a_context_whatever_the_model_the_cache_and_the_settings() {
    for (device_name, device) in devices() {
        let tolerance = Tolerance::of(&device);
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            for (number, sampler) in samplers().into_iter().enumerate() {
                for cache in [CacheMode::Cached, CacheMode::Recompute] {
                    let options = GenerateOptions { sampler: sampler.clone(), cache, ..options() };
                    let report = check(&gpt, &transcript(&gpt, &[3, 1, 4], options), tolerance);
                    let what = format!("{device_name}, {name}, sampler {number}, {cache:?}: {report:?}");
                    assert!(report.verdict() != Verdict::Fail && report.checked == MAX_TOKENS, "{what}");
                    let limit = gpt.config().context_limit();
                    // 60 tokens after 3: the first `limit − 2` of them, and then half a context at a time.
                    let contexts = limit.map_or(1, |limit| 1 + (MAX_TOKENS - (limit - 2)).div_ceil(limit / 2));
                    assert_eq!(report.contexts, contexts, "{what}");
                    if tolerance == Tolerance::EqualBits {
                        assert_eq!((report.max_logprob_difference, report.undecided), (0.0, 0), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn texts_longer_than_a_pass_and_vocabularies_larger_than_a_piece_hold_too() {
    let (_, device) = devices().remove(0);
    let endless = model(GptConfig { window: 5, ..llama_config() }, &device);
    let long = transcript(&endless, &[1], GenerateOptions { max_tokens: 2300, ..options() });
    let report = check(&endless, &long, Tolerance::EqualBits);
    assert!(report.verdict() != Verdict::Fail && (report.checked, report.contexts) == (2300, 1), "{report:?}");
    let wide = model(GptConfig { vocab_size: 70_000, max_seq_len: 128, ..llama_config() }, &device);
    let report = check(&wide, &transcript(&wide, &[1, 69_999], options()), Tolerance::EqualBits);
    assert!(report.verdict() != Verdict::Fail && report.checked == MAX_TOKENS, "{report:?}");
}

#[test]
fn a_prompt_longer_than_the_context_is_cut_as_it_was() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device); // 24 positions
    let prompt: Vec<u32> = some_ids(1, 50, 17).iter().map(|id| *id as u32).collect();
    let report = check(&gpt, &transcript(&gpt, &prompt, options()), Tolerance::EqualBits);
    assert!(report.verdict() != Verdict::Fail && report.checked == MAX_TOKENS, "{report:?}");
}

/// The first failure of a transcript after a change.
fn fault(
    gpt: &Gpt,
    transcript: &Transcript,
    change: impl Fn(&mut Transcript),
) -> (Option<(usize, Fault)>, Verification) {
    let mut changed = transcript.clone();
    change(&mut changed);
    let report = check(gpt, &changed, Tolerance::EqualBits);
    assert!(report.verdict() == Verdict::Fail, "{report:?}");
    (report.first_failure.as_ref().map(|failure| (failure.index, failure.fault)), report)
}

#[test]
fn whatever_is_changed_is_found_where_it_was_changed() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    let sampler = SamplerConfig { top_k: 12, repetition_penalty: 1.1, ..options().sampler };
    let sound = transcript(&gpt, &[3, 1, 4], GenerateOptions { sampler, ..options() });
    assert!(check(&gpt, &sound, Tolerance::EqualBits).verdict() != Verdict::Fail, "the premise");
    let first = |change: &dyn Fn(&mut Transcript)| fault(&gpt, &sound, change).0;
    let next = |value: f64| f64::from_bits(value.to_bits() + 1);

    assert_eq!(
        first(&|t| t.tokens[30].sampled.token = (t.tokens[30].sampled.token + 1) % 17),
        Some((30, Fault::Token))
    );
    assert_eq!(
        first(&|t| t.tokens[59].sampled.token = (t.tokens[59].sampled.token + 1) % 17),
        Some((59, Fault::Token))
    );
    assert_eq!(
        first(&|t| t.tokens[30].sampled.logprob = next(t.tokens[30].sampled.logprob)),
        Some((30, Fault::Logprob))
    );
    assert_eq!(
        first(&|t| t.tokens[30].sampled.uniform = t.tokens[30].sampled.uniform.map(next)),
        Some((30, Fault::Uniform))
    );
    assert_eq!(first(&|t| t.tokens[30].sampled.uniform = None), Some((30, Fault::Uniform)));
    assert_eq!(
        first(&|t| t.tokens[30].sampled.cdf_interval.end = next(t.tokens[30].sampled.cdf_interval.end)),
        Some((30, Fault::CdfInterval))
    );
    assert_eq!(first(&|t| t.tokens.swap(10, 11)), Some((10, Fault::Uniform)));
    assert_eq!(first(&|t| t.tokens.rotate_left(1)), Some((0, Fault::Uniform)));
    assert_eq!(first(&|t| t.options.sampler.seed += 1), Some((0, Fault::Uniform)));
    assert_eq!(first(&|t| t.options.sample_index += 1), Some((0, Fault::Uniform)));
    assert_eq!(first(&|t| t.options.sampler.temperature = 1.0 + 1e-9), Some((0, Fault::CdfInterval)));
    assert_eq!(first(&|t| t.options.sampler.temperature = 0.0), Some((0, Fault::Uniform)));
    assert!(first(&|t| t.options.sampler.top_k = 16).is_some_and(|(_, fault)| fault == Fault::CdfInterval));
    assert!(first(&|t| t.options.sampler.repetition_penalty = 1.2).is_some());
    assert!(first(&|t| t.options.sampler.penalty_last_n = 2).is_some());
    assert!(first(&|t| t.prompt[0] = 9).is_some_and(|(index, _)| index == 0));
    assert_eq!(
        first(&|t| t.options.stop_token = Some(t.tokens[30].sampled.token)).map(|(_, fault)| fault),
        Some(Fault::StopToken)
    );
    // 22 of them fit beside the prompt.
    let (found, report) = fault(&gpt, &sound, |t| t.options.on_overflow = Overflow::Stop);
    assert_eq!((found, report.unchecked), (Some((22, Fault::NoRoom)), 38));
    let (found, report) = fault(&gpt, &sound, |t| t.tokens[30].sampled.token = 17);
    assert_eq!((found, report.checked, report.unchecked), (Some((30, Fault::UnknownToken)), 30, 30));
}

#[test]
fn a_changed_token_makes_the_later_ones_fail_too_and_none_before() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let sound = transcript(&gpt, &[3, 1, 4], GenerateOptions { max_tokens: 20, ..options() });
    let (_, report) = fault(&gpt, &sound, |t| t.tokens[5].sampled.token = (t.tokens[5].sampled.token + 1) % 19);
    assert_eq!((report.checked, report.failed), (20, 15));
    let failure = report.first_failure.expect("it failed");
    assert_eq!(failure.position, 8);
    let expected = failure.expected.expect("what belongs there");
    assert_eq!(expected, sound.tokens[5].sampled);
}

#[test]
fn an_end_that_cannot_be_is_found() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let by_count = transcript(&gpt, &[1], options());
    let ending = |sound: &Transcript, change: &dyn Fn(&mut Transcript)| {
        let (first, report) = fault(&gpt, sound, change);
        (first.is_some(), report.ending.is_some())
    };
    assert_eq!(ending(&by_count, &|t| t.tokens.truncate(t.tokens.len() - 1)), (false, true));
    assert_eq!(ending(&by_count, &|t| t.options.max_tokens -= 1), (false, true));
    assert_eq!(ending(&by_count, &|t| t.options.max_tokens += 1), (false, true));
    assert_eq!(ending(&by_count, &|t| t.finish = FinishReason::ContextFull), (false, true));
    assert_eq!(ending(&by_count, &|t| t.finish = FinishReason::EndOfText), (false, true));

    let stop_token = Some(by_count.tokens[7].sampled.token);
    let by_token = transcript(&gpt, &[1], GenerateOptions { stop_token, ..options() });
    assert_eq!(by_token.finish, FinishReason::EndOfText, "the premise");
    let report = check(&gpt, &by_token, Tolerance::EqualBits);
    assert!(report.verdict() != Verdict::Fail && report.checked == by_token.tokens.len() + 1, "{report:?}");
    assert!(!by_token.tokens.is_empty(), "the premise");
    assert_eq!(
        ending(&by_token, &|t| t.tokens.truncate(t.tokens.len() - 1)),
        (true, false),
        "the stop token's draw is of its place"
    );
    assert_eq!(ending(&by_token, &|t| t.stop = None), (false, true));
    assert_eq!(ending(&by_token, &|t| t.options.stop_token = None), (true, true));
    assert_eq!(ending(&by_token, &|t| t.options.max_tokens = t.tokens.len()), (false, true));
    let mut as_text = by_token.clone();
    as_text.tokens.extend(as_text.stop.take());
    as_text.finish = FinishReason::Interrupted;
    let (found, _) = fault(&gpt, &as_text, |_| ());
    assert_eq!(found, Some((by_token.tokens.len(), Fault::StopToken)));

    let full = GenerateOptions { on_overflow: Overflow::Stop, ..options() };
    let by_room = transcript(&gpt, &[1], full);
    assert_eq!((by_room.finish, by_room.tokens.len()), (FinishReason::ContextFull, 26), "the premise");
    assert!(check(&gpt, &by_room, Tolerance::EqualBits).verdict() != Verdict::Fail);
    assert_eq!(ending(&by_room, &|t| t.tokens.truncate(t.tokens.len() - 1)), (false, true));
    assert_eq!(ending(&by_room, &|t| t.finish = FinishReason::MaxTokens), (false, true));
}

#[test]
fn who_wanted_no_more_may_stop_anywhere() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let mut part = transcript(&gpt, &[1], options());
    part.tokens.truncate(9);
    part.finish = FinishReason::Interrupted;
    assert!(check(&gpt, &part, Tolerance::EqualBits).verdict() != Verdict::Fail);
}

#[test]
fn what_cannot_be_checked_is_an_error() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let sound = transcript(&gpt, &[1], options());
    let error = |change: &dyn Fn(&mut Transcript)| {
        let mut changed = sound.clone();
        change(&mut changed);
        verify(&gpt, &changed, Tolerance::EqualBits).expect_err("it cannot be checked")
    };
    assert!(matches!(error(&|t| t.prompt.clear()), InferError::EmptyPrompt));
    assert!(matches!(error(&|t| t.prompt[0] = 19), InferError::UnknownToken { id: 19, .. }));
    assert!(matches!(error(&|t| t.options.sampler.top_p = 2.0), InferError::Setting { field: "top_p", .. }));
}

/// The same model with every weight a little off, by other amounts.
fn nearly(gpt: &Gpt, share: f32) -> Gpt {
    struct Nudge(f32);
    impl ModuleMapper for Nudge {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 = -self.0 * 1.01;
            let (id, value, mapper) = param.consume();
            Param::from_mapped_value(id, value.mul_scalar(1.0 + self.0), mapper)
        }
    }
    gpt.clone().map(&mut Nudge(share))
}

#[test]
fn logits_that_differ_within_the_tolerance_fail_where_bits_are_toleranceed_and_nowhere_else() {
    let (_, device): (_, Device) = devices().remove(0);
    for config in [gpt2_config(), llama_config()] {
        let gpt = model(config, &device);
        let nearly = nearly(&gpt, 1e-6);
        for sampler in samplers() {
            let sound = transcript(&gpt, &[3, 1, 4], GenerateOptions { sampler, ..options() });
            assert!(check(&nearly, &sound, Tolerance::EqualBits).verdict() == Verdict::Fail);
            let report = check(&nearly, &sound, Tolerance::Within(1e-3));
            assert!(report.verdict() != Verdict::Fail && report.max_logprob_difference > 0.0, "{report:?}");
            assert!(report.undecided < 6, "{report:?}");
            let mut changed = sound.clone();
            changed.tokens[20].sampled.token = (changed.tokens[20].sampled.token + 1) % 17;
            let report = check(&nearly, &changed, Tolerance::Within(1e-3));
            assert_eq!(report.first_failure.as_ref().map(|failure| failure.index), Some(20), "{report:?}");
            let mut changed = sound.clone();
            changed.tokens[20].sampled.uniform =
                changed.tokens[20].sampled.uniform.map_or(Some(0.5), |draw| Some(draw + 1e-15));
            assert!(
                check(&nearly, &changed, Tolerance::Within(1e-3)).verdict() == Verdict::Fail,
                "draws do not depend on logits"
            );
        }
    }
}

/// The tokens alone, and how they are said to have been made.
fn bare(transcript: &Transcript) -> BareText {
    BareText {
        prompt: transcript.prompt.clone(),
        options: transcript.options.clone(),
        tokens: transcript.tokens.iter().chain(&transcript.stop).map(|claim| claim.sampled.token).collect(),
    }
}

fn graded(gpt: &Gpt, text: &BareText, tolerance: Tolerance) -> TextGrade {
    grade(gpt, text, tolerance).expect("it can be graded")
}

#[test]
fn bare_tokens_are_graded_in_one_pass_a_context_and_honest_ones_never_fail() {
    for (device_name, device) in devices() {
        let tolerance = Tolerance::of(&device);
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            for (number, sampler) in samplers().into_iter().enumerate() {
                let honest = transcript(&gpt, &[3, 1, 4], GenerateOptions { sampler, ..options() });
                let grade = graded(&gpt, &bare(&honest), tolerance);
                let what = format!("{device_name}, {name}, sampler {number}: {grade:?}");
                assert_eq!((grade.tokens, grade.other, grade.same + grade.near), (MAX_TOKENS, 0, MAX_TOKENS), "{what}");
                assert_eq!(grade.contexts, check(&gpt, &honest, tolerance).contexts, "{what}");
                if tolerance == Tolerance::EqualBits {
                    assert_eq!((grade.verdict(), grade.near, grade.share()), (Verdict::Pass, 0, 1.0), "{what}");
                }
            }
        }
    }
}

#[test]
fn each_swapped_token_is_found_where_it_stands_and_by_how_much_the_draw_misses_it() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let honest = bare(&transcript(&gpt, &[3, 1, 4], options()));
    let vocab_size = gpt.config().vocab_size as u32;
    for place in 0..honest.tokens.len() {
        let mut text = honest.clone();
        text.tokens[place] = (text.tokens[place] + 1) % vocab_size;
        let grade = graded(&gpt, &text, Tolerance::EqualBits);
        let first = grade.first.clone().expect("it is told");
        assert_eq!((grade.verdict(), first.index, first.position), (Verdict::Fail, place, 3 + place), "{grade:?}");
        let expected = first.expected.expect("the model was asked");
        assert_eq!(expected.token, honest.tokens[place]);
        assert!(first.missed_by > Some(0.0) && first.missed_by < Some(1.0) && first.probability > 0.0, "{place}");
    }
}

#[test]
fn other_draws_give_as_many_tokens_by_chance_as_is_told() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let (mut same, mut told, mut tokens) = (0, 0.0, 0);
    for sample_index in 0..40 {
        let mut text = bare(&transcript(&gpt, &[3, 1, 4], GenerateOptions { sample_index, ..options() }));
        text.options.sample_index += 1000;
        let grade = graded(&gpt, &text, Tolerance::EqualBits);
        assert_eq!(grade.verdict(), Verdict::Fail, "{grade:?}");
        (same, told, tokens) = (same + grade.same, told + grade.same_by_chance, tokens + grade.tokens);
    }
    // Of 2400 draws, by a standard deviation of some twenty.
    assert!((same as f64 - told).abs() < 100.0, "{same} of {tokens}, and {told} were told");
}

#[test]
fn a_text_that_goes_on_past_its_end_or_its_context_is_found() {
    let (_, device) = devices().remove(0);
    let gpt = model(GptConfig { window: 0, ..gpt2_config() }, &device);
    let stop = transcript(&gpt, &[3, 1, 4], options()).tokens[20].sampled.token;
    let with_stop = GenerateOptions { stop_token: Some(stop), ..options() };
    let ended = bare(&transcript(&gpt, &[3, 1, 4], with_stop));
    assert_eq!(graded(&gpt, &ended, Tolerance::EqualBits).verdict(), Verdict::Pass, "the stop token comes last");
    let mut longer = ended.clone();
    longer.tokens.push(0);
    let grade = graded(&gpt, &longer, Tolerance::EqualBits);
    assert!(
        grade.verdict() == Verdict::Fail && grade.first.is_some_and(|first| first.index + 2 <= longer.tokens.len())
    );
    let full = GenerateOptions { on_overflow: Overflow::Stop, ..options() };
    let full = bare(&transcript(&gpt, &[3, 1, 4], full));
    assert_eq!(graded(&gpt, &full, Tolerance::EqualBits).verdict(), Verdict::Pass);
    let mut longer = full.clone();
    longer.tokens.push(0);
    let grade = graded(&gpt, &longer, Tolerance::EqualBits);
    assert_eq!((grade.other, grade.same), (1, full.tokens.len()), "{grade:?}");
    assert!(grade.first.is_some_and(|first| first.expected.is_none()));
}
