//! Out and in again.

use tril::{DataType, Gelu};

use super::*;

#[test]
fn every_form_comes_back_from_both_formats_with_the_same_config_the_same_bits_and_the_same_tokens() {
    for (name, config, is_in_llama_cpp) in forms() {
        let model = noisy(config, tokenizer(TokenizerKind::Bpe));
        for format in [ExportFormat::Hf, ExportFormat::Gguf] {
            let dir = tempfile::tempdir().expect("a directory");
            let options = ExportOptions::new(format);
            if format == ExportFormat::Gguf && !is_in_llama_cpp {
                let error = model.export(options, &dir.path().join("no"), ExistingFiles::Keep).expect_err(name);
                assert!(error.to_string().contains("cannot be written as gguf"), "{name}: {error}");
                assert!(!dir.path().join("no").exists());
                continue;
            }
            let again = open(&exported(&model, dir.path(), options));
            assert_eq!(again.config(), model.config(), "{name}, {format}");
            assert_eq!(logits(again.gpt()), logits(model.gpt()), "{name}, {format}");
            assert_eq!(again.tokenizer().to_json().expect("JSON"), model.tokenizer().to_json().expect("JSON"));
            assert_eq!(again.tokenizer().end_of_text(), model.tokenizer().end_of_text(), "{name}, {format}");
        }
    }
}

#[test]
fn without_what_this_toolkit_adds_a_file_says_the_same_function() {
    for (name, config, is_in_llama_cpp) in forms() {
        let model = noisy(config, tokenizer(TokenizerKind::Bpe));
        let dir = tempfile::tempdir().expect("a directory");
        let out = exported(&model, dir.path(), ExportOptions::new(ExportFormat::Hf));
        let path = out.join("config.json");
        let mut fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
        fields.remove("tril_config").expect("it is there");
        std::fs::write(&path, serde_json::to_vec(&fields).expect("JSON")).expect("written");
        let again = open(&out);
        let difference = max_difference(&logits(again.gpt()), &logits(model.gpt()));
        assert!(difference < 2e-5, "{name}: {difference}");
        if is_in_llama_cpp {
            let out = exported(&model, dir.path(), ExportOptions::new(ExportFormat::Gguf));
            let bytes = std::fs::read(&out).expect("read");
            let hidden =
                replaced(&replaced(&bytes, b"tril.config", b"tril.confix"), b"huggingface.json", b"huggingface.jsox");
            std::fs::write(&out, hidden).expect("written");
            let again = open(&out);
            let difference = max_difference(&logits(again.gpt()), &logits(model.gpt()));
            assert!(difference < 2e-5, "{name}: {difference}");
            for text in [TEXT, "<|endoftext|>", "  a\n\nb"] {
                let ids = |model: &Model| model.tokenizer().encode(text).expect("ids");
                assert_eq!(ids(&again), ids(&model), "{name}");
            }
            assert_eq!(again.tokenizer().end_of_text(), model.tokenizer().end_of_text(), "{name}");
        }
    }
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn a_model_that_was_trained_elsewhere_since_keeps_the_biases_that_it_has_learnt() {
    let bare = GptConfig { qkv_bias: false, output_bias: false, mlp_bias: false, norm_bias: false, ..gpt2() };
    let model = noisy(bare, tokenizer(TokenizerKind::Byte));
    let dir = tempfile::tempdir().expect("a directory");
    let out = exported(&model, dir.path(), ExportOptions::new(ExportFormat::Hf));
    assert!(!open(&out).config().qkv_bias);
    let path = out.join("model.safetensors");
    let bytes = std::fs::read(&path).expect("read");
    let header = u64::from_le_bytes(*bytes.first_chunk().expect("8 bytes")) as usize;
    let fields: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).expect("JSON");
    let begin = fields["transformer.h.1.attn.c_attn.bias"]["data_offsets"][0].as_u64().expect("a number") as usize;
    let mut changed = bytes.clone();
    changed[8 + header + begin..][..4].copy_from_slice(&0.5_f32.to_le_bytes());
    std::fs::write(&path, changed).expect("written");
    let again = open(&out);
    assert!(again.config().qkv_bias && again.config().norm_bias);
    assert!(max_difference(&logits(again.gpt()), &logits(model.gpt())) > 1e-4);
}

#[test]
fn smaller_types_come_back_as_near_as_they_are() {
    let model = noisy(GptConfig { d_model: 32, d_ff: 64, d_head: 8, ..llama() }, tokenizer(TokenizerKind::Bpe));
    let exact = logits(model.gpt());
    for (format, data_type, most) in [
        (ExportFormat::Hf, DataType::F16, 2e-2),
        (ExportFormat::Hf, DataType::Bf16, 2e-1),
        (ExportFormat::Gguf, DataType::F16, 2e-2),
        (ExportFormat::Gguf, DataType::Bf16, 2e-1),
        (ExportFormat::Gguf, DataType::Q8_0, 5e-1),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let out = exported(&model, dir.path(), ExportOptions { format, data_type, gelu: Gelu::AsItIs });
        let difference = max_difference(&logits(open(&out).gpt()), &exact);
        assert!(difference > 0.0 && difference < most, "{format} {data_type}: {difference}");
        // What was rounded once is not rounded again.
        let again =
            exported(&open(&out), &dir.path().join("again"), ExportOptions { format, data_type, gelu: Gelu::AsItIs });
        assert_eq!(logits(open(&again).gpt()), logits(open(&out).gpt()), "{format} {data_type}");
    }
}

#[test]
fn an_exact_gelu_becomes_an_approximation_only_where_that_is_asked_for() {
    let model = noisy(GptConfig { mlp: MlpKind::Gelu, ..gpt2() }, tokenizer(TokenizerKind::Char));
    let dir = tempfile::tempdir().expect("a directory");
    let options = ExportOptions::new(ExportFormat::Gguf);
    let error =
        model.export(options, &dir.path().join("x.gguf"), ExistingFiles::Keep).expect_err("refused").to_string();
    assert!(error.contains("mlp = gelu") && error.contains("--approximate-gelu"), "{error}");
    let out = exported(&model, dir.path(), ExportOptions { gelu: Gelu::Approximate, ..options });
    let again = open(&out);
    assert_eq!(again.config().mlp, MlpKind::GeluTanh);
    let difference = max_difference(&logits(again.gpt()), &logits(model.gpt()));
    assert!(difference > 0.0 && difference < 0.1, "{difference}");
}

#[test]
fn what_stands_in_the_place_of_an_export_is_kept_unless_it_is_one_and_may_be_replaced() {
    let model = noisy(llama(), tokenizer(TokenizerKind::Bpe));
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join("mine");
    std::fs::create_dir(&place).expect("a directory");
    std::fs::write(place.join("letter.txt"), "dear").expect("written");
    for format in ExportFormat::ALL {
        for existing in [ExistingFiles::Keep, ExistingFiles::Replace] {
            let error = model.export(ExportOptions::new(format), &place, existing).expect_err("occupied").to_string();
            assert!(error.contains("mine") && error.contains("already"), "{error}");
        }
    }
    assert!(model.save(&place, ExistingFiles::Replace).is_err());
    assert_eq!(std::fs::read_to_string(place.join("letter.txt")).expect("read"), "dear");
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "mine").expect("written");
    assert!(model.export(ExportOptions::new(ExportFormat::Gguf), &text, ExistingFiles::Replace).is_err());
    let out = exported(&model, dir.path(), ExportOptions::new(ExportFormat::Gguf));
    assert!(model.export(ExportOptions::new(ExportFormat::Gguf), &out, ExistingFiles::Keep).is_err());
    exported(&model, dir.path(), ExportOptions::new(ExportFormat::Gguf));
}
