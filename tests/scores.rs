//! Scores are what the logits before a token say of it, computed here once more in plain f64.

use tril_infer::{InferError, ScoreOptions, score};
use tril_model::GptConfig;

use crate::support::*;

#[test]
fn every_token_is_scored_by_the_logits_before_it_in_its_window() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let (seq_len, vocab_size) = (11, config.vocab_size);
            let gpt = model(config, &device);
            let ids = some_ids(1, 3 * seq_len + 5, vocab_size); // two whole windows go together, then a short one
            let text: Vec<u32> = ids.iter().map(|id| *id as u32).collect();
            let scores = score(&gpt, &text, &ScoreOptions { seq_len, alternatives: 3 }).expect("a text");
            assert_eq!(scores.len(), text.len() - 1);
            for (place, score) in scores.iter().enumerate() {
                let window = place - place % seq_len;
                assert_eq!(score.context, place - window + 1);
                // The window's prefix alone, so that nothing that comes later can have helped.
                let logits = values(gpt.forward(input(&ids[window..=place], 1, &device)));
                let logits: Vec<f64> = logits[logits.len() - vocab_size..].iter().map(|l| f64::from(*l)).collect();
                let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
                let probs: Vec<f64> = logits.iter().map(|logit| logit.exp() / total).collect();
                let target = text[place + 1] as usize;
                let case = format!("{device_name}, {name}, place {place}: {score:?}");
                assert!((score.logprob - probs[target].ln()).abs() < 1e-4, "{case}");
                let entropy: f64 = -probs.iter().map(|p| p * p.ln()).sum::<f64>();
                assert!((score.entropy - entropy).abs() < 1e-4, "{case}");
                let mut order: Vec<usize> = (0..vocab_size).collect();
                order.sort_by(|a, b| probs[*b].total_cmp(&probs[*a]));
                assert_eq!(score.rank, 1 + order.iter().position(|id| *id == target).expect("in order"), "{case}");
                let best: Vec<usize> = score.alternatives.iter().map(|(id, _)| *id as usize).collect();
                assert_eq!(best, order[..3], "{case}");
                for (id, logprob) in &score.alternatives {
                    assert!((logprob - probs[*id as usize].ln()).abs() < 1e-4, "{case}");
                }
            }
        }
    }
}

#[test]
fn the_mean_is_that_of_an_evaluation_at_any_length() {
    let (_, device) = devices().remove(0);
    let gpt = model(GptConfig { window: 7, ..gpt2_config() }, &device);
    let seq_len = gpt.config().max_seq_len;
    for tokens in [2, seq_len, seq_len + 1, seq_len + 2, 3 * seq_len + 1, 5 * seq_len - 2] {
        let ids: Vec<u32> = some_ids(1, tokens, gpt.config().vocab_size).iter().map(|id| *id as u32).collect();
        let scores = score(&gpt, &ids, &ScoreOptions { seq_len, alternatives: 0 }).expect("a text");
        let mean = -scores.iter().map(|score| score.logprob).sum::<f64>() / scores.len() as f64;
        let evaluation = tril_train::evaluate(&gpt, &ids, tokens, seq_len, 2).expect("a text");
        assert_eq!(evaluation.tokens, scores.len());
        assert!((mean - evaluation.loss).abs() < 1e-12, "{tokens} tokens: {mean}, {}", evaluation.loss);
    }
}

#[test]
fn what_cannot_be_scored_is_refused() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    let options = ScoreOptions { seq_len: 4, alternatives: 0 };
    for ids in [&[][..], &[3]] {
        let error = score(&gpt, ids, &options).expect_err("nothing to predict");
        assert!(matches!(error, InferError::NothingToScore { tokens } if tokens == ids.len()), "{error}");
    }
    let error = score(&gpt, &[1, 17], &options).expect_err("17 is no id");
    assert!(matches!(error, InferError::UnknownToken { id: 17, vocab_size: 17 }), "{error}");
}
