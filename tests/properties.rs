//! Models nobody thought of: random configs, tiny and odd, through the proofs. A failure is shrunk to the smallest
//! config that still fails, and named in full.
//!
//! `PROPTEST_CASES` sets how many configs are tried, `PROPTEST_RNG_SEED` which ones.

use burn::tensor::{Device, Int, Tensor};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use tril_infer::LanguageModel;
use tril_model::{Gpt, GptConfig, KvCache, MlpKind, NormKind, Positions, WeightFormat};
use tril_prove::{ModelUnderTest, Proof, ProofOutcome, ProveOptions, prove};

use crate::faults::twin::{Fault, Twin};
use crate::support::*;

/// Configs tried where `PROPTEST_CASES` says nothing; about twenty seconds on two cores.
const CASES: u32 = 400;

/// A model and what it is given.
#[derive(Debug, Clone)]
struct Case {
    config: GptConfig,
    /// One to three windows, or contexts where there is no window.
    seq_len: usize,
    batch_size: usize,
    /// Length of the chunks that the cache is fed with.
    chunk: usize,
}

/// Widths from the smallest up to three vectors and a little, and now and then one about 512, where matrix products
/// are cut.
fn width(smallest: usize) -> impl Strategy<Value = usize> {
    prop_oneof![12 => smallest..=50, 1 => 505..=530_usize]
}

fn cases() -> impl Strategy<Value = Case> {
    // Narrower than 4 and normalised, a position has little more than a sign left, and some models ignore their input.
    let sizes = (2..=40_usize, 1..=2_usize, 1..=3_usize, 1..=3_usize, 1..=9_usize, width(4), width(1));
    let kinds = (
        prop_oneof![Just(Positions::Rotary), Just(Positions::Learned)],
        prop_oneof![Just(NormKind::Rms), Just(NormKind::Layer)],
        prop_oneof![Just(MlpKind::Relu2), Just(MlpKind::GeluTanh), Just(MlpKind::Gelu), Just(MlpKind::Swiglu)],
    );
    let switches = proptest::array::uniform7(any::<bool>());
    let lengths = (prop_oneof![1 => Just(0), 2 => 1..=7_usize], 2..=21_usize, 8..=24_usize);
    let batches = (1..=5_usize, 1..=9_usize);
    (sizes, kinds, switches, lengths, batches).prop_map(
        |(sizes, (positions, norm, mlp), switches, lengths, batches)| {
            let (vocab_size, n_layers, n_kv_heads, group, half_head, d_model, d_ff) = sizes;
            let (batch_size, chunk) = batches;
            let [norm_gain, norm_bias, qk_norm, qkv_bias, output_bias, mlp_bias, tied_head] = switches;
            let (window, context, eighths) = lengths;
            let seq_len = (if window > 0 { window } else { context } * eighths / 8).max(2);
            let config = GptConfig {
                vocab_size,
                // A learned position for every token of three windows; without a window the text goes beyond the context.
                max_seq_len: if window > 0 { 3 * window.max(2) } else { context },
                n_layers,
                n_heads: n_kv_heads * group,
                n_kv_heads,
                d_model,
                d_head: if positions == Positions::Rotary { 2 * half_head } else { half_head },
                d_ff,
                positions,
                window,
                norm,
                norm_gain,
                norm_bias: norm_bias && norm == NormKind::Layer,
                qk_norm,
                mlp,
                qkv_bias,
                output_bias,
                mlp_bias,
                tied_head,
                ..GptConfig::default()
            };
            Case { config, seq_len, batch_size, chunk }
        },
    )
}

/// Requires every proof to pass, and each row of a batch to have the bits that it has alone.
fn check<S: ModelUnderTest>(subject: &S, case: &Case) -> Result<(), TestCaseError> {
    let Case { config, seq_len, batch_size, chunk } = case;
    let ids: Vec<u32> = some_ids(1, *seq_len, config.vocab_size).iter().map(|id| *id as u32).collect();
    let report = prove(subject, &ids, &ProveOptions::default()).expect("a text of two tokens or more");
    let failed: Vec<&Proof> = report.proofs.iter().filter(|proof| proof.outcome == ProofOutcome::Fail).collect();
    prop_assert!(failed.is_empty(), "{:#?}", failed);

    let seq_len = (*seq_len).min(config.max_seq_len);
    let ids = input(&some_ids(*batch_size, seq_len, config.vocab_size), *batch_size, &subject.device());
    for chunk in [seq_len, *chunk] {
        let together = by_chunks(subject, ids.clone(), chunk); // [batch_size, seq_len, vocab_size]
        for row in 0..*batch_size {
            let alone = by_chunks(subject, ids.clone().narrow(0, row, 1), chunk);
            let [together, alone] = [together.clone().narrow(0, row, 1), alone].map(values);
            let apart = together.iter().zip(&alone).position(|(a, b)| a.to_bits() != b.to_bits());
            let position = apart.map(|index| index / config.vocab_size);
            prop_assert!(position.is_none(), "row {}, in chunks of {}, position {:?}", row, chunk, position);
        }
    }
    Ok(())
}

/// - ids: `[batch_size, seq_len]`
/// - returns: logits by the cache, `[batch_size, seq_len, vocab_size]`
fn by_chunks<S: ModelUnderTest>(subject: &S, ids: Tensor<2, Int>, chunk: usize) -> Tensor<3> {
    let [batch_size, seq_len] = ids.dims();
    let mut cache = subject.batch_cache(batch_size);
    let parts = (0..seq_len).step_by(chunk).map(|start| {
        let inputs = ids.clone().narrow(1, start, chunk.min(seq_len - start));
        subject.logits(subject.embed(inputs, start), Some(&mut cache))
    });
    Tensor::cat(parts.collect(), 1)
}

#[test]
fn every_small_config_passes_the_proofs() {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let tried =
        TestRunner::new(config).run(&cases(), |case| check(&model(case.config.clone(), &Device::flex()), &case));
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Configs whose models are rounded where `PROPTEST_CASES` says nothing.
const ROUNDED_CASES: u32 = 120;

#[test]
fn every_small_config_passes_the_proofs_with_rounded_weights_and_generates_by_them() {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = ROUNDED_CASES;
    }
    let formats = prop_oneof![Just(WeightFormat::Bf16), Just(WeightFormat::Int8)];
    // Vocabularies around a panel of columns too.
    let vocabularies = prop_oneof![3 => Just(0), 1 => 60..=70_usize, 1 => 127..=131_usize];
    let tried = TestRunner::new(config).run(&(cases(), formats, vocabularies), |(mut case, format, vocab_size)| {
        if vocab_size > 0 {
            case.config.vocab_size = vocab_size;
        }
        let subject = model(case.config.clone(), &Device::flex()).with_weights(format);
        check(&subject, &case)?;
        check_steps(&subject, &case)
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Requires the steps of several sequences together to have the bits of the parallel pass.
fn check_steps(subject: &Gpt, case: &Case) -> Result<(), TestCaseError> {
    let Case { batch_size, .. } = *case;
    let (seq_len, vocab_size) = (case.seq_len.min(case.config.max_seq_len), case.config.vocab_size);
    let ids = some_ids(batch_size, seq_len, vocab_size);
    let parallel = values(subject.forward(input(&ids, batch_size, &subject.device())));
    let mut caches: Vec<KvCache> = (0..batch_size).map(|_| subject.new_cache(1)).collect();
    for position in 0..seq_len {
        let tokens: Vec<u32> = (0..batch_size).map(|row| ids[row * seq_len + position] as u32).collect();
        let logits = subject.decode(&tokens, &mut caches).expect("the CPU");
        for (row, found) in logits.chunks(vocab_size).enumerate() {
            let expected = &parallel[(row * seq_len + position) * vocab_size..][..vocab_size];
            let same = expected.iter().zip(found).all(|(a, b)| a.to_bits() == b.to_bits());
            prop_assert!(same, "row {}, position {}", row, position);
        }
    }
    Ok(())
}

#[test]
fn a_fault_among_random_configs_is_found_and_a_small_config_is_named() {
    let fixed = Config { rng_seed: RngSeed::Fixed(1), cases: 64, max_shrink_iters: 200, ..Config::default() };
    let config = Config { failure_persistence: None, ..fixed };
    let tried = TestRunner::new(config).run(&cases(), |case| {
        check(&Twin::of(&model(case.config.clone(), &Device::flex())).with(Fault::WindowTooLong), &case)
    });
    let Err(TestError::Fail(_, case)) = &tried else { panic!("the fault was not found: {tried:?}") };
    let shown = tried.as_ref().map_or_else(ToString::to_string, |()| String::new());
    assert!(shown.contains("window: ") && shown.contains("is the first that differs"), "{shown}");
    assert!(case.config.window < 3 && case.seq_len < 6, "it can be shrunk further: {shown}");
}
