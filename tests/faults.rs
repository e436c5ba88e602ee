//! Proofs can fail: faults are planted in a twin of the model, one at a time, and each test names all the proofs that
//! find its fault and the first position that each reports. Every other proof must pass.
//!
//! Faults of attention stand in `attention`, those of training in `training`, those of cache, positions and MLP in `twin`. All are compiled into this
//! test binary alone.

mod attention;
mod training;
pub mod twin;

use burn::tensor::{Device, Tensor};
use tril_infer::LanguageModel;
use tril_model::GptConfig;
use tril_model::parameters::NamedGradients;
use tril_prove::ProofId::*;
use tril_prove::{ModelUnderTest, ProofId, ProofOutcome, ProofReport, ProveOptions, prove};

use self::twin::{Fault, Twin};
use crate::support::*;

const WINDOW: usize = 5;

/// A twin of a model with this config, on the device that promises equal bits.
fn twin(config: GptConfig) -> Twin {
    Twin::of(&model(config, &Device::flex()))
}

fn ring_config() -> GptConfig {
    GptConfig { window: WINDOW, ..llama_config() }
}

/// A text as long as the context.
fn text(twin: &Twin) -> Vec<u32> {
    let config = twin.config();
    some_ids(1, config.max_seq_len, config.vocab_size).iter().map(|id| *id as u32).collect()
}

fn report(twin: &Twin) -> ProofReport {
    prove(twin, &text(twin), &ProveOptions::default()).expect("a text long enough")
}

/// A failing proof and the first position that it names.
type Failure = (ProofId, Option<usize>);

/// In place of a position that depends on weights or on what is drawn.
const ANYWHERE: Option<usize> = None;

/// The proofs that fail, in the order of the report.
fn failures(twin: &Twin) -> Vec<Failure> {
    let report = report(twin);
    let failed = report.proofs.iter().filter(|proof| proof.outcome == ProofOutcome::Fail);
    failed.map(|proof| (proof.id, proof.first_difference)).collect()
}

/// Requires that the `meant` proofs fail, there, and that no others do but `perhaps` these, whose cases are sampled. What is
/// wrong with a step by the cache is wrong with the generator's, and may show in sequences that go together.
fn assert_found(twin: &Twin, meant: &[Failure], perhaps: &[ProofId]) {
    let found = failures(twin);
    let by_step = meant.iter().find(|(id, _)| *id == Cached).map(|(_, position)| (Generated, *position));
    let meant: Vec<Failure> = meant.iter().copied().chain(by_step).collect();
    let ragged = if by_step.is_some() { &[Ragged, PrefixReused][..] } else { &[] };
    let perhaps = [perhaps, ragged].concat();
    for (id, position) in &meant {
        let at = found.iter().find(|(other, _)| other == id).map(|(_, at)| *at);
        assert!(at.is_some(), "{id:?} should fail, but these do: {found:?}");
        assert!(*position == ANYWHERE || at == Some(*position), "{id:?} should fail at {position:?}: {found:?}");
    }
    let unmeant = |(id, _): &&Failure| !meant.iter().any(|(other, _)| other == id) && !perhaps.contains(id);
    assert_eq!(found.iter().find(unmeant), None, "it has nothing to do with the fault: {found:?}");
}

/// The first position whose logits by this route are not the bits of the parallel pass. The route is given what enters
/// block 0 and a position, from 0 on, and returns that position's logits.
fn first_apart(twin: &Twin, mut route: impl FnMut(&Tensor<3>, usize) -> Tensor<3>) -> Option<usize> {
    let ids: Vec<i32> = text(twin).iter().map(|id| *id as i32).collect();
    let embedded = twin.embed(input(&ids, 1, &twin.device()), 0); // [1, seq_len, d_model]
    let parallel = values(twin.logits(embedded.clone(), None));
    let mut rows = parallel.chunks(twin.config().vocab_size).enumerate();
    rows.position(|(position, row)| {
        let found = values(route(&embedded, position));
        found.iter().zip(row).any(|(a, b)| a.to_bits() != b.to_bits())
    })
}

/// The same by the cache, one token at a time.
fn first_step_apart(twin: &Twin) -> Option<usize> {
    let mut cache = twin.new_cache();
    first_apart(twin, |embedded, position| twin.logits(embedded.clone().narrow(1, position, 1), Some(&mut cache)))
}

/// The same by the whole context computed again.
fn first_prefix_apart(twin: &Twin) -> Option<usize> {
    first_apart(twin, |embedded, position| {
        twin.logits(embedded.clone().narrow(1, 0, position + 1), None).narrow(1, position, 1)
    })
}

/// Logits of two texts of another order, `[2, max_seq_len, vocab_size]`, on the subject's device.
fn logits_of_two(subject: &impl ModelUnderTest) -> Tensor<3> {
    let GptConfig { max_seq_len, vocab_size, .. } = *subject.config();
    let inputs = input(&some_ids(2, max_seq_len, vocab_size), 2, &subject.device());
    subject.logits(subject.embed(inputs, 0), None)
}

/// The gradients of all parameters for a loss that weighs no two logits alike.
fn gradients(subject: &impl ModelUnderTest) -> NamedGradients {
    let logits = logits_of_two(subject);
    subject.take_gradients(&mut (logits.clone() * logits).sum().backward())
}

#[test]
fn the_twin_without_a_fault_has_the_logits_of_the_model_bit_for_bit_scaled_or_not() {
    for (name, config) in all_configs() {
        let gpt = model(config, &Device::flex());
        let twin = Twin::of(&gpt);
        let plain = [logits_of_two(&gpt), logits_of_two(&twin)];
        let scaled = [logits_of_two(&ModelUnderTest::scaled(&gpt, 1e3)), logits_of_two(&twin.scaled(1e3))];
        for [real, own] in [plain, scaled].map(|pair| pair.map(values)) {
            assert!(real.iter().zip(&own).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
        }
    }
}

#[test]
fn the_twin_without_a_fault_has_the_gradients_of_the_model() {
    for (name, config) in all_configs() {
        let gpt = model(config, &Device::flex());
        let twin = Twin::of(&gpt);
        let [real, own] = [gradients(&gpt.with_gradients()), gradients(&twin.with_gradients())];
        assert!(!real.is_empty() && real.keys().eq(own.keys()), "{name}");
        for (path, real) in real {
            let [real, own] = [real, own[&path].clone()].map(values);
            let largest = max_difference(&real, &vec![0.0; real.len()]);
            let difference = max_difference(&real, &own);
            assert!(difference <= largest * 1e-5, "{name}, {path}: {difference} of {largest}");
        }
    }
}

#[test]
fn the_twin_without_a_fault_passes_every_proof_with_the_kernel_and_with_attention_spelled_out() {
    for (_, config) in all_configs() {
        let twin = twin(config);
        assert_found(&twin, &[], &[]);
        assert_found(&twin.spelled(), &[], &[]);
    }
}

#[test]
fn a_mask_shifted_by_one_is_found_by_later_tokens_later_gradients_and_all_that_is_compared_with_the_parallel_pass() {
    let twin = twin(llama_config()).with(Fault::MaskShifted);
    let GptConfig { max_seq_len, n_layers, .. } = *twin.config();
    let meant = [
        (LaterTokens, Some(0)),
        (LaterGradients, Some(1)),
        (ScaledLaterTokens, ANYWHERE),
        (ScaledLaterGradients, ANYWHERE),
        (Recomputed, Some(0)),
        (Cached, Some(0)),
        (Prefilled, Some(0)),
        (Chunked, Some(0)),
        (Rewound, ANYWHERE),
        // The second half of a sequence is replaced, and each layer carries it one position to the front.
        (Batched, Some(max_seq_len / 2 - n_layers)),
        (CacheGradients, ANYWHERE),
        (PrefixProblems, Some(0)),
    ];
    assert_found(&twin, &meant, &[]);
}

#[test]
fn a_finite_mask_is_found_when_attention_scores_are_made_large_and_only_then() {
    // At position 0 there is one key to see, so one head with a negative score puts it below the hidden ones.
    let meant = [(ScaledLaterTokens, Some(0)), (ScaledLaterGradients, Some(1))];
    assert_found(&twin(llama_config()).with(Fault::FiniteMask), &meant, &[]);
}

#[test]
fn a_position_offset_wrong_after_prefill_is_found_after_the_shortest_prefill_of_several_tokens() {
    let meant = [(Prefilled, Some(2)), (Chunked, Some(2))];
    assert_found(&twin(llama_config()).with(Fault::OffsetAfterPrefill), &meant, &[Rewound, Ragged, PrefixReused]);
}

#[test]
fn a_cache_row_of_another_sequence_is_found_by_a_batch_at_its_first_step() {
    let twin = twin(llama_config()).with(Fault::RowOfAnother);
    let first_step = twin.config().max_seq_len / 2; // half of the text is prefilled
    assert_found(&twin, &[(BatchedCached, Some(first_step))], &[]);
}

#[test]
fn a_step_of_the_generator_that_sums_in_another_order_is_found_by_itself_and_in_company() {
    let twin = twin(llama_config()).with(Fault::HeadCutInStep);
    let found = failures(&twin);
    assert!(found.iter().any(|(id, _)| *id == Generated), "{found:?}");
    assert!(
        found.iter().all(|(id, _)| [Generated, Ragged, PrefixReused].contains(id)),
        "no other proof takes that step: {found:?}"
    );
    let largest = report(&twin).proof(Generated).and_then(|proof| proof.max_difference);
    assert!(largest.is_some_and(|largest| largest < 1e-5), "the last bits and no more: {largest:?}");
}

#[test]
fn a_sequence_that_stands_where_another_does_is_found_by_ragged_batches_alone() {
    for config in [gpt2_config(), llama_config()] {
        let twin = twin(config).with(Fault::PositionOfTheFirst);
        assert_found(&twin, &[(Ragged, ANYWHERE)], &[]);
    }
}

#[test]
fn a_prompt_that_stands_too_early_behind_a_kept_prefix_is_found_by_its_reuse_alone() {
    for config in [gpt2_config(), llama_config(), ring_config()] {
        assert_found(&twin(config).with(Fault::PositionBehindPrefix), &[(PrefixReused, ANYWHERE)], &[]);
    }
}

#[test]
fn micro_batches_that_are_added_in_an_order_that_depends_on_threads_are_found_by_threads_in_training_alone() {
    let twin = twin(llama_config()).with(Fault::PiecesByThreads);
    assert_found(&twin, &[(Accumulated, ANYWHERE)], &[]);
    let largest = report(&twin).proof(Accumulated).and_then(|proof| proof.max_difference);
    assert!(largest.is_some_and(|largest| largest > 0.0 && largest < 1e-4), "the last bits and no more: {largest:?}");
}

#[test]
fn micro_batches_that_each_count_as_a_whole_batch_are_found_by_the_gradient_of_the_whole_alone() {
    for config in [gpt2_config(), llama_config()] {
        assert_found(&twin(config).with(Fault::PiecesNotWeighed), &[(MicroBatches, ANYWHERE)], &[]);
    }
}

#[test]
fn a_run_that_goes_on_without_the_optimizers_state_is_found_by_resuming_alone() {
    for config in [gpt2_config(), llama_config()] {
        assert_found(&twin(config).with(Fault::StateForgotten), &[(Resumed, ANYWHERE)], &[]);
    }
}

#[test]
fn a_cache_stale_after_an_edit_is_found_at_the_first_edit_tried() {
    let twin = twin(llama_config()).with(Fault::StaleAfterRewind);
    assert_found(&twin, &[(Rewound, Some(0))], &[PrefixReused]);
}

#[test]
fn scores_not_scaled_in_a_step_are_found_at_the_first_step_that_has_a_choice_of_keys() {
    let twin = twin(llama_config()).with(Fault::UnscaledStep);
    let meant = [(Cached, Some(1)), (Prefilled, Some(1)), (CacheGradients, ANYWHERE)];
    assert_found(&twin, &meant, &[Chunked, Rewound]);
}

#[test]
fn a_window_one_too_long_in_the_ring_is_found_at_the_first_position_past_the_window() {
    let past = Some(WINDOW);
    let meant = [(Ring, past), (Cached, past), (Prefilled, past), (Chunked, past), (CacheGradients, ANYWHERE)];
    assert_found(&twin(ring_config()).with(Fault::WindowTooLong), &meant, &[Rewound]);
}

#[test]
fn another_formula_in_the_tail_of_a_vector_is_found_where_it_first_moves_a_bit() {
    let twin = twin(llama_config()).with(Fault::TailFormula);
    // Elements stand in the tail or not by the shape of a pass alone, so nothing that keeps the shape may fail.
    let (by_prefix, by_step) = (first_prefix_apart(&twin), first_step_apart(&twin));
    assert!(by_prefix.is_some() && by_step.is_some(), "the fault moves no bit: {by_prefix:?}, {by_step:?}");
    let failures = failures(&twin);
    assert!(failures.contains(&(Recomputed, by_prefix)) && failures.contains(&(Cached, by_step)), "{failures:?}");
    let of_one_shape = [Threads, LaterTokens, LaterGradients, ScaledLaterTokens, ScaledLaterGradients];
    assert!(!failures.iter().any(|(id, _)| of_one_shape.contains(id)), "{failures:?}");
    let report = report(&twin);
    let largest = report.proof(Cached).and_then(|proof| proof.max_difference);
    assert!(largest.is_some_and(|largest| largest < 1e-5), "the last bits and no more: {largest:?}");
}

#[test]
fn a_softmax_over_slots_that_hold_nothing_is_found_at_the_first_step() {
    let meant = [(Cached, Some(0)), (Prefilled, Some(0)), (Chunked, Some(0)), (CacheGradients, ANYWHERE)];
    assert_found(&twin(llama_config()).with(Fault::EmptySlotsCounted), &meant, &[Rewound]);
}

#[test]
fn a_gradient_detached_at_the_cache_is_found_by_gradients_through_the_cache_alone() {
    // Position 0 is the first whose key later losses should go back through.
    for config in [gpt2_config(), llama_config(), ring_config()] {
        assert_found(&twin(config).with(Fault::DetachedCache), &[(CacheGradients, Some(0))], &[]);
    }
}

#[test]
fn keys_added_up_in_the_order_of_their_slots_are_found_when_the_ring_first_turns() {
    let twin = twin(ring_config()).with(Fault::SlotOrder);
    let first = first_step_apart(&twin);
    assert!(first >= Some(WINDOW), "until the ring is full, slots are in the order of positions: {first:?}");
    assert_found(&twin, &[(Ring, first), (Cached, first)], &[Prefilled, Chunked, Rewound]);
    let largest = report(&twin).proof(Ring).and_then(|proof| proof.max_difference);
    assert!(largest.is_some_and(|largest| largest < 1e-4), "the last bits and no more: {largest:?}");
}
