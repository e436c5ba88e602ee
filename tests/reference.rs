//! A trained model in GPT-2 layout gives what other implementations give: `expected.json` holds the logits of
//! transformers, the partials the activations of minGPT.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::Value;
use tril_formats::load_gpt;
use tril_kernels::cross_entropy;
use tril_model::{ForwardContext, Observation};

use crate::support::*;

const TOLERANCE: f32 = 1e-4;

fn json(path: std::path::PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON")
}

/// All numbers of a nested array, in order.
fn flat(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().expect("a number") as f32],
    }
}

/// Values of a base64 float32 tensor.
fn tensor(value: &Value) -> Vec<f32> {
    let text = value["data"].as_str().expect("base64");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn logits_and_loss_of_a_trained_gpt2_model_are_those_of_the_reference() {
    let Some(dir) = shared("models/gpt-nano-sort-hf", "logits of the reference model") else { return };
    let expected = json(dir.join("expected.json"));
    let ids: Vec<i32> = flat(&expected["input_ids"]).iter().map(|id| *id as i32).collect();
    for (device_name, device) in devices() {
        let gpt = load_gpt(&dir, &device).expect("a GPT-2 model");
        let logits = gpt.forward(input(&ids, 3, &device));
        let difference = max_difference(&values(logits.clone()), &flat(&expected["logits"]));
        assert!(difference < TOLERANCE, "{device_name}: {difference}");
        // transformers shifts labels by itself: position i is scored on token i + 1.
        let rows = logits.narrow(1, 0, 10).reshape([30, 3]);
        let targets = input(&ids, 3, &device).narrow(1, 1, 10).reshape([30]);
        let loss = values(cross_entropy(rows, targets).mean())[0];
        let expected_loss = expected["loss"].as_f64().expect("a number") as f32;
        assert!((loss - expected_loss).abs() < TOLERANCE, "{device_name}: loss {loss}, not {expected_loss}");
    }
}

#[test]
fn every_activation_of_a_trained_gpt2_model_is_that_of_the_reference() {
    let Some(dir) = shared("models/gpt-nano-sort-hf", "activations of the reference model") else { return };
    let Some(partials) = shared("models/gpt-nano-sort-t0-partials.json", "activations of the reference model") else {
        return;
    };
    let partials = json(partials);
    let ids: Vec<i32> = tensor(&partials["idx"]).iter().map(|id| *id as i32).collect();
    // Our name, the reference's name.
    let names = [
        ("embedding", "x"),
        ("blocks.0.attention_norm", "ln1"),
        ("blocks.0.attention.qkv", "qkv"),
        ("blocks.0.attention.probs", "attSm"),
        ("blocks.0.attention.attended", "y"),
        ("blocks.0.attention", "yProj"),
        ("blocks.0.attention_residual", "attnResid"),
        ("blocks.0.mlp_norm", "ln2"),
        ("blocks.0.mlp.up", "fc"),
        ("blocks.0.mlp.active", "gelu"),
        ("blocks.0.mlp", "mlp"),
        ("blocks.0.residual", "mlpResid"),
        ("blocks.1.residual", "block1"),
        ("blocks.2.residual", "block2"),
        ("final_norm", "ln_f"),
    ];
    for (device_name, device) in devices() {
        let gpt = load_gpt(&dir, &device).expect("a GPT-2 model");
        let mut seen = BTreeMap::new();
        let mut observer = |observation: Observation<'_>| {
            match observation {
                Observation::Activation(activation) => {
                    seen.insert(activation.path(), values(activation.values.clone()))
                }
                Observation::Attention(attention) => {
                    seen.insert(format!("blocks.{}.attention.probs", attention.layer), values(attention.probs()))
                }
            };
        };
        let pass = ForwardContext { observer: Some(&mut observer), ..ForwardContext::default() };
        let logits = values(gpt.forward_with(input(&ids, 3, &device), pass));
        let difference = max_difference(&logits, &tensor(&partials["lm_head"]));
        assert!(difference < TOLERANCE, "{device_name}, logits: {difference}");
        for (ours, theirs) in names {
            let found = seen.get(ours).unwrap_or_else(|| panic!("no activation {ours}"));
            let difference = max_difference(found, &tensor(&partials[theirs]));
            assert!(difference < TOLERANCE, "{device_name}, {ours}: {difference}");
        }
    }
}

#[test]
fn the_binary_sorts_with_a_gpt2_model_in_hugging_face_layout() {
    let Some(source) = shared("models/gpt-nano-sort-hf", "sampling from the reference model") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(source.join(name), dir.path().join(name)).expect("copied");
    }
    // Its vocabulary is the three digits that it sorts.
    let config = tril_text::TokenizerConfig::default();
    let tokenizer = tril_text::Tokenizer::build(&config, &["012"]).expect("a tokenizer");
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_json().expect("JSON")).expect("written");
    for (digits, sorted) in [("021010", "000112"), ("122210", "011222")] {
        let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("tril"));
        // Its config says that 0, the first digit, ends a text.
        command.arg("sample").arg(dir.path()).args([
            "--prompt",
            digits,
            "--temperature",
            "0",
            "--max-tokens",
            "6",
            "--ignore-eos",
        ]);
        command.assert().success().stdout(format!("{digits}{sorted}\n"));
    }
}
