//! Directories and files that are missing something, damaged, contradict themselves, or say what is not computed here.

use std::fs;

use serde_json::{Map, Value, json};

use super::*;

/// A directory in Hugging Face layout, and what is done to it.
struct Directory {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Directory {
    fn of(config: GptConfig) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let model = noisy(config, tokenizer(TokenizerKind::Bpe));
        let path = exported(&model, dir.path(), ExportOptions::new(ExportFormat::Hf));
        let this = Self { _dir: dir, path };
        // As another tool would have written it.
        this.change("config.json", |fields| _ = fields.remove("tril_config"));
        this
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Map<String, Value>)) {
        let mut fields = serde_json::from_slice(&fs::read(self.file(name)).expect("read")).expect("an object");
        change(&mut fields);
        fs::write(self.file(name), serde_json::to_vec(&fields).expect("JSON")).expect("written");
    }

    fn set(&self, field: &str, value: Value) {
        self.change("config.json", |fields| _ = fields.insert(field.to_owned(), value));
    }

    /// Renames, drops and adds tensors.
    fn rewrite(&self, change: impl FnOnce(&mut Tensors)) {
        let mut tensors = read(&self.file("model.safetensors"));
        change(&mut tensors);
        write(&self.file("model.safetensors"), &tensors);
    }

    #[track_caller]
    fn refused(&self, expected: &[&str]) {
        let message = refusal(&self.path);
        for part in expected {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
        assert!(!message.contains('\n'), "{message}");
    }
}

type Tensors = Vec<(String, Vec<usize>, Vec<u8>)>;

fn read(path: &Path) -> Tensors {
    let bytes = fs::read(path).expect("read");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("tensors");
    file.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec(), view.data().to_vec())).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    use safetensors::tensor::{Dtype, TensorView};
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor")));
    fs::write(path, safetensors::serialize(views, None).expect("bytes")).expect("written");
}

#[test]
fn a_directory_of_these_tests_is_sound_before_anything_is_done_to_it() {
    for config in [llama(), gpt2()] {
        open(&Directory::of(config).path);
    }
}

#[test]
fn what_is_not_computed_here_is_named_with_its_value() {
    let yarn = json!({"rope_type": "yarn", "factor": 4.0});
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "rope_theta": 500.0});
    let cases = [
        (llama(), "model_type", json!("mixtral")),
        (llama(), "hidden_act", json!("gelu")),
        (llama(), "rope_scaling", yarn),
        (llama(), "rope_parameters", llama3),
        (llama(), "rope_theta", json!(7.0)),
        (llama(), "num_local_experts", json!(8)),
        (llama(), "final_logit_softcapping", json!(30.0)),
        (llama(), "partial_rotary_factor", json!(0.5)),
        (llama(), "quantization_config", json!({"bits": 4})),
        (llama(), "layer_types", json!(["full_attention", "sliding_attention"])),
        (llama(), "num_hidden_layers", json!("two")),
        (llama(), "vocab_size", json!(-1)),
        (llama(), "tie_word_embeddings", json!("no")),
        (gpt2(), "scale_attn_by_inverse_layer_idx", json!(true)),
        (gpt2(), "scale_attn_weights", json!(false)),
        (gpt2(), "add_cross_attention", json!(true)),
        (gpt2(), "activation_function", json!("relu")),
        (GptConfig { qk_norm: true, ..llama() }, "layer_types", json!(["full_attention", "sliding_attention"])),
    ];
    for (config, field, value) in cases {
        let dir = Directory::of(config);
        let shown = value.to_string();
        dir.set(field, value);
        // A base of the angles that contradicts another is told by the other.
        let expected = if field == "rope_theta" { "rope_parameters" } else { field };
        let shown = if field == "rope_theta" { "500.0" } else { &shown };
        dir.refused(&["config.json", expected, shown]);
    }
}

#[test]
fn every_tensor_is_used_or_named() {
    let dir = Directory::of(llama());
    dir.set("num_hidden_layers", json!(1));
    dir.refused(&["model.safetensors", "9 tensors", "`model.layers.1.", "and 3 more"]);
    let dir = Directory::of(llama());
    dir.set("num_hidden_layers", json!(3));
    dir.refused(&["model.safetensors", "missing", "`layers.2."]);
    let dir = Directory::of(gpt2());
    dir.rewrite(|tensors| tensors.push(("score.weight".into(), vec![2], vec![0; 8])));
    dir.refused(&["a tensor", "`score.weight`"]);
    let dir = Directory::of(gpt2());
    dir.rewrite(|tensors| tensors.retain(|(name, ..)| name != "transformer.h.2.ln_2.bias"));
    dir.refused(&["missing", "`h.2.ln_2.bias`"]);
    let dir = Directory::of(llama());
    dir.set("intermediate_size", json!(35));
    dir.refused(&["mlp.down_proj.weight", "[28, 34]", "[28, 35]"]);
    let dir = Directory::of(llama());
    dir.rewrite(|tensors| {
        let twice = tensors.iter().find(|(name, ..)| name == "model.norm.weight").expect("there").clone();
        tensors.push(("_orig_mod.model.norm.weight".into(), twice.1, twice.2));
    });
    dir.refused(&["`_orig_mod.model.norm.weight`", "`model.norm.weight`", "twice"]);
}

#[test]
fn names_may_have_any_of_the_prefixes_and_buffers_are_no_parameters() {
    for (config, buffer) in
        [(gpt2(), ("h.0.attn.bias", vec![1, 1, 24, 24])), (gpt2(), ("transformer.h.1.attn.masked_bias", vec![]))]
    {
        let dir = Directory::of(config);
        let before = logits(open(&dir.path).gpt());
        dir.rewrite(|tensors| {
            let numbers = buffer.1.iter().product::<usize>();
            tensors.push((buffer.0.into(), buffer.1.clone(), vec![0; 4 * numbers]));
        });
        assert_eq!(logits(open(&dir.path).gpt()), before);
    }
    for prefix in ["", "model.", "_orig_mod.", "_orig_mod.model."] {
        let dir = Directory::of(llama());
        let before = logits(open(&dir.path).gpt());
        dir.rewrite(|tensors| {
            for (name, ..) in tensors {
                *name = format!("{prefix}{}", name.trim_start_matches("model."));
            }
        });
        assert_eq!(logits(open(&dir.path).gpt()), before, "{prefix}");
    }
}

#[test]
fn rotary_frequencies_in_a_file_must_be_those_of_its_config() {
    let frequencies = |theta: f64| -> Vec<u8> {
        (0..3).flat_map(|index| (theta.powf(-2.0 * f64::from(index) / 6.0) as f32).to_le_bytes()).collect()
    };
    for (theta, fits) in [(500.0, true), (10_000.0, false)] {
        let dir = Directory::of(llama());
        let name = "model.layers.0.self_attn.rotary_emb.inv_freq";
        dir.rewrite(|tensors| tensors.push((name.into(), vec![3], frequencies(theta))));
        if fits {
            open(&dir.path);
        } else {
            dir.refused(&[name, "rope_theta = 500"]);
        }
    }
}

#[test]
fn a_head_beside_a_tied_embedding_must_be_the_embedding() {
    let tied = GptConfig { tied_head: true, ..llama() };
    for (same, value) in [(true, 0), (false, 1)] {
        let dir = Directory::of(tied.clone());
        dir.rewrite(|tensors| {
            let (_, shape, mut bytes) =
                tensors.iter().find(|(name, ..)| name.contains("embed_tokens")).expect("there").clone();
            bytes[0] ^= value;
            tensors.push(("lm_head.weight".into(), shape, bytes));
        });
        if same {
            open(&dir.path);
        } else {
            dir.refused(&["ties the head", "`lm_head.weight`"]);
        }
    }
    let dir = Directory::of(tied);
    dir.set("tie_word_embeddings", json!(false));
    dir.refused(&["missing", "`lm_head.weight`"]);
}

#[test]
fn weights_that_are_not_there_have_a_message_each() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346744\n";
    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        let dir = Directory::of(llama());
        fs::write(dir.file(name), pointer).expect("written");
        dir.refused(&[name, "git-LFS pointer", "git lfs pull"]);
    }
    let dir = Directory::of(llama());
    fs::rename(dir.file("model.safetensors"), dir.file("pytorch_model.bin")).expect("renamed");
    dir.refused(&["pytorch_model.bin", "PyTorch's own format", "save_pretrained"]);
    // Whether or not there is a tokenizer.
    fs::remove_file(dir.file("tokenizer.json")).expect("removed");
    dir.refused(&["pytorch_model.bin", "PyTorch's own format"]);
    fs::remove_file(dir.file("pytorch_model.bin")).expect("removed");
    dir.refused(&["no model.safetensors"]);
    let gguf = dir.path.with_file_name("pointer.gguf");
    fs::write(&gguf, pointer).expect("written");
    assert!(refusal(&gguf).contains("git-LFS pointer"));
}

/// Cuts the weights into two shards with an index.
fn shard(dir: &Directory) -> Map<String, Value> {
    let tensors = read(&dir.file("model.safetensors"));
    let (first, second) = tensors.split_at(tensors.len() / 2);
    let mut map = Map::new();
    for (shard, tensors) in [("model-00001-of-00002.safetensors", first), ("model-00002-of-00002.safetensors", second)]
    {
        write(&dir.file(shard), &tensors.to_vec());
        map.extend(tensors.iter().map(|(name, ..)| (name.clone(), json!(shard))));
    }
    fs::remove_file(dir.file("model.safetensors")).expect("removed");
    index(dir, &map);
    map
}

fn index(dir: &Directory, map: &Map<String, Value>) {
    fs::write(dir.file("model.safetensors.index.json"), json!({"weight_map": map}).to_string()).expect("written");
}

#[test]
fn shards_are_one_model_and_a_missing_or_foreign_one_is_named() {
    let dir = Directory::of(llama());
    let before = logits(open(&dir.path).gpt());
    let map = shard(&dir);
    assert_eq!(logits(open(&dir.path).gpt()), before);
    let mut outside = map.clone();
    outside.insert("lm_head.weight".into(), json!("../../elsewhere.safetensors"));
    index(&dir, &outside);
    dir.refused(&["weight_map", "`lm_head.weight`"]);
    let mut more = map.clone();
    more.insert("model.more".into(), json!("model-00002-of-00002.safetensors"));
    index(&dir, &more);
    dir.refused(&["model-00002-of-00002.safetensors", "`model.more`"]);
    let mut fewer = map.clone();
    fewer.remove("lm_head.weight");
    index(&dir, &fewer);
    dir.refused(&["`lm_head.weight`", "does not name"]);
    index(&dir, &map);
    let second = dir.file("model-00002-of-00002.safetensors");
    let bytes = fs::read(&second).expect("read");
    fs::write(&second, &bytes[..bytes.len() - 1]).expect("written");
    dir.refused(&["model-00002-of-00002.safetensors", "cut"]);
    fs::remove_file(&second).expect("removed");
    dir.refused(&["model.safetensors.index.json", "model-00002-of-00002.safetensors", "not there"]);
}

#[test]
fn a_tokenizer_that_is_missing_or_has_other_ids_is_told() {
    let dir = Directory::of(llama());
    fs::rename(dir.file("tokenizer.json"), dir.file("kept.json")).expect("renamed");
    dir.refused(&["no tokenizer.json", "merges.txt"]);
    fs::write(dir.file("tokenizer.model"), "sentencepiece").expect("written");
    dir.refused(&["tokenizer.model", "SentencePiece", "save_pretrained"]);
    fs::write(dir.file("vocab.json"), "{\"a\": 0}").expect("written");
    dir.refused(&["vocab.json", "no merges.txt"]);
    fs::write(dir.file("merges.txt"), "#version: 0.2\na\n").expect("written");
    dir.refused(&["merges.txt", "line 2"]);
    fs::write(dir.file("merges.txt"), "").expect("written");
    fs::write(dir.file("tokenizer_config.json"), "{\"tokenizer_class\": \"RobertaTokenizer\"}").expect("written");
    dir.refused(&["tokenizer_class", "RobertaTokenizer"]);
    let larger = TokenizerConfig { kind: TokenizerKind::Bpe, vocab_size: 272, end_of_text: true, ..Default::default() };
    let larger = Tokenizer::build(&larger, &[TEXT]).expect("a tokenizer");
    fs::write(dir.file("tokenizer.json"), larger.to_json().expect("JSON")).expect("written");
    dir.refused(&["272 tokens", "vocab_size = 270"]);
}

#[test]
fn ids_that_no_token_has_end_no_text_and_are_told_and_the_younger_file_counts() {
    let dir = Directory::of(llama());
    fs::remove_file(dir.file("generation_config.json")).expect("removed");
    dir.set("eos_token_id", json!(50_256));
    dir.set("bos_token_id", json!(50_256));
    let model = open(&dir.path);
    assert_eq!(model.tokenizer().end_of_text(), Some(269), "the tokenizer's own");
    assert!(model.notes().iter().any(|note| note.contains("eos_token_id = 50256")), "{:?}", model.notes());
    dir.set("eos_token_id", json!(5));
    assert_eq!(open(&dir.path).tokenizer().end_of_text(), Some(5));
    fs::write(dir.file("generation_config.json"), "{\"eos_token_id\": [7, 9]}").expect("written");
    let model = open(&dir.path);
    assert_eq!(model.tokenizer().end_of_text(), Some(7));
    assert!(model.notes().iter().any(|note| note.contains("2 tokens")), "{:?}", model.notes());
    fs::write(dir.file("generation_config.json"), "{\"eos_token_id\": \"x\"}").expect("written");
    dir.refused(&["generation_config.json", "eos_token_id = \"x\""]);
}

#[test]
fn an_mlp_with_a_gate_of_relu_is_squared_relu_only_where_both_matrices_are_one() {
    let dir = Directory::of(GptConfig { mlp: MlpKind::Relu2, window: 5, ..llama() });
    assert_eq!(open(&dir.path).config().mlp, MlpKind::Relu2);
    dir.rewrite(|tensors| {
        let (_, _, bytes) = tensors.iter_mut().find(|(name, ..)| name.contains("1.mlp.up_proj")).expect("there");
        bytes[0] ^= 1;
    });
    dir.refused(&["layers.1.mlp.up_proj.weight", "squared ReLU"]);
}

#[test]
fn a_gguf_file_that_is_cut_anywhere_or_says_what_is_not_computed_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let model = noisy(llama(), tokenizer(TokenizerKind::Bpe));
    let path = exported(&model, dir.path(), ExportOptions::new(ExportFormat::Gguf));
    let bytes = fs::read(&path).expect("read");
    for length in (4..bytes.len() - 64).step_by(bytes.len() / 150) {
        fs::write(&path, &bytes[..length]).expect("written");
        let message = refusal(&path);
        assert!(message.contains("model.gguf"), "{length}: {message}");
    }
    for (from, to, expected) in [
        ("general.architecture", "general.archatecture", "general.architecture"),
        ("blk.1.ffn_up.weight", "blk.1.ffn_op.weight", "blk.1.ffn_up.weight"),
        ("llama.block_count", "llama.block_caunt", "llama.block_count"),
        ("llama.attention.value_length", "llama.attention.sliding_window", ""),
    ] {
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("it is there");
        if from.len() == to.len() {
            fs::write(&path, [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()).expect("written");
            let message = refusal(&path);
            assert!(message.contains(expected), "{message}");
        }
    }
}

#[test]
fn a_form_that_no_tool_has_is_refused_with_every_reason() {
    let model = noisy(nobodys(), tokenizer(TokenizerKind::Bpe));
    let dir = tempfile::tempdir().expect("a directory");
    for format in ExportFormat::ALL {
        let error = model.export(ExportOptions::new(format), &dir.path().join("x"), ExistingFiles::Keep);
        let message = error.expect_err("refused").to_string();
        assert!(message.contains("norm = layer"), "{message}");
    }
    let without_end = TokenizerConfig { kind: TokenizerKind::Char, ..TokenizerConfig::default() };
    let model = noisy(llama(), Tokenizer::build(&without_end, &[TEXT]).expect("a tokenizer"));
    let error = model.export(ExportOptions::new(ExportFormat::Gguf), &dir.path().join("x"), ExistingFiles::Keep);
    let message = error.expect_err("refused").to_string();
    assert!(message.contains("tokenizer.end_of_text"), "{message}");
    exported(&model, dir.path(), ExportOptions::new(ExportFormat::Hf));
    let windowed = noisy(GptConfig { window: 5, ..llama() }, tokenizer(TokenizerKind::Bpe));
    let error = windowed.export(ExportOptions::new(ExportFormat::Gguf), &dir.path().join("x"), ExistingFiles::Keep);
    assert!(error.expect_err("refused").to_string().contains("window = 5"));
}
