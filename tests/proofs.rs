//! Every proof holds, bit for bit on the CPU, for every kind of model. That it would fail where a model is wrong is
//! shown elsewhere.

use burn::module::Module;
use tril_infer::InferError;
use tril_model::{Gpt, GptConfig};
use tril_prove::{Limits, ProofId, ProofOutcome, ProofReport, ProveError, ProveOptions, Tolerance, prove};

use crate::support::*;

/// Less of everything, for models of a few dozen positions.
fn options(gpt: &Gpt) -> ProveOptions {
    let limits = Limits { segment_len: 30, pass_tokens: 1500, losses: 8, ..Limits::default() };
    ProveOptions { limits, threads: vec![1, 3], ..ProveOptions::for_device(&gpt.device()) }
}

fn ids(count: usize, config: &GptConfig) -> Vec<u32> {
    some_ids(1, count, config.vocab_size).into_iter().map(|id| id as u32).collect()
}

fn outcome(report: &ProofReport, id: ProofId) -> ProofOutcome {
    report.proof(id).expect("a row for every proof").outcome
}

#[test]
fn every_proof_holds_for_every_kind_of_model_or_does_not_apply() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let text = ids(2 * config.max_seq_len + 9, &config);
            let (window, bounded) = (config.window, config.qk_norm && !config.norm_gain);
            let gpt = model(config, &device);
            let report = prove(&gpt, &text, &options(&gpt)).expect("a text that can be proved on");
            for proof in &report.proofs {
                let scaled = matches!(proof.id, ProofId::ScaledLaterTokens | ProofId::ScaledLaterGradients);
                let applies = match proof.id {
                    ProofId::Ring => window > 0,
                    ProofId::Threads | ProofId::Accumulated | ProofId::Resumed => device_name == "cpu",
                    // A window of one keeps nothing that an edit could make stale.
                    ProofId::Rewound => proof.outcome == ProofOutcome::Pass || window != 1,
                    _ => !(scaled && bounded),
                };
                let expected = if applies { ProofOutcome::Pass } else { ProofOutcome::NotApplicable };
                assert_eq!(proof.outcome, expected, "{device_name}, {name}: {proof:#?}");
                assert_eq!(proof.positions > 0, applies, "{device_name}, {name}: {proof:#?}");
                assert_eq!(proof.reason.is_none(), applies, "{device_name}, {name}: {proof:#?}");
            }
        }
    }
}

#[test]
fn sums_that_are_cut_in_two_differ_where_the_proofs_find_equal_bits() {
    for (name, config) in all_configs() {
        let gpt = model(config, &burn::tensor::Device::flex());
        let report = prove(&gpt, &ids(40, gpt.config()), &options(&gpt)).expect("a text that can be proved on");
        let control = report.control.expect("this model can cut its sums");
        assert!(control.differs() && control.positions == 40, "{name}: {control:?}");
        assert!(
            control.max_ulps > 0 && control.max_difference > 0.0 && control.max_difference < 1e-4,
            "{name}: {control:?}"
        );
    }
}

#[test]
fn a_proof_on_the_cpu_demands_equal_bits_and_finds_them() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let options = options(&gpt);
    assert_eq!(options.tolerance, Tolerance::EqualBits);
    let report = prove(&gpt, &ids(60, gpt.config()), &options).expect("a text that can be proved on");
    for proof in report.proofs.iter().filter(|proof| proof.claim <= 3 && proof.outcome == ProofOutcome::Pass) {
        assert_eq!((proof.tolerance, proof.max_difference), (None, Some(0.0)), "{proof:?}");
        assert!(proof.max_ulps.is_none_or(|ulps| ulps == 0), "{proof:?}");
    }
}

#[test]
fn where_a_tolerance_is_demanded_every_row_says_which() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    let options = ProveOptions { tolerance: Tolerance::Within(1e-4), ..options(&gpt) };
    let report = prove(&gpt, &ids(40, gpt.config()), &options).expect("a text that can be proved on");
    for proof in &report.proofs {
        let zeros = matches!(proof.id, ProofId::LaterGradients | ProofId::ScaledLaterGradients);
        assert_eq!(proof.tolerance.is_some(), !zeros, "{proof:?}");
        let stated = proof.id == ProofId::PrefixProblems || proof.tolerance.is_none_or(|tolerance| tolerance >= 1e-4);
        assert!(stated, "{proof:?}");
        assert_ne!(proof.outcome, ProofOutcome::Fail, "{proof:?}");
    }
}

#[test]
fn a_text_longer_than_the_context_is_proved_in_pieces_and_a_very_long_one_in_some_of_them() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device); // a context of 24
    let mut options = options(&gpt);
    let text = ids(24 * 7 + 1, gpt.config());
    let all = prove(&gpt, &text, &options).expect("a text that can be proved on");
    assert_eq!((all.tokens, all.segments, all.proved_segments, all.proved_tokens), (169, 8, 8, 169));
    assert_eq!(all.proof(ProofId::Cached).expect("a row").cases, 169);
    options.limits.tokens = 50;
    let some = prove(&gpt, &text, &options).expect("a text that can be proved on");
    assert_eq!((some.tokens, some.segments, some.proved_segments, some.proved_tokens), (169, 8, 2, 25));
    let cached = some.proof(ProofId::Cached).expect("a row");
    assert_eq!((cached.cases, cached.possible_cases), (25, Some(169)));
    assert_eq!(some.count(ProofOutcome::Fail), 0);
}

#[test]
fn the_same_seed_gives_the_same_report_but_for_seconds() {
    let (_, device) = devices().remove(0);
    let gpt = model(GptConfig { window: 5, ..llama_config() }, &device);
    let text = ids(70, gpt.config());
    let report = |seed| {
        let options = ProveOptions { seed, ..options(&gpt) };
        let mut report = prove(&gpt, &text, &options).expect("a text that can be proved on");
        report.proofs.iter_mut().for_each(|proof| proof.seconds = None);
        report
    };
    assert_eq!(report(3), report(3));
    let edits = |report: ProofReport| report.proof(ProofId::LaterTokens).map(|proof| proof.positions);
    assert_ne!(edits(report(3)), edits(report(4)), "another seed samples other positions");
}

#[test]
fn the_smallest_text_is_proved_as_far_as_it_goes() {
    let (_, device) = devices().remove(0);
    for (name, config) in all_configs() {
        let gpt = model(config, &device);
        let report = prove(&gpt, &[3, 1], &options(&gpt)).expect("two tokens are enough");
        assert_eq!(report.count(ProofOutcome::Fail), 0, "{name}: {report:#?}");
        assert_eq!(outcome(&report, ProofId::Cached), ProofOutcome::Pass);
        assert_eq!(outcome(&report, ProofId::LaterTokens), ProofOutcome::Pass);
        assert_eq!(outcome(&report, ProofId::PrefixProblems), ProofOutcome::Pass);
    }
}

#[test]
fn a_context_of_one_token_or_a_vocabulary_of_one_leaves_proofs_without_a_case() {
    let (_, device) = devices().remove(0);
    let one_position = model(GptConfig { max_seq_len: 1, ..gpt2_config() }, &device);
    let report = prove(&one_position, &[3, 1, 4], &options(&one_position)).expect("two tokens are enough");
    assert_eq!((report.segments, report.count(ProofOutcome::Fail)), (3, 0));
    assert_eq!(outcome(&report, ProofId::LaterTokens), ProofOutcome::NotApplicable);
    assert_eq!(outcome(&report, ProofId::Cached), ProofOutcome::Pass);
    let one_token = model(GptConfig { vocab_size: 1, ..llama_config() }, &device);
    let report = prove(&one_token, &[0, 0, 0, 0], &options(&one_token)).expect("two tokens are enough");
    use ProofId::*;
    for id in [LaterTokens, LaterGradients, Batched, Rewound, PrefixReused, Accumulated, MicroBatches, Resumed] {
        assert_eq!(outcome(&report, id), ProofOutcome::NotApplicable, "{id:?}");
    }
}

#[test]
fn steps_are_tried_on_a_copy_in_memory_and_not_on_a_model_that_is_too_large_for_it() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let ids = ids(60, gpt.config());
    let weights = |gpt: &Gpt| tril_model::checkpoint::model_files(gpt).expect("files");
    let before = weights(&gpt);
    let mut options = options(&gpt);
    let report = prove(&gpt, &ids, &options).expect("a text that can be proved on");
    assert_eq!(weights(&gpt), before);
    for (id, cases) in [(ProofId::Accumulated, 2), (ProofId::MicroBatches, 3), (ProofId::Resumed, 3)] {
        let proof = report.proof(id).expect("a row");
        assert_eq!((proof.outcome, proof.cases), (ProofOutcome::Pass, cases), "{proof:?}");
        assert_eq!(proof.tolerance.is_some(), id == ProofId::MicroBatches, "{proof:?}");
    }
    options.limits.trained_params = gpt.num_params() / 2;
    let report = prove(&gpt, &ids, &options).expect("a text that can be proved on");
    for id in [ProofId::Accumulated, ProofId::MicroBatches, ProofId::Resumed] {
        assert_eq!(outcome(&report, id), ProofOutcome::NotApplicable, "{id:?}");
    }
}

#[test]
fn what_cannot_be_proved_on_is_refused() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    for text in [&[][..], &[3]] {
        let error = prove(&gpt, text, &options(&gpt)).expect_err("too short");
        assert!(matches!(error, ProveError::TooShort { tokens } if tokens == text.len()), "{error}");
    }
    let error = prove(&gpt, &[1, 17], &options(&gpt)).expect_err("no such token");
    assert!(matches!(error, ProveError::Infer(InferError::UnknownToken { id: 17, vocab_size: 17 })), "{error}");
}
