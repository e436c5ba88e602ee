//! Directories as transformers writes them.

use serde_json::Value;
use tril_formats::load_gpt;

use super::*;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/formats")).join(name)
}

fn expected(name: &str) -> Value {
    let path = fixture(name).join("expected.json");
    serde_json::from_slice(&std::fs::read(path).expect("read")).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().expect("a number") as f32],
    }
}

#[test]
fn logits_are_those_of_transformers_for_every_architecture_type_and_age_of_file() {
    for name in ["gpt2", "gpt2_old", "llama", "mistral", "qwen3", "arcee"] {
        let gpt = load_gpt(&fixture(name), &Device::flex()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = expected(name);
        let ids: Vec<i32> = numbers(&expected["ids"]).iter().map(|id| *id as i32).collect();
        let theirs = numbers(&expected["logits"]);
        let spread = theirs.iter().fold(0.0_f32, |most, logit| most.max(logit.abs()));
        assert!(spread > 1.0, "{name}: the logits say nothing");
        let difference = max_difference(&values(gpt.forward(input(&ids, 1, &Device::flex()))), &theirs);
        assert!(difference < 1e-4, "{name}: {difference}");
    }
}

#[test]
fn tokens_are_those_of_transformers_from_a_tokenizer_json_and_from_vocab_and_merges() {
    for (name, starts, ends) in [("gpt2", None, Some(268)), ("qwen3", Some(268), Some(270))] {
        let model = open(&fixture(name));
        let tokenizer = model.tokenizer();
        for case in expected(name)["tokens"].as_array().expect("cases") {
            let text = case[0].as_str().expect("a text");
            let theirs: Vec<u32> = numbers(&case[1]).iter().map(|id| *id as u32).collect();
            assert_eq!(tokenizer.encode(text).expect("encoded"), theirs, "{name}: {text:?}");
        }
        assert_eq!(tokenizer.bounds().eos_token_id, ends, "{name}");
        assert!(starts.is_none() || tokenizer.bounds().bos_token_id == starts, "{name}");
        // Rows that no token has: the model's vocabulary is padded.
        assert_eq!(tokenizer.vocab_size(), model.config().vocab_size, "{name}");
        assert_eq!(tokenizer.token_text(271), "[PAD271]", "{name}");
    }
}

#[test]
fn a_file_that_llama_cpps_package_wrote_in_four_types_gives_the_logits_of_its_numbers() {
    let path = fixture("gguf").join("model.gguf");
    let model = open(&path);
    let expected = expected("gguf");
    let ids: Vec<i32> = numbers(&expected["ids"]).iter().map(|id| *id as i32).collect();
    let found = values(model.gpt().forward(input(&ids, 1, &Device::flex())));
    let difference = max_difference(&found, &numbers(&expected["logits"]));
    assert!(difference < 1e-4, "{difference}");
    let stored = tril::formats::stored_weights(&path).expect("read").expect("of another tool");
    assert_eq!(stored.types.keys().collect::<Vec<_>>(), ["BF16", "F16", "F32", "Q8_0"]);
    let tokenizer = model.tokenizer();
    // A space before `a` and `t` is merged, and so is `he`.
    assert_eq!(tokenizer.encode(" at the").expect("ids"), [33, 20, 34, 35]);
    assert_eq!((tokenizer.end_of_text(), tokenizer.vocab_size()), (Some(36), 37));
    let error = tokenizer.encode("a猫").expect_err("no bytes for it").to_string();
    assert!(error.contains('猫'), "{error}");
}

#[test]
fn a_window_is_seen_through_as_transformers_sees_through_it() {
    let gpt = load_gpt(&fixture("mistral"), &Device::flex()).expect("a model");
    assert_eq!((gpt.config().window, gpt.config().max_seq_len), (5, 23));
}

#[test]
fn an_imported_model_is_a_checkpoint_with_the_same_bits_and_its_chat_template_and_goes_out_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let model = open(&fixture("qwen3"));
    let out = dir.path().join("checkpoint");
    model.save(&out, ExistingFiles::Keep).expect("saved");
    let again = open(&out);
    assert_eq!(again.source(), tril::formats::Source::Checkpoint);
    assert_eq!(logits(again.gpt()), logits(model.gpt()));
    assert_eq!(again.tokenizer().bounds(), model.tokenizer().bounds());
    assert!(again.chat_template().is_some_and(|template| template.contains("<|im_start|>")));
    let back = exported(&again, dir.path(), ExportOptions::new(ExportFormat::Hf));
    let back = open(&back);
    assert_eq!(logits(back.gpt()), logits(model.gpt()));
    assert_eq!(back.chat_template(), model.chat_template());
    // A text that a chat is made into has its special tokens, as the directory that it came from has it.
    let config = std::fs::read_to_string(dir.path().join("out/tokenizer_config.json")).expect("read");
    assert!(!config.contains("split_special_tokens") && config.contains("<|im_end|>"), "{config}");
}
